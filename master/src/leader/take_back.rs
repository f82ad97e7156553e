//! Takes attempts that have not started from workers that hold many, when
//! others idle and nothing else is left to grant.
//!
//! Prefetch keeps workers busy while masters elect, and near the end of a round
//! it leaves one with a queue and another with nothing. The order is a request:
//! the holder hands back what has not started (outcome killed), `apply` makes
//! the tasks idle, and the scheduler places them. At most half of what waits is
//! asked for, and no worker is asked again for a while, so a wrong guess costs
//! little and does not repeat.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use vivat_core::State;
use vivat_core::state::Worker;
use vivat_shared::ids::{AttemptId, TaskKind, WorkerEpoch, WorkerId};

use super::Leader;
use super::sessions::{Holder, Idle};

/// A worker is asked at most once in this time: longer than a heartbeat, so
/// that its list of held attempts is fresh.
const PAUSE: Duration = Duration::from_millis(1_500);

impl Leader {
    /// Orders attempts back if some workers idle; called when there was nothing
    /// to grant.
    pub(super) fn take_back(&self) {
        let now = Instant::now();
        let waiting = self.sessions().with_room();
        let (Some(since), false) = (now.checked_sub(PAUSE), waiting.is_empty()) else {
            return;
        };
        let slots: Vec<(WorkerId, u32)> = self.raft.read(|state| {
            let slots_of = |id: WorkerId| Some((id, state.worker(id)?.info.slots));
            waiting.into_iter().filter_map(slots_of).collect()
        });
        let (idle, holders) = {
            let sessions = self.sessions();
            (sessions.idle(&slots), sessions.holders(since))
        };
        if idle.is_empty() || holders.is_empty() {
            return;
        }
        let orders = self.raft.read(|state| {
            choose(&idle, &holders, |attempt, worker| {
                can_move(state, attempt, worker)
            })
        });
        for (worker, attempts) in orders {
            tracing::info!(
                worker_id = %worker.worker,
                attempts = attempts.len(),
                term = self.term,
                "asking for attempts back: other workers idle"
            );
            self.metrics.taken_back.inc_by(attempts.len() as u64);
            self.sessions().order_take_back(worker, &attempts, now);
            self.poke(worker);
        }
    }
}

impl Leader {
    /// Asks draining workers for all that has not started there.
    pub(super) fn empty_draining(&self) {
        let draining = self.raft.read(|state| {
            let drains = |worker: &&Worker| worker.is_registered() && !worker.accepts_work();
            let workers = state.workers().filter(drains);
            workers.map(Worker::current).collect::<Vec<_>>()
        });
        let now = Instant::now();
        let (Some(since), false) = (now.checked_sub(PAUSE), draining.is_empty()) else {
            return;
        };
        let holders = self.sessions().holders(since);
        for Holder {
            worker,
            not_started,
            is_busy: _,
        } in holders
        {
            let attempts: Vec<AttemptId> = not_started
                .into_iter()
                .filter(|attempt| !attempt.task.kind.is_control())
                .collect();
            if draining.contains(&worker) && !attempts.is_empty() {
                self.sessions().order_take_back(worker, &attempts, now);
                self.poke(worker);
            }
        }
    }
}

/// Which attempts to ask back, by holder: of each at most half of those that
/// have not started (rounded up, if one of its attempts has), in all at most the
/// idle room.
fn choose(
    idle: &BTreeMap<WorkerId, Idle>,
    holders: &[Holder],
    can_move: impl Fn(AttemptId, WorkerId) -> bool,
) -> Vec<(WorkerEpoch, Vec<AttemptId>)> {
    let mut room: u64 = idle.values().map(|it| u64::from(it.want)).sum();
    let mut orders = Vec::new();
    for holder in holders {
        let waiting = holder.not_started.len();
        // Behind an attempt that takes long even a single one waits for nothing.
        let half = if holder.is_busy {
            waiting.div_ceil(2)
        } else {
            waiting / 2
        };
        let most = half.min(usize::try_from(room).unwrap_or(usize::MAX));
        // From the end: the first ones are the next to start.
        let attempts: Vec<AttemptId> = holder
            .not_started
            .iter()
            .rev()
            .filter(|attempt| !attempt.task.kind.is_control())
            .filter(|&&attempt| {
                idle.iter().any(|(&worker, idle)| {
                    let helps = attempt.task.kind == TaskKind::Map || !idle.gathers;
                    helps && worker != holder.worker.worker && can_move(attempt, worker)
                })
            })
            .take(most)
            .copied()
            .collect();
        if !attempts.is_empty() {
            room -= attempts.len() as u64;
            orders.push((holder.worker, attempts));
        }
    }
    orders
}

/// Whether a worker sees the paths that the attempt's job names.
fn can_move(state: &State, attempt: AttemptId, worker: WorkerId) -> bool {
    let (Some(job), Some(worker)) = (state.job(attempt.job()), state.worker(worker)) else {
        return false;
    };
    worker.accepts_work() && worker.sees_paths_of(job)
}

#[cfg(test)]
mod tests {
    use vivat_shared::ids::{Epoch, JobId, RoundId, TaskId};

    use super::*;

    fn attempt(index: u32) -> AttemptId {
        let round = RoundId {
            job: JobId(1),
            step: 0,
            round: 0,
        };
        AttemptId {
            task: TaskId {
                round,
                kind: TaskKind::Map,
                index,
            },
            number: 1,
        }
    }

    fn holder(worker: u32, count: u32) -> Holder {
        Holder {
            worker: WorkerEpoch {
                worker: WorkerId(worker),
                epoch: Epoch(1),
            },
            not_started: (0..count).map(attempt).collect(),
            is_busy: false,
        }
    }

    fn idle(want: u32) -> BTreeMap<WorkerId, Idle> {
        let gathers = false;
        BTreeMap::from([(WorkerId(2), Idle { want, gathers })])
    }

    #[test]
    fn who_gathers_segments_is_given_maps_and_no_reduces() {
        let mut idle = idle(1);
        idle.values_mut().for_each(|it| it.gathers = true);
        let mut maps = holder(1, 2);
        assert_eq!(choose(&idle, &[maps.clone()], |_, _| true).len(), 1);
        for attempt in &mut maps.not_started {
            attempt.task.kind = TaskKind::Reduce;
        }
        assert!(choose(&idle, &[maps], |_, _| true).is_empty());
    }

    #[test]
    fn at_most_half_of_what_waits_is_taken_and_the_last_first() {
        let idle = idle(10);
        let orders = choose(&idle, &[holder(1, 5)], |_, _| true);
        assert_eq!(orders.len(), 1);
        assert_eq!(orders[0].1, [attempt(4), attempt(3)]);
    }

    #[test]
    fn the_only_one_that_waits_behind_a_running_attempt_is_taken() {
        let idle = idle(1);
        let one = holder(1, 1);
        assert!(choose(&idle, std::slice::from_ref(&one), |_, _| true).is_empty());
        let busy = Holder {
            is_busy: true,
            ..one
        };
        assert_eq!(choose(&idle, &[busy], |_, _| true)[0].1, [attempt(0)]);
    }

    #[test]
    fn no_more_is_taken_than_idle_workers_want() {
        let idle = idle(3);
        let orders = choose(&idle, &[holder(1, 5), holder(3, 40)], |_, _| true);
        let taken: usize = orders.iter().map(|(_, attempts)| attempts.len()).sum();
        assert_eq!(taken, 3);
    }

    #[test]
    fn nothing_is_taken_that_no_idle_worker_could_run() {
        let idle = idle(3);
        assert!(choose(&idle, &[holder(1, 5)], |_, _| false).is_empty());
    }
}
