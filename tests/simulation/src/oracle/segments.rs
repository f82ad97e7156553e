//! The books on segments that could not be fetched: whose word it was, and what
//! probes found. One worker alone moves no healthy map (mistake 11).

use std::collections::{BTreeMap, BTreeSet};

use vivat_core::State;
use vivat_core::command::Command;
use vivat_core::limits::HEALTHY_PROBES_MAX;
use vivat_shared::ids::{AttemptId, WorkerId};

use super::Oracle;

/// What was said of one map attempt's segments.
#[derive(Debug, Default)]
struct Complaints {
    reporters: BTreeSet<WorkerId>,
    /// Probes that found them whole since the second worker complained.
    healthy: u8,
}

/// All complaints, and the maps that may run again although they are whole.
#[derive(Debug, Default)]
pub(super) struct SegmentBooks {
    complaints: BTreeMap<AttemptId, Complaints>,
    justified: BTreeSet<AttemptId>,
}

impl Oracle {
    /// Takes a command in that was not refused. `before` is the state before its
    /// entry.
    pub(super) fn note_segments(&mut self, before: &State, commands: &[Command], taken: &Command) {
        match taken {
            Command::ReportFetchFailure { worker, failure } => {
                let map = failure.segment.attempt;
                let known = self.segments.complaints.entry(map).or_default();
                if known.reporters.insert(worker.worker) && known.reporters.len() == 2 {
                    known.healthy = 0;
                }
            }
            Command::JudgeSegment {
                map, healthy: true, ..
            } => {
                let known = self.segments.complaints.entry(*map).or_default();
                known.healthy = known.healthy.saturating_add(1);
                let alone = commands.iter().any(changes_workers)
                    || !others(before, &known.reporters)
                    || !others(&self.reference, &known.reporters);
                let told = known.reporters.len() > 1 || alone;
                if told && known.healthy >= HEALTHY_PROBES_MAX {
                    self.segments.justified.insert(*map);
                }
            }
            Command::JudgeSegment { healthy: false, .. }
            | Command::OpenTerm { .. }
            | Command::SubmitJob { .. }
            | Command::CancelJob { .. }
            | Command::TimeOutJob { .. }
            | Command::RegisterWorker { .. }
            | Command::RestoreSegments { .. }
            | Command::ExpireWorker { .. }
            | Command::RevokeAttempts { .. }
            | Command::Data(_)
            | Command::DrainWorker { .. }
            | Command::AssignAttempts { .. }
            | Command::AppendPlan { .. }
            | Command::FinishAttempt { .. }
            | Command::RetryJob { .. }
            | Command::GiveUpNotice { .. }
            | Command::ForgetJob { .. } => {}
        }
    }

    /// A map's segments are called lost. If probes found them whole, two workers
    /// must have failed to fetch them, or there is nobody else to fetch them.
    pub(super) fn segments_lost(&mut self, commands: &[Command], lost: AttemptId) {
        let judged_whole = commands.iter().any(|command| {
            matches!(command, Command::JudgeSegment { map, healthy: true, .. } if *map == lost)
        });
        let judged_gone = commands.iter().any(|command| {
            matches!(command, Command::JudgeSegment { map, healthy: false, .. } if *map == lost)
        });
        let others = judged_gone || commands.iter().any(changes_workers);
        let just = self.segments.justified.remove(&lost);
        let known = self.segments.complaints.remove(&lost);
        self.ensure(!judged_whole || just || others, "mistake 11", || {
            format!("{lost} is whole and runs again, because of {known:?}")
        });
    }
}

/// Whether a worker that did not complain could take a reduce.
fn others(state: &State, reporters: &BTreeSet<WorkerId>) -> bool {
    let mut workers = state.workers();
    workers.any(|worker| worker.accepts_work() && !reporters.contains(&worker.id))
}

pub(super) fn changes_workers(command: &Command) -> bool {
    matches!(
        command,
        Command::RegisterWorker { .. } | Command::ExpireWorker { .. } | Command::DrainWorker { .. }
    )
}
