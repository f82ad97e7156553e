//! Raft's settings: their defaults, units and reasons, and the relations that
//! must hold between them.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// How long a snapshot may take to arrive; the default of openraft, 200 ms, is
/// meant for one chunk.
const INSTALL_SNAPSHOT_TIMEOUT_MS: u64 = 30_000;
/// Entries in one append call: at most 64 KiB each, in one heartbeat's time.
const PAYLOAD_ENTRIES_MAX: u64 = 16;
/// Entries behind which a new learner does not count as caught up.
const LEARNER_LAG_ENTRIES: u64 = 1_000;
/// Entries that are worth a purge.
const PURGE_BATCH_ENTRIES: u64 = 1_000;
/// Pauses after failed calls; openraft's own grow to a second.
const BACKOFF: &str = "50ms 100ms 200ms ..500ms";

/// Clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of a leader; also the deadline of an append.
    pub heartbeat_ms: u64,
    /// Shortest wait of a follower, after its leader's lease, until it stands.
    pub election_min_ms: u64,
    /// Longest such wait, and the length of a leader's lease.
    pub election_max_ms: u64,
    /// After this time the outcome of an accepted proposal is unknown.
    pub propose_deadline_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 300,
            election_max_ms: 600,
            propose_deadline_ms: 5_000,
        }
    }
}

impl Timing {
    /// For masters with cores of their own: a leader's death costs half.
    #[must_use]
    pub fn fast() -> Self {
        Self {
            heartbeat_ms: 50,
            election_min_ms: 150,
            election_max_ms: 300,
            ..Self::default()
        }
    }

    /// [`Self::propose_deadline_ms`] as a duration.
    #[must_use]
    pub fn propose_deadline(&self) -> Duration {
        Duration::from_millis(self.propose_deadline_ms)
    }

    /// The time after which a leader without an answer of a majority cannot
    /// serve: the lease.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.election_max_ms)
    }
}

/// Bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftLimits {
    /// Proposals that are accepted and not yet applied.
    pub in_flight_max: u32,
    /// Entries between two snapshots: the state is small, the log should stay short.
    pub snapshot_interval_entries: u64,
    /// Applied entries that stay in the log behind a snapshot, for followers
    /// that were away for a moment.
    pub log_margin_entries: u64,
    /// The same in bytes; the smaller of the two counts.
    pub log_margin_bytes: u64,
}

impl Default for RaftLimits {
    fn default() -> Self {
        Self {
            in_flight_max: 256,
            snapshot_interval_entries: 20_000,
            log_margin_entries: 20_000,
            log_margin_bytes: 64 * 1024 * 1024,
        }
    }
}

impl RaftLimits {
    /// Entries that a purge leaves in any case: one that overtakes a queued
    /// apply stops the Raft core (openraft #2116).
    #[must_use]
    pub fn kept_entries_min(&self) -> u64 {
        u64::from(self.in_flight_max) * 2
    }

    /// Entries that a purge takes at least: each is a write of its own.
    pub(super) fn purge_batch_entries(&self) -> u64 {
        PURGE_BATCH_ENTRIES.min(self.snapshot_interval_entries)
    }
}

/// Settings that contradict one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A lost heartbeat must not start an election.
    #[error(
        "the shortest election timeout, {election_min_ms} ms, is not twice the heartbeat, \
         {heartbeat_ms} ms"
    )]
    ElectionTooShort {
        /// As set.
        election_min_ms: u64,
        /// As set.
        heartbeat_ms: u64,
    },
    /// Equal timeouts split votes for ever.
    #[error(
        "the longest election timeout, {election_max_ms} ms, is not above the shortest, \
         {election_min_ms} ms"
    )]
    ElectionRangeEmpty {
        /// As set.
        election_min_ms: u64,
        /// As set.
        election_max_ms: u64,
    },
    /// Zero is not a time or a bound.
    #[error("`{setting}` is 0")]
    Zero {
        /// Its name.
        setting: &'static str,
    },
    /// A proposal must outlive one election.
    #[error(
        "the proposal deadline, {propose_deadline_ms} ms, is not above the longest election \
         timeout, {election_max_ms} ms"
    )]
    DeadlineTooShort {
        /// As set.
        propose_deadline_ms: u64,
        /// As set.
        election_max_ms: u64,
    },
    /// The log must keep what may still wait to be applied.
    #[error(
        "the log margin, {log_margin_entries} entries, is below twice the proposals in flight, \
         {in_flight_max}"
    )]
    MarginTooSmall {
        /// As set.
        log_margin_entries: u64,
        /// As set.
        in_flight_max: u32,
    },
    /// openraft refused the whole.
    #[error("openraft refuses the settings: {problem}")]
    Refused {
        /// As openraft puts it.
        problem: String,
    },
}

/// Checks the relations.
///
/// # Errors
///
/// The first that does not hold.
pub fn validate(timing: &Timing, limits: &RaftLimits) -> Result<(), ConfigError> {
    let zero = [
        ("heartbeat", timing.heartbeat_ms),
        ("in-flight proposals", u64::from(limits.in_flight_max)),
        ("snapshot interval", limits.snapshot_interval_entries),
        ("log margin in bytes", limits.log_margin_bytes),
    ]
    .into_iter()
    .find(|(_, value)| *value == 0);
    if let Some((setting, _)) = zero {
        return Err(ConfigError::Zero { setting });
    }
    if timing.election_min_ms < timing.heartbeat_ms.saturating_mul(2) {
        return Err(ConfigError::ElectionTooShort {
            election_min_ms: timing.election_min_ms,
            heartbeat_ms: timing.heartbeat_ms,
        });
    }
    if timing.election_max_ms <= timing.election_min_ms {
        return Err(ConfigError::ElectionRangeEmpty {
            election_min_ms: timing.election_min_ms,
            election_max_ms: timing.election_max_ms,
        });
    }
    if timing.propose_deadline_ms <= timing.election_max_ms {
        return Err(ConfigError::DeadlineTooShort {
            propose_deadline_ms: timing.propose_deadline_ms,
            election_max_ms: timing.election_max_ms,
        });
    }
    if limits.log_margin_entries < limits.kept_entries_min() {
        return Err(ConfigError::MarginTooSmall {
            log_margin_entries: limits.log_margin_entries,
            in_flight_max: limits.in_flight_max,
        });
    }
    Ok(())
}

/// openraft's configuration for these settings.
pub(crate) fn openraft_config(timing: &Timing, limits: &RaftLimits) -> Result<Config, ConfigError> {
    validate(timing, limits)?;
    let config = Config {
        cluster_name: "vivat".to_owned(),
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: timing.election_min_ms,
        election_timeout_max: timing.election_max_ms,
        enable_pre_vote: Some(true),
        // `committed` is not flushed, so a restarted leader must be elected.
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(limits.snapshot_interval_entries),
        // We purge by ourselves, with a margin; see `purge.rs`.
        max_in_snapshot_log_to_keep: u64::MAX,
        replication_lag_threshold: LEARNER_LAG_ENTRIES,
        max_payload_entries: PAYLOAD_ENTRIES_MAX,
        install_snapshot_timeout: INSTALL_SNAPSHOT_TIMEOUT_MS,
        snapshot_max_chunk_size: super::wire::SNAPSHOT_CHUNK_BYTES as u64,
        backoff: BACKOFF.to_owned(),
        ..Config::default()
    };
    config.validate().map_err(|source| ConfigError::Refused {
        problem: source.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_the_fast_profile_are_valid() {
        assert!(openraft_config(&Timing::default(), &RaftLimits::default()).is_ok());
        assert!(openraft_config(&Timing::fast(), &RaftLimits::default()).is_ok());
    }

    #[test]
    fn election_within_two_heartbeats_is_refused() {
        let timing = Timing {
            heartbeat_ms: 200,
            ..Timing::default()
        };
        assert_eq!(
            validate(&timing, &RaftLimits::default()),
            Err(ConfigError::ElectionTooShort {
                election_min_ms: 300,
                heartbeat_ms: 200
            })
        );
    }

    #[test]
    fn margin_below_twice_the_proposals_in_flight_is_refused() {
        let limits = RaftLimits {
            log_margin_entries: 100,
            ..RaftLimits::default()
        };
        assert_eq!(
            validate(&Timing::default(), &limits),
            Err(ConfigError::MarginTooSmall {
                log_margin_entries: 100,
                in_flight_max: 256
            })
        );
    }
}
