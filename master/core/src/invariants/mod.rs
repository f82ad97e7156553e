//! What must hold in every state.
use crate::state::State;

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The property's id.
    pub id: &'static str,
    /// What was found.
    pub detail: String,
}

/// Checks every property.
#[must_use]
pub fn check(_state: &State) -> Vec<Violation> {
    Vec::new()
}
