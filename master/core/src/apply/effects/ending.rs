//! The end of a job.

use std::collections::BTreeSet;

use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{AttemptId, DatasetId, JobId, TaskId, TaskKind};
use vivat_shared::timeline::AttemptEnd;
use vivat_shared::view::TaskCounts;

use super::history::{keep_rows, note_mishap};
use super::notices::owe;
use super::release_dataset;
use crate::apply::Context;
use crate::apply::retry_job::bound_kept;
use crate::command::Event;
use crate::state::{Active, Ended, Job, JobEnd, Resume, Stage, State};

/// Ends an active job: revokes what it runs and drops its tables. The end is
/// final, so a job that has ended already stays as it is (S3).
pub(in crate::apply) fn end_job(context: &mut Context<'_>, id: JobId, end: JobEnd) {
    let now_ms = context.state.now_ms;
    stop_all(context.state, id);
    keep_rows(context.state, id);
    let Some(job) = context.state.job_mut(id) else {
        return;
    };
    let Stage::Active(active) = &job.stage else {
        return;
    };
    assert!(
        end != JobEnd::Succeeded || is_whole(active),
        "S2: {id} succeeds without every partition"
    );
    let live = active.live();
    let unsettled = unsettled_commit(active, &end);
    let resume = match &end {
        JobEnd::Succeeded => None,
        JobEnd::Failed(_) | JobEnd::Cancelled => {
            let given = (job.datasets.as_slice(), job.side_datasets.as_slice());
            Some(Box::new(Resume::of(active, given, unsettled)))
        }
    };
    let read = job.reads();
    let outputs: Vec<DatasetId> = active.outputs().collect();
    let round = active.round();
    let ended = Ended {
        at_ms: now_ms.max(job.started_at_ms.unwrap_or(job.submitted_at_ms)),
        round: round.id,
        maps: stopped(round.maps.counts()),
        reduces: stopped(round.reduces.counts()),
        unsettled_commit: unsettled,
        resume,
        end,
    };
    job.counts.killed += live.len() as u64;
    job.stage = Stage::Ended(Box::new(ended));
    job.datasets.clear();
    job.side_datasets.clear();
    let kept = job.reads();
    if let Some(deadline_ms) = job.deadline_age_ms() {
        context.state.timeouts.remove(&(deadline_ms, id));
    }
    context.state.active.remove(&id);
    context.state.ended.push_back(id);
    let unread = read.difference(&kept).copied().collect();
    close_datasets(context, id, unread, outputs);
    owe(context.state, id);
    bound_kept(context);
    for (attempt, worker) in live {
        context.state.unlink(attempt, worker);
        let revoked = Event::AttemptRevoked { attempt, worker };
        context.events.push(revoked);
    }
    context.events.push(Event::JobChanged { job: id });
    context.events.push(Event::JobEnded { job: id });
}

/// For the timeline: what runs when a job ends is stopped.
fn stop_all(state: &mut State, id: JobId) {
    let live = state.job(id).and_then(Job::active).map(Active::live);
    for (attempt, worker) in live.into_iter().flatten() {
        note_mishap(state, attempt, worker, AttemptEnd::Killed);
    }
}

/// The job reads nothing any more, and its output is there or never will be.
fn close_datasets(
    context: &mut Context<'_>,
    id: JobId,
    read: BTreeSet<DatasetId>,
    outputs: Vec<DatasetId>,
) {
    for output in outputs {
        context.state.directory.close_output(output);
    }
    for dataset in read {
        context
            .state
            .directory
            .update(dataset, |known| known.readers.remove(&id));
        release_dataset(context, dataset);
    }
}

/// The last commit attempt, if the job ends otherwise than by a report of it: who
/// reports a failure has looked at the output, and it was not the job's.
fn unsettled_commit(active: &Active, end: &JobEnd) -> Option<AttemptId> {
    let reported = match end {
        JobEnd::Succeeded => true,
        JobEnd::Cancelled => false,
        JobEnd::Failed(failure) => !matches!(
            failure.cause,
            FailureCause::JobTimeout { .. }
                | FailureCause::LostTooOften { .. }
                | FailureCause::WorkerCrashed
        ),
    };
    if !active.is_committing() || reported {
        return active.unsettled.filter(|_| *end != JobEnd::Succeeded);
    }
    Some(AttemptId {
        task: TaskId {
            round: active.round().id,
            kind: TaskKind::Commit,
            index: 0,
        },
        number: active.commit.granted(0),
    })
}

/// What was running when the job ended is not done.
fn stopped(counts: TaskCounts) -> TaskCounts {
    TaskCounts {
        idle: counts.idle + counts.running,
        running: 0,
        ..counts
    }
}

/// One accepted attempt for every partition, and the commit on top (S2).
fn is_whole(active: &Active) -> bool {
    let round = active.round();
    round.plan.is_some()
        && round.reduces.len() == round.reducers
        && round.reduces.all_completed()
        && (active.output.is_some() || active.commit.all_completed())
}
