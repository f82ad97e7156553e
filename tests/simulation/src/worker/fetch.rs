//! How a reduce gathers its segments from other machines.

use vivat_shared::attempt::{FetchFailure, SegmentLocation};
use vivat_shared::ids::{AttemptId, SegmentId, TaskId, TaskKind};

use super::{Held, Pending, Phase};
use crate::event::{MachineAt, Request, WorkerTimer};
use crate::evidence::Fact;
use crate::world::World;

/// Tries before silence is a failure.
const TRIES: u32 = 2;
/// Between two complaints about one segment.
const COMPLAINT_PAUSE_MS: u64 = 1_000;

/// How a fetch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetched {
    Whole,
    Gone,
    Unreachable,
}

impl World {
    /// Asks the leader where segments are.
    pub(super) fn look_for_segments(&mut self, at: MachineAt, attempt: AttemptId) {
        let own = |pending: &Pending| matches!(pending, Pending::Locate(of) if *of == attempt);
        if self.is_calling(at, own) {
            return;
        }
        let Some(process) = self.process_mut(at) else {
            return;
        };
        let fetching = |held: &Held| matches!(held.phase, Phase::Fetching);
        let (Some(worker), true) = (
            process.epoch,
            process.held.get(&attempt).is_some_and(fetching),
        ) else {
            return;
        };
        let body = Request::Locate {
            worker,
            reducer: attempt,
        };
        self.call(at, Pending::Locate(attempt), body);
    }

    pub(super) fn fetch_again(&mut self, at: MachineAt, attempt: AttemptId) {
        let delay_ms = self.ground.dice.within(100..=400);
        self.worker_timer(delay_ms, at, WorkerTimer::Fetch { attempt });
    }

    pub(super) fn gather(
        &mut self,
        at: MachineAt,
        attempt: AttemptId,
        maps: u32,
        locations: &[SegmentLocation],
    ) {
        for location in locations {
            let gathered = match self.fetching(at, attempt) {
                None => return,
                Some(held) => held.gathered.contains(&location.map),
            };
            if gathered {
                continue;
            }
            let fetched = if location.size.is_empty() {
                Fetched::Whole
            } else {
                self.fetch(at, attempt, location)
            };
            if fetched == Fetched::Whole {
                if let Some(held) = self.fetching(at, attempt) {
                    held.gathered.insert(location.map);
                }
            } else {
                self.complain(at, attempt, location, fetched);
            }
        }
        let Some(held) = self.fetching(at, attempt) else {
            return;
        };
        if held.gathered.len() < maps as usize {
            self.fetch_again(at, attempt);
            return;
        }
        held.phase = Phase::Ready;
        if let Some(process) = self.process_mut(at) {
            process.ready.push_back(attempt);
        }
        self.fill_slots(at);
        self.pull_work(at);
    }

    fn fetching(&mut self, at: MachineAt, attempt: AttemptId) -> Option<&mut Held> {
        self.process_mut(at)?
            .held
            .get_mut(&attempt)
            .filter(|held| matches!(held.phase, Phase::Fetching))
    }

    fn fetch(&mut self, at: MachineAt, reducer: AttemptId, location: &SegmentLocation) -> Fetched {
        let map = map_of(reducer, location);
        let here = &self.machines[at];
        if here.lies && self.ground.dice.chance(700) {
            self.ground.note(Fact::FetchLied);
            return Fetched::Unreachable;
        }
        let Some(there) = self.machine_of(location.holder.worker) else {
            return Fetched::Unreachable;
        };
        if there == at {
            let whole = self.machines[at].disk.contains_key(&map);
            return if whole { Fetched::Whole } else { Fetched::Gone };
        }
        if self.machines[at].cut_from.contains(&there) {
            self.ground.note(Fact::FetchCut);
            return Fetched::Unreachable;
        }
        let lost = self.ground.weather.loss / 2;
        if !self.answers(there) || self.ground.dice.chance(lost) {
            return Fetched::Unreachable;
        }
        if self.machines[there].disk.contains_key(&map) {
            Fetched::Whole
        } else {
            Fetched::Gone
        }
    }

    /// Tells the leader, not at the first try and not all the time.
    fn complain(
        &mut self,
        at: MachineAt,
        reducer: AttemptId,
        location: &SegmentLocation,
        fetched: Fetched,
    ) {
        let now_ms = self.ground.now_ms;
        let gone = fetched == Fetched::Gone;
        let Some(held) = self.fetching(at, reducer) else {
            return;
        };
        let (tries, complained_at_ms) = held
            .failed_fetches
            .entry((location.map, location.attempt))
            .or_insert((0, 0));
        *tries += 1;
        let due = now_ms >= *complained_at_ms + COMPLAINT_PAUSE_MS;
        if (*tries < TRIES && !gone) || !due {
            return;
        }
        *complained_at_ms = now_ms;
        let Some(worker) = self.process_mut(at).and_then(|process| process.epoch) else {
            return;
        };
        let failure = FetchFailure {
            reducer,
            segment: SegmentId {
                attempt: map_of(reducer, location),
                partition: reducer.task.index,
            },
            holder: location.holder,
            gone,
        };
        let body = Request::FetchFailure { worker, failure };
        self.call(at, Pending::Complain, body);
    }
}

fn map_of(reducer: AttemptId, location: &SegmentLocation) -> AttemptId {
    AttemptId {
        task: TaskId {
            round: reducer.task.round,
            kind: TaskKind::Map,
            index: location.map,
        },
        number: location.attempt,
    }
}
