//! Room that workers have, and what they hold that has not started.

use std::collections::BTreeMap;

use tokio::time::Instant;
use vivat_core::command::Grant;
use vivat_core::{LivenessView, WorkerLiveness};
use vivat_shared::ids::{AttemptId, TaskKind, WorkerEpoch, WorkerId};

use super::{Session, Sessions};

/// A worker that holds attempts, as far as taking some back goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::leader) struct Holder {
    pub(in crate::leader) worker: WorkerEpoch,
    /// Held, by its last word, and without progress.
    pub(in crate::leader) not_started: Vec<AttemptId>,
    /// Some of what it holds is in a slot.
    pub(in crate::leader) is_busy: bool,
}

/// A worker with a slot that has nothing to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::leader) struct Idle {
    pub(in crate::leader) want: u32,
    /// It holds reduces that gather segments, or wait for maps that are not done:
    /// another map would help, another reduce would not.
    pub(in crate::leader) gathers: bool,
}

impl Session {
    fn liveness(&self) -> WorkerLiveness {
        let waiter = self
            .waiter
            .as_ref()
            .filter(|waiter| !waiter.answer.is_closed());
        WorkerLiveness {
            epoch: self.epoch,
            want: waiter.map_or(0, |waiter| waiter.want.saturating_sub(self.granting)),
            control_free: self.granting_control == 0
                && waiter.is_some_and(|waiter| waiter.control_free),
            pulled: self.pulled,
        }
    }
}

impl Sessions {
    /// What the scheduler sees.
    pub(in crate::leader) fn liveness(&self) -> LivenessView {
        LivenessView {
            workers: self
                .by_worker
                .iter()
                .filter(|(_, session)| !session.expiring)
                .map(|(&worker, session)| (worker, session.liveness()))
                .collect(),
            ..LivenessView::default()
        }
    }

    /// What the scheduler sees when it looks for stragglers: attempts, too.
    pub(in crate::leader) fn liveness_of_attempts(&self) -> LivenessView {
        let progress = self.by_worker.values().flat_map(|it| &it.progress);
        LivenessView {
            attempts: progress.map(|(attempt, seen)| (*attempt, *seen)).collect(),
            since_age_ms: self.opened_age_ms,
            ..self.liveness()
        }
    }

    /// Counts grants that are about to be proposed.
    pub(in crate::leader) fn granting(&mut self, grants: &[Grant]) {
        for grant in grants {
            if let Some(session) = self.session_mut(grant.worker) {
                if grant.task.kind.is_control() {
                    session.granting_control += 1;
                } else {
                    session.granting += 1;
                }
            }
        }
    }

    /// The same grants were answered, and what was granted is delivered.
    pub(in crate::leader) fn granted(&mut self, grants: &[Grant]) {
        for grant in grants {
            if let Some(session) = self.session_mut(grant.worker) {
                if grant.task.kind.is_control() {
                    session.granting_control = session.granting_control.saturating_sub(1);
                } else {
                    session.granting = session.granting.saturating_sub(1);
                }
            }
        }
    }

    /// Workers that wait for work, with room that no pending grant fills.
    pub(in crate::leader) fn with_room(&self) -> Vec<WorkerId> {
        let waits = |session: &Session| !session.expiring && session.liveness().want > 0;
        let all = self.by_worker.iter();
        all.filter(|(_, session)| waits(session))
            .map(|(&worker, _)| worker)
            .collect()
    }

    /// Of these workers, each with so many slots, those with a slot that nothing is in
    /// or before.
    pub(in crate::leader) fn idle(&self, slots: &[(WorkerId, u32)]) -> BTreeMap<WorkerId, Idle> {
        let gathers = |session: &Session, attempt: &AttemptId| {
            attempt.task.kind == TaskKind::Reduce && !session.progress.contains_key(attempt)
        };
        let idle_of = |&(worker, slots): &(WorkerId, u32)| {
            let session = self.by_worker.get(&worker)?;
            let want = session.liveness().want;
            let of_tasks = |held: &&AttemptId| !held.task.kind.is_control();
            let tasks = session.held.iter().filter(of_tasks).count();
            let gathering = session
                .held
                .iter()
                .filter(|it| gathers(session, it))
                .count();
            let taken = u32::try_from(tasks - gathering).unwrap_or(u32::MAX);
            let free = slots.saturating_sub(taken);
            let idle = Idle {
                // One that has nothing to run may wait for much.
                want: if taken == 0 { want } else { want.min(free) },
                gathers: gathering > 0,
            };
            (idle.want > 0 && !session.expiring).then_some((worker, idle))
        };
        slots.iter().filter_map(idle_of).collect()
    }

    /// Workers from which attempts may be taken: those not asked since `since`.
    pub(in crate::leader) fn holders(&self, since: Instant) -> Vec<Holder> {
        self.by_worker
            .iter()
            .filter(|(_, session)| session.took_back_at.is_none_or(|at| at < since))
            .map(|(&worker, session)| Holder {
                worker: WorkerEpoch {
                    worker,
                    epoch: session.epoch,
                },
                not_started: session
                    .held
                    .iter()
                    .filter(|attempt| !session.progress.contains_key(attempt))
                    .copied()
                    .collect(),
                is_busy: !session.progress.is_empty(),
            })
            .filter(|holder| holder.not_started.len() > usize::from(!holder.is_busy))
            .collect()
    }
}
