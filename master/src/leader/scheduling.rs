//! The loop around the scheduler.
//!
//! The scheduler itself is a pure function in `vivat-core`. This loop gives it
//! the view of waiting pulls and proposes what it chose. One proposal is in
//! flight at a time: what idles meanwhile is granted together in the next, so
//! batches grow with the load, and no task is proposed twice. Room that a
//! proposal fills is taken off the view until its workers were answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vivat_core::command::{Command, Grant, Reply};

use super::Leader;
use super::error::LeaderError;

/// Waits that end by time alone (locality) are looked at this often.
const TICK: Duration = Duration::from_millis(100);
/// Grants of one proposal: 1,024 of about 20 bytes fit an entry twice over.
const GRANTS_MAX: usize = 1_024;
/// Stragglers are looked for this often: heartbeats tell no more.
const BACKUP_PERIOD: Duration = Duration::from_secs(1);
/// After a proposal that was refused or got lost.
const PAUSE: Duration = Duration::from_millis(50);

/// Schedules until leadership closes.
pub(super) async fn run(leader: Arc<Leader>) {
    let mut looked_at = None;
    loop {
        tokio::select! {
            () = leader.closed.cancelled() => return,
            _ = tokio::time::timeout(TICK, leader.wake_scheduler.notified()) => {}
        }
        while !leader.closed.is_cancelled() {
            let mut grants = leader.choose();
            if grants.is_empty() {
                leader.take_back();
                if looked_at.is_some_and(|at: Instant| at.elapsed() < BACKUP_PERIOD) {
                    break;
                }
                looked_at = Some(Instant::now());
                grants = leader.choose_backups();
            }
            if grants.is_empty() {
                break;
            }
            if leader.grant(grants).await.is_err() {
                tokio::time::sleep(PAUSE).await;
                break;
            }
        }
    }
}

impl Leader {
    fn choose(&self) -> Vec<Grant> {
        let liveness = self.sessions().liveness();
        let room = |view: &vivat_core::WorkerLiveness| view.want > 0 || view.control_free;
        if !liveness.workers.values().any(room) {
            return Vec::new();
        }
        let age_ms = self.raft.age_ms(self.term);
        self.raft
            .read(|state| vivat_core::schedule(state, &liveness, age_ms, GRANTS_MAX))
    }

    /// Backups for stragglers, if slots are free.
    fn choose_backups(&self) -> Vec<Grant> {
        let liveness = self.sessions().liveness_of_attempts();
        if !liveness.workers.values().any(|view| view.want > 0) {
            return Vec::new();
        }
        let age_ms = self.raft.age_ms(self.term);
        let backups = self
            .raft
            .read(|state| vivat_core::backups(state, &liveness, age_ms));
        for backup in &backups {
            tracing::info!(
                task_id = %backup.task,
                worker_id = %backup.worker.worker,
                term = self.term,
                "backing a straggler up"
            );
        }
        self.metrics.backups.inc_by(backups.len() as u64);
        backups
    }

    async fn grant(&self, grants: Vec<Grant>) -> Result<(), LeaderError> {
        self.sessions().granting(&grants);
        let command = Command::AssignAttempts {
            term: self.term,
            grants: grants.clone(),
        };
        let answered = self.propose_one(command).await;
        // Deliver first, then give the room back to the view: a pull that was
        // filled must be gone before its room could be seen again.
        let workers: BTreeSet<_> = grants.iter().map(|grant| grant.worker).collect();
        for worker in workers {
            self.poke(worker);
        }
        self.sessions().granted(&grants);
        match answered {
            Ok(Reply::Assigned(answers)) => {
                let refused = answers.iter().filter(|answer| answer.is_err()).count();
                self.metrics.grants_refused.inc_by(refused as u64);
                if refused == answers.len() {
                    // All refused: the view was stale. Do not spin on it.
                    return Err(LeaderError::Overloaded {
                        what: "grants that were refused",
                    });
                }
                Ok(())
            }
            Ok(
                Reply::Done
                | Reply::Job { .. }
                | Reply::Retried { .. }
                | Reply::Registered(_)
                | Reply::Dataset { .. }
                | Reply::Version(_)
                | Reply::Rejected(_),
            ) => Ok(()),
            Err(error) => {
                tracing::debug!(term = self.term, error = %error, "grants not committed");
                Err(error)
            }
        }
    }
}
