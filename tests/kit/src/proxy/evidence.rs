//! What a rule did, so that a test can prove that its fault took place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// Numbers of one rule.
#[derive(Debug, Default)]
pub(super) struct Tally {
    passed_bytes: AtomicU64,
    hit_bytes: AtomicU64,
    hit_connections: AtomicU64,
    hit: Notify,
}

impl Tally {
    /// Bytes went through, untouched or late.
    pub fn pass(&self, bytes: usize) {
        self.passed_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The rule did something to these bytes.
    pub fn hit_bytes(&self, bytes: usize) {
        self.hit_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.hit.notify_waiters();
    }

    /// The rule did something to a connection, for the first time.
    pub fn hit_connection(&self) {
        self.hit_connections.fetch_add(1, Ordering::Relaxed);
        self.hit.notify_waiters();
    }
}

/// What a rule did, from when it was set until it was replaced.
#[derive(Debug, Clone)]
pub struct Evidence {
    tally: Arc<Tally>,
}

/// The rule hit nothing within the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the fault hit no byte and no connection within {deadline:?}")]
pub struct NotHappened {
    /// How long it was waited for.
    pub deadline: Duration,
}

impl Evidence {
    pub(super) fn new(tally: Arc<Tally>) -> Self {
        Self { tally }
    }

    /// Bytes that arrived at the other side under this rule.
    #[must_use]
    pub fn passed_bytes(&self) -> u64 {
        self.tally.passed_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that were delayed, held, slowed down or lost.
    #[must_use]
    pub fn hit_bytes(&self) -> u64 {
        self.tally.hit_bytes.load(Ordering::Relaxed)
    }

    /// Connections with such bytes, or that were cut.
    #[must_use]
    pub fn hit_connections(&self) -> u64 {
        self.tally.hit_connections.load(Ordering::Relaxed)
    }

    /// Whether the fault took place. Never for [`super::Rule::Pass`]. A
    /// connection that [`super::Rule::Drop`] kept from being made is not seen
    /// here: whoever tried to make it knows.
    #[must_use]
    pub fn happened(&self) -> bool {
        self.hit_bytes() > 0 || self.hit_connections() > 0
    }

    /// Waits until the fault took place.
    ///
    /// # Errors
    ///
    /// It did not within the deadline.
    pub async fn wait(&self, deadline: Duration) -> Result<(), NotHappened> {
        let hit = async {
            loop {
                let next = self.tally.hit.notified();
                tokio::pin!(next);
                // Listening begins before looking, so no hit is missed between.
                next.as_mut().enable();
                if self.happened() {
                    return;
                }
                next.await;
            }
        };
        timeout(deadline, hit)
            .await
            .map_err(|_| NotHappened { deadline })
    }
}
