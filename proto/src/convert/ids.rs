//! Ids.

use vivat_shared::ids::{
    AttemptId, Epoch, JobId, RoundId, TaskId, TaskKind, WorkerEpoch, WorkerId,
};

use crate::error::{WireError, narrow};
use crate::v1;

impl From<TaskKind> for v1::TaskKind {
    fn from(kind: TaskKind) -> Self {
        match kind {
            TaskKind::Plan => Self::Plan,
            TaskKind::Map => Self::Map,
            TaskKind::Reduce => Self::Reduce,
            TaskKind::Close => Self::Close,
            TaskKind::Commit => Self::Commit,
            TaskKind::Notify => Self::Notify,
        }
    }
}

fn task_kind(value: i32) -> Result<TaskKind, WireError> {
    let unknown = WireError::UnknownValue {
        field: "kind",
        value,
    };
    match v1::TaskKind::try_from(value) {
        Ok(v1::TaskKind::Plan) => Ok(TaskKind::Plan),
        Ok(v1::TaskKind::Map) => Ok(TaskKind::Map),
        Ok(v1::TaskKind::Reduce) => Ok(TaskKind::Reduce),
        Ok(v1::TaskKind::Close) => Ok(TaskKind::Close),
        Ok(v1::TaskKind::Commit) => Ok(TaskKind::Commit),
        Ok(v1::TaskKind::Notify) => Ok(TaskKind::Notify),
        Ok(v1::TaskKind::Unspecified) | Err(_) => Err(unknown),
    }
}

impl From<AttemptId> for v1::AttemptId {
    fn from(id: AttemptId) -> Self {
        Self {
            job: id.task.round.job.0,
            step: u32::from(id.task.round.step),
            round: id.task.round.round,
            kind: v1::TaskKind::from(id.task.kind).into(),
            index: id.task.index,
            number: u32::from(id.number),
        }
    }
}

impl TryFrom<v1::AttemptId> for AttemptId {
    type Error = WireError;

    fn try_from(id: v1::AttemptId) -> Result<Self, WireError> {
        let round = RoundId {
            job: JobId(id.job),
            step: narrow(id.step, "step")?,
            round: id.round,
        };
        let task = TaskId {
            round,
            kind: task_kind(id.kind)?,
            index: id.index,
        };
        Ok(Self {
            task,
            number: narrow(id.number, "number")?,
        })
    }
}

impl From<WorkerEpoch> for v1::WorkerEpoch {
    fn from(worker: WorkerEpoch) -> Self {
        Self {
            worker: worker.worker.0,
            epoch: worker.epoch.0,
        }
    }
}

impl From<v1::WorkerEpoch> for WorkerEpoch {
    fn from(worker: v1::WorkerEpoch) -> Self {
        Self {
            worker: WorkerId(worker.worker),
            epoch: Epoch(worker.epoch),
        }
    }
}
