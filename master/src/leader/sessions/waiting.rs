//! Pulls that wait, what they are answered, and orders that wait for a pull.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use tokio::time::Instant;
use vivat_shared::attempt::Assignment;
use vivat_shared::ids::{AttemptId, DatasetId, JobId, WorkerEpoch};
use vivat_shared::job::JobSpec;

use super::Sessions;

/// Orders that may wait for one worker's next pull. Beyond it they are dropped:
/// the pull's own list of held attempts says the same again.
const ORDERS_MAX: usize = 4_096;

/// What a pull is answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivery {
    /// Granted and not held.
    pub assignments: Vec<Assignment>,
    /// Specification of every job that the assignments name.
    pub specs: BTreeMap<JobId, JobSpec>,
    /// Of those that have side files, the dataset of each, if it is one.
    pub side_datasets: BTreeMap<JobId, Vec<Option<DatasetId>>>,
    /// Held and not granted.
    pub kill: Vec<AttemptId>,
    /// To hand back unless they have started.
    pub take_back: Vec<AttemptId>,
}

impl Delivery {
    pub(in crate::leader) fn is_empty(&self) -> bool {
        self.assignments.is_empty() && self.kill.is_empty() && self.take_back.is_empty()
    }
}

/// How a waiting pull ends.
#[derive(Debug)]
pub(in crate::leader) enum PullEnd {
    /// There is something for the worker.
    Delivered(Delivery),
    /// A newer pull of the same worker came, or its lists must be told anew.
    Superseded,
    /// The worker's epoch is over.
    StaleEpoch,
}

/// Names one pull among all of a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::leader) struct PullNumber(u64);

/// A pull that waits.
pub(super) struct Waiter {
    pub(super) number: PullNumber,
    pub(super) held: Vec<AttemptId>,
    pub(super) want: u32,
    pub(super) control_free: bool,
    pub(super) answer: oneshot::Sender<PullEnd>,
}

/// Attempts in a worker's order book.
#[derive(Debug, Default)]
pub(in crate::leader) struct Orders {
    pub(in crate::leader) kill: Vec<AttemptId>,
    pub(in crate::leader) take_back: Vec<AttemptId>,
}

impl Sessions {
    /// Lets a pull wait; an older one of the same worker ends. None: there is
    /// no session of this epoch.
    pub(in crate::leader) fn wait(
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

    /// A pull came: the waiting one of that worker, if any, ends.
    pub(in crate::leader) fn supersede(&mut self, worker: WorkerEpoch) {
        if let Some(session) = self.session_mut(worker) {
            session.pulled = true;
            end(session.waiter.take(), PullEnd::Superseded);
        }
    }

    /// Ends every waiting pull: their workers tell anew what they hold.
    pub(in crate::leader) fn supersede_all(&mut self) {
        for session in self.by_worker.values_mut() {
            end(session.waiter.take(), PullEnd::Superseded);
        }
    }

    /// A pull stopped waiting by itself.
    pub(in crate::leader) fn stop_waiting(&mut self, worker: WorkerEpoch, number: PullNumber) {
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
    pub(in crate::leader) fn waiting_pull(
        &self,
        worker: WorkerEpoch,
    ) -> Option<(PullNumber, Vec<AttemptId>)> {
        let waiter = self.session(worker)?.waiter.as_ref()?;
        Some((waiter.number, waiter.held.clone()))
    }

    /// Answers that pull with the assignments and with all orders. Does nothing
    /// when another pull waits by now or there is nothing to say.
    pub(in crate::leader) fn deliver(
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
    pub(in crate::leader) fn order_kill(&mut self, worker: WorkerEpoch, attempt: AttemptId) {
        if let Some(session) = self.session_mut(worker)
            && session.orders.kill.len() < ORDERS_MAX
        {
            session.orders.kill.push(attempt);
        }
    }

    /// Notes orders to hand attempts back.
    pub(in crate::leader) fn order_take_back(
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
    pub(in crate::leader) fn take_orders(&mut self, worker: WorkerEpoch) -> Orders {
        self.session_mut(worker)
            .map(|session| std::mem::take(&mut session.orders))
            .unwrap_or_default()
    }
}

pub(super) fn end(waiter: Option<Waiter>, how: PullEnd) {
    if let Some(waiter) = waiter {
        // The caller may have gone away: its next pull tells what it holds.
        let _gone = waiter.answer.send(how);
    }
}
