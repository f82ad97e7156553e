//! What the leader remembers of its workers, and forgets when it closes.
//!
//! One record per worker: until when it is believed, what it last said that it
//! holds and how far it is, the pull that waits, the orders for its next
//! answer. All of it can be rebuilt from the state and from what workers say
//! next; nothing that matters lives only here.
//!
//! This is plain data under one lock: no waiting, no network, no state machine.
//! Time comes in as an argument. The loops around it pick, this acts.

mod room;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use vivat_core::AttemptLiveness;
use vivat_shared::ids::{AttemptId, Epoch, JobId, WorkerEpoch, WorkerId};

pub(super) use self::room::{Holder, Idle};
pub use self::waiting::Delivery;
pub(super) use self::waiting::{Orders, PullEnd};
use self::waiting::{Waiter, end};

/// How far a running attempt is, by its worker's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of input read.
    pub bytes_done: u64,
    /// Records read.
    pub records_done: u64,
}

struct Session {
    epoch: Epoch,
    begun_at: Instant,
    believed_until: Instant,
    heard_at: Option<Instant>,
    /// An expiry was proposed and not answered yet.
    expiring: bool,
    held: BTreeSet<AttemptId>,
    /// Of attempts that are in a slot.
    progress: BTreeMap<AttemptId, AttemptLiveness>,
    /// Grants proposed for this worker and not answered yet: they count against
    /// its `want`, so that nothing is proposed twice for the same room.
    granting: u32,
    granting_control: u32,
    orders: Orders,
    took_back_at: Option<Instant>,
    waiter: Option<Waiter>,
    /// It pulled, so it has told what its disk still has.
    pulled: bool,
}

impl Session {
    fn new(epoch: Epoch, now: Instant, lease: Duration) -> Self {
        Self {
            epoch,
            begun_at: now,
            believed_until: now + lease,
            heard_at: None,
            expiring: false,
            held: BTreeSet::new(),
            progress: BTreeMap::new(),
            granting: 0,
            granting_control: 0,
            orders: Orders::default(),
            took_back_at: None,
            waiter: None,
            pulled: false,
        }
    }
}

/// What was left of workers' leases when a leader closed.
pub(super) type LeasesLeft = BTreeMap<WorkerEpoch, Duration>;

/// Every worker's session.
pub(super) struct Sessions {
    lease: Duration,
    /// The cluster's age when this leader opened.
    opened_age_ms: u64,
    by_worker: BTreeMap<WorkerId, Session>,
    pulls: u64,
    /// When leases were last looked at: what came to pass later, a stop of this
    /// process for example, is not held against any worker.
    looked_at: Option<Instant>,
}

impl Sessions {
    /// No sessions yet; leases last `lease`. Nothing that attempts did before this
    /// age of the cluster is known.
    pub(super) fn new(lease: Duration, opened_age_ms: u64) -> Self {
        Self {
            lease,
            opened_age_ms,
            by_worker: BTreeMap::new(),
            pulls: 0,
            looked_at: None,
        }
    }

    /// What is left of each lease, as of the last look at them.
    pub(super) fn leases_left(&self) -> LeasesLeft {
        let Some(looked_at) = self.looked_at else {
            return LeasesLeft::new();
        };
        let left = |(&worker, session): (&WorkerId, &Session)| {
            let epoch = session.epoch;
            let left = session.believed_until.saturating_duration_since(looked_at);
            (WorkerEpoch { worker, epoch }, left)
        };
        self.by_worker.iter().map(left).collect()
    }

    /// Lets leases go on where they stood when this leader closed in this term.
    /// A leader that closes and opens every second would otherwise believe in a
    /// dead worker for ever.
    pub(super) fn resume_leases(&mut self, left: &LeasesLeft, now: Instant) {
        for (&worker, &left) in left {
            if let Some(session) = self.session_mut(worker) {
                session.believed_until = session.believed_until.min(now + left);
            }
        }
    }

    /// Begins a session with a fresh lease, unless this epoch or a later one has
    /// one. A former epoch's waiting pull ends.
    pub(super) fn begin(&mut self, worker: WorkerEpoch, now: Instant) {
        if let Some(session) = self.by_worker.get(&worker.worker)
            && session.epoch >= worker.epoch
        {
            return;
        }
        let session = Session::new(worker.epoch, now, self.lease);
        if let Some(former) = self.by_worker.insert(worker.worker, session) {
            end(former.waiter, PullEnd::StaleEpoch);
        }
    }

    /// Ends the session of an epoch that is over.
    pub(super) fn finish(&mut self, worker: WorkerEpoch) {
        if self.session(worker).is_some()
            && let Some(session) = self.by_worker.remove(&worker.worker)
        {
            end(session.waiter, PullEnd::StaleEpoch);
        }
    }

    /// Workers with a session, at its epoch.
    pub(super) fn workers(&self) -> Vec<WorkerEpoch> {
        self.by_worker
            .iter()
            .map(|(&worker, session)| WorkerEpoch {
                worker,
                epoch: session.epoch,
            })
            .collect()
    }

    /// After skipped events: ends the sessions of workers that are gone, begins
    /// those of workers that are live, and lets all tell anew what they hold.
    pub(super) fn refresh(&mut self, live: &[WorkerEpoch], gone: &[WorkerEpoch], now: Instant) {
        for &worker in gone {
            self.finish(worker);
        }
        for &worker in live {
            self.begin(worker, now);
        }
        self.supersede_all();
    }

    /// Renews the lease. False: there is no session of this epoch.
    pub(super) fn hear(&mut self, worker: WorkerEpoch, now: Instant) -> bool {
        let lease = self.lease;
        match self.session_mut(worker) {
            Some(session) => {
                session.believed_until = session.believed_until.max(now + lease);
                session.heard_at = Some(now);
                true
            }
            None => false,
        }
    }

    /// Notes what a worker says that it holds.
    pub(super) fn note_held(&mut self, worker: WorkerEpoch, held: &[AttemptId]) {
        if let Some(session) = self.session_mut(worker) {
            session.held = held.iter().copied().collect();
            let Session { held, progress, .. } = session;
            progress.retain(|attempt, _| held.contains(attempt));
        }
    }

    /// Notes that a worker was answered what became of these attempts.
    pub(super) fn note_reported(&mut self, worker: WorkerEpoch, attempts: &[AttemptId]) {
        if let Some(session) = self.session_mut(worker) {
            for attempt in attempts {
                session.held.remove(attempt);
                session.progress.remove(attempt);
            }
        }
    }

    /// Notes how far a worker's running attempts are, at an age of the cluster.
    pub(super) fn note_progress(
        &mut self,
        worker: WorkerEpoch,
        progress: &BTreeMap<AttemptId, Progress>,
        age_ms: u64,
    ) {
        let Some(session) = self.session_mut(worker) else {
            return;
        };
        let known = std::mem::take(&mut session.progress);
        session.progress = progress
            .iter()
            .map(|(attempt, progress)| {
                let bytes = progress.bytes_done;
                let first = AttemptLiveness::first(age_ms, bytes);
                let then = |known: &AttemptLiveness| known.then(age_ms, bytes);
                (*attempt, known.get(attempt).map_or(first, then))
            })
            .collect();
    }

    /// Bytes that running map attempts of a job have read.
    pub(super) fn running_bytes(&self, job: JobId) -> u64 {
        self.by_worker
            .values()
            .flat_map(|session| &session.progress)
            .filter(|(attempt, _)| attempt.job() == job)
            // By the workers' word: no number of theirs may overflow.
            .fold(0, |sum, (_, progress)| sum.saturating_add(progress.bytes))
    }

    /// Whether no worker at all was heard for so long, although there are some.
    pub(super) fn is_silent(&self, now: Instant, silence: Duration) -> bool {
        let quiet_since = |session: &Session| session.heard_at.unwrap_or(session.begun_at);
        !self.by_worker.is_empty()
            && self
                .by_worker
                .values()
                .all(|session| now.saturating_duration_since(quiet_since(session)) >= silence)
    }

    /// How long ago each worker was last heard.
    pub(super) fn silences(&self, now: Instant) -> BTreeMap<WorkerId, Duration> {
        self.by_worker
            .iter()
            .filter_map(|(&worker, session)| {
                Some((worker, now.saturating_duration_since(session.heard_at?)))
            })
            .collect()
    }

    /// Gives every lease that much more: the leader's own clock was late.
    pub(super) fn extend_leases(&mut self, by: Duration) {
        for session in self.by_worker.values_mut() {
            session.believed_until += by;
        }
    }

    /// Takes the workers whose leases ran out; each is named once until
    /// [`Sessions::retry_expiry`].
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<WorkerEpoch> {
        self.looked_at = Some(now);
        let mut expired = Vec::new();
        for (&worker, session) in &mut self.by_worker {
            if session.believed_until <= now && !session.expiring {
                session.expiring = true;
                expired.push(WorkerEpoch {
                    worker,
                    epoch: session.epoch,
                });
            }
        }
        expired
    }

    /// The expiry was not committed: it is due again, if the lease is still over.
    pub(super) fn retry_expiry(&mut self, worker: WorkerEpoch) {
        if let Some(session) = self.session_mut(worker) {
            session.expiring = false;
        }
    }

    /// Pulls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.by_worker
            .values()
            .filter(|session| session.waiter.is_some())
            .count()
    }

    /// Workers with a session.
    pub(super) fn len(&self) -> usize {
        self.by_worker.len()
    }

    fn session(&self, worker: WorkerEpoch) -> Option<&Session> {
        self.by_worker
            .get(&worker.worker)
            .filter(|session| session.epoch == worker.epoch)
    }

    fn session_mut(&mut self, worker: WorkerEpoch) -> Option<&mut Session> {
        self.by_worker
            .get_mut(&worker.worker)
            .filter(|session| session.epoch == worker.epoch)
    }
}
