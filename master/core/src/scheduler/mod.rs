//! Who runs what next.
//!
//! A pure function of the state and of what the leader sees of the workers. It
//! may be wrong or late: `apply` verifies every grant. Jobs take turns, highest
//! priority first, then the one with the fewest granted attempts, then the
//! oldest; each turn places one task. Only workers whose pull waits are given
//! anything, and never so much at once that a slow worker could hold up the end
//! of a round. When nothing is left to place, [`backups`] looks for stragglers.

mod backup;
mod desk;
mod locality;

use std::collections::BTreeMap;

use vivat_shared::ids::{AttemptId, Epoch, WorkerId};

use crate::command::Grant;
use crate::state::{Lane, State, Worker};
pub use backup::backups;
use desk::Desk;
pub(crate) use locality::holders;

/// What the leader sees of the workers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LivenessView {
    /// Workers whose lease holds.
    pub workers: BTreeMap<WorkerId, WorkerLiveness>,
    /// Attempts that their workers said are in a slot.
    pub attempts: BTreeMap<AttemptId, AttemptLiveness>,
    /// The cluster's age since which it is looked: a leader's opening.
    pub since_age_ms: u64,
}

/// How far an attempt in a slot is. Ages are the cluster's, see [`crate::age`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLiveness {
    /// When it was first seen.
    pub since_age_ms: u64,
    /// Bytes done then.
    pub bytes_at_first: u64,
    /// Bytes done by its worker's last word.
    pub bytes: u64,
    /// When they were last seen to be more than before.
    pub moved_age_ms: u64,
}

impl AttemptLiveness {
    /// Seen for the first time.
    #[must_use]
    pub fn first(age_ms: u64, bytes: u64) -> Self {
        Self {
            since_age_ms: age_ms,
            bytes_at_first: bytes,
            bytes,
            moved_age_ms: age_ms,
        }
    }

    /// Seen again.
    #[must_use]
    pub fn then(mut self, age_ms: u64, bytes: u64) -> Self {
        if bytes > self.bytes {
            self.bytes = bytes;
            self.moved_age_ms = age_ms;
        }
        self
    }
}

/// One worker whose lease holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerLiveness {
    /// Its registration.
    pub epoch: Epoch,
    /// Attempts that its pending pull can still take; 0 without one. Reduces
    /// that only fetch hold no slot and must not lower it.
    pub want: u32,
    /// Whether a pull is pending and its control slot is free.
    pub control_free: bool,
    /// Whether it pulled under this registration. It does so only when it has
    /// told which segments it still has.
    pub pulled: bool,
}

impl LivenessView {
    /// Every registered worker, wanting nothing: what a replica that does not
    /// lead can say.
    #[must_use]
    pub fn of_registered(state: &State) -> Self {
        let idle = |worker: &Worker| WorkerLiveness {
            epoch: worker.epoch,
            want: 0,
            control_free: false,
            pulled: true,
        };
        Self {
            workers: state
                .workers()
                .filter(|worker| worker.is_registered())
                .map(|worker| (worker.id, idle(worker)))
                .collect(),
            ..Self::default()
        }
    }

    /// What is seen of a worker, if it is registered as it is seen.
    #[must_use]
    pub fn of(&self, worker: &Worker) -> Option<WorkerLiveness> {
        self.workers
            .get(&worker.id)
            .copied()
            .filter(|seen| worker.is_registered() && seen.epoch == worker.epoch)
    }
}

/// Chooses up to `limit` grants. A map that may yet be restored waits for its
/// worker a little, by the cluster's age.
#[must_use]
pub fn schedule(state: &State, liveness: &LivenessView, age_ms: u64, limit: usize) -> Vec<Grant> {
    let mut desk = Desk::open(state, liveness, age_ms, limit);
    desk.fill(Lane::Control);
    desk.tell();
    desk.fill(Lane::Work);
    desk.into_grants()
}
