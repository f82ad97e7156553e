//! What a leader owes, computed from state alone.
use vivat_shared::ids::{AttemptId, JobId, WorkerEpoch};

use crate::state::State;

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Duties {
    /// Map attempts whose holders must be probed.
    pub suspects: Vec<(AttemptId, WorkerEpoch)>,
    /// Jobs whose time passed.
    pub timed_out: Vec<JobId>,
    /// Ended jobs beyond those that are kept.
    pub forget: Vec<JobId>,
}

/// Everything that is due.
#[must_use]
pub fn due(_state: &State, _now_ms: u64) -> Duties {
    Duties::default()
}

/// Whether the job ended, or was forgotten, which only ended jobs are.
#[must_use]
pub fn job_has_ended(_state: &State, _job: JobId) -> bool {
    false
}
