//! `ExpireWorker`: the one door for every way of noticing that a worker is gone
//! (mistake 21), closed to deposed leaders and old epochs (mistake 7).

use vivat_shared::ids::WorkerEpoch;

use super::Context;
use super::effects::expire;
use crate::command::{Rejection, Reply};

pub(super) fn apply(
    context: &mut Context<'_>,
    worker: WorkerEpoch,
    term: u64,
    reason: &str,
) -> Result<Reply, Rejection> {
    // Without it a deposed leader's timer expires a worker: mistake 7.
    if !cfg!(vivat_seeded_bug = "stale-expiry") {
        context.state.check_term(term)?;
    }
    context.state.check_worker(worker)?;
    expire(context, worker, reason, &[]);
    Ok(Reply::Done)
}
