//! What happens to attempts and their tasks.

use vivat_shared::attempt::Counters;
use vivat_shared::cause::{FailureCause, InputRange, JobFailure};
use vivat_shared::ids::{AttemptId, TaskId, TaskKind, WorkerEpoch};
use vivat_shared::limits::LOSSES_MAX;
use vivat_shared::timeline::AttemptEnd;

use super::end_job;
use super::history::{note_mishap, note_pace};
use crate::apply::Context;
use crate::command::Event;
use crate::state::{Active, Fate, Job, JobEnd, Running, State};

/// Takes a granted attempt from its task and its worker; true when the task is
/// idle now. The caller names the fact, counts it, and tells that it is idle. How
/// it ended is for the timeline: none for one that never began.
pub(in crate::apply) fn release(
    state: &mut State,
    attempt: AttemptId,
    worker: WorkerEpoch,
    end: Option<AttemptEnd>,
) -> bool {
    if let Some(end) = end {
        note_mishap(state, attempt, worker, end);
    }
    state.unlink(attempt, worker);
    let Some(active) = state.active_mut(attempt.job()) else {
        return false;
    };
    active.running = active.running.saturating_sub(1);
    if attempt.task.kind == TaskKind::Plan {
        active.round_mut().drafts.remove(&attempt.number);
    }
    active
        .table_mut(attempt.task)
        .is_some_and(|table| table.release(attempt.task.index, attempt.number))
}

/// Makes a granted attempt's outcome its task's, and stops the one beside it.
pub(in crate::apply) fn accept(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    counters: &Counters,
) {
    note_pace(context.state, attempt, worker);
    stop_other(context, attempt);
    context.state.unlink(attempt, worker);
    let age_ms = context.state.age_ms;
    let Some(job) = context.state.job_mut(attempt.job()) else {
        return;
    };
    job.counts.succeeded += 1;
    let running = Running {
        number: attempt.number,
        worker,
    };
    let at_ms = job.since_submission_ms(age_ms);
    let first = job.active_mut().and_then(|active| {
        active.running = active.running.saturating_sub(1);
        let table = active.table_mut(attempt.task)?;
        Some(table.complete(attempt.task.index, running, at_ms))
    });
    context.events.push(Event::AttemptFinished {
        attempt,
        worker,
        accepted: true,
    });
    if first == Some(true) {
        job.add_counters(counters);
    }
}

/// The first accepted outcome wins (S2): an attempt beside it is revoked.
fn stop_other(context: &mut Context<'_>, winner: AttemptId) {
    let task = winner.task;
    let active = context.state.job(winner.job()).and_then(Job::active);
    let other = active
        .and_then(|active| active.table(task))
        .and_then(|table| table.beside(task.index, winner.number));
    // Its outcome is taken as well: mistake 9, of two attempts.
    if let Some(other) = other.filter(|_| !cfg!(vivat_seeded_bug = "both-win")) {
        let attempt = AttemptId {
            task,
            number: other.number,
        };
        revoke(context, attempt, other.worker);
    }
}

/// Takes a granted attempt away on our own account, without charging its task.
/// Returns whether the task is idle now.
pub(in crate::apply) fn revoke(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
) -> bool {
    let idle = release(context.state, attempt, worker, Some(AttemptEnd::Killed));
    if let Some(job) = context.state.job_mut(attempt.job()) {
        job.counts.killed += 1;
    }
    let revoked = Event::AttemptRevoked { attempt, worker };
    context.events.push(revoked);
    idle
}

/// What was lost, for the account and, past the bound, for the failure.
#[derive(Clone, Copy)]
pub(in crate::apply) struct Lost {
    pub attempt: AttemptId,
    pub worker: WorkerEpoch,
    /// What befell the attempt; none when the attempt was over, or was stopped.
    pub fate: Option<Fate>,
}

/// Counts a loss of a task. At the bound (L4) its job fails; true then.
pub(in crate::apply) fn charge_loss(context: &mut Context<'_>, lost: Lost) -> bool {
    let AttemptId { task, number } = lost.attempt;
    let table = context
        .state
        .active_mut(task.round.job)
        .and_then(|active| active.table_mut(task));
    let Some(table) = table else {
        return true;
    };
    let losses = match lost.fate {
        Some(fate) => table.suffer(task.index, number, lost.worker.worker, fate),
        None => table.count_loss(task.index),
    };
    if losses < LOSSES_MAX {
        return false;
    }
    let losses = u32::from(losses);
    let failure = JobFailure {
        cause: FailureCause::LostTooOften { losses },
        attempt: Some(lost.attempt),
        worker: Some(lost.worker.worker),
        input: input_of(context.state, task),
        failures: losses,
        output_tail: String::new(),
    };
    let end = JobEnd::Failed(Box::new(failure));
    end_job(context, task.round.job, end);
    true
}

/// The failure of a job one of whose tasks kills its workers.
pub(in crate::apply) fn crash_failure(
    context: &Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
) -> JobFailure {
    let crashes = context
        .state
        .job(attempt.job())
        .and_then(Job::active)
        .and_then(|active| active.table(attempt.task))
        .map_or(0, |table| table.crashes(attempt.task.index));
    JobFailure {
        cause: FailureCause::WorkerCrashed,
        attempt: Some(attempt),
        worker: Some(worker.worker),
        input: input_of(context.state, attempt.task),
        failures: u32::from(crashes),
        output_tail: String::new(),
    }
}

/// What a task reads, if it is a map of the current round.
pub(in crate::apply) fn input_of(state: &State, task: TaskId) -> Option<InputRange> {
    let round = state.job(task.round.job).and_then(Job::active)?.round();
    (task.kind == TaskKind::Map && task.round == round.id)
        .then(|| round.input_range(task.index))
        .flatten()
}

/// Completed -> Idle for a map task whose segments are gone, or out of reach
/// until their worker returns (`restorable`). Charges the loss.
pub(in crate::apply) fn lose_map(
    context: &mut Context<'_>,
    map: AttemptId,
    holder: WorkerEpoch,
    restorable: bool,
) {
    let Some(active) = context.state.active_mut(map.job()) else {
        return;
    };
    mark_lost(active, map.task.index, restorable);
    context.events.push(Event::SegmentsLost { map });
    let lost = Lost {
        attempt: map,
        worker: holder,
        fate: None,
    };
    if !charge_loss(context, lost) {
        context.events.push(Event::TaskIdle { task: map.task });
    }
}

fn mark_lost(active: &mut Active, index: u32, restorable: bool) {
    let round = active.round_mut();
    round.suspicions.remove(&index);
    round.maps.lose(index, restorable);
}
