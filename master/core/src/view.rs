//! What people see.
use vivat_shared::ids::JobId;
use vivat_shared::view::{JobView, WaitReason, WorkerView};

use crate::scheduler::LivenessView;
use crate::state::State;

/// One job.
#[must_use]
pub fn job(_state: &State, _job: JobId, _liveness: &LivenessView) -> Option<JobView> {
    None
}
/// All jobs, in order of submission.
#[must_use]
pub fn jobs(_state: &State, _liveness: &LivenessView) -> Vec<JobView> {
    Vec::new()
}
/// All workers.
#[must_use]
pub fn workers(_state: &State) -> Vec<WorkerView> {
    Vec::new()
}
/// Why the next attempt of the job is not running.
#[must_use]
pub fn wait_reason(_state: &State, _job: JobId, _liveness: &LivenessView) -> Option<WaitReason> {
    None
}
/// Each constraint, in a sentence.
#[must_use]
pub fn explain(_state: &State, _job: JobId, _liveness: &LivenessView) -> Vec<String> {
    Vec::new()
}
