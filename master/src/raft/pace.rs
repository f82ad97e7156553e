//! How long those things take that must not take long: snapshots, and what a follower
//! waits between two words of its leader.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::types::Vote;

/// The longest of each since the process started.
#[derive(Debug, Default)]
pub struct Pace {
    heard: Mutex<Option<(Vote, Instant)>>,
    silence_max_us: AtomicU64,
    snapshots: AtomicU64,
    copied_max_us: AtomicU64,
    written_max_us: AtomicU64,
}

/// What the longest came to, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Longest {
    /// Between two words of one leader in one term.
    pub silence_us: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// The state copied for one: nothing is applied meanwhile.
    pub snapshot_copied_us: u64,
    /// One encoded and on the disk.
    pub snapshot_written_us: u64,
}

impl Pace {
    /// A word of the leader that this vote is for.
    pub fn heard(&self, vote: &Vote) {
        let now = Instant::now();
        // Nothing panics under this lock.
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, at)) = *heard
            && before == *vote
        {
            let silence_us = micros(now.saturating_duration_since(at));
            self.silence_max_us.fetch_max(silence_us, Ordering::Relaxed);
        }
        *heard = Some((*vote, now));
    }

    /// The state was copied for a snapshot.
    pub fn copied(&self, took: Duration) {
        self.copied_max_us
            .fetch_max(micros(took), Ordering::Relaxed);
    }

    /// A snapshot was written.
    pub fn written(&self, took: Duration) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        self.written_max_us
            .fetch_max(micros(took), Ordering::Relaxed);
    }

    /// The longest so far.
    pub fn longest(&self) -> Longest {
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Longest {
            silence_us: get(&self.silence_max_us),
            snapshots: get(&self.snapshots),
            snapshot_copied_us: get(&self.copied_max_us),
            snapshot_written_us: get(&self.written_max_us),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
