//! Pauses between tries: exponential, with jitter, so that many clients that
//! lost the same leader do not come back in the same millisecond.

use std::time::Duration;

/// An endless row of pauses; each lies between half and the whole of a value
/// that doubles up to a bound, if asked for not from the first on.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    /// Pauses left that do not double.
    even: u32,
}

impl Backoff {
    /// Pauses that begin at `min` and never pass `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min.min(max),
            even: 0,
        }
    }

    /// The same, but the first pauses are all of the least length: for what is
    /// most likely over at once.
    #[must_use]
    pub fn evenly(self, pauses: u32) -> Self {
        Self {
            even: pauses,
            ..self
        }
    }

    /// The pause to make now.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        match self.even.checked_sub(1) {
            Some(even) => self.even = even,
            None => self.next = (whole * 2).min(self.max),
        }
        whole.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.next = self.min.min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_jitter_and_stay_below_the_bound() {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        for whole_ms in [20_u64, 40, 80, 160, 320, 500, 500, 500] {
            let pause = backoff.pause();
            assert!(pause >= Duration::from_millis(whole_ms) / 2, "{pause:?}");
            assert!(pause <= Duration::from_millis(whole_ms), "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(20));
    }

    #[test]
    fn the_first_pauses_stay_short_if_asked_for() {
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(20));
        backoff = backoff.evenly(3);
        for whole_ms in [5_u64, 5, 5, 5, 10, 20, 20] {
            let pause = backoff.pause();
            assert!(pause >= Duration::from_millis(whole_ms) / 2, "{pause:?}");
            assert!(pause <= Duration::from_millis(whole_ms), "{pause:?}");
        }
    }
}
