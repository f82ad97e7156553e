//! Leadership as one client sees it.

use std::time::Duration;

use tokio::time::Instant;

/// Who answers as the leader, for progress lines and tests. It is what this
/// client learnt by its calls, so it is as old as the last of them.
#[derive(Debug, Clone, Default)]
pub struct LeaderView {
    /// `HOST:PORT` of the leader's client services; none while none is known.
    pub endpoint: Option<String>,
    /// The highest term heard of; 0 before any.
    pub term: u64,
    /// Since when no master answers as the leader; none while one does.
    pub none_since: Option<Instant>,
}

impl LeaderView {
    /// How long there has been no leader, if there is none.
    #[must_use]
    pub fn gone_for(&self) -> Option<Duration> {
        self.none_since.map(|since| since.elapsed())
    }
}
