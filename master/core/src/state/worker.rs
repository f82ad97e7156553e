//! A worker as the log knows it: registered or lost, never "late".

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vivat_shared::ids::{AttemptId, Epoch, WorkerEpoch, WorkerId};
use vivat_shared::limits::PREFETCH_PER_SLOT_MAX;
use vivat_shared::notify::Notify;

use super::job::Job;
use super::pace::Pace;
use crate::command::WorkerInfo;
use crate::limits::EARLY_REDUCES_PER_SLOT;

/// Whether a worker's epoch is current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// Its epoch is current.
    Registered {
        /// Gets nothing new.
        draining: bool,
    },
    /// Its epoch is over.
    Lost {
        /// Why.
        reason: String,
        /// Position in the order of losses.
        order: u64,
    },
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Who.
    pub id: WorkerId,
    /// Its last registration.
    pub epoch: Epoch,
    /// What it said then.
    pub info: WorkerInfo,
    /// Whether that registration holds.
    pub presence: Presence,
    /// The cluster's age when it registered.
    pub registered_age_ms: u64,
    /// The cluster's age at which a drain takes away what still runs.
    pub drained_by_age_ms: Option<u64>,
    /// What is granted to it: an index over the jobs' tables.
    pub running: BTreeSet<AttemptId>,
    /// How fast it was.
    pub pace: Pace,
}

impl Worker {
    /// Worker and registration.
    #[must_use]
    pub fn current(&self) -> WorkerEpoch {
        WorkerEpoch {
            worker: self.id,
            epoch: self.epoch,
        }
    }

    /// The most attempts that it may be granted at once: what its slots run and
    /// prefetch, reduces that only fetch, and one control task.
    #[must_use]
    pub fn held_max(&self) -> u32 {
        let per_slot = 1 + PREFETCH_PER_SLOT_MAX + EARLY_REDUCES_PER_SLOT;
        self.info.slots.saturating_mul(per_slot).saturating_add(1)
    }

    /// The most that it may hold when it is given another reduce. The rest of
    /// [`Self::held_max`] is for maps: reduces that wait for a lost map must
    /// leave room for that map to run again.
    #[must_use]
    pub fn reduces_held_max(&self) -> u32 {
        self.held_max()
            .saturating_sub(self.info.slots.saturating_add(1))
    }

    /// What it is granted.
    #[must_use]
    pub fn held(&self) -> u32 {
        u32::try_from(self.running.len()).unwrap_or(u32::MAX)
    }

    /// Whether its epoch is current.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        match self.presence {
            Presence::Registered { .. } => true,
            Presence::Lost { .. } => false,
        }
    }

    /// Whether it sees the paths that a job names.
    #[must_use]
    pub fn sees_paths_of(&self, job: &Job) -> bool {
        job.host.as_ref().is_none_or(|host| *host == self.info.host)
    }

    /// Whether it can tell of a job's end: a URL anyone, a command whoever sees the
    /// job's paths.
    #[must_use]
    pub fn may_tell_of(&self, job: &Job) -> bool {
        match job.spec.notify {
            Some(Notify::Webhook { .. }) => true,
            Some(Notify::Command { .. }) | None => self.sees_paths_of(job),
        }
    }

    /// Whether it may be given something new.
    #[must_use]
    pub fn accepts_work(&self) -> bool {
        match self.presence {
            Presence::Registered { draining } => !draining,
            Presence::Lost { .. } => false,
        }
    }
}
