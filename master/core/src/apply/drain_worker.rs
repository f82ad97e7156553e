//! `DrainWorker`: a draining worker finishes what it has and gets nothing new.

use vivat_shared::ids::WorkerId;

use super::Context;
use crate::command::{Rejection, Reply};
use crate::state::Presence;

pub(super) fn apply(
    context: &mut Context<'_>,
    worker: WorkerId,
    wanted: bool,
) -> Result<Reply, Rejection> {
    let known = context
        .state
        .worker_mut(worker)
        .ok_or(Rejection::UnknownWorker(worker))?;
    let named = known.current();
    match &mut known.presence {
        Presence::Registered { draining } => {
            *draining = wanted;
            Ok(Reply::Done)
        }
        Presence::Lost { .. } => Err(Rejection::StaleEpoch {
            worker: named,
            current: None,
        }),
    }
}
