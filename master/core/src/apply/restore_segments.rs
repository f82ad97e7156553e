//! `RestoreSegments`: a worker that restarted still has what it wrote. A map
//! task that was lost with it, and was not granted again since, is completed
//! as before, without running.

use vivat_shared::ids::{TaskKind, WorkerEpoch};

use super::Context;
use crate::command::{Event, HeldSegments, Rejection, Reply};
use crate::state::Job;

pub(super) fn apply(
    context: &mut Context<'_>,
    worker: WorkerEpoch,
    held: &[HeldSegments],
) -> Result<Reply, Rejection> {
    context.state.check_worker(worker)?;
    for segments in held {
        if is_wanted(context, worker, segments) {
            restore(context, worker, segments);
        }
    }
    Ok(Reply::Done)
}

/// Whether the state waits for exactly these segments: the accepted attempt's,
/// with the sizes that were accepted.
fn is_wanted(context: &Context<'_>, worker: WorkerEpoch, held: &HeldSegments) -> bool {
    let attempt = held.attempt;
    let index = attempt.task.index;
    let active = context.state.job(attempt.job()).and_then(Job::active);
    let Some(active) = active.filter(|active| active.wants(TaskKind::Map)) else {
        return false;
    };
    let round = active.round();
    attempt.task.kind == TaskKind::Map
        && attempt.task.round == round.id
        && round.needs_segments()
        && round
            .maps
            .is_restorable(index, attempt.number, worker.worker)
        && held
            .segments
            .iter()
            .map(|size| size.0)
            .eq(round.sizes_of(index).iter().copied())
}

fn restore(context: &mut Context<'_>, worker: WorkerEpoch, held: &HeldSegments) {
    let attempt = held.attempt;
    if let Some(active) = context.state.active_mut(attempt.job()) {
        active.round_mut().maps.restore(attempt.task.index, worker);
        context.events.push(Event::SegmentsLocated {
            map: attempt,
            holder: worker,
        });
    }
}
