//! What people and scripts see of jobs and workers: the domain form of the
//! answers to reads. Field names are those of the JSON contract.

use serde::{Deserialize, Serialize};

use crate::attempt::{Counters, Metrics, SkippedRecord};
use crate::cause::JobFailure;
use crate::ids::{Epoch, JobId, WorkerId};
use crate::notify::NotifyState;

/// A job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// No attempt was granted yet.
    Queued,
    /// At work.
    Running,
    /// The output is visible. Final.
    Succeeded,
    /// Final; the failure says why.
    Failed,
    /// Final.
    Cancelled,
}

impl JobState {
    /// Whether it will never change again (S3).
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Tasks of one kind in the current round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskCounts {
    /// All.
    pub total: u32,
    /// Waiting for a worker.
    pub idle: u32,
    /// Granted to a worker.
    pub running: u32,
    /// Done.
    pub completed: u32,
}

/// Attempts of the whole job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttemptCounts {
    /// Granted, and not handed back before they began.
    pub started: u64,
    /// Accepted.
    pub succeeded: u64,
    /// Returned an error.
    pub failed: u64,
    /// Vanished with their workers.
    pub lost: u64,
    /// Stopped by us.
    pub killed: u64,
    /// Granted for a task that had been completed before.
    pub reruns_of_completed: u64,
}

/// Why the next attempt of a job is not running. The list is closed: a job
/// never waits silently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitReason {
    /// No worker is registered and alive.
    NoWorkers,
    /// Workers are alive, but none sees the paths of the job (constraint: host).
    NoWorkerSeesPaths,
    /// All workers that could run it are draining.
    AllDraining,
    /// Every slot is busy; so many attempts of other jobs go first.
    SlotsBusy,
    /// Every worker that could run the task failed it or died with it.
    WorkersExcluded,
}

impl WaitReason {
    /// Upper-case word for `reason` fields.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoWorkers => "WAITING_FOR_WORKERS",
            Self::NoWorkerSeesPaths => "WAITING_FOR_WORKERS_ON_HOST",
            Self::AllDraining => "WAITING_FOR_WORKERS_ALL_DRAINING",
            Self::SlotsBusy => "WAITING_FOR_SLOTS",
            Self::WorkersExcluded => "WAITING_FOR_OTHER_WORKERS",
        }
    }
}

/// A round that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundView {
    /// Its step, from 0.
    pub step: u16,
    /// Its number in the step, from 0.
    pub round: u32,
    /// Milliseconds from its beginning to its end, by the cluster's age.
    pub elapsed_ms: u64,
    /// What its close told.
    pub metrics: Metrics,
}

/// A job as `job show` has it. Times are milliseconds since 1970, by the
/// leaders' clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// The job.
    pub job_id: JobId,
    /// Its name.
    pub name: String,
    /// Program of each step.
    pub programs: Vec<String>,
    /// State.
    pub state: JobState,
    /// Why it waits, or one line on why it failed; empty otherwise.
    pub reason: String,
    /// The failure, typed.
    pub failure: Option<JobFailure>,
    /// When it was accepted.
    pub submitted_at_ms: u64,
    /// When its first attempt was granted.
    pub started_at_ms: Option<u64>,
    /// When it ended.
    pub finished_at_ms: Option<u64>,
    /// Current step, from 0.
    pub step: u16,
    /// Current round of the step, from 0.
    pub round: u32,
    /// What is going on: `plan`, `map`, `reduce`, `close`, `commit`, or empty when
    /// it ended.
    pub phase: String,
    /// Map tasks of the round.
    pub map: TaskCounts,
    /// Reduce tasks of the round.
    pub reduce: TaskCounts,
    /// Attempts of all rounds.
    pub attempts: AttemptCounts,
    /// Sums over accepted attempts.
    pub counters: Counters,
    /// Bytes of input by the plan; 0 before it.
    pub input_bytes: u64,
    /// Where the output is or will be, as the user wrote it.
    pub output: String,
    /// The same, absolute.
    pub output_path: String,
    /// Priority.
    pub priority: u8,
    /// The rounds that are over, in order; of very many the last
    /// [`crate::limits::ROUNDS_SHOWN_MAX`].
    pub rounds: Vec<RoundView>,
    /// The first records that were skipped, at most
    /// [`crate::limits::SKIPPED_RECORDS_MAX`].
    pub skipped: Vec<SkippedRecord>,
    /// How often it was retried.
    pub retries: u32,
    /// How far the telling of its end is; none while nobody is to be told.
    pub notify: Option<NotifyState>,
}

/// A worker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Registered and believed.
    Live,
    /// Registered, gets nothing new.
    Draining,
    /// Expired.
    Lost,
}

impl WorkerState {
    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

/// A worker as `node list` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// The worker.
    pub worker_id: WorkerId,
    /// Its registration.
    pub epoch: Epoch,
    /// State.
    pub state: WorkerState,
    /// Where it serves segments.
    pub address: String,
    /// Process id on its machine.
    pub pid: u32,
    /// Room for attempts.
    pub slots: u32,
    /// Attempts granted to it.
    pub busy: u32,
    /// Milliseconds since its last word; none when the leader has not heard it yet.
    pub last_heartbeat_ms: Option<u64>,
    /// Observed throughput score; 0 before any.
    pub score: u64,
    /// `key=value` labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Why it was lost; empty while it lives.
    pub reason: String,
}
