//! What a check says, for a reader who has to find the bug.

use std::fmt;

use super::{Model, Operation, Outcome};

/// What was checked, of a history that an order explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Operations in the history.
    pub operations: usize,
    /// Those without an answer.
    pub unknown: usize,
    /// Parts that were searched alone.
    pub parts: usize,
    /// Steps of the model, over all parts.
    pub steps: u64,
}

/// Why a history was not shown to be linearizable. `Debug` prints as `Display`
/// does, so that an `unwrap` in a test shows the counterexample.
#[derive(thiserror::Error)]
pub enum NotProven<M: Model> {
    /// No order explains it.
    #[error("not linearizable\n{0}")]
    Violation(Box<Counterexample<M>>),
    /// The search was given up: neither a pass nor a bug.
    #[error("unknown: {operations} operations not decided within {steps_max} steps")]
    Unknown {
        /// In the part that was given up.
        operations: usize,
        /// The bound.
        steps_max: u64,
    },
}

impl<M: Model> fmt::Debug for NotProven<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The longest order that the search found before no operation fitted.
#[derive(Debug, Clone)]
pub struct Attempted<S> {
    /// Positions within the part.
    pub order: Vec<usize>,
    /// Where it leads.
    pub state: S,
}

/// An operation and where it stands within its part.
#[derive(Debug, Clone)]
pub struct Placed<O, R> {
    /// Position within the part.
    pub position: usize,
    /// The operation.
    pub operation: Operation<O, R>,
}

/// The shortest beginning of a part that no order explains.
#[derive(Clone)]
pub struct Counterexample<M: Model> {
    /// Operations that had begun by then; those not answered by then have an unknown outcome.
    pub operations: Vec<Placed<M::Op, M::Output>>,
    /// Position of the operation whose answer cannot be explained.
    pub culprit: usize,
    /// How far an order got.
    pub attempted: Attempted<M::State>,
    /// Whether a shorter one was ruled out within the bound.
    pub is_shortest: bool,
}

impl<M: Model> fmt::Debug for Counterexample<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<M: Model> fmt::Display for Counterexample<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut operations: Vec<_> = self.operations.iter().collect();
        operations.sort_by_key(|placed| (placed.operation.invoked_at, placed.position));
        writeln!(f, "  operation  client  began         answered      what")?;
        for Placed {
            position,
            operation: it,
        } in operations
        {
            let mark = if *position == self.culprit { '>' } else { ' ' };
            let (answered, output) = match &it.outcome {
                Outcome::Returned { at, output } => (at.to_string(), format!("{output:?}")),
                Outcome::Unknown => ("-".to_owned(), "no answer".to_owned()),
            };
            writeln!(
                f,
                "{mark} {position:<9}  {:<6}  {:<12}  {answered:<12}  {:?} -> {output}",
                it.client, it.invoked_at, it.op
            )?;
        }
        let order: Vec<String> = self
            .attempted
            .order
            .iter()
            .map(ToString::to_string)
            .collect();
        writeln!(f, "  longest order: {}", order.join(" "))?;
        writeln!(f, "  which leads to: {:?}", self.attempted.state)?;
        write!(f, "  no order explains the answer to {}", self.culprit)?;
        if !self.is_shortest {
            write!(f, " (a shorter history may show it too)")?;
        }
        Ok(())
    }
}
