//! What a leader owes, computed from state alone: a leader that comes new to it
//! finds the same duties as the one that died.

use vivat_shared::ids::{AttemptId, JobId, TaskId, TaskKind, WorkerEpoch};

use crate::limits::FINISHED_JOBS_MAX;
use crate::state::{Round, State, Worker};

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Duties {
    /// Map attempts whose holders must be probed, each followed by a
    /// `JudgeSegment`. One that stays in the list after a verdict is to be
    /// probed once more, after a pause.
    pub suspects: Vec<(AttemptId, WorkerEpoch)>,
    /// Jobs whose time passed: `TimeOutJob`.
    pub timed_out: Vec<JobId>,
    /// Draining workers whose deadline passed and that still run something:
    /// `RevokeAttempts`.
    pub revoke: Vec<WorkerEpoch>,
    /// Ended jobs beyond those that are kept, oldest first: `ForgetJob`.
    pub forget: Vec<JobId>,
    /// Jobs of whose end nobody could be told in time: `GiveUpNotice`.
    pub give_up: Vec<JobId>,
}

/// Everything that is due at an age of the cluster.
#[must_use]
pub fn due(state: &State, age_ms: u64) -> Duties {
    let age_ms = age_ms.max(state.age_ms);
    let suspects = state
        .suspected
        .iter()
        .filter_map(|job| Some(state.job(*job)?.active()?.round()))
        .flat_map(suspects)
        .collect();
    let timed_out = state
        .timeouts
        .range(..=(age_ms, JobId(u64::MAX)))
        .map(|(_, job)| *job)
        .filter(|job| {
            let known = state.job(*job);
            known.is_some_and(|known| !state.is_past_recall(known))
        })
        .collect();
    let revoke = state
        .workers()
        .filter(|worker| worker.is_registered() && worker.held() > 0)
        .filter(|worker| worker.drained_by_age_ms.is_some_and(|by| by <= age_ms))
        .map(Worker::current)
        .collect();
    let is_late = |job: &JobId| {
        let notice = state.job(*job).and_then(|known| known.notice.as_ref());
        notice.is_some_and(|it| it.is_owed() && it.running.is_none() && it.until_age_ms <= age_ms)
    };
    let give_up = state.owed.iter().copied().filter(is_late).collect();
    let beyond = state.ended.len().saturating_sub(FINISHED_JOBS_MAX);
    Duties {
        suspects,
        timed_out,
        revoke,
        forget: (state.ended.iter().take(beyond).copied())
            .filter(|job| !state.owed.contains(job))
            .collect(),
        give_up,
    }
}

/// Suspicions that some granted reduce still waits for.
fn suspects(round: &Round) -> impl Iterator<Item = (AttemptId, WorkerEpoch)> + '_ {
    round
        .suspicions
        .iter()
        .filter(|(_, suspicion)| {
            let mut readers = suspicion.readers.iter();
            suspicion.probe_due
                && readers.any(|(partition, number)| {
                    let live = round.reduces.live(*partition);
                    live.iter().any(|running| running.number == *number)
                })
        })
        .map(|(index, suspicion)| {
            let task = TaskId {
                round: round.id,
                kind: TaskKind::Map,
                index: *index,
            };
            let number = suspicion.number;
            (AttemptId { task, number }, suspicion.holder)
        })
}

/// Whether the job ended, or was forgotten, which only ended jobs are. An id
/// that no job has had yet has not ended.
#[must_use]
pub fn job_has_ended(state: &State, job: JobId) -> bool {
    match state.job(job) {
        Some(known) => known.active().is_none(),
        None => job.0 > 0 && job.0 <= state.last_job,
    }
}
