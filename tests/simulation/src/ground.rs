//! What everything in a run stands on: virtual time, the agenda, the dice, the
//! trace and the evidence.
//!
//! Nothing happens but by an event of the agenda, and events happen in the order
//! of (time, sequence number). So a seed is a run, to the byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::event::Event;
use crate::evidence::{Evidence, Fact};
use crate::prng::Prng;

/// The network's and the log's present mood, in cases of a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Messages that vanish.
    pub loss: u64,
    /// Messages that come twice.
    pub doubling: u64,
    /// Messages that take seconds.
    pub slowness: u64,
    /// Proposals that vanish, come again or come late.
    pub log: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Ground {
    /// Milliseconds since the run began: what a monotonic clock shows.
    pub now_ms: u64,
    /// All chance.
    pub dice: Prng,
    /// What happened.
    pub evidence: Evidence,
    /// How bad it is.
    pub weather: Weather,
    agenda: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    trace: Option<String>,
}

impl Ground {
    /// The ground of a run; `traced` runs say what happens.
    #[must_use]
    pub fn new(seed: u64, traced: bool) -> Self {
        Self {
            now_ms: 0,
            dice: Prng::of_seed(seed),
            evidence: Evidence::default(),
            weather: Weather::default(),
            agenda: BTreeMap::new(),
            sequence: 0,
            trace: traced.then(String::new),
        }
    }

    /// Puts an event on the agenda.
    pub fn after(&mut self, delay_ms: u64, event: Event) {
        self.sequence += 1;
        let key = (self.now_ms + delay_ms, self.sequence);
        self.agenda.insert(key, event);
    }

    /// The next event, whose time it is then.
    pub fn next(&mut self) -> Option<Event> {
        let ((at_ms, _), event) = self.agenda.pop_first()?;
        self.now_ms = at_ms;
        Some(event)
    }

    /// Counts a fact.
    pub fn note(&mut self, fact: Fact) {
        self.evidence.note(fact);
    }

    /// Writes a line of the trace, if there is one.
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            // A string takes whatever is written to it.
            let _infallible = writeln!(trace, "{:>8} {}", self.now_ms, line());
        }
    }

    /// The trace so far.
    #[must_use]
    pub fn into_trace(self) -> String {
        self.trace.unwrap_or_default()
    }

    /// Sends a message: now and then it gets lost, comes twice, or late.
    pub fn send(&mut self, message: crate::event::Message) {
        let weather = self.weather;
        if self.dice.chance(weather.loss) {
            self.note(Fact::MessageLost);
            self.say(|| format!("lost: {message:?}"));
            return;
        }
        if self.dice.chance(weather.doubling) {
            self.note(Fact::MessageDoubled);
            let delay_ms = self.transit_ms();
            self.after(delay_ms, Event::Message(Box::new(message.clone())));
        }
        let delay_ms = self.transit_ms();
        self.after(delay_ms, Event::Message(Box::new(message)));
    }

    fn transit_ms(&mut self) -> u64 {
        if self.dice.chance(self.weather.slowness) {
            self.note(Fact::MessageSlow);
            return self.dice.within(200..=6_000);
        }
        self.dice.within(1..=15)
    }
}
