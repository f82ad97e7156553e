//! What a worker still has that somebody needs: when nothing is left, it may go.

use vivat_shared::ids::{WorkerEpoch, WorkerId};

use crate::query::lasting_holders;
use crate::state::{Job, State};

/// What is left on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Attempts granted to it.
    pub attempts: u32,
    /// Blocks that no other worker has that will stay.
    pub blocks: u64,
    /// Map tasks whose segments unfinished reduces need from it.
    pub segments: u64,
}

impl Left {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Looks it up. Costs as much as there are blocks in datasets of which the worker
/// has some, and map tasks.
#[must_use]
pub fn left(state: &State, worker: WorkerEpoch) -> Left {
    let attempts = state.worker(worker.worker).map_or(0, |known| known.held());
    Left {
        attempts,
        blocks: blocks(state, worker.worker),
        segments: segments(state, worker),
    }
}

fn blocks(state: &State, worker: WorkerId) -> u64 {
    let only = |workers: &[WorkerId]| {
        let others: Vec<WorkerId> = workers
            .iter()
            .copied()
            .filter(|holder| *holder != worker)
            .collect();
        others.len() < workers.len() && lasting_holders(state, &others) == 0
    };
    let in_datasets = state
        .directory()
        .iter()
        .filter(|dataset| dataset.blocks.is_held_by(worker))
        .flat_map(|dataset| dataset.blocks.rows())
        .filter(|row| only(&row.workers))
        .count();
    let in_outputs = state
        .jobs()
        .filter_map(Job::active)
        .filter_map(|active| active.output.as_ref())
        .flat_map(|output| output.parts.values().flatten())
        .filter(|block| only(&block.workers))
        .count();
    (in_datasets + in_outputs) as u64
}

fn segments(state: &State, worker: WorkerEpoch) -> u64 {
    state
        .jobs()
        .filter_map(Job::active)
        .map(crate::state::Active::round)
        .filter(|round| round.needs_segments())
        .map(|round| {
            let held = round.maps.held_by(worker).into_iter();
            held.filter(|&map| round.has_segments(map)).count() as u64
        })
        .sum()
}
