//! How much work to hold ahead: about two seconds of it, by the measured time
//! of an attempt, so that a slot does not idle while masters elect.

use std::time::Duration;

use vivat_shared::limits::PREFETCH_PER_SLOT_MAX;

/// Longer than the goal for a leader's death and the poll after it.
const AHEAD: Duration = Duration::from_secs(2);
/// Attempts shorter than this come and go in batches: the most that may be held
/// ahead of them bridges no election anyway, and a call for each would cost more
/// than the attempt.
const SHORT: Duration = Duration::from_millis(4);
/// Weight of the newest attempt in the average, as a fraction.
const NEWEST_WEIGHT: f64 = 0.2;

/// A moving average of attempts' durations.
#[derive(Debug, Default)]
pub(super) struct Rate {
    average_s: Option<f64>,
}

impl Rate {
    pub(super) fn add(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.average_s = Some(match self.average_s {
            Some(average) => average + NEWEST_WEIGHT * (took - average),
            None => took,
        });
    }

    /// Whether attempts are so short that batches of them count.
    pub(super) fn is_short(&self) -> bool {
        self.average_s
            .is_some_and(|average| average < SHORT.as_secs_f64())
    }

    /// Attempts to hold for each slot beyond the one that runs.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a small number before the cast"
    )]
    pub(super) fn prefetch_per_slot(&self) -> u32 {
        match self.average_s {
            Some(average) => {
                let ahead = AHEAD.as_secs_f64() / average.max(1e-6);
                ahead.clamp(1.0, f64::from(PREFETCH_PER_SLOT_MAX)) as u32
            }
            None => 1,
        }
    }
}
