//! Maps go where their blocks are.
//!
//! A job's idle maps are looked through in order for one whose first block a
//! worker with room has. Those that no such worker has wait for one that has
//! them, as long as it is not too long since the job's last map that was placed
//! well: a job that goes on well is worth waiting for, and one that does not goes
//! elsewhere. A map whose holders are all gone, leaving, or known to fail it does
//! not wait.
//!
//! Only [`LOOK_AHEAD`] maps are passed over in one run. With blocks spread evenly
//! a worker finds one of its own among so many unless there are hundreds of
//! workers, so no index of a million tasks by worker is kept, which every copy
//! and every loss would have to change.

use std::collections::VecDeque;

use vivat_shared::attempt::InputOrigin;
use vivat_shared::ids::WorkerId;
use vivat_shared::job::Policy;

use crate::limits::LOCALITY_WAIT_MS;
use crate::state::{Active, Job, State};

/// Maps that are passed over in one run, waiting for a holder.
const LOOK_AHEAD: usize = 256;

/// What one run passed over in one job.
#[derive(Default)]
pub(super) struct PassedOver {
    /// Maps in order.
    maps: VecDeque<u32>,
}

impl PassedOver {
    /// Whether no more may be passed over.
    pub(super) fn is_full(&self) -> bool {
        self.maps.len() >= LOOK_AHEAD
    }

    pub(super) fn push(&mut self, map: u32) {
        self.maps.push_back(map);
    }

    /// The first that waits.
    pub(super) fn first(&self) -> Option<u32> {
        self.maps.front().copied()
    }

    /// The first has been placed.
    pub(super) fn pop(&mut self) {
        self.maps.pop_front();
    }
}

/// Whether a job's maps wait no longer for the workers that have their blocks.
pub(super) fn has_waited(active: &Active, age_ms: u64) -> bool {
    age_ms.saturating_sub(active.local_age_ms) >= LOCALITY_WAIT_MS
}

/// Who has the first block of a map's split: nobody unless it is in a dataset, and
/// the job goes by locality.
pub(crate) fn holders<'a>(state: &'a State, job: &Job, map: u32) -> &'a [WorkerId] {
    if job.spec.policy != Policy::Locality {
        return &[];
    }
    first_block(state, job, map).unwrap_or(&[])
}

fn first_block<'a>(state: &'a State, job: &Job, map: u32) -> Option<&'a [WorkerId]> {
    let plan = job.active()?.round().plan.as_ref()?;
    let split = plan.splits.get(map as usize)?;
    let file = plan.files.get(split.file as usize)?;
    let (dataset, start) = match file.origin {
        InputOrigin::Dataset { dataset, start } => (dataset, start),
        InputOrigin::FileSystem { .. } | InputOrigin::Remote { .. } => return None,
    };
    let blocks = &state.directory().get(dataset)?.blocks;
    let first = start.checked_add(split.offset)?;
    let position = blocks.spanning(first, first.saturating_add(1)).next()?;
    let row = blocks.rows().get(position as usize)?;
    Some(&row.workers)
}
