//! The links between hosts, and what is wrong with each.
//!
//! Faults overlap, so each is counted, and a link is whole again when the last
//! of them is over.

use std::collections::BTreeMap;
use std::time::Duration;

use turmoil::Sim;

use crate::town::Town;

/// A packet's way, in milliseconds, where nothing is wrong.
pub const LATENCY_MS: (u64, u64) = (1, 6);

/// What can be wrong with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Packets from the first to the second get lost.
    Forth,
    /// Packets from the second to the first get lost.
    Back,
    /// Packets wait until this is over.
    Held,
    /// Packets take up to so many milliseconds.
    Slow(u64),
    /// Now and then one gets lost, and those on the way with it.
    Lossy,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct State {
    forth: u32,
    back: u32,
    held: u32,
    slow: u32,
    lossy: u32,
}

/// Every link, by the names of its ends in order.
pub struct Links {
    states: BTreeMap<(String, String), State>,
    town: Town,
}

impl Links {
    /// All whole.
    pub fn new(town: Town) -> Self {
        Self {
            states: BTreeMap::new(),
            town,
        }
    }

    /// Something goes wrong with a link.
    pub fn break_link(&mut self, sim: &mut Sim<'_>, a: &str, b: &str, wrong: Wrong) {
        self.change(sim, a, b, wrong, true);
    }

    /// It is over.
    pub fn mend(&mut self, sim: &mut Sim<'_>, a: &str, b: &str, wrong: Wrong) {
        self.change(sim, a, b, wrong, false);
    }

    fn change(&mut self, sim: &mut Sim<'_>, a: &str, b: &str, wrong: Wrong, begins: bool) {
        let (a, b, wrong) = ordered(a, b, wrong);
        let key = (a.to_owned(), b.to_owned());
        let state = self.states.entry(key).or_default();
        let before = *state;
        let count = match wrong {
            Wrong::Forth => &mut state.forth,
            Wrong::Back => &mut state.back,
            Wrong::Held => &mut state.held,
            Wrong::Slow(_) => &mut state.slow,
            Wrong::Lossy => &mut state.lossy,
        };
        *count = if begins {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
        let now = *state;
        match wrong {
            Wrong::Slow(ms) => {
                let most = if now.slow > 0 { ms } else { LATENCY_MS.1 };
                sim.set_link_max_message_latency(a, b, Duration::from_millis(most));
            }
            Wrong::Lossy => {
                let rate = if now.lossy > 0 { 0.01 } else { 0.0 };
                sim.set_link_fail_rate(a, b, rate);
            }
            Wrong::Forth | Wrong::Back | Wrong::Held => obstruct(sim, a, b, before, now),
        }
        self.town.set_cut(a, b, now.forth > 0);
        self.town.set_cut(b, a, now.back > 0);
    }

    /// Whether nothing is lost or held on a link, so that it may be held.
    pub fn is_open(&self, a: &str, b: &str) -> bool {
        let (a, b, _) = ordered(a, b, Wrong::Held);
        let state = self.states.get(&(a.to_owned(), b.to_owned()));
        state.is_none_or(|state| state.forth + state.back + state.held == 0)
    }
}

/// Loss goes before holding: turmoil does not do both on one link.
fn obstruct(sim: &mut Sim<'_>, a: &str, b: &str, before: State, now: State) {
    let lost = |state: State| state.forth + state.back > 0;
    let held = |state: State| state.held > 0 && !lost(state);
    if held(before) && !held(now) {
        sim.release(a, b);
    }
    for (from, to, was, is) in [
        (a, b, before.forth > 0, now.forth > 0),
        (b, a, before.back > 0, now.back > 0),
    ] {
        if is && !was {
            sim.partition_oneway(from, to);
        } else if was && !is {
            sim.repair_oneway(from, to);
        }
    }
    if held(now) && !held(before) {
        sim.hold(a, b);
    }
}

fn ordered<'n>(a: &'n str, b: &'n str, wrong: Wrong) -> (&'n str, &'n str, Wrong) {
    if a <= b {
        return (a, b, wrong);
    }
    let turned = match wrong {
        Wrong::Forth => Wrong::Back,
        Wrong::Back => Wrong::Forth,
        same @ (Wrong::Held | Wrong::Slow(_) | Wrong::Lossy) => same,
    };
    (b, a, turned)
}
