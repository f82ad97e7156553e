//! When attempts began and ended, of the tasks of one table.
//!
//! Times are milliseconds of the cluster's age since the job's submission, as the
//! log has them: an attempt begins with the entry that grants it and ends with the
//! one that takes its outcome. So an attempt that waited at its worker for a slot
//! counts that wait, on every replica the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vivat_shared::size_code::SizeCode;

/// Times by task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Times {
    /// Of granted attempts, by task and number.
    granted: BTreeMap<(u32, u16), u32>,
    /// Of each task's accepted attempt; 0 before there was one.
    began: Vec<u32>,
    ended: Vec<u32>,
    /// How many accepted attempts took how long: milliseconds on the scale of
    /// [`SizeCode`], to within 10 %.
    took: BTreeMap<u8, u32>,
}

impl Times {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            began: vec![0; len],
            ended: vec![0; len],
            ..Self::default()
        }
    }

    pub(crate) fn grant(&mut self, index: u32, number: u16, at_ms: u32) {
        self.granted.insert((index, number), at_ms);
    }

    /// When a granted attempt began.
    pub(crate) fn granted_at(&self, index: u32, number: u16) -> Option<u32> {
        self.granted.get(&(index, number)).copied()
    }

    pub(crate) fn release(&mut self, index: u32, number: u16) {
        self.granted.remove(&(index, number));
    }

    /// The outcome of a granted attempt was taken.
    pub(crate) fn accept(&mut self, index: u32, number: u16, at_ms: u32) {
        let began = self.granted.remove(&(index, number)).unwrap_or(at_ms);
        let at = index as usize;
        (self.began[at], self.ended[at]) = (began, at_ms);
        let took = SizeCode::of(u64::from(at_ms.saturating_sub(began)));
        *self.took.entry(took.0).or_insert(0) += 1;
    }

    /// When a task's accepted attempt began and ended.
    pub(crate) fn of(&self, index: u32) -> Option<(u32, u32)> {
        let at = index as usize;
        Some((*self.began.get(at)?, *self.ended.get(at)?))
    }

    /// What half of the accepted attempts took at most, in milliseconds.
    pub(crate) fn median_ms(&self) -> Option<u64> {
        let all: u64 = self.took.values().map(|count| u64::from(*count)).sum();
        let mut before = 0;
        let median = self.took.iter().find(|(_, count)| {
            before += u64::from(**count);
            before * 2 >= all
        });
        median.map(|(code, _)| SizeCode(*code).bytes())
    }

    /// Bytes of memory, sparse parts by their entries.
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.began.capacity() + self.ended.capacity()) * 4
            + (self.granted.len() + self.took.len()) * 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_accepted_attempts_took_no_longer_than_the_median() {
        let mut times = Times::new(5);
        assert_eq!(times.median_ms(), None);
        for (index, took) in [(0, 100), (1, 1_000), (2, 1_000), (3, 60_000)] {
            times.grant(index, 1, 500);
            times.accept(index, 1, 500 + took);
        }
        let median = times.median_ms().expect("four were accepted");
        assert!((1_000..=1_100).contains(&median), "{median}");
        assert_eq!(times.of(3), Some((500, 60_500)));
    }
}
