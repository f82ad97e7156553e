//! The search for an order: Wing and Gong, with Lowe's memory.
//!
//! Calls and returns stand in a doubly linked list in the order of time. The
//! search walks it: at a call it asks the model whether the operation may come
//! next; if so, both its entries leave the list and the walk starts again. At a
//! return it must turn back, because that operation had to come earlier. Pairs
//! of (operations done, state) that were seen before lead nowhere new.
//!
//! An operation of unknown outcome has a call and no return: it may be passed
//! over for ever, and all returns gone is success.

use std::collections::HashSet;

use super::history::Operation;
use super::report::{Attempted, Counterexample, Placed};
use super::{Model, Outcome};

/// No entry.
const NIL: usize = usize::MAX;

/// How a search ended.
pub(super) enum Found<S> {
    /// An order exists.
    Order,
    /// None does; the longest attempt.
    None(Attempted<S>),
    /// The bound was reached.
    GivenUp,
}

/// A call or a return, in the order of time.
#[derive(Clone, Copy)]
struct Event {
    /// Position within the part.
    operation: usize,
    is_return: bool,
}

/// A part of a history, ready to be searched.
pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    part: Vec<&'a Operation<M::Op, M::Output>>,
    events: Vec<Event>,
}

impl<'a, M: Model> Search<'a, M> {
    pub(super) fn new(
        model: &'a M,
        operations: &'a [Operation<M::Op, M::Output>],
        part: &[usize],
    ) -> Self {
        let part: Vec<_> = part.iter().map(|&position| &operations[position]).collect();
        let mut moments = Vec::new();
        for (operation, it) in part.iter().enumerate() {
            // Calls before returns at the same moment: then they are concurrent.
            moments.push((it.invoked_at, false, operation));
            if let Outcome::Returned { at, .. } = it.outcome {
                moments.push((at, true, operation));
            }
        }
        moments.sort_unstable();
        let events = moments
            .into_iter()
            .map(|(_, is_return, operation)| Event {
                operation,
                is_return,
            })
            .collect();
        Self {
            model,
            part,
            events,
        }
    }

    pub(super) fn events_len(&self) -> usize {
        self.events.len()
    }

    /// Searches the first so many events, and says how many steps that took.
    /// Answers that come later than these events count as unknown.
    pub(super) fn run(&self, events_len: usize, steps_max: u64) -> (Found<M::State>, u64) {
        let events = &self.events[..events_len];
        let mut walk = Walk::new(self, events);
        let found = walk.run(steps_max);
        (found, walk.steps)
    }

    /// The shortest beginning of the history that no order explains, found by
    /// halving: with more events there are only fewer orders.
    pub(super) fn shortest_violation(&self, steps_max: u64) -> Counterexample<M> {
        let mut explained = 0;
        let mut violated = self.events.len();
        let mut is_shortest = true;
        while explained + 1 < violated {
            let middle = explained + (violated - explained) / 2;
            match self.run(middle, steps_max).0 {
                Found::Order => explained = middle,
                Found::None(_) => violated = middle,
                Found::GivenUp => {
                    is_shortest = false;
                    break;
                }
            }
        }
        let attempted = match self.run(violated, steps_max).0 {
            Found::None(attempted) => attempted,
            // It was searched with the same bound before, with another result.
            Found::Order | Found::GivenUp => unreachable!("the search is deterministic"),
        };
        let culprit = self.events[violated - 1].operation;
        let events = &self.events[..violated];
        let seen = |wanted: usize| events.iter().any(|event| event.operation == wanted);
        let returned = |wanted: usize| {
            let mut events = events.iter();
            events.any(|event| event.is_return && event.operation == wanted)
        };
        let operations = (0..self.part.len())
            .filter(|&position| seen(position))
            .map(|position| {
                let mut operation = self.part[position].clone();
                if !returned(position) {
                    operation.outcome = Outcome::Unknown;
                }
                Placed {
                    position,
                    operation,
                }
            })
            .collect();
        Counterexample {
            operations,
            culprit,
            attempted,
            is_shortest,
        }
    }
}

/// Operations done, one bit each.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done(Box<[u64]>);

impl Done {
    fn flip(&mut self, operation: usize) {
        self.0[operation / 64] ^= 1 << (operation % 64);
    }
}

/// The search under way.
struct Walk<'s, 'a, M: Model> {
    search: &'s Search<'a, M>,
    /// Of each event: its operation, and for a call the position of its return.
    entries: Vec<(usize, Option<usize>, bool)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    returns_left: usize,
    done: Done,
    seen: HashSet<(Done, M::State)>,
    /// Calls taken out, each with the state before it.
    taken: Vec<(usize, M::State)>,
    state: M::State,
    best: Attempted<M::State>,
    steps: u64,
}

impl<'s, 'a, M: Model> Walk<'s, 'a, M> {
    fn new(search: &'s Search<'a, M>, events: &[Event]) -> Self {
        let mut return_of = vec![None; search.part.len()];
        for (position, event) in events.iter().enumerate() {
            if event.is_return {
                return_of[event.operation] = Some(position);
            }
        }
        let entries: Vec<_> = events
            .iter()
            .map(|event| {
                let mate = return_of[event.operation];
                (event.operation, mate, event.is_return)
            })
            .collect();
        // Entry 0 of the links is the head; event p has entry p + 1.
        let count = entries.len();
        let next = (1..=count).chain([NIL]).collect();
        let previous = [NIL].into_iter().chain(0..count).collect();
        let state = search.model.init();
        Self {
            search,
            returns_left: entries.iter().filter(|entry| entry.2).count(),
            entries,
            next,
            previous,
            done: Done(vec![0; search.part.len().div_ceil(64)].into_boxed_slice()),
            seen: HashSet::new(),
            taken: Vec::new(),
            best: Attempted {
                order: Vec::new(),
                state: state.clone(),
            },
            state,
            steps: 0,
        }
    }

    fn run(&mut self, steps_max: u64) -> Found<M::State> {
        let mut at = self.next[0];
        while self.returns_left > 0 {
            let (operation, mate, is_return) = self.entries[at - 1];
            if is_return {
                let Some(back) = self.turn_back() else {
                    return Found::None(self.best.clone());
                };
                at = back;
                continue;
            }
            if self.steps == steps_max {
                return Found::GivenUp;
            }
            self.steps += 1;
            at = if self.take(at, operation, mate) {
                self.next[0]
            } else {
                self.next[at]
            };
        }
        Found::Order
    }

    /// Lets the operation happen next, if the model allows and it is news.
    fn take(&mut self, at: usize, operation: usize, mate: Option<usize>) -> bool {
        let it = self.search.part[operation];
        // An answer beyond the events that are searched counts as unknown.
        let output = mate.and(it.output());
        let Some(state) = self.search.model.step(&self.state, &it.op, output) else {
            return false;
        };
        if mate.is_none() && state == self.state {
            return false; // It may as well never have happened.
        }
        let mut done = self.done.clone();
        done.flip(operation);
        if !self.seen.insert((done.clone(), state.clone())) {
            return false;
        }
        self.done = done;
        self.unlink(at);
        if let Some(mate) = mate {
            self.unlink(mate + 1);
            self.returns_left -= 1;
        }
        let before = std::mem::replace(&mut self.state, state);
        self.taken.push((at, before));
        if self.taken.len() > self.best.order.len() {
            self.best.order = self
                .taken
                .iter()
                .map(|(at, _)| self.entries[at - 1].0)
                .collect();
            self.best.state = self.state.clone();
        }
        true
    }

    /// Undoes the last operation; the entry after it, or none if there is no
    /// operation to undo.
    fn turn_back(&mut self) -> Option<usize> {
        let (at, before) = self.taken.pop()?;
        let (operation, mate, _) = self.entries[at - 1];
        self.state = before;
        self.done.flip(operation);
        if let Some(mate) = mate {
            self.relink(mate + 1);
            self.returns_left += 1;
        }
        self.relink(at);
        Some(self.next[at])
    }

    fn unlink(&mut self, at: usize) {
        let (previous, next) = (self.previous[at], self.next[at]);
        self.next[previous] = next;
        if next != NIL {
            self.previous[next] = previous;
        }
    }

    /// Undoes `unlink`; entries must come back in the reverse order.
    fn relink(&mut self, at: usize) {
        let (previous, next) = (self.previous[at], self.next[at]);
        self.next[previous] = at;
        if next != NIL {
            self.previous[next] = at;
        }
    }
}
