//! Named registers: the smallest object worth checking.

use std::collections::BTreeMap;

use super::{Model, Operation};

/// Reads and writes of named values; every value is 0 at first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Register;

/// What a client asks of a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterOp {
    /// Its value.
    Read {
        /// Which register.
        name: String,
    },
    /// Another value.
    Write {
        /// Which register.
        name: String,
        /// From now on.
        value: u64,
    },
}

/// What it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterAnswer {
    /// To a read.
    Value(u64),
    /// To a write.
    Written,
}

impl RegisterOp {
    fn name(&self) -> &str {
        match self {
            Self::Read { name } | Self::Write { name, .. } => name,
        }
    }
}

impl Model for Register {
    type State = u64;
    type Op = RegisterOp;
    type Output = RegisterAnswer;

    fn init(&self) -> u64 {
        0
    }

    fn step(&self, state: &u64, op: &RegisterOp, output: Option<&RegisterAnswer>) -> Option<u64> {
        match (op, output) {
            (RegisterOp::Read { .. }, Some(RegisterAnswer::Value(value))) => {
                (value == state).then_some(*state)
            }
            (RegisterOp::Read { .. }, None) => Some(*state),
            (RegisterOp::Write { value, .. }, Some(RegisterAnswer::Written) | None) => Some(*value),
            (RegisterOp::Read { .. }, Some(RegisterAnswer::Written))
            | (RegisterOp::Write { .. }, Some(RegisterAnswer::Value(_))) => None,
        }
    }

    fn partition(&self, operations: &[Operation<RegisterOp, RegisterAnswer>]) -> Vec<Vec<usize>> {
        let mut parts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (position, operation) in operations.iter().enumerate() {
            parts.entry(operation.op.name()).or_default().push(position);
        }
        parts.into_values().collect()
    }
}
