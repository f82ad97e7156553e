//! What clients asked, what they were answered, and when.
//!
//! Moments are numbers of one clock, of whatever unit. Two operations of which
//! one returned at the very moment when the other began count as concurrent:
//! that forgives a coarse clock and never invents a violation.

/// How an operation ended for its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<R> {
    /// It was answered.
    Returned {
        /// When.
        at: u64,
        /// What.
        output: R,
    },
    /// No answer came: it may have happened at any later moment, or never.
    Unknown,
}

/// One call of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<O, R> {
    /// Who called; for reports only.
    pub client: u64,
    /// What it asked.
    pub op: O,
    /// When.
    pub invoked_at: u64,
    /// How it ended.
    pub outcome: Outcome<R>,
}

impl<O, R> Operation<O, R> {
    /// Whether an answer came.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        match self.outcome {
            Outcome::Returned { .. } => true,
            Outcome::Unknown => false,
        }
    }

    /// The answer, if one came.
    #[must_use]
    pub fn output(&self) -> Option<&R> {
        match &self.outcome {
            Outcome::Returned { output, .. } => Some(output),
            Outcome::Unknown => None,
        }
    }

    /// When the answer came, if one did.
    #[must_use]
    pub fn returned_at(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Returned { at, .. } => Some(at),
            Outcome::Unknown => None,
        }
    }
}

/// Names a call until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallId(usize);

/// Operations in the order in which they began to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<O, R> {
    operations: Vec<Operation<O, R>>,
}

impl<O, R> Default for History<O, R> {
    fn default() -> Self {
        Self {
            operations: Vec::new(),
        }
    }
}

impl<O, R> History<O, R> {
    /// Nothing happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client asks; until it is answered, the outcome is unknown.
    pub fn invoke(&mut self, client: u64, op: O, at: u64) -> CallId {
        self.operations.push(Operation {
            client,
            op,
            invoked_at: at,
            outcome: Outcome::Unknown,
        });
        CallId(self.operations.len() - 1)
    }

    /// The call is answered.
    ///
    /// # Panics
    ///
    /// If it was answered before, or before it was made.
    pub fn complete(&mut self, call: CallId, output: R, at: u64) {
        let operation = &mut self.operations[call.0];
        assert!(!operation.is_answered(), "{call:?} is answered twice");
        assert!(
            operation.invoked_at <= at,
            "{call:?} is answered before it was made"
        );
        operation.outcome = Outcome::Returned { at, output };
    }

    /// An operation with both its moments.
    pub fn push(&mut self, client: u64, op: O, moments: (u64, u64), output: R) {
        let call = self.invoke(client, op, moments.0);
        self.complete(call, output, moments.1);
    }

    /// All of them.
    #[must_use]
    pub fn operations(&self) -> &[Operation<O, R>] {
        &self.operations
    }

    /// All of them, to be damaged by a test of the checker.
    pub fn operations_mut(&mut self) -> &mut [Operation<O, R>] {
        &mut self.operations
    }

    /// The share of calls that were answered, from 0 to 1; 1 of none. A run in
    /// which most calls have no answer proves little: ask for 0.95 where no
    /// fault was injected.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share, shown to two digits, of far fewer than 2^52 operations"
    )]
    pub fn answered_share(&self) -> f64 {
        if self.operations.is_empty() {
            return 1.0;
        }
        let answered = self.operations.iter().filter(|it| it.is_answered()).count();
        answered as f64 / self.operations.len() as f64
    }
}
