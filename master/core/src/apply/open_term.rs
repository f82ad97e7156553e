//! `OpenTerm`: the barrier. From here on what an earlier leader decided about
//! workers and attempts is refused (mistake 7).

use vivat_shared::ids::ClusterId;

use super::Context;
use crate::command::{Event, LeaderRecord, Rejection, Reply};

pub(super) fn apply(
    context: &mut Context<'_>,
    term: u64,
    cluster: ClusterId,
    leader: &LeaderRecord,
) -> Result<Reply, Rejection> {
    let state = &mut *context.state;
    if let Some(current) = state.cluster.filter(|current| *current != cluster) {
        return Err(Rejection::OtherCluster { current });
    }
    if term < state.term {
        return Err(Rejection::StaleTerm {
            proposed: term,
            current: state.term,
        });
    }
    state.cluster = Some(cluster);
    state.term = term;
    state.leader = Some(leader.clone());
    context.events.push(Event::TermOpened { term });
    Ok(Reply::Done)
}
