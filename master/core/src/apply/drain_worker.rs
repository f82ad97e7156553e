//! `DrainWorker`: a draining worker finishes what it has and gets nothing new.
//! `RevokeAttempts`: what it has not finished at its deadline runs elsewhere.

use vivat_shared::ids::{AttemptId, TaskKind, WorkerEpoch, WorkerId};

use super::Context;
use super::effects::{Told, end_try, revoke};
use crate::command::{Event, Rejection, Reply};
use crate::state::Presence;

pub(super) fn apply(
    context: &mut Context<'_>,
    worker: WorkerId,
    wanted: bool,
    deadline_ms: Option<u64>,
) -> Result<Reply, Rejection> {
    let age_ms = context.state.age_ms;
    let known = context
        .state
        .worker_mut(worker)
        .ok_or(Rejection::UnknownWorker(worker))?;
    let named = known.current();
    match &mut known.presence {
        Presence::Registered { draining } => {
            *draining = wanted;
            known.drained_by_age_ms = deadline_ms
                .filter(|_| wanted)
                .map(|deadline_ms| age_ms.saturating_add(deadline_ms));
            Ok(Reply::Done)
        }
        Presence::Lost { .. } => Err(Rejection::StaleEpoch {
            worker: named,
            current: None,
        }),
    }
}

/// It costs the tasks no retry: nobody failed.
pub(super) fn revoke_attempts(
    context: &mut Context<'_>,
    worker: WorkerEpoch,
    term: u64,
) -> Result<Reply, Rejection> {
    context.state.check_term(term)?;
    let age_ms = context.state.age_ms;
    let known = context.state.check_worker(worker)?;
    if known
        .drained_by_age_ms
        .is_none_or(|deadline| age_ms < deadline)
    {
        return Err(Rejection::NotDrained(worker.worker));
    }
    let granted: Vec<AttemptId> = known.running.iter().copied().collect();
    for attempt in granted {
        // A commit is past recall: it alone ends its job.
        if attempt.task.kind == TaskKind::Commit {
            continue;
        }
        if attempt.task.kind == TaskKind::Notify {
            context
                .events
                .push(Event::AttemptRevoked { attempt, worker });
            let stopped = Told::Missed("stopped by a drain".to_owned());
            end_try(context, attempt, worker, stopped);
            continue;
        }
        if revoke(context, attempt, worker) {
            let task = attempt.task;
            context.events.push(Event::TaskIdle { task });
        }
    }
    Ok(Reply::Done)
}
