//! What the leader remembers of its workers, and forgets when it closes.
//!
//! One record per worker: until when it is believed, what it last said that it
//! holds and how far it is, the pull that waits, the orders for its next
//! answer. All of it can be rebuilt from the state and from what workers say
//! next; nothing that matters lives only here.
//!
//! This is plain data under one lock: no waiting, no network, no state machine.
//! Time comes in as an argument. The loops around it pick, this acts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use vivat_core::command::Grant;
use vivat_core::{LivenessView, WorkerLiveness};
use vivat_shared::attempt::Assignment;
use vivat_shared::ids::{AttemptId, Epoch, JobId, WorkerEpoch, WorkerId};
use vivat_shared::job::JobSpec;

/// Orders that may wait for one worker's next pull. Beyond it they are dropped:
/// the pull's own list of held attempts says the same again.
const ORDERS_MAX: usize = 4_096;

/// How far a running attempt is, by its worker's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of input read.
    pub bytes_done: u64,
    /// Records read.
    pub records_done: u64,
}

/// What a pull is answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivery {
    /// Granted and not held.
    pub assignments: Vec<Assignment>,
    /// Specification of every job that the assignments name.
    pub specs: BTreeMap<JobId, JobSpec>,
    /// Held and not granted.
    pub kill: Vec<AttemptId>,
    /// To hand back unless they have started.
    pub take_back: Vec<AttemptId>,
}

impl Delivery {
    pub(super) fn is_empty(&self) -> bool {
        self.assignments.is_empty() && self.kill.is_empty() && self.take_back.is_empty()
    }
}

/// How a waiting pull ends.
#[derive(Debug)]
pub(super) enum PullEnd {
    /// There is something for the worker.
    Delivered(Delivery),
    /// A newer pull of the same worker came, or its lists must be told anew.
    Superseded,
    /// The worker's epoch is over.
    StaleEpoch,
}

/// Names one pull among all of a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PullNumber(u64);

/// A pull that waits.
struct Waiter {
    number: PullNumber,
    held: Vec<AttemptId>,
    want: u32,
    control_free: bool,
    answer: oneshot::Sender<PullEnd>,
}

/// Attempts in a worker's order book.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) kill: Vec<AttemptId>,
    pub(super) take_back: Vec<AttemptId>,
}

struct Session {
    epoch: Epoch,
    begun_at: Instant,
    believed_until: Instant,
    heard_at: Option<Instant>,
    /// An expiry was proposed and not answered yet.
    expiring: bool,
    held: BTreeSet<AttemptId>,
    progress: BTreeMap<AttemptId, Progress>,
    /// Grants proposed for this worker and not answered yet: they count against
    /// its `want`, so that nothing is proposed twice for the same room.
    granting: u32,
    granting_control: u32,
    orders: Orders,
    took_back_at: Option<Instant>,
    waiter: Option<Waiter>,
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
        }
    }

    fn liveness(&self) -> WorkerLiveness {
        let waiter = self
            .waiter
            .as_ref()
            .filter(|waiter| !waiter.answer.is_closed());
        WorkerLiveness {
            epoch: self.epoch,
            want: waiter.map_or(0, |waiter| waiter.want.saturating_sub(self.granting)),
            control_free: self.granting_control == 0
                && waiter.is_some_and(|waiter| waiter.control_free),
        }
    }
}

/// A worker that holds attempts, as far as taking some back goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) worker: WorkerEpoch,
    /// Held, by its last word, and without progress.
    pub(super) not_started: Vec<AttemptId>,
}

/// Every worker's session.
pub(super) struct Sessions {
    lease: Duration,
    by_worker: BTreeMap<WorkerId, Session>,
    pulls: u64,
}

impl Sessions {
    /// No sessions yet; leases last `lease`.
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            lease,
            by_worker: BTreeMap::new(),
            pulls: 0,
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

    /// Notes how far a worker's running attempts are.
    pub(super) fn note_progress(
        &mut self,
        worker: WorkerEpoch,
        progress: BTreeMap<AttemptId, Progress>,
    ) {
        if let Some(session) = self.session_mut(worker) {
            session.progress = progress;
        }
    }

    /// Bytes that running map attempts of a job have read.
    pub(super) fn running_bytes(&self, job: JobId) -> u64 {
        self.by_worker
            .values()
            .flat_map(|session| &session.progress)
            .filter(|(attempt, _)| attempt.job() == job)
            .map(|(_, progress)| progress.bytes_done)
            .sum()
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

    /// What the scheduler sees.
    pub(super) fn liveness(&self) -> LivenessView {
        LivenessView {
            workers: self
                .by_worker
                .iter()
                .filter(|(_, session)| !session.expiring)
                .map(|(&worker, session)| (worker, session.liveness()))
                .collect(),
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

    /// Counts grants that are about to be proposed.
    pub(super) fn granting(&mut self, grants: &[Grant]) {
        for grant in grants {
            if let Some(session) = self.session_mut(grant.worker) {
                if grant.task.kind.is_control() {
                    session.granting_control += 1;
                } else {
                    session.granting += 1;
                }
            }
        }
    }

    /// The same grants were answered, and what was granted is delivered.
    pub(super) fn granted(&mut self, grants: &[Grant]) {
        for grant in grants {
            if let Some(session) = self.session_mut(grant.worker) {
                if grant.task.kind.is_control() {
                    session.granting_control = session.granting_control.saturating_sub(1);
                } else {
                    session.granting = session.granting.saturating_sub(1);
                }
            }
        }
    }

    /// Lets a pull wait; an older one of the same worker ends. None: there is
    /// no session of this epoch.
    pub(super) fn wait(
        &mut self,
        worker: WorkerEpoch,
        held: Vec<AttemptId>,
        want: u32,
        control_free: bool,
    ) -> Option<(PullNumber, oneshot::Receiver<PullEnd>)> {
        self.pulls += 1;
        let number = PullNumber(self.pulls);
        let session = self.session_mut(worker)?;
        let (answer, receiver) = oneshot::channel();
        let waiter = Waiter {
            number,
            held,
            want,
            control_free,
            answer,
        };
        end(session.waiter.replace(waiter), PullEnd::Superseded);
        Some((number, receiver))
    }

    /// Ends the waiting pull of a worker, if any, because a newer one came.
    pub(super) fn supersede(&mut self, worker: WorkerEpoch) {
        if let Some(session) = self.session_mut(worker) {
            end(session.waiter.take(), PullEnd::Superseded);
        }
    }

    /// Ends every waiting pull: their workers tell anew what they hold.
    pub(super) fn supersede_all(&mut self) {
        for session in self.by_worker.values_mut() {
            end(session.waiter.take(), PullEnd::Superseded);
        }
    }

    /// A pull stopped waiting by itself.
    pub(super) fn stop_waiting(&mut self, worker: WorkerEpoch, number: PullNumber) {
        if let Some(session) = self.session_mut(worker)
            && session
                .waiter
                .as_ref()
                .is_some_and(|waiter| waiter.number == number)
        {
            session.waiter = None;
        }
    }

    /// The waiting pull of a worker and what it said it holds.
    pub(super) fn waiting_pull(&self, worker: WorkerEpoch) -> Option<(PullNumber, Vec<AttemptId>)> {
        let waiter = self.session(worker)?.waiter.as_ref()?;
        Some((waiter.number, waiter.held.clone()))
    }

    /// Answers that pull with the assignments and with all orders. Does nothing
    /// when another pull waits by now or there is nothing to say.
    pub(super) fn deliver(
        &mut self,
        worker: WorkerEpoch,
        number: PullNumber,
        mut delivery: Delivery,
    ) {
        let Some(session) = self.session_mut(worker) else {
            return;
        };
        if !matches!(&session.waiter, Some(waiter) if waiter.number == number) {
            return;
        }
        let orders = std::mem::take(&mut session.orders);
        delivery.kill.extend(orders.kill);
        delivery.take_back.extend(orders.take_back);
        if !delivery.is_empty() {
            end(session.waiter.take(), PullEnd::Delivered(delivery));
        }
    }

    /// Notes an order to kill.
    pub(super) fn order_kill(&mut self, worker: WorkerEpoch, attempt: AttemptId) {
        if let Some(session) = self.session_mut(worker)
            && session.orders.kill.len() < ORDERS_MAX
        {
            session.orders.kill.push(attempt);
        }
    }

    /// Notes orders to hand attempts back.
    pub(super) fn order_take_back(
        &mut self,
        worker: WorkerEpoch,
        attempts: &[AttemptId],
        now: Instant,
    ) {
        if let Some(session) = self.session_mut(worker) {
            session.took_back_at = Some(now);
            session.orders.take_back.clear();
            session.orders.take_back.extend_from_slice(attempts);
            session.orders.take_back.truncate(ORDERS_MAX);
        }
    }

    /// Takes the orders that wait for a worker's next pull.
    pub(super) fn take_orders(&mut self, worker: WorkerEpoch) -> Orders {
        self.session_mut(worker)
            .map(|session| std::mem::take(&mut session.orders))
            .unwrap_or_default()
    }

    /// Workers with room that no pending grant fills.
    pub(super) fn idle(&self) -> BTreeMap<WorkerId, u32> {
        self.by_worker
            .iter()
            .map(|(&worker, session)| (worker, session))
            .filter(|(_, session)| session.held.is_empty() && !session.expiring)
            .map(|(worker, session)| (worker, session.liveness().want))
            .filter(|&(_, want)| want > 0)
            .collect()
    }

    /// Workers from which attempts may be taken: those not asked since `since`.
    pub(super) fn holders(&self, since: Instant) -> Vec<Holder> {
        self.by_worker
            .iter()
            .filter(|(_, session)| session.took_back_at.is_none_or(|at| at < since))
            .map(|(&worker, session)| Holder {
                worker: WorkerEpoch {
                    worker,
                    epoch: session.epoch,
                },
                not_started: session
                    .held
                    .iter()
                    .filter(|attempt| !session.progress.contains_key(attempt))
                    .copied()
                    .collect(),
            })
            .filter(|holder| holder.not_started.len() > 1)
            .collect()
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

fn end(waiter: Option<Waiter>, how: PullEnd) {
    if let Some(waiter) = waiter {
        // The caller may have gone away: its next pull tells what it holds.
        let _gone = waiter.answer.send(how);
    }
}
