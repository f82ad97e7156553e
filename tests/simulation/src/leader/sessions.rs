//! What a leader remembers of its workers; see `vivat_master::leader::sessions`.

use std::collections::{BTreeMap, BTreeSet};

use vivat_core::command::Grant;
use vivat_core::{AttemptLiveness, LivenessView, WorkerLiveness};
use vivat_shared::ids::{AttemptId, Epoch, WorkerEpoch, WorkerId};

use super::{LEASE_MS, TAKE_BACK_PAUSE_MS};
use crate::event::{CallId, Caller};

/// A pull that waits.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub number: u64,
    pub call: CallId,
    pub from: Caller,
    pub held: Vec<AttemptId>,
    pub want: u32,
    pub control_free: bool,
}

#[derive(Debug)]
pub(super) struct Session {
    pub epoch: Epoch,
    pub believed_until_ms: u64,
    pub expiring: bool,
    pub held: BTreeSet<AttemptId>,
    /// Attempts in a slot.
    pub running: BTreeMap<AttemptId, AttemptLiveness>,
    granting: u32,
    granting_control: u32,
    pub kill: Vec<AttemptId>,
    pub take_back: Vec<AttemptId>,
    pub took_back_at_ms: Option<u64>,
    pub waiter: Option<Waiter>,
    pub pulled: bool,
}

impl Session {
    fn liveness(&self) -> WorkerLiveness {
        let waiter = self.waiter.as_ref();
        WorkerLiveness {
            epoch: self.epoch,
            want: waiter.map_or(0, |waiter| waiter.want.saturating_sub(self.granting)),
            control_free: self.granting_control == 0
                && waiter.is_some_and(|waiter| waiter.control_free),
            pulled: self.pulled,
        }
    }
}

/// Of all workers.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_worker: BTreeMap<WorkerId, Session>,
    pulls: u64,
    /// The cluster's age when the leader opened.
    pub opened_age_ms: u64,
}

impl Sessions {
    pub fn next_number(&mut self) -> u64 {
        self.pulls += 1;
        self.pulls
    }

    /// Begins a session with a fresh lease, unless this epoch or a later one has
    /// one. Answers the former one's waiting pull, whose epoch is over.
    pub fn begin(&mut self, worker: WorkerEpoch, now_ms: u64) -> Option<Waiter> {
        let known = self.by_worker.get(&worker.worker);
        if known.is_some_and(|session| session.epoch >= worker.epoch) {
            return None;
        }
        let session = Session {
            epoch: worker.epoch,
            believed_until_ms: now_ms + LEASE_MS,
            expiring: false,
            held: BTreeSet::new(),
            running: BTreeMap::new(),
            granting: 0,
            granting_control: 0,
            kill: Vec::new(),
            take_back: Vec::new(),
            took_back_at_ms: None,
            waiter: None,
            pulled: false,
        };
        self.by_worker.insert(worker.worker, session)?.waiter
    }

    pub fn finish(&mut self, worker: WorkerEpoch) -> Option<Waiter> {
        self.get(worker)?;
        self.by_worker.remove(&worker.worker)?.waiter
    }

    pub fn get(&self, worker: WorkerEpoch) -> Option<&Session> {
        self.by_worker
            .get(&worker.worker)
            .filter(|session| session.epoch == worker.epoch)
    }

    pub fn get_mut(&mut self, worker: WorkerEpoch) -> Option<&mut Session> {
        self.by_worker
            .get_mut(&worker.worker)
            .filter(|session| session.epoch == worker.epoch)
    }

    pub fn hear(&mut self, worker: WorkerEpoch, now_ms: u64) -> bool {
        let Some(session) = self.get_mut(worker) else {
            return false;
        };
        session.believed_until_ms = session.believed_until_ms.max(now_ms + LEASE_MS);
        true
    }

    pub fn note_held(&mut self, worker: WorkerEpoch, held: &[AttemptId]) {
        if let Some(session) = self.get_mut(worker) {
            session.held = held.iter().copied().collect();
        }
    }

    pub fn extend_leases(&mut self, by_ms: u64) {
        for session in self.by_worker.values_mut() {
            session.believed_until_ms += by_ms;
        }
    }

    pub fn take_expired(&mut self, now_ms: u64) -> Vec<WorkerEpoch> {
        let over = self
            .by_worker
            .iter_mut()
            .filter(|(_, session)| session.believed_until_ms <= now_ms && !session.expiring);
        over.map(|(worker, session)| {
            session.expiring = true;
            WorkerEpoch {
                worker: *worker,
                epoch: session.epoch,
            }
        })
        .collect()
    }

    pub fn liveness(&self) -> LivenessView {
        LivenessView {
            workers: self
                .by_worker
                .iter()
                .filter(|(_, session)| !session.expiring)
                .map(|(worker, session)| (*worker, session.liveness()))
                .collect(),
            attempts: self
                .by_worker
                .values()
                .flat_map(|session| &session.running)
                .map(|(attempt, seen)| (*attempt, *seen))
                .collect(),
            since_age_ms: self.opened_age_ms,
        }
    }

    /// Notes which attempts a worker has in a slot; nothing is known of their bytes.
    pub fn note_running(&mut self, worker: WorkerEpoch, running: BTreeSet<AttemptId>, age_ms: u64) {
        if let Some(session) = self.get_mut(worker) {
            let known = std::mem::take(&mut session.running);
            let seen = running.into_iter().map(|attempt| {
                let first = AttemptLiveness::first(age_ms, 0);
                (attempt, known.get(&attempt).copied().unwrap_or(first))
            });
            session.running = seen.collect();
        }
    }

    pub fn granting(&mut self, grants: &[Grant]) {
        for grant in grants {
            if let Some(session) = self.get_mut(grant.worker) {
                if grant.task.kind.is_control() {
                    session.granting_control += 1;
                } else {
                    session.granting += 1;
                }
            }
        }
    }

    pub fn granted(&mut self, grants: &[Grant]) {
        for grant in grants {
            if let Some(session) = self.get_mut(grant.worker) {
                if grant.task.kind.is_control() {
                    session.granting_control = session.granting_control.saturating_sub(1);
                } else {
                    session.granting = session.granting.saturating_sub(1);
                }
            }
        }
    }

    pub fn take_all_waiting(&mut self) -> Vec<(CallId, Caller)> {
        self.by_worker
            .values_mut()
            .filter_map(|session| session.waiter.take())
            .map(|waiter| (waiter.call, waiter.from))
            .collect()
    }

    /// Workers that hold nothing and want something.
    pub fn idle(&self) -> BTreeMap<WorkerId, u32> {
        self.by_worker
            .iter()
            .filter(|(_, session)| session.held.is_empty() && !session.expiring)
            .map(|(worker, session)| (*worker, session.liveness().want))
            .filter(|(_, want)| *want > 0)
            .collect()
    }

    /// Workers from which attempts may be taken, with those that have not begun, and
    /// of how many of them.
    pub fn holders(&self, now_ms: u64) -> Vec<(WorkerEpoch, Vec<AttemptId>, usize)> {
        let rested = |session: &Session| {
            session
                .took_back_at_ms
                .is_none_or(|at_ms| at_ms + TAKE_BACK_PAUSE_MS < now_ms)
        };
        self.by_worker
            .iter()
            .filter(|(_, session)| rested(session))
            .map(|(worker, session)| {
                let worker = WorkerEpoch {
                    worker: *worker,
                    epoch: session.epoch,
                };
                let started = |attempt: &&AttemptId| session.running.contains_key(attempt);
                let waiting = session.held.iter().filter(|it| !started(it));
                let waiting: Vec<AttemptId> = waiting.copied().collect();
                let most = if session.running.is_empty() {
                    waiting.len() / 2
                } else {
                    waiting.len().div_ceil(2)
                };
                (worker, waiting, most)
            })
            .filter(|(_, _, most)| *most > 0)
            .collect()
    }
}
