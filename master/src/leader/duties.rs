//! What a leader owes, derived from the state at every look.
//!
//! No duty is remembered: a new leader finds the same ones. Only "is being done
//! right now" is kept, so that a segment is not probed twice at once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vivat_core::command::Command;
use vivat_core::duties;
use vivat_shared::ids::{AttemptId, WorkerEpoch};

use super::Leader;
use super::probe::{self, Finding};

/// How often duties are looked for; events wake the loop earlier.
const TICK: Duration = Duration::from_millis(500);
/// Probes at once.
const PROBES_MAX: usize = 64;
/// Jobs that one look ends or forgets; the next look takes the rest.
const JOBS_MAX: usize = 256;

type Suspect = (AttemptId, WorkerEpoch);

/// Suspects that are being probed.
type Probing = Arc<Mutex<BTreeSet<Suspect>>>;

/// Does what is due until leadership closes.
pub(super) async fn run(leader: Arc<Leader>) {
    let probing = Probing::default();
    loop {
        let age_ms = leader.raft.age_ms(leader.term);
        let due = leader.raft.read(|state| duties::due(state, age_ms));
        for suspect in due.suspects {
            leader.investigate(&probing, suspect);
        }
        leader.empty_draining();
        let jobs = (due
            .timed_out
            .into_iter()
            .map(|job| Command::TimeOutJob { job }))
        .chain(due.forget.into_iter().map(|job| Command::ForgetJob { job }))
        .chain(due.revoke.into_iter().map(|worker| {
            let term = leader.term;
            Command::RevokeAttempts { worker, term }
        }))
        .chain(
            due.give_up
                .into_iter()
                .map(|job| Command::GiveUpNotice { job }),
        )
        .take(JOBS_MAX)
        .collect::<Vec<_>>();
        if !jobs.is_empty()
            && let Err(error) = leader.propose(jobs).await
        {
            tracing::debug!(term = leader.term, error = %error, "duties not committed");
        }
        tokio::select! {
            () = leader.closed.cancelled() => return,
            _ = tokio::time::timeout(TICK, leader.wake_duties.notified()) => {}
        }
    }
}

impl Leader {
    fn investigate(self: &Arc<Self>, probing: &Probing, suspect: Suspect) {
        {
            let mut now = probing.lock().unwrap_or_else(PoisonError::into_inner);
            if now.len() >= PROBES_MAX || !now.insert(suspect) {
                return;
            }
        }
        let leader = Arc::clone(self);
        let probing = Arc::clone(probing);
        self.tasks.spawn(async move {
            tokio::select! {
                () = leader.closed.cancelled() => {}
                () = leader.judge(suspect) => {}
            }
            probing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&suspect);
        });
    }

    async fn judge(&self, (map, holder): Suspect) {
        let finding = match self.raft.read(|state| super::address_of(state, holder)) {
            Some(address) => {
                let transport = &self.raft.ground().transport;
                probe::segments(transport, &address, holder, map).await
            }
            // Expired meanwhile: its segments went with it.
            None => return,
        };
        let healthy = match &finding {
            Finding::Healthy => true,
            Finding::Damaged { .. } | Finding::Unreachable => false,
        };
        tracing::info!(
            attempt = %map,
            worker_id = %holder.worker,
            healthy,
            finding = ?finding,
            "probed a suspected segment"
        );
        let command = Command::JudgeSegment {
            term: self.term,
            map,
            holder,
            healthy,
        };
        if let Err(error) = self.propose_one(command).await {
            tracing::debug!(attempt = %map, error = %error, "judgement not taken");
        }
    }
}
