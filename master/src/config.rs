//! Settings of a master process: what `vivat master` and the embedded cluster
//! fill in, with the relations that must hold between them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vivat_ground::{Ground, Listener};
use vivat_shared::ids::Seat;

use crate::disk::Disk;
use crate::raft::{RaftLimits, Timing};

/// Leases are counted in heartbeats: fewer than three and one lost packet would
/// expire a worker.
const HEARTBEATS_PER_LEASE_MIN: u32 = 3;

/// Where to listen.
#[derive(Debug)]
pub enum Listen {
    /// `HOST:PORT`; port 0 takes a free one.
    Address(String),
    /// Bound already, by whoever starts a cluster in its own process.
    Bound(TcpListener),
    /// On another network than the machine's.
    Other(Listener),
}

impl Default for Listen {
    fn default() -> Self {
        Self::Address("127.0.0.1:0".to_owned())
    }
}

/// A master's settings.
#[derive(Debug)]
pub struct MasterConfig {
    /// Its place in the configuration (`--id`).
    pub seat: Seat,
    /// Its directory: identity, log, snapshots.
    pub dir: PathBuf,
    /// Client and worker services.
    pub listen: Listen,
    /// Raft.
    pub raft: Listen,
    /// `/livez`, `/readyz` and `/metrics`; none: not served.
    pub http: Option<Listen>,
    /// The host name under which others reach this master; default: the address
    /// that it listens on.
    pub advertise: Option<String>,
    /// Raft address of every seat, `HOST:PORT`, its own included.
    pub peers: BTreeMap<Seat, String>,
    /// Clocks of Raft.
    pub timing: Timing,
    /// Bounds of Raft.
    pub raft_limits: RaftLimits,
    /// How long a worker is believed without a word from it.
    pub lease: Duration,
    /// How often workers send heartbeats.
    pub heartbeat: Duration,
    /// Another disk than the directory.
    pub disk: Option<Arc<dyn Disk>>,
    /// Network, threads and wall clock.
    pub ground: Ground,
}

impl MasterConfig {
    /// Settings with all defaults, on loopback with free ports.
    #[must_use]
    pub fn new(seat: Seat, dir: PathBuf, peers: BTreeMap<Seat, String>) -> Self {
        Self {
            seat,
            dir,
            listen: Listen::default(),
            raft: Listen::default(),
            http: None,
            advertise: None,
            peers,
            timing: Timing::default(),
            raft_limits: RaftLimits::default(),
            lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            disk: None,
            ground: Ground::default(),
        }
    }

    /// Checks the relations that Raft does not check itself.
    ///
    /// # Errors
    ///
    /// The first that does not hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.peers.contains_key(&self.seat) {
            return Err(ConfigError::SeatNotAmongPeers { seat: self.seat });
        }
        if self.heartbeat.is_zero() || self.heartbeat * HEARTBEATS_PER_LEASE_MIN >= self.lease {
            return Err(ConfigError::LeaseTooShort {
                lease_ms: self.lease.as_millis(),
                heartbeat_ms: self.heartbeat.as_millis(),
            });
        }
        if self.lease <= self.timing.lease() {
            return Err(ConfigError::LeaseWithinElection {
                lease_ms: self.lease.as_millis(),
                election_max_ms: self.timing.lease().as_millis(),
            });
        }
        Ok(())
    }
}

/// Settings that contradict one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The list of peers has every seat, the own one included.
    #[error("--peers does not name {seat}, which is this master's own")]
    SeatNotAmongPeers {
        /// The seat.
        seat: Seat,
    },
    /// One lost heartbeat must not expire a worker.
    #[error("a lease of {lease_ms} ms does not hold three heartbeats of {heartbeat_ms} ms")]
    LeaseTooShort {
        /// As set.
        lease_ms: u128,
        /// As set.
        heartbeat_ms: u128,
    },
    /// An election must not expire a worker.
    #[error(
        "a lease of {lease_ms} ms is not above the longest election timeout, {election_max_ms} ms"
    )]
    LeaseWithinElection {
        /// As set.
        lease_ms: u128,
        /// As set.
        election_max_ms: u128,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MasterConfig {
        let peers = BTreeMap::from([(Seat(0), "127.0.0.1:1".to_owned())]);
        MasterConfig::new(Seat(0), PathBuf::from("/nowhere"), peers)
    }

    #[test]
    fn defaults_are_valid() {
        assert_eq!(config().validate(), Ok(()));
    }

    #[test]
    fn lease_that_three_heartbeats_fill_is_refused() {
        let mut config = config();
        config.lease = Duration::from_secs(3);
        assert!(matches!(
            config.validate(),
            Err(ConfigError::LeaseTooShort { .. })
        ));
    }

    #[test]
    fn seat_that_the_peers_do_not_name_is_refused() {
        let mut config = config();
        config.seat = Seat(7);
        let expected = ConfigError::SeatNotAmongPeers { seat: Seat(7) };
        assert_eq!(config.validate(), Err(expected));
    }
}
