//! How fast a worker maps, as seen from the log.
//!
//! The times at which maps were granted and accepted are in the log, and so are the
//! bytes of their splits: that is all that a score is made of, so it is the same on
//! every replica, outlives every leader, and costs no command. It is bytes of input
//! for each second of a slot, over times in which the worker had maps at all, and
//! the newest second weighs a quarter. Programs differ in what a byte costs them:
//! scores tell workers apart that did the same jobs.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Milliseconds of a slot that are one observation.
const OBSERVATION_MS: u64 = 1_000;
/// The newest observation weighs one part in so many.
const WEIGHT: u64 = 4;

/// A worker's observed throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pace {
    score: u64,
    /// Of the observation that is being made.
    bytes: u64,
    slot_ms: u64,
    /// The cluster's age up to which time was counted.
    counted_to_ms: u64,
}

impl Pace {
    /// Bytes of input per second of a slot; 0 before any was observed.
    #[must_use]
    pub fn score(&self) -> u64 {
        self.score
    }

    /// A map was accepted that was granted and ended at these ages, while so many
    /// slots had work. What was counted for another map is not counted again.
    pub(crate) fn add(&mut self, bytes: u64, ages_ms: Range<u64>, slots: u32) {
        let from_ms = ages_ms.start.max(self.counted_to_ms);
        let took_ms = ages_ms.end.saturating_sub(from_ms);
        self.counted_to_ms = self.counted_to_ms.max(ages_ms.end);
        self.bytes = self.bytes.saturating_add(bytes);
        let slot_ms = took_ms.saturating_mul(u64::from(slots.max(1)));
        self.slot_ms = self.slot_ms.saturating_add(slot_ms);
        if self.slot_ms < OBSERVATION_MS {
            return;
        }
        let seen = self.bytes.saturating_mul(1_000) / self.slot_ms;
        self.score = if self.score == 0 {
            seen
        } else {
            let kept = self.score.saturating_mul(WEIGHT - 1);
            kept.saturating_add(seen) / WEIGHT
        };
        (self.bytes, self.slot_ms) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_is_bytes_per_second_of_a_slot_and_waiting_counts_once() {
        let mut pace = Pace::default();
        // Two slots, and a queue: all four were granted at once.
        pace.add(1_000, 5_000..5_400, 2);
        assert_eq!(pace.score(), 0, "too little to tell");
        pace.add(1_000, 5_000..5_500, 2);
        assert_eq!(pace.score(), 2_000);
        pace.add(1_000, 5_000..5_900, 2);
        pace.add(1_000, 5_000..6_000, 2);
        assert_eq!(pace.score(), 2_000);
    }

    #[test]
    fn newest_observation_weighs_a_quarter() {
        let mut pace = Pace::default();
        pace.add(8_000, 0..1_000, 1);
        // Idle from then on: that is no slowness.
        pace.add(4_000, 9_000..10_000, 1);
        assert_eq!(pace.score(), 7_000);
    }
}
