//! Opens and closes leadership.
//!
//! ```text
//!   following --- leads, quorum fresh ---> opening: barrier committed,
//!       ^                                  soft state rebuilt, leases fresh
//!       |                                            |
//!       +-- term or leader changed, or               v
//!           quorum silent: close in one step <---- open
//! ```
//!
//! openraft does not step down when its quorum is lost, so a leader here also
//! closes when the last acknowledgement of a majority is too old, and opens
//! again by the same steps. What its workers said in the meantime was not heard,
//! so in the same term each lease goes on where it stood; in another one all are
//! fresh.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vivat_core::command::{Command, LeaderRecord, Reply};
use vivat_shared::ids::ClusterId;

use super::alarm::Alarm;
use super::gate::{self, Gate, GateKeeper};
use super::proposer::{self, unproposed};
use super::sessions::{LeasesLeft, Sessions};
use super::{
    JOB_STREAMS_MAX, Leader, LeaderError, LeaderSettings, NOOPS_MAX, SEGMENT_STREAMS_MAX, duties,
    liveness, reactions, scheduling, yielding,
};
use crate::http::metrics::Metrics;
use crate::raft::{Handle, Leadership};

/// How often the age of the quorum's last word is looked at while open.
const QUORUM_TICK: Duration = Duration::from_millis(50);
/// The same while waiting to open: part of the stall of every failover.
const OPENING_TICK: Duration = Duration::from_millis(2);
/// After an opening that failed.
const PAUSE: Duration = Duration::from_millis(50);
/// For tasks of closed leaderships, when the process ends.
const RETIRED_DEADLINE: Duration = Duration::from_secs(2);

/// Follows Raft's leadership and drives the gate.
pub(crate) struct Lifecycle {
    raft: Handle,
    keeper: GateKeeper,
    settings: LeaderSettings,
    metrics: Arc<Metrics>,
    cluster: ClusterId,
    record: LeaderRecord,
    /// The term of the last leadership here, and how its leases stood at the end.
    former: Option<(u64, LeasesLeft)>,
    /// Closed leaderships whose last tasks have not ended yet.
    retired: JoinSet<()>,
}

/// Why an open leadership is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The term or its leader changed.
    Deposed,
    /// No majority answered for too long.
    QuorumSilent,
    /// The process ends.
    Shutdown,
    /// A loop of the leader ended by itself: a defect, and the process ends.
    Broken,
}

impl Lifecycle {
    /// A closed gate, and what will open it.
    pub(crate) fn new(
        raft: Handle,
        settings: LeaderSettings,
        metrics: Arc<Metrics>,
        cluster: ClusterId,
        record: LeaderRecord,
    ) -> (Self, Gate) {
        let (keeper, gate) = gate::closed();
        let lifecycle = Self {
            raft,
            keeper,
            settings,
            metrics,
            cluster,
            record,
            former: None,
            retired: JoinSet::new(),
        };
        (lifecycle, gate)
    }

    /// Runs until shutdown, or until Raft or a loop of the leader has ended; the
    /// gate is closed then.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut leadership = self.raft.leadership();
        loop {
            let opened = tokio::select! {
                () = shutdown.cancelled() => break,
                opened = self.next_opening(&mut leadership) => opened,
            };
            let Some(leader) = opened else {
                break;
            };
            while self.retired.try_join_next().is_some() {}
            let term = leader.term;
            self.keeper.open(Arc::clone(&leader));
            tracing::info!(term, "leadership open");
            let over = self.until_over(&leader, &mut leadership, &shutdown).await;
            self.keeper.close();
            self.former = Some((term, leader.sessions().leases_left()));
            tracing::info!(term, reason = ?over, "leadership closed");
            leader.tasks.close();
            self.retired.spawn(async move { leader.tasks.wait().await });
            match over {
                Over::Deposed | Over::QuorumSilent => {}
                Over::Shutdown => break,
                Over::Broken => {
                    tracing::error!(term, "a loop of the leader ended by itself");
                    break;
                }
            }
        }
        let retired = async { while self.retired.join_next().await.is_some() {} };
        if tokio::time::timeout(RETIRED_DEADLINE, retired)
            .await
            .is_err()
        {
            tracing::warn!("tasks of a closed leadership did not end in time");
        }
    }

    /// Waits until this replica leads and has opened. None: Raft has stopped.
    async fn next_opening(
        &self,
        leadership: &mut watch::Receiver<Leadership>,
    ) -> Option<Arc<Leader>> {
        loop {
            let now = *leadership.borrow_and_update();
            if !now.is_leader {
                leadership.changed().await.ok()?;
                continue;
            }
            if !self.quorum_is_fresh() {
                tokio::select! {
                    changed = leadership.changed() => changed.ok()?,
                    () = tokio::time::sleep(OPENING_TICK) => {}
                }
                continue;
            }
            match self.open(now.term).await {
                Ok(leader) => return Some(leader),
                Err(LeaderError::Stopped) => return None,
                Err(error) => {
                    tracing::warn!(term = now.term, error = %error, "leadership did not open");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn open(&self, term: u64) -> Result<Arc<Leader>, LeaderError> {
        // Events from before the barrier on: nothing falls between the state
        // that is read below and the first event.
        let events = self.raft.events();
        let barrier = Command::OpenTerm {
            term,
            cluster: self.cluster,
            leader: self.record.clone(),
        };
        let mut committed = self
            .raft
            .propose(Some(term), vec![barrier])
            .await
            .map_err(|error| unproposed(&error))?;
        if let Some(Reply::Rejected(rejection)) = committed.replies.pop() {
            return Err(rejection.into());
        }
        let (proposer, pump) = proposer::proposer(self.raft.clone(), term);
        let mut sessions = Sessions::new(self.settings.lease, self.raft.age_ms(term));
        let now = Instant::now();
        for worker in self.raft.read(super::live_workers) {
            sessions.begin(worker, began(now, self.settings.lease));
        }
        if let Some((_, left)) = self.former.as_ref().filter(|(of, _)| *of == term) {
            sessions.resume_leases(left, now);
        }
        let leader = Arc::new(Leader {
            term,
            raft: self.raft.clone(),
            proposer,
            sessions: Mutex::new(sessions),
            wake_scheduler: Notify::new(),
            wake_duties: Notify::new(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
            settings: self.settings,
            metrics: Arc::clone(&self.metrics),
            segment_streams: Arc::new(Semaphore::new(SEGMENT_STREAMS_MAX)),
            job_streams: Arc::new(Semaphore::new(JOB_STREAMS_MAX)),
            noops: Arc::new(Semaphore::new(NOOPS_MAX)),
            data: super::data::Desk::default(),
            alarm: Alarm::default(),
        });
        leader.run_part(pump.run(leader.closed.clone()));
        leader.run_part(reactions::run(Arc::clone(&leader), events));
        leader.run_part(liveness::run(Arc::clone(&leader)));
        leader.run_part(scheduling::run(Arc::clone(&leader)));
        leader.run_part(duties::run(Arc::clone(&leader)));
        leader.run_part(super::data::run(Arc::clone(&leader)));
        leader.run_part(yielding::run(Arc::clone(&leader)));
        Ok(leader)
    }

    async fn until_over(
        &self,
        leader: &Leader,
        leadership: &mut watch::Receiver<Leadership>,
        shutdown: &CancellationToken,
    ) -> Over {
        let mut ticks = tokio::time::interval(QUORUM_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = *leadership.borrow_and_update();
            if now.term != leader.term || !now.is_leader {
                return Over::Deposed;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Over::Shutdown,
                () = leader.alarm.raised() => return Over::Broken,
                changed = leadership.changed() => if changed.is_err() {
                    return Over::Deposed;
                },
                _ = ticks.tick() => if !self.quorum_is_fresh() {
                    return Over::QuorumSilent;
                },
            }
        }
    }

    fn quorum_is_fresh(&self) -> bool {
        self.raft
            .quorum_acked_ago()
            .is_some_and(|ago| ago <= self.settings.quorum_silence_max)
            || cfg!(vivat_seeded_bug = "deposed-reads")
    }
}

/// When the lease of a worker began that this leader has not heard yet: now.
fn began(now: Instant, lease: Duration) -> Instant {
    if cfg!(vivat_seeded_bug = "silent-failover") {
        // Mistake 6: who was not heard by this leader was never heard.
        return now.checked_sub(lease).unwrap_or(now);
    }
    now
}
