//! The outcome of a try to tell of a job's end, and the end of all tries.

use vivat_shared::attempt::Outcome;
use vivat_shared::ids::{AttemptId, JobId, WorkerEpoch};

use super::Context;
use super::effects::{Told, end_try};
use crate::command::{Event, Rejection, Reply};
use crate::state::NoticeStage;

pub(super) fn finish_notice(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    outcome: &Outcome,
) -> Reply {
    let told = match outcome {
        Outcome::Notified => Told::Delivered,
        Outcome::Failed(failure) => Told::Missed(failure.cause.to_string()),
        Outcome::Killed => Told::Missed("stopped".to_owned()),
        Outcome::HandedBack => Told::HandedBack,
        Outcome::Planned { .. }
        | Outcome::Mapped { .. }
        | Outcome::Reduced { .. }
        | Outcome::Closed { .. }
        | Outcome::Committed => {
            Told::Missed("the outcome is one of another kind of task".to_owned())
        }
    };
    let accepted = matches!(told, Told::Delivered);
    context.events.push(Event::AttemptFinished {
        attempt,
        worker,
        accepted,
    });
    end_try(context, attempt, worker, told);
    Reply::Done
}

/// `GiveUpNotice`: believed only if the cluster's age agrees, and not while
/// somebody is being told.
pub(super) fn give_up(context: &mut Context<'_>, job: JobId) -> Result<Reply, Rejection> {
    let age_ms = context.state.age_ms;
    let known = context.state.job(job).ok_or(Rejection::UnknownJob(job))?;
    let over = known.notice.as_ref().is_some_and(|notice| {
        notice.is_owed() && notice.running.is_none() && notice.until_age_ms <= age_ms
    });
    if !over {
        return Err(Rejection::NotDue(job));
    }
    if let Some(notice) = context
        .state
        .job_mut(job)
        .and_then(|job| job.notice.as_mut())
    {
        notice.stage = NoticeStage::GivenUp;
        if notice.problem.is_empty() {
            "no worker took it in time".clone_into(&mut notice.problem);
        }
    }
    context.events.push(Event::JobChanged { job });
    Ok(Reply::Done)
}
