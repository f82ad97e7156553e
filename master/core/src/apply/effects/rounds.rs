//! From round to round and from step to step. Each transition happens in the entry
//! that made it due, so no leader can die between a round and the next.
//!
//! A round that is closed is over for ever: it has a line of history, its number
//! never comes again, and what it handed on stays as long as some round may read
//! it. Its output is given up, unless its step ends with it: then it becomes a
//! dataset that the job owns, or the job's output.

use std::sync::Arc;

use vivat_shared::attempt::{ClosedBroadcast, Metrics};
use vivat_shared::cause::{FailureCause, JobFailure};
use vivat_shared::dataset::{REPLICAS_DEFAULT, ReplicatedBlock};
use vivat_shared::ids::{AttemptId, DatasetId, JobId, RoundId, TaskId, TaskKind, WorkerEpoch};
use vivat_shared::job::{OutputLocation, StepInput, StepSpec};
use vivat_shared::limits::CLOSE_BLOCKS_MAX;

use super::history::keep_rows;
use super::output::{own_output, owned, release_dataset};
use super::{end_job, finish_output, lose_map, revoke};
use crate::apply::Context;
use crate::command::Event;
use crate::state::job::writes_dataset;
use crate::state::{BlockTable, DatasetOutput, HandedOn, Job, JobEnd, Phase, Round, SumsBefore};

/// The last partition of the current round is there.
pub(in crate::apply) fn end_work(context: &mut Context<'_>, id: JobId) {
    let Some(job) = context.state.job(id) else {
        return;
    };
    if job.current_step().is_some_and(|step| step.closes) {
        begin_close(context, id);
        return;
    }
    end_round(context, id, &Metrics::new());
    end_step(context, id);
}

/// Maps that still run again are for nobody: all is reduced.
fn stop_work(context: &mut Context<'_>, id: JobId) {
    let Some(active) = context.state.active_mut(id) else {
        return;
    };
    active.round_mut().suspicions.clear();
    for (attempt, worker) in active.live() {
        revoke(context, attempt, worker);
    }
}

fn begin_close(context: &mut Context<'_>, id: JobId) {
    let Some(active) = context.state.active_mut(id) else {
        return;
    };
    active.phase = Phase::Close;
    let parts = active
        .output
        .iter()
        .flat_map(|output| output.parts.values());
    let blocks: usize = parts.map(Vec::len).sum();
    let has_place = active.close_output.is_some();
    stop_work(context, id);
    if blocks > CLOSE_BLOCKS_MAX {
        let detail = format!(
            "the round wrote {blocks} blocks, of {CLOSE_BLOCKS_MAX} that one close can read"
        );
        fail_job(context, id, FailureCause::PlanTooLarge { detail });
        return;
    }
    if !has_place {
        let dataset = context.state.directory.mint_output(id);
        if let Some(active) = context.state.active_mut(id) {
            active.close_output = Some(dataset);
        }
    }
    context.events.push(Event::JobChanged { job: id });
}

/// Ends a job of which no single attempt is to blame.
pub(in crate::apply) fn fail_job(context: &mut Context<'_>, id: JobId, cause: FailureCause) {
    let failure = JobFailure {
        cause,
        attempt: None,
        worker: None,
        input: None,
        failures: 0,
        output_tail: String::new(),
    };
    end_job(context, id, JobEnd::Failed(Box::new(failure)));
}

/// The current round is judged, and will not come again.
pub(in crate::apply) fn close_round(
    context: &mut Context<'_>,
    id: JobId,
    broadcast: &ClosedBroadcast,
    metrics: &Metrics,
    again: bool,
) {
    hand_on(context, id, broadcast);
    end_round(context, id, metrics);
    let Some(job) = context.state.job(id) else {
        return;
    };
    let (Some(step), Some(active)) = (job.current_step(), job.active()) else {
        return;
    };
    if again && active.round().id.round + 1 < step.rounds_max {
        repeat_round(context, id);
    } else {
        end_step(context, id);
    }
}

/// What the close said replaces what was handed on before.
fn hand_on(context: &mut Context<'_>, id: JobId, broadcast: &ClosedBroadcast) {
    let Some(active) = context.state.active_mut(id) else {
        return;
    };
    let place = active.close_output.take();
    let former = std::mem::take(&mut active.handed_on);
    if let Some(place) = place {
        context.state.directory.close_output(place);
    }
    let handed_on = match (broadcast, place) {
        (ClosedBroadcast::Inline(bytes), _) if bytes.is_empty() => HandedOn::Nothing,
        (ClosedBroadcast::Inline(bytes), _) => HandedOn::Inline(Arc::from(bytes.as_slice())),
        (ClosedBroadcast::Stored(blocks), Some(place)) => {
            keep_broadcast(context, id, place, blocks);
            HandedOn::Stored(place)
        }
        (ClosedBroadcast::Stored(_), None) => HandedOn::Nothing,
    };
    if let Some(active) = context.state.active_mut(id) {
        active.handed_on = handed_on;
    }
    match former {
        HandedOn::Stored(dataset) => let_go(context, id, dataset),
        HandedOn::Nothing | HandedOn::Inline(_) => {}
    }
}

/// A broadcast is a dataset like others, so it is copied to survivors and found by
/// whoever reads it.
fn keep_broadcast(
    context: &mut Context<'_>,
    id: JobId,
    dataset: DatasetId,
    blocks: &[ReplicatedBlock],
) {
    let mut table = BlockTable::default();
    for block in blocks {
        table.push(block);
    }
    let made = owned(context.state, id, dataset, table, REPLICAS_DEFAULT);
    context.state.directory.insert(made);
    context.events.push(Event::DatasetChanged { dataset });
}

/// The job reads a dataset of its own no more.
pub(in crate::apply) fn let_go(context: &mut Context<'_>, id: JobId, dataset: DatasetId) {
    context
        .state
        .directory
        .update(dataset, |known| known.readers.remove(&id));
    release_dataset(context, dataset);
}

fn end_round(context: &mut Context<'_>, id: JobId, metrics: &Metrics) {
    let age_ms = context.state.age_ms;
    let Some(job) = context.state.job_mut(id) else {
        return;
    };
    let Some(round) = job.active().map(|active| active.round()) else {
        return;
    };
    let (round, elapsed_ms) = (round.id, age_ms.saturating_sub(round.began_age_ms));
    job.history.push(round, elapsed_ms, metrics);
}

/// The same plan once more: nothing of it is planned anew.
fn repeat_round(context: &mut Context<'_>, id: JobId) {
    let age_ms = context.state.age_ms;
    give_up_output(context, id);
    keep_rows(context.state, id);
    let before = sums(context, id);
    let Some(active) = context.state.active_mut(id) else {
        return;
    };
    let next = active.round().next(age_ms);
    *active.round_mut() = next;
    active.before = before;
    active.phase = Phase::Work;
    active.local_age_ms = age_ms;
    open_output(context, id);
    context.events.push(Event::JobChanged { job: id });
}

fn sums(context: &Context<'_>, id: JobId) -> SumsBefore {
    let job = context.state.job(id);
    job.map(Job::sums).unwrap_or_default()
}

/// What the round wrote is wanted by nobody.
fn give_up_output(context: &mut Context<'_>, id: JobId) {
    let output = context
        .state
        .active_mut(id)
        .and_then(|active| active.output.take());
    if let Some(output) = output {
        context.state.directory.close_output(output.dataset);
    }
}

/// The new round's output gets an id, if it is a dataset.
pub(in crate::apply) fn open_output(context: &mut Context<'_>, id: JobId) {
    let Some(job) = context.state.job(id) else {
        return;
    };
    let step = job.active().map(|active| active.round().id.step);
    if !step.is_some_and(|step| writes_dataset(&job.spec, usize::from(step))) {
        return;
    }
    let dataset = context.state.directory.mint_output(id);
    if let Some(active) = context.state.active_mut(id) {
        active.output = Some(DatasetOutput::new(dataset));
    }
}

/// The step's last round is over: the next step begins, or the job's output becomes
/// visible.
fn end_step(context: &mut Context<'_>, id: JobId) {
    let Some(job) = context.state.job(id) else {
        return;
    };
    let Some(active) = job.active() else {
        return;
    };
    let next = usize::from(active.round().id.step) + 1;
    if let Some(step) = job.spec.steps.get(next).cloned() {
        begin_step(context, id, &step);
        return;
    }
    match &job.spec.output {
        OutputLocation::Dataset { .. } => finish_output(context, id),
        OutputLocation::Directory { .. } | OutputLocation::Objects { .. } => {
            begin_commit(context, id);
        }
    }
}

fn begin_step(context: &mut Context<'_>, id: JobId, step: &StepSpec) {
    let age_ms = context.state.age_ms;
    stop_work(context, id);
    let wrote = match step.input {
        StepInput::Previous => own_output(context, id),
        StepInput::Job => {
            give_up_output(context, id);
            None
        }
    };
    keep_rows(context.state, id);
    let sums = sums(context, id);
    let Some(active) = context.state.active_mut(id) else {
        return;
    };
    active.before = sums;
    let before = active.round().id;
    let next = RoundId {
        job: id,
        step: before.step + 1,
        round: 0,
    };
    *active.round_mut() = Round::new(next, step.reducers, age_ms, active.numbers_from);
    active.phase = Phase::Plan;
    let former = std::mem::replace(&mut active.previous, wrote);
    if let Some(former) = former {
        let_go(context, id, former);
    }
    open_output(context, id);
    context.events.push(Event::JobChanged { job: id });
}

/// What rounds wrote into a dataset is copied by the commit.
fn begin_commit(context: &mut Context<'_>, id: JobId) {
    stop_work(context, id);
    let written = own_output(context, id);
    let Some(active) = context.state.active_mut(id) else {
        return;
    };
    active.phase = Phase::Commit;
    active.written = written;
    context.events.push(Event::JobChanged { job: id });
}

/// A block of what a closing round wrote is lost: its reduce runs again, and with it
/// the maps whose segments went while nobody needed them.
pub(in crate::apply) fn resume_work(context: &mut Context<'_>, id: JobId) {
    let Some(active) = context.state.active_mut(id) else {
        return;
    };
    if active.phase != Phase::Close {
        return;
    }
    active.phase = Phase::Work;
    for (attempt, worker) in active.live() {
        revoke(context, attempt, worker);
    }
    for (map, holder) in stranded_maps(context, id) {
        lose_map(context, map, holder, true);
    }
    context.events.push(Event::JobChanged { job: id });
}

/// Completed maps of the current round whose segments nobody has any more.
fn stranded_maps(context: &Context<'_>, id: JobId) -> Vec<(AttemptId, WorkerEpoch)> {
    let Some(active) = context.state.job(id).and_then(Job::active) else {
        return Vec::new();
    };
    let round = active.round();
    let stranded = |index: u32| {
        let accepted = round.maps.accepted(index)?;
        let task = TaskId {
            round: round.id,
            kind: TaskKind::Map,
            index,
        };
        let number = accepted.number;
        let is_gone = context.state.check_worker(accepted.worker).is_err();
        is_gone.then_some((AttemptId { task, number }, accepted.worker))
    };
    (0..round.maps.len()).filter_map(stranded).collect()
}
