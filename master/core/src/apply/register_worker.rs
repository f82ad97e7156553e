//! `RegisterWorker`: a new epoch, and the end of the old one in the same step,
//! so that no attempt is ever granted to two lives of one worker.

use std::collections::BTreeSet;
use std::sync::Arc;

use vivat_shared::ids::{AttemptId, Epoch, WorkerEpoch, WorkerId};
use vivat_shared::limits::{CRASHES_MAX, SLOTS_MAX};

use super::Context;
use super::effects::{crash_failure, end_job, expire};
use crate::command::{Event, Rejection, Reply, WorkerInfo};
use crate::limits::{WORKER_INFO_BYTES_MAX, WORKERS_LIVE_MAX};
use crate::state::{JobEnd, Presence, Worker};

pub(super) fn apply(
    context: &mut Context<'_>,
    info: &WorkerInfo,
    crashed: &[AttemptId],
) -> Result<Reply, Rejection> {
    check(context, info)?;
    let known = context.state.uids.get(info.uid.as_str()).copied();
    if let Some(id) = known {
        blame_lost(context, id, crashed);
        let old = context.state.worker(id).filter(|old| old.is_registered());
        if let Some(old) = old.map(Worker::current) {
            expire(context, old, "registered anew", crashed);
        }
    }
    let state = &mut *context.state;
    // Above every epoch before it, and named by the log.
    state.last_epoch = context.index.max(state.last_epoch + 1);
    let id = known
        .filter(|id| state.workers.contains_key(id))
        .unwrap_or_else(|| {
            state.last_worker += 1;
            WorkerId(state.last_worker)
        });
    if let Some(Presence::Lost { order, .. }) = state.worker(id).map(|old| old.presence.clone()) {
        state.lost.remove(&order);
    }
    let worker = Worker {
        id,
        epoch: Epoch(state.last_epoch),
        info: info.clone(),
        presence: Presence::Registered { draining: false },
        registered_age_ms: state.age_ms,
        drained_by_age_ms: None,
        running: BTreeSet::new(),
        pace: state.worker(id).map(|old| old.pace).unwrap_or_default(),
    };
    let current = worker.current();
    state.uids.insert(Arc::from(info.uid.as_str()), id);
    state.workers.insert(id, Arc::new(worker));
    let worker = current;
    context.events.push(Event::WorkerRegistered { worker });
    Ok(Reply::Registered(current))
}

fn check(context: &Context<'_>, info: &WorkerInfo) -> Result<(), Rejection> {
    let state = &*context.state;
    let limit = |limit: String| Err(Rejection::Limit { limit });
    if info.slots == 0 || info.slots > SLOTS_MAX {
        return limit(format!("1 to {SLOTS_MAX} slots of a worker"));
    }
    let bytes = postcard::experimental::serialized_size(info).unwrap_or(usize::MAX);
    if info.uid.is_empty() || bytes > WORKER_INFO_BYTES_MAX {
        return limit(format!(
            "a uid, and {WORKER_INFO_BYTES_MAX} bytes about a worker"
        ));
    }
    let registered = state.workers.len() - state.lost.len();
    if registered >= WORKERS_LIVE_MAX && !state.uids.contains_key(info.uid.as_str()) {
        return limit(format!("{WORKERS_LIVE_MAX} workers"));
    }
    Ok(())
}

/// A worker that died with a task may come back after its lease ran out: then
/// its attempts are lost already, and the loss was a crash.
fn blame_lost(context: &mut Context<'_>, id: WorkerId, crashed: &[AttemptId]) {
    for attempt in crashed {
        let index = attempt.task.index;
        let crashes = context
            .state
            .active_mut(attempt.job())
            .and_then(|active| active.table_mut(attempt.task))
            .and_then(|table| table.blame(index, attempt.number, id));
        if crashes.is_some_and(|crashes| crashes >= CRASHES_MAX) {
            let worker = WorkerEpoch {
                worker: id,
                epoch: Epoch(context.state.last_epoch),
            };
            let failure = crash_failure(context, *attempt, worker);
            end_job(context, attempt.job(), JobEnd::Failed(Box::new(failure)));
        }
    }
}
