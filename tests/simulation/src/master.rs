//! Masters as processes: a replica that applies at its own speed, a clock that
//! is not to be trusted, and now and then a leader's soft state.

use vivat_core::{AgeClock, State, apply, snapshot};

use crate::event::{Event, MasterAt};
use crate::evidence::Fact;
use crate::leader::Leader;
use crate::oracle::Violation;
use crate::world::World;

/// What all wall clocks show when a run begins, in milliseconds since 1970.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// How a master is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Up,
    /// Stopped, as by SIGSTOP.
    Frozen {
        until_ms: u64,
    },
    Down,
}

/// One master.
#[derive(Debug)]
pub struct Master {
    pub state: State,
    pub condition: Condition,
    /// How far its wall clock is off.
    pub clock_off_ms: i64,
    /// By its monotonic clock.
    age: AgeClock,
    pub leader: Option<Leader>,
    /// What it would restart from.
    snapshot: Option<Vec<u8>>,
    /// An `Apply` is on the agenda.
    applies: bool,
}

impl Default for Master {
    fn default() -> Self {
        Self {
            state: State::new(),
            condition: Condition::Up,
            clock_off_ms: 0,
            age: AgeClock::default(),
            leader: None,
            snapshot: None,
            applies: false,
        }
    }
}

impl World {
    pub fn is_up(&self, at: MasterAt) -> bool {
        self.masters[at].condition == Condition::Up
    }

    /// Until when events of a stopped process wait; none when it runs.
    pub fn frozen_for_ms(&self, at: MasterAt) -> Option<u64> {
        match self.masters[at].condition {
            Condition::Up | Condition::Down => None,
            // At least 1, so that what waits for the thaw does not spin until then.
            Condition::Frozen { until_ms } => {
                Some(until_ms.saturating_sub(self.ground.now_ms).max(1))
            }
        }
    }

    /// What a master's wall clock shows, in milliseconds since 1970.
    pub fn wall_clock_ms(&self, at: MasterAt) -> u64 {
        let now_ms = i64::try_from(self.ground.now_ms).unwrap_or(i64::MAX);
        let shown = EPOCH_MS + now_ms + self.masters[at].clock_off_ms;
        u64::try_from(shown).unwrap_or(0)
    }

    /// The cluster's age by a master's monotonic clock, as a leader in a term.
    pub fn age_ms(&mut self, at: MasterAt, term: u64) -> u64 {
        let monotonic_ms = self.ground.now_ms;
        let Master { state, age, .. } = &mut self.masters[at];
        age.read(term, state.age_ms(), monotonic_ms)
    }

    /// Lets a replica apply what is decided: a leader soon, others when they come
    /// to it.
    pub fn apply_soon(&mut self, at: MasterAt) {
        if self.masters[at].applies || self.masters[at].condition == Condition::Down {
            return;
        }
        self.masters[at].applies = true;
        let lags = self.faulty && self.ground.dice.chance(20);
        let delay_ms = if lags {
            self.ground.note(Fact::ReplicaLagged);
            self.ground.dice.within(500..=4_000)
        } else if self.raft.leader == Some(at) {
            self.ground.dice.within(0..=2)
        } else {
            self.ground.dice.within(1..=200)
        };
        self.ground.after(delay_ms, Event::Apply { master: at });
    }

    pub fn on_apply(&mut self, at: MasterAt) {
        self.masters[at].applies = false;
        if self.masters[at].condition == Condition::Down {
            return;
        }
        if let Some(delay_ms) = self.frozen_for_ms(at) {
            self.masters[at].applies = true;
            self.ground.after(delay_ms, Event::Apply { master: at });
            return;
        }
        loop {
            let index = self.masters[at].state.applied_index() + 1;
            // Ids in the log are one above positions.
            let Some(entry) = usize::try_from(index - 1)
                .ok()
                .and_then(|position| self.raft.log.get(position))
            else {
                break;
            };
            let state = &mut self.masters[at].state;
            let Some(append) = &entry.append else {
                state.note_index(index);
                self.oracle.compare(index, at, &self.masters[at].state);
                continue;
            };
            let applied = apply(state, index, &append.proposal);
            let origin = append.origin;
            self.oracle.compare(index, at, &self.masters[at].state);
            self.on_applied(at, origin, applied);
        }
    }

    pub fn take_snapshot(&mut self, at: MasterAt) {
        if self.masters[at].condition == Condition::Down {
            return;
        }
        self.ground.note(Fact::SnapshotTaken);
        let state = &self.masters[at].state;
        self.oracle.compare_whole(at, state);
        self.masters[at].snapshot = Some(snapshot::encode(state));
        let index = self.masters[at].state.applied_index();
        self.ground
            .say(|| format!("seat {at}: snapshot at {index}"));
    }

    /// A replica that fell behind takes another's snapshot over its own state.
    pub fn install_snapshot(&mut self, from: MasterAt, to: MasterAt) {
        let ahead =
            self.masters[from].state.applied_index() > self.masters[to].state.applied_index();
        let follows = self.masters[to].leader.is_none() && self.is_up(to);
        if !ahead || !follows || self.masters[from].condition == Condition::Down {
            return;
        }
        self.take_snapshot(from);
        let bytes = self.masters[from].snapshot.clone();
        self.masters[to].snapshot = bytes;
        self.restore_replica(to);
        self.ground.note(Fact::SnapshotInstalled);
        self.apply_soon(to);
    }

    fn restore_replica(&mut self, at: MasterAt) {
        let decoded = self.masters[at].snapshot.as_deref().map(snapshot::decode);
        self.masters[at].state = match decoded {
            None => State::new(),
            Some(Ok(state)) => {
                self.ground.note(Fact::ReplicaRestored);
                state
            }
            Some(Err(error)) => {
                self.oracle
                    .report(Violation::new("S8", format!("seat {at}: {error}")));
                return;
            }
        };
        let index = self.masters[at].state.applied_index();
        self.ground.say(|| format!("seat {at}: state of {index}"));
        if index > 0 {
            self.oracle.compare(index, at, &self.masters[at].state);
        }
    }

    /// kill -9: soft state and memory are gone; the disk is not.
    pub fn kill_master(&mut self, at: MasterAt, return_ms: u64) {
        if self.masters[at].condition == Condition::Down {
            return;
        }
        self.ground.say(|| format!("seat {at} killed"));
        self.masters[at].leader = None;
        self.masters[at].age = AgeClock::default();
        self.masters[at].condition = Condition::Down;
        if self.raft.leader == Some(at) {
            self.ground.note(Fact::LeaderKilled);
            if self.oracle.is_some_round_closing() {
                self.ground.note(Fact::LeaderDiedInClose);
            }
            self.end_term();
        } else {
            self.ground.note(Fact::ReplicaKilled);
        }
        self.ground
            .after(return_ms, Event::MasterReturns { master: at });
    }

    pub fn freeze_master(&mut self, at: MasterAt, for_ms: u64) {
        if !self.is_up(at) {
            return;
        }
        self.ground.say(|| format!("seat {at} frozen for {for_ms}"));
        self.masters[at].condition = Condition::Frozen {
            until_ms: self.ground.now_ms + for_ms,
        };
        // A short freeze is over before the others notice.
        if self.raft.leader == Some(at) {
            self.ground.note(Fact::LeaderFrozen);
            if for_ms > 500 && self.ground.dice.chance(800) {
                self.end_term();
            }
        }
        self.ground
            .after(for_ms, Event::MasterReturns { master: at });
    }

    pub fn on_master_returns(&mut self, at: MasterAt) {
        match self.masters[at].condition {
            Condition::Up => return,
            Condition::Frozen { until_ms } if until_ms > self.ground.now_ms => return,
            Condition::Frozen { .. } => {
                self.masters[at].condition = Condition::Up;
                self.learn_that_it_is_over(at);
            }
            Condition::Down => {
                self.masters[at].condition = Condition::Up;
                self.restore_replica(at);
            }
        }
        self.ground.say(|| format!("seat {at} is back"));
        self.apply_soon(at);
    }
}
