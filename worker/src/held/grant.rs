//! What one grant is, and what a pull says of the room for more.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vivat_engine::{CancelFlag, Progress};
use vivat_shared::attempt::Work;
use vivat_shared::ids::{AttemptId, ClusterId, DatasetId, WorkerEpoch};
use vivat_shared::job::JobSpec;

/// A granted attempt with all that is needed to run it. Never changes.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) attempt: AttemptId,
    pub(crate) work: Work,
    pub(crate) spec: Arc<JobSpec>,
    /// Of the job's side files in their order; none for one that is no dataset.
    pub(crate) side_datasets: Arc<[Option<DatasetId>]>,
    /// Under which registration it was granted.
    pub(crate) worker: WorkerEpoch,
    pub(crate) cluster: ClusterId,
    pub(crate) progress: Progress,
    /// For the thread that runs it.
    pub(crate) cancel: CancelFlag,
    /// For the tasks that gather its segments.
    pub(crate) stopped: CancellationToken,
}

impl Grant {
    /// Asks everything that works on it to stop.
    pub(crate) fn stop(&self) {
        self.cancel.cancel();
        self.stopped.cancel();
    }
}

/// Which of the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// For plan and commit, so that no job's end waits behind a task.
    Control,
    /// For maps and reduces.
    Task,
}

impl SlotKind {
    pub(super) fn of(attempt: AttemptId) -> Self {
        if attempt.task.kind.is_control() {
            Self::Control
        } else {
            Self::Task
        }
    }
}

/// What the next pull asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) want: u32,
    pub(crate) control_free: bool,
}

impl Room {
    /// Whether a pull that asked for `self` should be given up for one that
    /// asks for `now`: it would miss work that there is room for. Each costs a
    /// call, so it asks for a good deal more.
    pub(crate) fn is_outgrown_by(self, now: Self, slots: u32) -> bool {
        (now.control_free && !self.control_free)
            || (now.want > 0 && self.want == 0)
            || now.want >= self.want.saturating_add(slots.max(8).max(self.want))
    }
}
