//! `TimeOutJob`: believed only if the cluster's age agrees, and not while the
//! commit can go on.

use vivat_shared::cause::{FailureCause, JobFailure};
use vivat_shared::ids::JobId;

use super::Context;
use super::effects::end_job;
use crate::command::{Rejection, Reply};
use crate::state::JobEnd;

pub(super) fn apply(context: &mut Context<'_>, job: JobId) -> Result<Reply, Rejection> {
    let age_ms = context.state.age_ms;
    let known = context.state.job(job).ok_or(Rejection::UnknownJob(job))?;
    known.active().ok_or(Rejection::JobEnded(job))?;
    if context.state.is_past_recall(known) {
        return Err(Rejection::TooLate(job));
    }
    let Some(limit_ms) = known.spec.timeout_ms else {
        return Err(Rejection::JobNotEnded(job));
    };
    let deadline_ms = known.deadline_age_ms();
    if deadline_ms.is_none_or(|deadline_ms| age_ms < deadline_ms) {
        return Err(Rejection::JobNotEnded(job));
    }
    let failure = JobFailure {
        cause: FailureCause::JobTimeout { limit_ms },
        attempt: None,
        worker: None,
        input: None,
        failures: 0,
        output_tail: String::new(),
    };
    end_job(context, job, JobEnd::Failed(Box::new(failure)));
    Ok(Reply::Done)
}
