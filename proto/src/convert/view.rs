//! What reads answer.

use vivat_shared::ids::{Epoch, JobId, WorkerId};
use vivat_shared::view::{
    AttemptCounts, JobState, JobView, RoundView, TaskCounts, WorkerState, WorkerView,
};

use super::outcome::{metrics_from_wire, metrics_to_wire};
use crate::error::{WireError, collect, narrow, required};
use crate::v1;

impl From<JobState> for v1::JobState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Queued => Self::Queued,
            JobState::Running => Self::Running,
            JobState::Succeeded => Self::Succeeded,
            JobState::Failed => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

pub(super) fn job_state(value: i32) -> Result<JobState, WireError> {
    match v1::JobState::try_from(value) {
        Ok(v1::JobState::Queued) => Ok(JobState::Queued),
        Ok(v1::JobState::Running) => Ok(JobState::Running),
        Ok(v1::JobState::Succeeded) => Ok(JobState::Succeeded),
        Ok(v1::JobState::Failed) => Ok(JobState::Failed),
        Ok(v1::JobState::Cancelled) => Ok(JobState::Cancelled),
        Ok(v1::JobState::Unspecified) | Err(_) => Err(WireError::UnknownValue {
            field: "state",
            value,
        }),
    }
}

impl From<TaskCounts> for v1::TaskCounts {
    fn from(counts: TaskCounts) -> Self {
        Self {
            total: counts.total,
            idle: counts.idle,
            running: counts.running,
            completed: counts.completed,
        }
    }
}

impl From<v1::TaskCounts> for TaskCounts {
    fn from(counts: v1::TaskCounts) -> Self {
        Self {
            total: counts.total,
            idle: counts.idle,
            running: counts.running,
            completed: counts.completed,
        }
    }
}

impl From<AttemptCounts> for v1::AttemptCounts {
    fn from(counts: AttemptCounts) -> Self {
        Self {
            started: counts.started,
            succeeded: counts.succeeded,
            failed: counts.failed,
            lost: counts.lost,
            killed: counts.killed,
            reruns_of_completed: counts.reruns_of_completed,
        }
    }
}

impl From<v1::AttemptCounts> for AttemptCounts {
    fn from(counts: v1::AttemptCounts) -> Self {
        Self {
            started: counts.started,
            succeeded: counts.succeeded,
            failed: counts.failed,
            lost: counts.lost,
            killed: counts.killed,
            reruns_of_completed: counts.reruns_of_completed,
        }
    }
}

impl From<RoundView> for v1::RoundSummary {
    fn from(round: RoundView) -> Self {
        Self {
            step: u32::from(round.step),
            round: round.round,
            elapsed_ms: round.elapsed_ms,
            metrics: metrics_to_wire(round.metrics),
        }
    }
}

impl TryFrom<v1::RoundSummary> for RoundView {
    type Error = WireError;

    fn try_from(round: v1::RoundSummary) -> Result<Self, WireError> {
        Ok(Self {
            step: narrow(round.step, "step")?,
            round: round.round,
            elapsed_ms: round.elapsed_ms,
            metrics: metrics_from_wire(round.metrics),
        })
    }
}

impl From<JobView> for v1::Job {
    fn from(view: JobView) -> Self {
        Self {
            job: view.job_id.0,
            name: view.name,
            programs: view.programs,
            state: v1::JobState::from(view.state).into(),
            reason: view.reason,
            failure: view.failure.map(Into::into),
            submitted_at_ms: view.submitted_at_ms,
            started_at_ms: view.started_at_ms,
            finished_at_ms: view.finished_at_ms,
            step: u32::from(view.step),
            round: view.round,
            phase: view.phase,
            map: Some(view.map.into()),
            reduce: Some(view.reduce.into()),
            attempts: Some(view.attempts.into()),
            counters: view.counters.into_iter().collect(),
            input_bytes: view.input_bytes,
            output: view.output,
            output_path: view.output_path,
            priority: u32::from(view.priority),
            rounds: view.rounds.into_iter().map(Into::into).collect(),
            skipped: view.skipped.into_iter().map(Into::into).collect(),
            retries: view.retries,
            notify: view.notify.map(Into::into),
        }
    }
}

impl TryFrom<v1::Job> for JobView {
    type Error = WireError;

    fn try_from(job: v1::Job) -> Result<Self, WireError> {
        Ok(Self {
            job_id: JobId(job.job),
            name: job.name,
            programs: job.programs,
            state: job_state(job.state)?,
            reason: job.reason,
            failure: job.failure.map(TryInto::try_into).transpose()?,
            submitted_at_ms: job.submitted_at_ms,
            started_at_ms: job.started_at_ms,
            finished_at_ms: job.finished_at_ms,
            step: narrow(job.step, "step")?,
            round: job.round,
            phase: job.phase,
            map: required(job.map, "map")?.into(),
            reduce: required(job.reduce, "reduce")?.into(),
            attempts: required(job.attempts, "attempts")?.into(),
            counters: job.counters.into_iter().collect(),
            input_bytes: job.input_bytes,
            output: job.output,
            output_path: job.output_path,
            priority: narrow(job.priority, "priority")?,
            rounds: collect(job.rounds)?,
            skipped: job.skipped.into_iter().map(Into::into).collect(),
            retries: job.retries,
            notify: job.notify.map(TryInto::try_into).transpose()?,
        })
    }
}

/// A worker's wire form; `host` is its identity, which the view leaves out, as
/// it leaves out the drain and the disk.
#[must_use]
pub fn worker_to_wire(view: WorkerView, host: String) -> v1::Worker {
    v1::Worker {
        worker: view.worker_id.0,
        epoch: view.epoch.0,
        state: view.state.word().to_owned(),
        address: view.address,
        pid: view.pid,
        slots: view.slots,
        busy: view.busy,
        last_heartbeat_ms: view.last_heartbeat_ms,
        score: view.score,
        labels: view.labels.into_iter().collect(),
        reason: view.reason,
        host,
        ..v1::Worker::default()
    }
}

impl TryFrom<v1::Worker> for WorkerView {
    type Error = WireError;

    fn try_from(worker: v1::Worker) -> Result<Self, WireError> {
        let state = [WorkerState::Live, WorkerState::Draining, WorkerState::Lost]
            .into_iter()
            .find(|state| state.word() == worker.state)
            .ok_or(WireError::UnknownValue {
                field: "state",
                value: 0,
            })?;
        Ok(Self {
            worker_id: WorkerId(worker.worker),
            epoch: Epoch(worker.epoch),
            state,
            address: worker.address,
            pid: worker.pid,
            slots: worker.slots,
            busy: worker.busy,
            last_heartbeat_ms: worker.last_heartbeat_ms,
            score: worker.score,
            labels: worker.labels.into_iter().collect(),
            reason: worker.reason,
        })
    }
}
