//! What a leader does about events: orders, answers to waiting pulls, wake-ups.
//!
//! Nothing here may be the only way that something gets done: events are lost
//! when a leader dies, and a slow reader skips some. Every reaction is an
//! earlier occasion for what the next pull, tick or look at the state would
//! find anyway.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use vivat_core::command::Event;

use super::Leader;
use crate::raft::AppliedEvents;

/// Reacts until leadership closes.
pub(super) async fn run(leader: Arc<Leader>, mut events: broadcast::Receiver<Arc<AppliedEvents>>) {
    loop {
        let received = tokio::select! {
            received = events.recv() => received,
            () = leader.closed.cancelled() => return,
        };
        match received {
            Ok(applied) => leader.react(&applied.events),
            Err(RecvError::Lagged(skipped)) => {
                tracing::warn!(
                    term = leader.term,
                    skipped,
                    "events skipped; looking at the state"
                );
                leader.look_again();
            }
            Err(RecvError::Closed) => return,
        }
    }
}

impl Leader {
    fn react(&self, events: &[Event]) {
        let mut poke = BTreeSet::new();
        let mut schedule = false;
        for event in events {
            match *event {
                Event::AttemptGranted { worker, .. } => {
                    self.metrics.attempts_granted.inc();
                    poke.insert(worker);
                }
                Event::AttemptRevoked { attempt, worker } => {
                    self.metrics.attempts_revoked.inc();
                    self.sessions().order_kill(worker, attempt);
                    poke.insert(worker);
                    schedule = true;
                }
                Event::AttemptFinished { accepted, .. } => {
                    self.metrics.attempts_finished(accepted).inc();
                    schedule = true;
                }
                Event::WorkerRegistered { worker } => {
                    self.welcome(worker);
                    self.data.look_at_all();
                }
                Event::WorkerExpired { worker, .. } => {
                    self.metrics.workers_expired.inc();
                    self.sessions().finish(worker);
                    self.data.look_at_all();
                    schedule = true;
                }
                Event::JobChanged { .. }
                | Event::JobEnded { .. }
                | Event::JobRetried { .. }
                | Event::TaskIdle { .. }
                | Event::SegmentsLocated { .. }
                | Event::SegmentsLost { .. } => schedule = true,
                Event::SegmentSuspected { .. } => self.wake_duties.notify_one(),
                Event::DatasetChanged { dataset } => self.data.look_at(dataset),
                Event::TermOpened { .. } => {}
            }
        }
        for worker in poke {
            self.poke(worker);
        }
        if schedule {
            self.wake_scheduler.notify_one();
        }
    }

    /// After skipped events: what they would have told is in the state, and in
    /// what the workers say next.
    fn look_again(&self) {
        // Sessions first, then the state: one that begins in between stays.
        let known = self.sessions().workers();
        let (live, gone) = self.raft.read(|state| {
            let gone = known
                .into_iter()
                .filter(|&worker| !super::is_current(state, worker))
                .collect::<Vec<_>>();
            (super::live_workers(state), gone)
        });
        self.sessions()
            .refresh(&live, &gone, tokio::time::Instant::now());
        self.data.look_at_all();
        self.wake_scheduler.notify_one();
        self.wake_duties.notify_one();
    }
}
