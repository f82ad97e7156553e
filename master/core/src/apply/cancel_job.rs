//! `CancelJob`: wins against every outcome up to the grant of the commit, and
//! against none after it (S11), unless nobody is left who could commit.

use vivat_shared::ids::JobId;

use super::Context;
use super::effects::end_job;
use crate::command::{Rejection, Reply};
use crate::state::{JobEnd, Stage};

pub(super) fn apply(context: &mut Context<'_>, job: JobId) -> Result<Reply, Rejection> {
    let known = context.state.job(job).ok_or(Rejection::UnknownJob(job))?;
    match &known.stage {
        Stage::Active(_) if context.state.is_past_recall(known) => Err(Rejection::TooLate(job)),
        Stage::Active(_) => {
            end_job(context, job, JobEnd::Cancelled);
            Ok(Reply::Done)
        }
        Stage::Ended(ended) if ended.end == JobEnd::Cancelled => Ok(Reply::Done),
        Stage::Ended(_) => Err(Rejection::JobEnded(job)),
    }
}
