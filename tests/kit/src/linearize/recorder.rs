//! Records a history while many clients run.
//!
//! The clock is one and monotonic, and is read while the history is locked, so
//! the order of the records is the order of the moments.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::history::{CallId, History};

/// Shared by the clients of a test, by reference or `Arc`.
#[derive(Debug)]
pub struct Recorder<O, R> {
    started: Instant,
    history: Mutex<History<O, R>>,
}

impl<O, R> Default for Recorder<O, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O, R> Recorder<O, R> {
    /// Starts the clock.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            history: Mutex::new(History::new()),
        }
    }

    /// To be called right before the request is sent.
    pub fn invoke(&self, client: u64, op: O) -> CallId {
        let mut history = self.lock();
        let at = self.nanoseconds();
        history.invoke(client, op, at)
    }

    /// To be called right after the answer came. A call for which it is never
    /// called has an unknown outcome.
    pub fn complete(&self, call: CallId, output: R) {
        let mut history = self.lock();
        let at = self.nanoseconds();
        history.complete(call, output, at);
    }

    /// What was recorded until now; the recorder starts again from nothing, and
    /// calls that are under way must not be completed any more.
    pub fn take(&self) -> History<O, R> {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, History<O, R>> {
        // A client that panicked leaves a whole history behind: every change is one call.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nanoseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
