//! What a task may know about itself.
//!
//! Everything here is the same for every attempt at a task, so a program that
//! uses it still gives the same output whoever runs it and however often.

use std::collections::BTreeMap;

use crate::counter::{Counter, CounterSet};
use crate::program::ProgramError;

/// Where a map task stands.
#[derive(Debug)]
pub struct MapContext<'t> {
    /// The input file as the user wrote it.
    pub display: &'t str,
    /// Index of the file among the round's files.
    pub file_index: u32,
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// First byte of the split in the file.
    pub split_offset: u64,
    /// Length of the split in bytes.
    pub split_bytes: u64,
    /// Number of the split, from 0: files in order, splits of a file in order.
    pub split: u32,
    /// Splits of the round in all.
    pub splits: u32,
    /// Partitions of the round, at least 1.
    pub partitions: u32,
    /// The step's parameters.
    pub parameters: &'t BTreeMap<String, String>,
    /// What the round before handed on; empty until rounds exist.
    pub broadcast: &'t [u8],
    /// Counters of the task.
    pub counters: &'t CounterSet,
}

impl MapContext<'_> {
    /// The counter of that name; keep the handle, adding to it is cheap.
    ///
    /// # Errors
    ///
    /// When the name or the number of counters passes its bound.
    pub fn counter(&self, name: &str) -> Result<Counter, ProgramError> {
        self.counters.counter(name).map_err(ProgramError::counter)
    }
}

/// Where a reduce task stands.
#[derive(Debug)]
pub struct ReduceContext<'t> {
    /// The partition, from 0.
    pub partition: u32,
    /// Partitions of the round, at least 1.
    pub partitions: u32,
    /// The step's parameters.
    pub parameters: &'t BTreeMap<String, String>,
    /// What the round before handed on; empty until rounds exist.
    pub broadcast: &'t [u8],
    /// Counters of the task.
    pub counters: &'t CounterSet,
}

impl ReduceContext<'_> {
    /// The counter of that name; keep the handle, adding to it is cheap.
    ///
    /// # Errors
    ///
    /// When the name or the number of counters passes its bound.
    pub fn counter(&self, name: &str) -> Result<Counter, ProgramError> {
        self.counters.counter(name).map_err(ProgramError::counter)
    }
}
