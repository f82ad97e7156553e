//! The books on rounds: closed once, in order, and heard by those that come after.

use vivat_core::state::{Job, Phase};
use vivat_shared::attempt::{Broadcast, ClosedBroadcast, Work};
use vivat_shared::ids::{AttemptId, BlockId, RoundId};
use vivat_shared::job::{JobSpec, StepInput};

use super::Oracle;
use crate::evidence::Fact;
use crate::ground::Ground;
use crate::jobs;

impl Oracle {
    pub(super) fn round_closed(
        &mut self,
        ground: &mut Ground,
        round: RoundId,
        broadcast: &ClosedBroadcast,
    ) {
        ground.note(Fact::RoundClosed);
        let blocks = match broadcast {
            ClosedBroadcast::Inline(_) => Vec::new(),
            ClosedBroadcast::Stored(blocks) => {
                ground.note(Fact::BroadcastStored);
                blocks.iter().map(|block| block.summary.id).collect()
            }
        };
        let later = self.said.range(round..);
        let later = later.filter(|(known, _)| known.job == round.job).count();
        let former = self.said.insert(round, blocks);
        self.ensure(former.is_none() && later == 0, "S3", || {
            format!("{round} is closed a second time, or after a later one")
        });
    }

    /// A worker begins with what a task of a round reads: what the last close before
    /// it said, and no other.
    pub fn check_reads(&mut self, attempt: AttemptId, spec: &JobSpec, work: &Work) {
        let id = attempt.task.round;
        let broadcast = match work {
            Work::Map { broadcast, .. }
            | Work::Reduce { broadcast, .. }
            | Work::Close { broadcast, .. } => broadcast,
            Work::Plan { previous, .. } => {
                let step = spec.steps.get(usize::from(id.step));
                let wants = step.is_some_and(|step| step.input == StepInput::Previous);
                self.ensure(wants == previous.is_some(), "S14", || {
                    format!("{attempt} reads {previous:?}, and wants the step before: {wants}")
                });
                return;
            }
            Work::Notify { .. } => return,
            Work::Commit { parts, blocks, .. } => {
                let step = spec.steps.last();
                let copies = step.is_some_and(|step| step.closes);
                let right = blocks.len() == if copies { parts.len() } else { 0 };
                self.ensure(right, "S2", || {
                    format!("{attempt} copies {} of {} parts", blocks.len(), parts.len())
                });
                return;
            }
        };
        let speaker = jobs::speaker(spec, id);
        let right = match (broadcast, speaker) {
            (Broadcast::None, speaker) => speaker.is_none(),
            (Broadcast::Inline(bytes), Some(speaker)) => {
                !jobs::is_stored(spec, speaker) && **bytes == *jobs::said(speaker)
            }
            (Broadcast::Stored { blocks, .. }, Some(speaker)) => {
                let ids: Vec<BlockId> = blocks.iter().map(|block| block.summary.id).collect();
                !ids.is_empty() && self.said.get(&speaker) == Some(&ids)
            }
            (Broadcast::Inline(_) | Broadcast::Stored { .. }, None) => false,
        };
        self.ensure(right, "S2", || {
            format!("{attempt} reads {broadcast:?}, and {speaker:?} spoke last")
        });
    }

    /// Whether some close attempt is granted.
    pub fn is_some_round_closing(&self) -> bool {
        let active = self.reference.jobs().filter_map(Job::active);
        active
            .filter(|active| active.phase == Phase::Close)
            .any(|active| active.running > 0)
    }
}
