//! Whether what clients saw could have happened one operation at a time.
//!
//! A history is linearizable if its operations can be put into an order that
//! (1) a sequential object, the [`Model`], could have executed with the same
//! answers and (2) keeps every operation that returned before another began
//! ahead of it. The search is that of Wing and Gong with the memory of Lowe:
//! a set of operations done and the state they lead to is explored once. The
//! history is cut into parts that cannot influence each other, each searched
//! alone.
//!
//! An operation whose answer never came (S5: unknown is not failure) may have
//! happened at any moment after it began, or never. An operation that surely
//! did not happen, as one refused before it was sent, is not to be recorded.
//!
//! The problem is NP-complete. So the search has a bound, and reaching it is an
//! answer of its own, [`NotProven::Unknown`]: it is neither a pass nor a bug.

mod history;
mod jobs;
mod recorder;
mod register;
mod report;
mod search;

use std::fmt::Debug;
use std::hash::Hash;

pub use history::{CallId, History, Operation, Outcome};
pub use jobs::{JobAnswer, JobOp, JobQueue, JobSet, Seen};
pub use recorder::Recorder;
pub use register::{Register, RegisterAnswer, RegisterOp};
pub use report::{Attempted, Checked, Counterexample, NotProven, Placed};

use search::{Found, Search};

/// Steps that suffice for thousands of operations by a dozen clients, and that
/// take a few seconds where they do not.
pub const STEPS_MAX: u64 = 20_000_000;

/// A sequential object: what a single client without faults would see.
pub trait Model {
    /// All that decides later answers.
    type State: Clone + Eq + Hash + Debug;
    /// What a client asks for.
    type Op: Clone + Debug;
    /// What it is answered.
    type Output: Clone + Debug;

    /// Before the first operation.
    fn init(&self) -> Self::State;

    /// The state after the operation, if it may be answered so in this state.
    ///
    /// Without an output the answer is unknown: the state after whatever the
    /// object would have answered. A model with hidden choices keeps the set of
    /// what is possible as its state.
    fn step(
        &self,
        state: &Self::State,
        op: &Self::Op,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// Positions of operations that cannot influence those of another part.
    /// Each position stands in exactly one part.
    fn partition(&self, operations: &[Operation<Self::Op, Self::Output>]) -> Vec<Vec<usize>> {
        vec![(0..operations.len()).collect()]
    }
}

/// Checks a history against a model, with at most `steps_max` steps of the model
/// for each part.
///
/// # Errors
///
/// A part that no order explains, cut to its shortest beginning that none does;
/// or the part whose search was given up.
pub fn check<M: Model>(
    model: &M,
    history: &History<M::Op, M::Output>,
    steps_max: u64,
) -> Result<Checked, NotProven<M>> {
    let operations = history.operations();
    let mut checked = Checked {
        operations: operations.len(),
        unknown: operations.iter().filter(|it| !it.is_answered()).count(),
        ..Checked::default()
    };
    let mut given_up = None;
    for part in model.partition(operations) {
        let search = Search::new(model, operations, &part);
        let events = search.events_len();
        let (found, steps) = search.run(events, steps_max);
        checked.parts += 1;
        checked.steps += steps;
        match found {
            Found::Order => {}
            Found::None(_) => {
                let shortest = search.shortest_violation(steps_max);
                return Err(NotProven::Violation(Box::new(shortest)));
            }
            Found::GivenUp => given_up = Some(part.len()),
        }
    }
    match given_up {
        Some(operations) => Err(NotProven::Unknown {
            operations,
            steps_max,
        }),
        None => Ok(checked),
    }
}
