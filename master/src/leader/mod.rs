//! What a master does only while it leads.
//!
//! Leadership opens in order: a barrier in the new term, soft state rebuilt
//! from the replicated state alone, a fresh lease for every known worker, and
//! only then the gate for services. It closes in one step. Between the two
//! there is one [`Leader`], which owns everything soft: sessions of workers,
//! leases, waiting pulls, the queue of proposals. It is dropped as a whole; the
//! next one, here or elsewhere, needs nothing from it.
//!
//! Architecture invariant: no fact about a job, a task, an attempt or a worker
//! comes to be here. Loops look at the state, propose commands fenced by their
//! term, and act on the events that `apply` answered with. So a leader may be
//! wrong or late and waste a proposal, but it cannot break a rule.

mod alarm;
pub(crate) mod data;
mod duties;
pub mod error;
pub mod gate;
mod lifecycle;
mod liveness;
mod probe;
mod proposer;
mod pulls;
mod reactions;
mod reports;
mod scheduling;
mod segments;
mod sessions;
mod submit;
mod take_back;
mod watch;
mod yielding;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vivat_core::command::{Command, Reply};
use vivat_core::{LivenessView, State};
use vivat_shared::ids::{AttemptId, JobId, WorkerEpoch, WorkerId};

pub use error::LeaderError;
pub use gate::Gate;
pub(crate) use lifecycle::Lifecycle;
pub use pulls::PullRequest;
pub use reports::Verdict;
pub use segments::SegmentsUpdate;
pub use sessions::{Delivery, Progress};
pub use watch::JobUpdate;

use self::alarm::Alarm;
use self::proposer::{Proposer, Share};
use self::sessions::Sessions;
use crate::http::metrics::Metrics;
use crate::raft;

/// Streams of segment locations that one leader serves at once.
const SEGMENT_STREAMS_MAX: usize = 16_384;
/// Streams of job views that one leader serves at once.
const JOB_STREAMS_MAX: usize = 1_024;
/// Entries without commands under way at once: far fewer than Raft takes, so
/// that no flood of them keeps out what workers report.
const NOOPS_MAX: usize = 8;
/// How long a read may wait for the confirmation that this replica still leads.
const READ_DEADLINE: Duration = Duration::from_secs(3);

/// Settings of a leader's soft state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderSettings {
    /// How long a worker is believed without a word from it.
    pub lease: Duration,
    /// How often workers are asked to send heartbeats.
    pub heartbeat: Duration,
    /// Age of the last quorum acknowledgement beyond which services close.
    pub quorum_silence_max: Duration,
}

impl Default for LeaderSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            quorum_silence_max: Duration::from_millis(600),
        }
    }
}

/// One opening of leadership: all soft state of this replica.
pub struct Leader {
    term: u64,
    raft: raft::Handle,
    proposer: Proposer,
    sessions: Mutex<Sessions>,
    wake_scheduler: Notify,
    wake_duties: Notify,
    closed: CancellationToken,
    tasks: TaskTracker,
    settings: LeaderSettings,
    metrics: Arc<Metrics>,
    segment_streams: Arc<Semaphore>,
    job_streams: Arc<Semaphore>,
    noops: Arc<Semaphore>,
    data: data::Desk,
    alarm: Alarm,
}

impl Leader {
    /// The Raft term that it leads.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> LeaderSettings {
        self.settings
    }

    /// Proposes commands and waits for their replies, in order. A rejection is
    /// a reply.
    ///
    /// # Errors
    ///
    /// [`LeaderError`], except `Rejected`.
    pub async fn propose(&self, commands: Vec<Command>) -> Result<Vec<Reply>, LeaderError> {
        self.metrics.commands.inc_by(commands.len() as u64);
        self.proposer.propose(commands, Share::Whole).await
    }

    /// Proposes one command of the cluster's own work.
    ///
    /// # Errors
    ///
    /// [`LeaderError`], with rejections among them.
    pub async fn propose_one(&self, command: Command) -> Result<Reply, LeaderError> {
        only(self.propose(vec![command]).await?)
    }

    /// Proposes one command of a client: it finds the queue full earlier, so
    /// that no flood of submissions keeps out what workers report.
    ///
    /// # Errors
    ///
    /// [`LeaderError`], with rejections among them.
    pub async fn propose_for_client(&self, command: Command) -> Result<Reply, LeaderError> {
        self.metrics.commands.inc();
        only(self.proposer.propose(vec![command], Share::Half).await?)
    }

    /// Commits an entry without commands: what one commit costs.
    ///
    /// # Errors
    ///
    /// [`LeaderError`], except `Rejected`.
    pub async fn commit_nothing(&self) -> Result<raft::Committed, LeaderError> {
        let permit =
            Arc::clone(&self.noops)
                .try_acquire_owned()
                .map_err(|_| LeaderError::Overloaded {
                    what: "entries without commands",
                })?;
        let (raft, term) = (self.raft.clone(), self.term);
        // In a task of its own: the permit counts also when the caller gave up.
        let committing = self.tasks.spawn(async move {
            let _permit = permit;
            raft.propose(Some(term), Vec::new()).await
        });
        match committing.await {
            Ok(committed) => committed.map_err(|error| proposer::unproposed(&error)),
            Err(_ended) => Err(LeaderError::OutcomeUnknown),
        }
    }

    /// Reads the state as it is decided now: a majority confirmed after the
    /// call began that this replica leads (S10).
    ///
    /// # Errors
    ///
    /// [`LeaderError::NotLeader`] when it does not, or nobody confirmed in time;
    /// [`LeaderError::Overloaded`] when too many ask.
    pub async fn read_decided<T>(
        &self,
        read: impl FnOnce(&State, &LivenessView) -> T,
    ) -> Result<T, LeaderError> {
        if cfg!(vivat_seeded_bug = "deposed-reads") {
            // Mistake 15: who led once answers from its own state.
            let liveness = self.sessions().liveness();
            return Ok(self.raft.read(|state| read(state, &liveness)));
        }
        let confirmed = tokio::time::timeout(READ_DEADLINE, self.raft.ensure_linearizable());
        match confirmed.await {
            Ok(Ok(_)) => {}
            Ok(Err(error @ raft::ProposeError::Overloaded { .. })) => {
                return Err(proposer::unproposed(&error));
            }
            Ok(Err(error)) => {
                tracing::debug!(term = self.term, error = %error, "read not confirmed");
                return Err(LeaderError::NotLeader);
            }
            Err(_elapsed) => return Err(LeaderError::NotLeader),
        }
        let liveness = self.sessions().liveness();
        Ok(self.raft.read(|state| read(state, &liveness)))
    }

    /// Renews a worker's lease.
    ///
    /// # Errors
    ///
    /// [`LeaderError::StaleEpoch`] when it must register anew.
    pub fn hear(&self, worker: WorkerEpoch) -> Result<(), LeaderError> {
        let now = Instant::now();
        if self.sessions().hear(worker, now) {
            return Ok(());
        }
        // Registered, and the event has not come round yet? The state decides.
        if !self.raft.read(|state| is_current(state, worker)) {
            return Err(LeaderError::StaleEpoch { worker });
        }
        let mut sessions = self.sessions();
        sessions.begin(worker, now);
        sessions.hear(worker, now);
        Ok(())
    }

    /// A heartbeat: renews the lease, notes progress, and answers which of the
    /// held attempts must be killed.
    ///
    /// # Errors
    ///
    /// [`LeaderError::StaleEpoch`], [`LeaderError::NotLeader`].
    pub fn heartbeat(
        &self,
        worker: WorkerEpoch,
        held: &[AttemptId],
        progress: &BTreeMap<AttemptId, Progress>,
    ) -> Result<Vec<AttemptId>, LeaderError> {
        self.hear(worker)?;
        let age_ms = self.raft.age_ms(self.term);
        {
            let mut sessions = self.sessions();
            sessions.note_held(worker, held);
            sessions.note_progress(worker, progress, age_ms);
        }
        let kill = self.raft.read(|state| pulls::to_kill(state, worker, held));
        self.check_kills(&kill)?;
        Ok(kill)
    }

    /// Whether a majority confirmed this leader within its lease: nobody else
    /// can lead then.
    fn is_confirmed(&self) -> bool {
        self.raft
            .quorum_acked_ago()
            .is_some_and(|ago| ago <= self.settings.quorum_silence_max)
            || cfg!(vivat_seeded_bug = "deposed-reads")
    }

    /// An order to kill is given only by a leader that was confirmed after it
    /// looked: a deposed one does not know what its successor granted.
    fn check_kills(&self, kill: &[AttemptId]) -> Result<(), LeaderError> {
        if kill.is_empty() || self.is_confirmed() {
            return Ok(());
        }
        Err(LeaderError::NotLeader)
    }

    /// Of the jobs, those that have ended: workers may drop their files.
    #[must_use]
    pub fn ended(&self, jobs: impl IntoIterator<Item = JobId>) -> Vec<JobId> {
        self.raft.read(|state| {
            jobs.into_iter()
                .filter(|&job| vivat_core::job_has_ended(state, job))
                .collect()
        })
    }

    /// Begins the session of a worker that was just registered.
    pub fn welcome(&self, worker: WorkerEpoch) {
        self.sessions().begin(worker, Instant::now());
        self.wake_scheduler.notify_one();
    }

    /// How long ago each worker was last heard by this leader.
    #[must_use]
    pub fn silences(&self) -> BTreeMap<WorkerId, Duration> {
        self.sessions().silences(Instant::now())
    }

    /// The Raft handle, for what needs no soft state.
    #[must_use]
    pub(crate) fn raft(&self) -> &raft::Handle {
        &self.raft
    }

    /// Waiting requests, waiting pulls, sessions: for metrics.
    pub(crate) fn depths(&self) -> Depths {
        let sessions = self.sessions();
        Depths {
            proposals: self.proposer.depth(),
            pulls: sessions.waiting(),
            sessions: sessions.len(),
        }
    }

    /// Runs a loop that leadership cannot do without.
    fn run_part(&self, part: impl Future<Output = ()> + Send + 'static) {
        self.tasks
            .spawn(self.alarm.watch(self.closed.clone(), part));
    }

    fn close(&self) {
        self.closed.cancel();
        self.sessions().supersede_all();
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Sessions are plain data: a panic between two assignments leaves at
        // worst a stale wait, which its own deadline ends.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How full a leader's queues are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Depths {
    /// Requests that wait for an entry.
    pub(crate) proposals: usize,
    /// Pulls that wait for work.
    pub(crate) pulls: usize,
    /// Workers with a session.
    pub(crate) sessions: usize,
}

/// The reply to an only command.
fn only(mut replies: Vec<Reply>) -> Result<Reply, LeaderError> {
    match replies.pop() {
        Some(Reply::Rejected(rejection)) => Err(rejection.into()),
        Some(
            reply @ (Reply::Done
            | Reply::Job { .. }
            | Reply::Retried { .. }
            | Reply::Registered(_)
            | Reply::Dataset { .. }
            | Reply::Version(_)
            | Reply::Assigned(_)),
        ) => Ok(reply),
        None => Err(LeaderError::OutcomeUnknown),
    }
}

/// Whether the state has the worker at this epoch.
fn is_current(state: &State, worker: WorkerEpoch) -> bool {
    state.current_epoch(worker.worker) == Some(worker.epoch)
}

/// Every worker that is registered and not expired.
fn live_workers(state: &State) -> Vec<WorkerEpoch> {
    state
        .workers()
        .filter(|worker| worker.is_registered())
        .map(vivat_core::state::Worker::current)
        .collect()
}

/// Where a worker serves segments, while it is registered at that epoch.
fn address_of(state: &State, worker: WorkerEpoch) -> Option<String> {
    state
        .worker(worker.worker)
        .filter(|known| known.is_registered() && known.epoch == worker.epoch)
        .map(|known| known.info.address.clone())
}
