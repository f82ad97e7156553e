//! `RetryJob`: a job that failed or was cancelled goes on from the round that did
//! not end. It keeps its id, its history and its logs; what is done anew has attempts
//! under numbers that none of it had before, so whatever comes late from the first
//! time is nobody's (S4).

use std::sync::Arc;

use vivat_shared::ids::{DatasetId, JobId, RoundId};
use vivat_shared::limits::JOB_KEY_BYTES_MAX;

use super::Context;
use super::effects::{drop_notice, let_go, open_output, output_name};
use crate::command::{Event, Rejection, Reply};
use crate::limits::{JOBS_ACTIVE_MAX, RETRY_NUMBER_MAX};
use crate::state::{Active, HandedOn, Job, JobEnd, Resume, Stage, State, TaskTable};

pub(super) fn apply(context: &mut Context<'_>, key: &str, id: JobId) -> Result<Reply, Rejection> {
    let known = context.state.job(id).ok_or(Rejection::UnknownJob(id))?;
    if known.retry_key.as_deref() == Some(key) {
        let step = known.round_id().step;
        return Ok(Reply::Retried { step });
    }
    let resume = check(context.state, known, key)?;
    let start = start_of(context.state, &resume);
    let step = start.step;
    drop_notice(context, id);
    begin(context, id, key, resume, start);
    context.events.push(Event::JobRetried { job: id });
    context.events.push(Event::JobChanged { job: id });
    Ok(Reply::Retried { step })
}

fn check(state: &State, job: &Job, key: &str) -> Result<Resume, Rejection> {
    let refuse = |problem: &str| Rejection::NotRetryable {
        job: job.id,
        problem: problem.to_owned(),
    };
    if key.is_empty() || key.len() > JOB_KEY_BYTES_MAX {
        return Err(refuse("the retry's key has no or too many bytes"));
    }
    let ended = match &job.stage {
        Stage::Active(_) => return Err(refuse("it has not ended")),
        Stage::Ended(ended) => ended,
    };
    let resume = match (&ended.end, &ended.resume) {
        (JobEnd::Succeeded, _) => return Err(refuse("it succeeded")),
        (JobEnd::Failed(_) | JobEnd::Cancelled, None) => {
            return Err(refuse("nothing of it is left: submit it again"));
        }
        (JobEnd::Failed(_) | JobEnd::Cancelled, Some(resume)) => resume,
    };
    if job.numbers > RETRY_NUMBER_MAX {
        return Err(refuse(
            "the numbers of its attempts are used up: submit it again",
        ));
    }
    let is_there = |dataset: &&DatasetId| {
        let known = state.directory.get(**dataset);
        known.is_some_and(|known| known.sealed.is_some())
    };
    let mut given = resume.datasets.iter().chain(&resume.side_datasets);
    if let Some(gone) = given.find(|dataset| !is_there(dataset)) {
        let problem = format!("{gone}, which it reads, was removed: submit it again");
        return Err(refuse(&problem));
    }
    if let Some(name) = output_name(job)
        && !job.spec.overwrite
        && state.directory.named(&name).is_some()
    {
        return Err(Rejection::DatasetExists { name });
    }
    if state.active.len() >= JOBS_ACTIVE_MAX {
        return Err(Rejection::Limit {
            limit: format!("{JOBS_ACTIVE_MAX} jobs that have not ended"),
        });
    }
    state.directory.check_datasets()?;
    Ok(resume.as_ref().clone())
}

/// The round that did not end, if all that it reads of the job's own can be read;
/// else the job's beginning, which reads nothing of its own.
fn start_of(state: &State, resume: &Resume) -> RoundId {
    let readable = |dataset: DatasetId| {
        let rows = state
            .directory
            .get(dataset)
            .map(|known| known.blocks.rows());
        rows.is_some_and(|rows| {
            rows.iter()
                .all(|row| row.workers.iter().any(|it| state.is_registered(*it)))
        })
    };
    if !resume.let_go && resume.owned().into_iter().all(readable) {
        return resume.round;
    }
    RoundId {
        step: 0,
        round: 0,
        ..resume.round
    }
}

fn begin(context: &mut Context<'_>, id: JobId, key: &str, resume: Resume, start: RoundId) {
    let state = &mut *context.state;
    let age_ms = state.age_ms;
    let goes_on = start == resume.round && !resume.let_go;
    let owned = resume.owned();
    let Some(job) = state.job_mut(id) else {
        return;
    };
    let from = job.numbers;
    let commit = resume.commit.filter(|_| goes_on);
    let commits = commit.is_some();
    let mut active = match commit {
        Some(mut active) => {
            active.commit = TaskTable::new(1, from);
            active
        }
        None => {
            let mut active = Box::new(Active::new(start, &job.spec, age_ms, from));
            active.replaces = resume.replaces;
            if goes_on {
                active.handed_on = resume.handed_on;
                active.previous = resume.previous;
                active.before = resume.before;
            }
            active
        }
    };
    // Nobody will ever know what that commit did.
    active.unsettled = resume.unsettled;
    if !commits {
        job.history.forget_from(start);
        job.counters.clone_from(&active.before.counters);
        job.skipped_records = active.before.skipped_records;
    }
    job.stage = Stage::Active(active);
    job.datasets = resume.datasets;
    job.side_datasets = resume.side_datasets;
    job.retries = job.retries.saturating_add(1);
    job.retry_key = Some(Arc::from(key));
    job.begun_age_ms = age_ms;
    let reads = job.reads();
    let deadline_ms = job.deadline_age_ms();
    if let Some(deadline_ms) = deadline_ms {
        state.timeouts.insert((deadline_ms, id));
    }
    state.active.insert(id);
    state.ended.retain(|ended| *ended != id);
    for dataset in &reads {
        state
            .directory
            .update(*dataset, |known| known.readers.insert(id));
    }
    for dataset in owned {
        if !reads.contains(&dataset) {
            let_go(context, id, dataset);
        }
    }
    if !commits {
        open_output(context, id);
    }
}

/// Lets go of what the oldest ended jobs keep for a retry, beyond the bound.
pub(super) fn bound_kept(context: &mut Context<'_>) {
    let keeping = |id: &JobId| {
        let job = context.state.job(*id);
        let resume = job.and_then(Job::resume);
        resume.is_some_and(|resume| !resume.owned().is_empty())
    };
    let keeping: Vec<JobId> = context
        .state
        .ended
        .iter()
        .copied()
        .filter(keeping)
        .collect();
    let beyond = keeping.len().saturating_sub(crate::limits::RESUMABLE_MAX);
    for id in keeping.into_iter().take(beyond) {
        let owned = context
            .state
            .job(id)
            .and_then(Job::resume)
            .map(Resume::owned);
        if let Some(resume) = context.state.job_mut(id).and_then(Job::resume_mut) {
            resume.let_go = true;
            resume.commit = None;
            resume.handed_on = HandedOn::Nothing;
            resume.previous = None;
        }
        for dataset in owned.into_iter().flatten() {
            let_go(context, id, dataset);
        }
    }
}
