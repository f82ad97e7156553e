//! Everything that the log decided.
//!
//! Jobs and workers stand behind `Arc` and are copied when written while a
//! clone is held, so cloning the state for a snapshot costs a pointer each and
//! the clone never sees a later command. The maps beside them are indexes: what
//! they say can be derived from jobs and workers, and `invariants` checks that
//! they agree.

mod column;
mod dataset;
mod directory;
mod history;
mod idle;
pub mod job;
mod logs;
mod notice;
mod pace;
mod resume;
mod round;
mod tasks;
pub(crate) mod timeline;
mod times;
mod value;
mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vivat_shared::ids::{
    AttemptId, ClusterId, DatasetId, Epoch, JobId, TaskKind, WorkerEpoch, WorkerId,
};
use vivat_shared::logs::job_of_log_dataset;
use xxhash_rust::xxh3::xxh3_64;

pub use dataset::{BlockRow, BlockTable, Dataset, FileList, Sealed};
pub use directory::Directory;
pub use history::History;
pub use job::{Active, DatasetOutput, Ended, HandedOn, Job, JobEnd, Phase, Stage};
pub use logs::{LogRow, Logs};
pub use notice::{Notice, NoticeStage};
pub use pace::Pace;
pub use resume::{Resume, SumsBefore};
pub use round::{Plan, PlanDraft, Round, Suspicion};
pub use tasks::{Fate, Running, TaskState, TaskTable};
pub(crate) use value::charge;
pub use value::{Value, Values};
pub use worker::{Presence, Worker};

use crate::command::{Applied, LeaderRecord, Rejection};
use crate::limits::HASH_POINT_ENTRIES;

/// The chained hash at an index that is a multiple of
/// [`HASH_POINT_ENTRIES`]: what replicas compare (S8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HashPoint {
    /// Log index; 0 before the first such point.
    pub index: u64,
    /// Hash over every reply and event up to it.
    pub hash: u64,
}

/// Which slots a job's next task goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// Plan, close, commit.
    Control,
    /// Map, reduce.
    Work,
}

/// A job's place in the order in which the scheduler considers jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Turn {
    /// Control and work slots are filled from separate queues.
    pub lane: Lane,
    /// Highest priority first.
    pub urgency: std::cmp::Reverse<u8>,
    /// Fewest granted attempts first.
    pub running: u32,
    /// Older jobs first.
    pub job: JobId,
}

/// The replicated state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    pub(crate) applied_index: u64,
    pub(crate) now_ms: u64,
    pub(crate) age_ms: u64,
    pub(crate) term: u64,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) leader: Option<LeaderRecord>,
    chain: u64,
    hash_point: HashPoint,
    /// Ids are never used twice.
    pub(crate) last_job: u64,
    pub(crate) last_worker: u32,
    pub(crate) last_epoch: u64,
    pub(crate) last_loss: u64,
    pub(crate) jobs: BTreeMap<JobId, Arc<Job>>,
    pub(crate) workers: BTreeMap<WorkerId, Arc<Worker>>,
    pub(crate) directory: Directory,
    pub(crate) values: Values,
    pub(crate) timeline: timeline::Timeline,
    // Indexes.
    #[cfg_attr(vivat_seeded_bug = "forgotten-keys", serde(skip))]
    pub(crate) keys: BTreeMap<Arc<str>, JobId>,
    pub(crate) active: BTreeSet<JobId>,
    pub(crate) ended: VecDeque<JobId>,
    pub(crate) turns: BTreeSet<Turn>,
    pub(crate) timeouts: BTreeSet<(u64, JobId)>,
    pub(crate) suspected: BTreeSet<JobId>,
    /// Jobs of whose end somebody must still be told.
    pub(crate) owed: BTreeSet<JobId>,
    pub(crate) uids: BTreeMap<Arc<str>, WorkerId>,
    pub(crate) lost: BTreeMap<u64, WorkerId>,
    /// Of all jobs.
    pub(crate) spec_bytes: u64,
    /// Jobs written since the last entry; empty between entries.
    #[serde(skip)]
    touched: BTreeSet<JobId>,
}

impl State {
    /// The state before the first entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Index of the last entry that was applied or noted.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }

    /// What the leader's clock showed at the last entry, in milliseconds since
    /// 1970. It may go back.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The cluster's age at the last entry, in milliseconds. It never goes back.
    #[must_use]
    pub fn age_ms(&self) -> u64 {
        self.age_ms
    }

    /// Term of the last barrier.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The cluster, once named.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// Who opened the term.
    #[must_use]
    pub fn leader(&self) -> Option<&LeaderRecord> {
        self.leader.as_ref()
    }

    /// A job, ended or not.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<&Job> {
        self.jobs.get(&job).map(Arc::as_ref)
    }

    /// All jobs, in order of submission.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.jobs.values().map(Arc::as_ref)
    }

    /// A worker, registered or lost.
    #[must_use]
    pub fn worker(&self, worker: WorkerId) -> Option<&Worker> {
        self.workers.get(&worker).map(Arc::as_ref)
    }

    /// All workers that are remembered.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values().map(Arc::as_ref)
    }

    /// The datasets.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The named values.
    #[must_use]
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The number of the newest job; the next one has the number behind it.
    #[must_use]
    pub fn last_job(&self) -> u64 {
        self.last_job
    }

    /// Whether a dataset was here and will not come back: its blocks may be deleted
    /// (S15). Logs of a job are here until it is forgotten, recorded or not.
    #[must_use]
    pub fn is_gone(&self, dataset: DatasetId) -> bool {
        match job_of_log_dataset(dataset) {
            Some(job) => job.0 <= self.last_job && !self.jobs.contains_key(&job),
            None => self.directory.is_gone(dataset),
        }
    }

    /// Whether attempts that have not reported yet may write blocks of a dataset that
    /// is there already: logs of a job that runs.
    #[must_use]
    pub fn still_grows(&self, dataset: DatasetId) -> bool {
        job_of_log_dataset(dataset).is_some_and(|job| self.active.contains(&job))
    }

    /// Whether a worker's epoch is current, so that what it has can be read.
    #[must_use]
    pub fn is_registered(&self, worker: WorkerId) -> bool {
        self.worker(worker).is_some_and(Worker::is_registered)
    }

    /// The job that a key made.
    #[must_use]
    pub fn job_of_key(&self, key: &str) -> Option<JobId> {
        self.keys.get(key).copied()
    }

    /// The current epoch of a worker; none when it is lost or unknown.
    #[must_use]
    pub fn current_epoch(&self, worker: WorkerId) -> Option<Epoch> {
        self.worker(worker)
            .filter(|worker| worker.is_registered())
            .map(|worker| worker.epoch)
    }

    /// Whether a job can be ended by its commit alone (S11): the commit attempt
    /// is granted, or one was, and there is a worker for the next, which will
    /// find out what the lost one did. Without such a worker nothing would end
    /// the job (L1), so it can be ended then, although its output may be visible.
    #[must_use]
    pub fn is_past_recall(&self, job: &Job) -> bool {
        job.active().is_some_and(|active| {
            let next = |worker: &Worker| worker.accepts_work() && worker.sees_paths_of(job);
            active.is_committing()
                && (!active.commit.live(0).is_empty() || self.workers().any(next))
        })
    }

    /// Whether a try to tell of a job's end is granted to this worker now (S4).
    #[must_use]
    pub fn is_telling(&self, attempt: AttemptId, worker: WorkerEpoch) -> bool {
        let id = attempt.job();
        attempt.task.kind == TaskKind::Notify
            && self.check_worker(worker).is_ok()
            && self
                .job(id)
                .and_then(|job| job.notice.as_ref()?.live(id))
                .is_some_and(|live| live == (attempt, worker))
    }

    /// Takes note of an entry without commands: blank, or membership.
    pub fn note_index(&mut self, index: u64) {
        self.seal(index, &Applied::default());
    }

    /// Ends an entry: indexes follow what it wrote, the hash chain grows.
    pub(crate) fn seal(&mut self, index: u64, applied: &Applied) {
        assert!(
            index > self.applied_index,
            "S8: entry {index} after entry {}",
            self.applied_index
        );
        self.reindex();
        self.applied_index = index;
        let link = postcard::to_stdvec(&(self.chain, index, applied))
            .expect("replies and events are plain data, which always encodes");
        self.chain = xxh3_64(&link);
        if index.is_multiple_of(HASH_POINT_ENTRIES) {
            self.hash_point = HashPoint {
                index,
                hash: self.chain,
            };
        }
    }

    /// The chained hash at the last multiple of [`HASH_POINT_ENTRIES`].
    #[must_use]
    pub fn hash_point(&self) -> HashPoint {
        self.hash_point
    }

    /// The chained hash at the applied index.
    #[must_use]
    pub fn chained_hash(&self) -> u64 {
        self.chain
    }

    /// Hash of the whole state, for the comparison of snapshots.
    #[must_use]
    pub fn whole_hash(&self) -> u64 {
        xxh3_64(&crate::snapshot::encode(self))
    }

    /// Memory of a job's tasks in bytes, names and plan's paths apart.
    #[must_use]
    pub fn task_memory_bytes(&self, job: JobId) -> u64 {
        let Some(active) = self.job(job).and_then(Job::active) else {
            return 0;
        };
        let round = active.round();
        let splits = round.plan.as_ref().map_or(0, |plan| {
            plan.splits.capacity() * size_of::<vivat_shared::attempt::SplitRange>()
        });
        let sizes = round.sizes.len();
        round.maps.memory_bytes() + round.reduces.memory_bytes() + (splits + sizes) as u64
    }

    /// A job for writing. Its turn is set anew when the entry ends.
    pub(crate) fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        let job = self.jobs.get_mut(&id)?;
        if self.touched.insert(id)
            && let Some(turn) = turn_of(job)
        {
            self.turns.remove(&turn);
        }
        Some(Arc::make_mut(job))
    }

    /// What an active job has, for writing.
    pub(crate) fn active_mut(&mut self, id: JobId) -> Option<&mut Active> {
        self.job_mut(id)?.active_mut()
    }

    pub(crate) fn insert_job(&mut self, job: Job) {
        self.keys.insert(Arc::clone(&job.key), job.id);
        self.active.insert(job.id);
        self.spec_bytes += u64::from(job.spec_bytes);
        self.touched.insert(job.id);
        if let Some(deadline_ms) = job.deadline_age_ms() {
            self.timeouts.insert((deadline_ms, job.id));
        }
        self.jobs.insert(job.id, Arc::new(job));
    }

    pub(crate) fn worker_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers.get_mut(&id).map(Arc::make_mut)
    }

    /// Takes an attempt out of its worker's index.
    pub(crate) fn unlink(&mut self, attempt: AttemptId, worker: WorkerEpoch) {
        let Some(holder) = self.worker_mut(worker.worker) else {
            return;
        };
        if holder.epoch == worker.epoch {
            holder.running.remove(&attempt);
        }
    }

    fn reindex(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            let Some(job) = self.jobs.get(&id) else {
                self.owed.remove(&id);
                continue;
            };
            self.turns.extend(turn_of(job));
            if job.notice.as_ref().is_some_and(Notice::is_owed) {
                self.owed.insert(id);
            } else {
                self.owed.remove(&id);
            }
            let suspects = job
                .active()
                .is_some_and(|active| !active.round().suspicions.is_empty());
            if suspects {
                self.suspected.insert(id);
            } else {
                self.suspected.remove(&id);
            }
        }
    }

    /// Refuses what a leader of another term proposed (mistake 7).
    pub(crate) fn check_term(&self, proposed: u64) -> Result<(), Rejection> {
        if proposed == self.term {
            return Ok(());
        }
        Err(Rejection::StaleTerm {
            proposed,
            current: self.term,
        })
    }

    /// Refuses a registration that is not the worker's current one.
    pub(crate) fn check_worker(&self, worker: WorkerEpoch) -> Result<&Worker, Rejection> {
        let Some(known) = self.worker(worker.worker) else {
            return Err(Rejection::UnknownWorker(worker.worker));
        };
        if known.is_registered() && known.epoch == worker.epoch {
            return Ok(known);
        }
        Err(Rejection::StaleEpoch {
            worker,
            current: self.current_epoch(worker.worker),
        })
    }

    /// Refuses an attempt that is not granted to this worker now (S4).
    pub(crate) fn check_live(
        &self,
        attempt: AttemptId,
        worker: WorkerEpoch,
    ) -> Result<&Active, Rejection> {
        if cfg!(vivat_seeded_bug = "weak-fence") {
            // Mistake 9: the number alone, of whoever was granted it last.
            return self
                .job(attempt.job())
                .and_then(Job::active)
                .filter(|active| has_last_number(active, attempt))
                .ok_or(Rejection::StaleAttempt { attempt });
        }
        self.check_worker(worker)?;
        self.job(attempt.job())
            .and_then(Job::active)
            .filter(|active| active.is_live(attempt, worker))
            .ok_or(Rejection::StaleAttempt { attempt })
    }
}

/// Whether an attempt is the last that was granted of an unfinished task.
fn has_last_number(active: &Active, attempt: AttemptId) -> bool {
    let index = attempt.task.index;
    active.table(attempt.task).is_some_and(|table| {
        table.granted(index) == attempt.number && table.accepted(index).is_none()
    })
}

/// Where a job stands in the scheduler's order, if it has something to grant.
pub(crate) fn turn_of(job: &Job) -> Option<Turn> {
    let active = job.active().filter(|active| active.has_grantable())?;
    let lane = match active.phase {
        Phase::Plan | Phase::Close | Phase::Commit => Lane::Control,
        Phase::Work => Lane::Work,
    };
    Some(Turn {
        lane,
        urgency: std::cmp::Reverse(job.spec.priority),
        running: active.running,
        job: job.id,
    })
}
