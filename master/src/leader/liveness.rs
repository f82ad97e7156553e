//! Leases of workers.
//!
//! By the monotonic clock and by nothing else. A lease that ran out becomes one
//! command, `ExpireWorker` with the epoch and the term, and that command is the
//! only door: nothing is freed here. When this loop itself was late, the whole
//! process may have been stopped while its workers spoke to a deaf socket, so
//! every lease gets that much more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use vivat_core::command::{Command, Rejection, Reply};
use vivat_shared::ids::WorkerEpoch;

use super::Leader;
use super::error::LeaderError;

/// How often leases are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Lateness of a tick that is made good.
const LATE_MIN: Duration = Duration::from_secs(1);

/// Watches leases until leadership closes.
pub(super) async fn run(leader: Arc<Leader>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        tokio::select! {
            () = leader.closed.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = Instant::now();
        leader.check_leases(last, now);
        last = now;
    }
}

impl Leader {
    fn check_leases(self: &Arc<Self>, last: Instant, now: Instant) {
        let late = lateness(now.saturating_duration_since(last));
        let mut sessions = self.sessions();
        if let Some(late) = late {
            sessions.extend_leases(late);
            tracing::warn!(
                term = self.term,
                late_ms = late.as_millis(),
                "the leader's clock was late; leases extended"
            );
        }
        let expired = sessions.take_expired(now);
        drop(sessions);
        for worker in expired {
            let leader = Arc::clone(self);
            self.tasks.spawn(async move { leader.expire(worker).await });
        }
    }

    async fn expire(&self, worker: WorkerEpoch) {
        let lease_ms = self.settings.lease.as_millis();
        let command = Command::ExpireWorker {
            worker,
            term: self.term,
            reason: format!("no word from it for {lease_ms} ms"),
        };
        tracing::warn!(
            worker_id = %worker.worker,
            worker_epoch = worker.epoch.0,
            term = self.term,
            "lease of worker ran out"
        );
        match self.propose(vec![command]).await.as_deref() {
            Ok([Reply::Rejected(Rejection::StaleEpoch { .. } | Rejection::UnknownWorker(_))]) => {
                // It is gone, or back under a new epoch, which has its own session.
                self.sessions().finish(worker);
            }
            // The event ends the session too, but a slow reader skips events.
            Ok([Reply::Done]) => self.sessions().finish(worker),
            Ok(_) => {}
            Err(LeaderError::NotLeader) => {}
            Err(error) => {
                tracing::warn!(worker_id = %worker.worker, error = %error, "expiry not committed");
                self.sessions().retry_expiry(worker);
            }
        }
    }
}

/// By how much a tick was late, if that is to be made good.
fn lateness(since_last: Duration) -> Option<Duration> {
    let late = since_last.saturating_sub(TICK);
    (late > LATE_MIN).then_some(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_late_by_over_a_second_counts_and_an_ordinary_one_does_not() {
        assert_eq!(lateness(TICK), None);
        assert_eq!(lateness(Duration::from_millis(1_050)), None);
        assert_eq!(
            lateness(Duration::from_millis(5_100)),
            Some(Duration::from_secs(5))
        );
    }
}
