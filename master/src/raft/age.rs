//! The cluster's age by this process's monotonic clock; see [`vivat_core::age`].

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;
use vivat_core::AgeClock;

/// Counts while its replica leads.
pub struct Age {
    started: Instant,
    clock: Mutex<AgeClock>,
}

impl Age {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            clock: Mutex::default(),
        }
    }

    /// The age now, for the leader of a term that finds one in its state.
    pub fn read(&self, term: u64, state_age_ms: u64) -> u64 {
        let monotonic_ms = self.started.elapsed().as_millis();
        let monotonic_ms = u64::try_from(monotonic_ms).unwrap_or(u64::MAX);
        // Three numbers, which a panic cannot leave half written.
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.read(term, state_age_ms, monotonic_ms)
    }
}
