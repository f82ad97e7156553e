//! The cluster's age: time that only goes on, at the speed of real time.
//!
//! Wall clocks jump. So what must happen after a time (a job's time-out, the end
//! of a wait) is measured by the age, which leaders count with their monotonic
//! clocks: each goes on from the age that it found in the state when its term
//! began. Between two entries the age grows by at most the real time between
//! them; while no master leads it may stand still, so a deadline comes late at
//! worst. What a deposed leader counted since is not taken: it would make time
//! jump for jobs that a later leader accepted. The monotonic clock is the
//! caller's: nothing here knows one.

/// What one master counts the age by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgeClock {
    term: u64,
    age_ms: u64,
    since_ms: u64,
}

impl AgeClock {
    /// The age now, for a leader in a term. A new term, or a state that is older
    /// than what was counted, begins the count anew from the state.
    pub fn read(&mut self, term: u64, state_age_ms: u64, monotonic_ms: u64) -> u64 {
        let counted_ms = monotonic_ms.saturating_sub(self.since_ms);
        let age_ms = self.age_ms.saturating_add(counted_ms);
        if term == self.term && age_ms >= state_age_ms {
            return age_ms;
        }
        *self = Self {
            term,
            age_ms: state_age_ms,
            since_ms: monotonic_ms,
        };
        state_age_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_grows_with_the_monotonic_clock_within_a_term() {
        let mut clock = AgeClock::default();
        assert_eq!(clock.read(3, 5_000, 100), 5_000);
        assert_eq!(clock.read(3, 5_000, 350), 5_250);
        assert_eq!(clock.read(3, 5_200, 400), 5_300);
    }

    #[test]
    fn time_before_a_term_is_not_counted_in_it() {
        let mut clock = AgeClock::default();
        clock.read(3, 5_000, 100);
        assert_eq!(clock.read(5, 5_100, 90_000), 5_100);
        assert_eq!(clock.read(5, 5_100, 90_010), 5_110);
    }

    #[test]
    fn entries_of_an_older_leader_that_come_late_lift_the_age() {
        let mut clock = AgeClock::default();
        clock.read(3, 5_000, 100);
        assert_eq!(clock.read(3, 7_000, 110), 7_000);
        assert_eq!(clock.read(3, 7_000, 111), 7_001);
    }
}
