//! What stays known of attempts that are over: for timelines, and how fast their
//! workers were.

use vivat_shared::ids::{AttemptId, JobId, TaskKind, WorkerEpoch};
use vivat_shared::timeline::AttemptEnd;

use crate::limits::{MISHAPS_MAX, TIMELINE_ROWS_MAX};
use crate::state::State;
use crate::state::timeline::{Span, ended_spans};

/// Rows of one round at most.
const ROWS_MAX: usize = TIMELINE_ROWS_MAX as usize;

/// Notes an attempt that came to nothing. It is granted yet.
pub(in crate::apply) fn note_mishap(
    state: &mut State,
    attempt: AttemptId,
    worker: WorkerEpoch,
    end: AttemptEnd,
) {
    let age_ms = state.age_ms;
    let Some(job) = state.job_mut(attempt.job()) else {
        return;
    };
    let ended_ms = job.since_submission_ms(age_ms);
    let Some(active) = job.active_mut() else {
        return;
    };
    let AttemptId { task, number } = attempt;
    let began_ms = active
        .table(task)
        .and_then(|table| table.granted_at_ms(task.index, number));
    if let Some(began_ms) = began_ms
        && active.mishaps.len() < MISHAPS_MAX
    {
        active.mishaps.push(Span {
            kind: task.kind,
            index: task.index,
            number,
            worker: worker.worker,
            began_ms,
            ended_ms,
            end,
        });
    }
}

/// The current round of a job is over, and its tables are about to go: what their
/// attempts did becomes rows of the timeline.
pub(in crate::apply) fn keep_rows(state: &mut State, job: JobId) {
    let Some(active) = state.active_mut(job) else {
        return;
    };
    let round = active.round().id;
    // Of a round that alone is too large, the last tasks.
    let beyond = ended_spans(active).count().saturating_sub(ROWS_MAX);
    let spans: Vec<Span> = ended_spans(active).skip(beyond).collect();
    active.mishaps.clear();
    let highest = active.highest_number();
    state.timeline.keep(round, spans);
    if let Some(job) = state.job_mut(job) {
        job.numbers = job.numbers.max(highest);
    }
}

/// An accepted map's bytes, and the time of the slot it took. It is granted yet.
pub(in crate::apply) fn note_pace(state: &mut State, attempt: AttemptId, worker: WorkerEpoch) {
    let AttemptId { task, number } = attempt;
    if task.kind != TaskKind::Map {
        return;
    }
    let age_ms = state.age_ms;
    let Some(job) = state.job(attempt.job()) else {
        return;
    };
    let granted = job.active().and_then(|active| {
        let at_ms = active.table(task)?.granted_at_ms(task.index, number)?;
        let bytes = active.round().input_range(task.index)?.bytes;
        Some((job.submitted_age_ms + u64::from(at_ms), bytes))
    });
    if let (Some((began_ms, bytes)), Some(holder)) = (granted, state.worker_mut(worker.worker)) {
        let held = holder.held();
        let slots = holder.info.slots;
        holder.pace.add(bytes, began_ms..age_ms, held.min(slots));
    }
}
