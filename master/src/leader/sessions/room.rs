//! Room that workers have, and what they hold that has not started.

use std::collections::BTreeMap;

use tokio::time::Instant;
use vivat_core::command::Grant;
use vivat_core::{LivenessView, WorkerLiveness};
use vivat_shared::ids::{AttemptId, TaskKind, WorkerEpoch, WorkerId};

use super::{Session, Sessions};

/// A worker that holds attempts, as far as taking some back goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::leader) struct Holder {
    pub(in crate::leader) worker: WorkerEpoch,
    /// Held, by its last word, and without progress.
    pub(in crate::leader) not_started: Vec<AttemptId>,
    /// Some of what it holds is in a slot.
    pub(in crate::leader) is_busy: bool,
}

/// A worker without anything to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::leader) struct Idle {
    pub(in crate::leader) want: u32,
    /// It holds reduces that gather segments, or wait for maps that are not done:
    /// another map would help, another reduce would not.
    pub(in crate::leader) gathers: bool,
}

impl Session {
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
            pulled: self.pulled,
        }
    }
}

impl Sessions {
    /// What the scheduler sees.
    pub(in crate::leader) fn liveness(&self) -> LivenessView {
        LivenessView {
            workers: self
                .by_worker
                .iter()
                .filter(|(_, session)| !session.expiring)
                .map(|(&worker, session)| (worker, session.liveness()))
                .collect(),
            ..LivenessView::default()
        }
    }

    /// What the scheduler sees when it looks for stragglers: attempts, too.
    pub(in crate::leader) fn liveness_of_attempts(&self) -> LivenessView {
        let progress = self.by_worker.values().flat_map(|it| &it.progress);
        LivenessView {
            attempts: progress.map(|(attempt, seen)| (*attempt, *seen)).collect(),
            since_age_ms: self.opened_age_ms,
            ..self.liveness()
        }
    }

    /// Counts grants that are about to be proposed.
    pub(in crate::leader) fn granting(&mut self, grants: &[Grant]) {
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
    pub(in crate::leader) fn granted(&mut self, grants: &[Grant]) {
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

    /// Workers with room that no pending grant fills, and nothing in a slot or
    /// before it.
    pub(in crate::leader) fn idle(&self) -> BTreeMap<WorkerId, Idle> {
        let gathers = |session: &Session, attempt: &AttemptId| {
            attempt.task.kind == TaskKind::Reduce && !session.progress.contains_key(attempt)
        };
        self.by_worker
            .iter()
            .filter(|(_, session)| !session.expiring)
            .filter(|(_, session)| session.held.iter().all(|held| gathers(session, held)))
            .map(|(&worker, session)| {
                let idle = Idle {
                    want: session.liveness().want,
                    gathers: !session.held.is_empty(),
                };
                (worker, idle)
            })
            .filter(|(_, idle)| idle.want > 0)
            .collect()
    }

    /// Workers from which attempts may be taken: those not asked since `since`.
    pub(in crate::leader) fn holders(&self, since: Instant) -> Vec<Holder> {
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
                is_busy: !session.progress.is_empty(),
            })
            .filter(|holder| holder.not_started.len() > usize::from(!holder.is_busy))
            .collect()
    }
}
