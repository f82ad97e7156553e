//! What must hold in every state, one file per property, by the ids of the
//! catalogue.
//!
//! The predicates serve the model test and the simulation. What is cheap enough
//! to check at every entry is also asserted where the state is written: S2 at
//! the end of a job, S3 by the shape of `Stage`, S4 before an outcome is taken,
//! S8 at the end of an entry.

mod bounds;
mod datasets;
mod directory;
mod fencing;
mod final_states;
mod immutable;
mod indexes;
mod once;
mod rounds;
mod tables;

use crate::state::State;

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The property's id in the catalogue of invariants.
    pub id: &'static str,
    /// What was found.
    pub detail: String,
}

/// Checks what one state must satisfy.
#[must_use]
pub fn check(state: &State) -> Vec<Violation> {
    let properties = [
        once::check,
        fencing::check,
        directory::check,
        datasets::check,
        immutable::check,
        rounds::check,
        tables::check,
        indexes::check,
        bounds::check,
    ];
    properties
        .into_iter()
        .flat_map(|property| property(state))
        .collect()
}

/// Checks what must hold between a state and one that follows from it.
#[must_use]
pub fn check_step(before: &State, after: &State) -> Vec<Violation> {
    let properties = [
        final_states::check,
        immutable::check_step,
        datasets::check_step,
        rounds::check_step,
    ];
    properties
        .into_iter()
        .flat_map(|property| property(before, after))
        .collect()
}

/// A violation unless something holds.
fn ensure(holds: bool, id: &'static str, detail: impl FnOnce() -> String) -> Option<Violation> {
    (!holds).then(|| Violation {
        id,
        detail: detail(),
    })
}
