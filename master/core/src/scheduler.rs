//! Who runs what next.
use std::collections::BTreeMap;

use vivat_shared::ids::{Epoch, WorkerId};

use crate::command::Grant;
use crate::state::State;

/// What the leader sees of the workers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LivenessView {
    /// Workers whose lease holds.
    pub workers: BTreeMap<WorkerId, WorkerLiveness>,
}

/// One worker whose lease holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerLiveness {
    /// Its registration.
    pub epoch: Epoch,
    /// Attempts that its pending pull can still take; 0 without one.
    pub want: u32,
    /// Whether a pull is pending and its control slot is free.
    pub control_free: bool,
}

/// Chooses up to `limit` grants.
#[must_use]
pub fn schedule(
    _state: &State,
    _liveness: &LivenessView,
    _now_ms: u64,
    _limit: usize,
) -> Vec<Grant> {
    Vec::new()
}
