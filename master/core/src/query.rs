//! What the leader asks of the state.
use vivat_shared::attempt::{Assignment, SegmentLocation};
use vivat_shared::ids::{AttemptId, JobId, RoundId, WorkerEpoch};
use vivat_shared::job::JobSpec;

use crate::state::State;

/// How a worker's attempts differ from those granted to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciliation {
    /// Granted to it and not held: deliver again.
    pub missing: Vec<AttemptId>,
    /// Held and not granted: order killed.
    pub unknown: Vec<AttemptId>,
}

/// What the worker of a granted attempt is given.
#[must_use]
pub fn assignment(_state: &State, _attempt: AttemptId) -> Option<Assignment> {
    None
}

/// A job's specification.
#[must_use]
pub fn job_spec(_state: &State, _job: JobId) -> Option<&JobSpec> {
    None
}

/// Compares what a worker holds with what is granted to it.
#[must_use]
pub fn reconcile(_state: &State, _worker: WorkerEpoch, _held: &[AttemptId]) -> Reconciliation {
    Reconciliation::default()
}

/// Where the segments of a partition are: all completed maps of the round.
#[must_use]
pub fn locations(_state: &State, _round: RoundId, _partition: u32) -> Vec<SegmentLocation> {
    Vec::new()
}

/// Where one map attempt's segment is, if that attempt is the accepted one.
#[must_use]
pub fn location(_state: &State, _map: AttemptId, _partition: u32) -> Option<SegmentLocation> {
    None
}
