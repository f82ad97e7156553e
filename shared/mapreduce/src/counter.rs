//! Counters: named sums of an attempt.
//!
//! A task names a counter once and keeps the handle, so that adding costs no
//! look-up. How many names there may be is bounded, because every attempt's
//! sums travel in its report.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use vivat_shared::attempt::Counters;
use vivat_shared::limits;

/// Why a counter was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// One more name than an attempt may report.
    #[error("counter `{name}` is one more than the {counters_max} that a task may have")]
    TooMany {
        /// The name asked for.
        name: String,
        /// How many there may be.
        counters_max: usize,
    },
    /// The name is empty or too long.
    #[error("a counter's name has 1 to {bytes_max} bytes, this one has {bytes}")]
    BadName {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
}

/// A handle to one counter of a task.
#[derive(Debug, Clone)]
pub struct Counter {
    sum: Rc<Cell<u64>>,
}

impl Counter {
    /// Adds `amount`; the sum stays at `u64::MAX` once it gets there.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.sum.set(self.sum.get().saturating_add(amount));
    }
}

/// All counters of one task.
#[derive(Debug, Default)]
pub struct CounterSet {
    sums: RefCell<BTreeMap<String, Rc<Cell<u64>>>>,
}

impl CounterSet {
    /// The counter of that name, made when it is new.
    ///
    /// # Errors
    ///
    /// When the name is empty, longer than [`limits::NAME_BYTES_MAX`], or one
    /// more than [`limits::COUNTERS_MAX`] leaves beside the built-in counters.
    pub fn counter(&self, name: &str) -> Result<Counter, CounterError> {
        if name.is_empty() || name.len() > limits::NAME_BYTES_MAX {
            return Err(CounterError::BadName {
                bytes: name.len(),
                bytes_max: limits::NAME_BYTES_MAX,
            });
        }
        let mut sums = self.sums.borrow_mut();
        if let Some(sum) = sums.get(name) {
            return Ok(Counter { sum: sum.clone() });
        }
        if sums.len() >= USER_COUNTERS_MAX {
            return Err(CounterError::TooMany {
                name: name.to_owned(),
                counters_max: USER_COUNTERS_MAX,
            });
        }
        let sum = Rc::new(Cell::new(0));
        sums.insert(name.to_owned(), sum.clone());
        Ok(Counter { sum })
    }

    /// The sums so far; counters that are still zero are among them.
    #[must_use]
    pub fn sums(&self) -> Counters {
        let sums = self.sums.borrow();
        sums.iter()
            .map(|(name, sum)| (name.clone(), sum.get()))
            .collect()
    }
}

/// Room kept for the names in [`vivat_shared::attempt::counters`].
const BUILT_IN_COUNTERS_MAX: usize = 32;
/// Counters that one task of a program may have.
const USER_COUNTERS_MAX: usize = limits::COUNTERS_MAX - BUILT_IN_COUNTERS_MAX;
