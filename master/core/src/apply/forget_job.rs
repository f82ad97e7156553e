//! `ForgetJob`: retention, by count and proposed by the leader, so that the
//! state stays bounded (mistake 20). The key goes with the job.

use vivat_shared::ids::JobId;

use super::Context;
use super::effects::forget_kept;
use crate::command::{Rejection, Reply};
use crate::state::Notice;

pub(super) fn apply(context: &mut Context<'_>, job: JobId) -> Result<Reply, Rejection> {
    let known = context.state.job(job).ok_or(Rejection::UnknownJob(job))?;
    if known.active().is_some() || known.notice.as_ref().is_some_and(Notice::is_owed) {
        return Err(Rejection::JobNotEnded(job));
    }
    forget_kept(context, job);
    let state = &mut *context.state;
    if let Some(forgotten) = state.jobs.remove(&job) {
        state.keys.remove(&forgotten.key);
        state.spec_bytes -= u64::from(forgotten.spec_bytes);
    }
    state.timeline.forget(job);
    // The oldest is forgotten first, so this looks at the front.
    if let Some(position) = state.ended.iter().position(|ended| *ended == job) {
        state.ended.remove(position);
    }
    Ok(Reply::Done)
}
