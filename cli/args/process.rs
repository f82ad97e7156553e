//! The grammar of the processes of a cluster: `dev`, `master`, `worker`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use vivat_worker::SegmentCompression;

use crate::quantity::ByteSize;

/// `vivat dev`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  vivat dev\n  \
    vivat dev --masters 3 --workers 4 --dir ~/.local/state/vivat-dev --port 7070\n\n\
    Then, in another terminal, paste the `export VIVAT_CLUSTER=...` line that it prints.")]
pub struct DevArgs {
    /// Masters: 1, 3 or 5
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=9)
    )]
    pub masters: u32,
    /// Workers
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(0..=256)
    )]
    pub workers: u32,
    /// Attempts that each worker runs at once
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1024)
    )]
    pub slots: u32,
    /// Keep the cluster here, to start it again [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// First of the ports, which count upwards; 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = 7070)]
    pub port: u16,
    /// Leave a child that died dead
    #[arg(
        long,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "BOOL"
    )]
    pub no_restart: bool,
}

/// `vivat master`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  vivat master --id 0 --dir /var/lib/vivat/master \
    --listen 10.0.0.1:7070 --raft 10.0.0.1:7071 --http 10.0.0.1:7072 \
    --peers 0=10.0.0.1:7071,1=10.0.0.2:7071,2=10.0.0.3:7071\n\n\
    Exit codes: 4 a port or the directory is taken, 70 the consensus core failed (start it again)."
)]
pub struct MasterArgs {
    /// Its seat: a number of its own among the peers
    #[arg(long, value_name = "N")]
    pub id: u32,
    /// Where it keeps its log, snapshots and identity
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// For clients and workers
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7070")]
    pub listen: String,
    /// For the other masters
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7071")]
    pub raft: String,
    /// For /livez, /readyz and /metrics; `none` serves none
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7072")]
    pub http: String,
    /// Name or address under which others reach it [default: the host of --listen]
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// Every master's seat and Raft address, this one's included
    #[arg(
        long,
        value_name = "ID=HOST:RAFTPORT,...",
        value_delimiter = ',',
        required = true
    )]
    pub peers: Vec<Peer>,
    /// Raft's clocks and bounds.
    #[command(flatten)]
    pub raft_settings: RaftArgs,
    /// Ends with the process that started it.
    #[command(flatten)]
    pub parent: ParentArgs,
}

/// Raft's clocks and bounds.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Raft options")]
pub struct RaftArgs {
    /// Milliseconds between two heartbeats of a leader
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub heartbeat_ms: u64,
    /// Shortest time without a leader after which a master stands for election
    #[arg(long, value_name = "MS", default_value_t = 300)]
    pub election_min_ms: u64,
    /// Longest such time, and the length of a leader's lease
    #[arg(long, value_name = "MS", default_value_t = 600)]
    pub election_max_ms: u64,
    /// Log entries between two snapshots
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub snapshot_entries: u64,
    /// Applied log entries kept behind a snapshot, for masters that were away
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub log_margin_entries: u64,
    /// The same in bytes; the smaller of the two counts
    #[arg(long, value_name = "BYTES", default_value = "64MiB")]
    pub log_margin_bytes: ByteSize,
    /// Proposals that wait for the quorum at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub in_flight: u32,
}

/// `vivat worker`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  vivat worker --dir /var/lib/vivat/worker --slots 4 \
    --cluster 10.0.0.1:7070,10.0.0.2:7070,10.0.0.3:7070\n\n\
    Exit codes: 4 a port or the directory is taken."
)]
pub struct WorkerArgs {
    /// Where it keeps segments, blocks of datasets and its identity
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Attempts that it runs at once [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub slots: Option<u32>,
    /// Memory for records and fetched segments, over all slots
    #[arg(long, value_name = "BYTES", default_value = "512MiB")]
    pub memory: ByteSize,
    /// How segments are compressed: lz4, zstd (smaller, slower) or none
    #[arg(long, value_name = "HOW", default_value = "lz4")]
    pub segment_compression: SegmentCompression,
    /// Room for the blocks of datasets [default: 80 % of what is free at the start and of
    /// what they take already]
    #[arg(long, value_name = "BYTES")]
    pub disk: Option<ByteSize>,
    /// For other workers and probes; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: String,
    /// Name or address under which others reach it [default: the host of --listen]
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// Labels for people and for placement
    #[arg(long, value_name = "K=V,...", value_delimiter = ',')]
    pub labels: Vec<super::job::Param>,
    /// Exit hard after so many attempts: for tests of faults
    #[arg(long, value_name = "N")]
    pub fail_after: Option<u32>,
    /// Behave as a busy machine: delay an attempt by 3 s with this probability and, under the
    /// policy least-loaded, hand it back with this probability; for tests
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub load_probability: f64,
    /// Ends with the process that started it.
    #[command(flatten)]
    pub parent: ParentArgs,
}

impl WorkerArgs {
    /// The labels by key; the last of two with the same key counts.
    pub fn label_map(&self) -> BTreeMap<String, String> {
        self.labels
            .iter()
            .map(|label| (label.key.clone(), label.value.clone()))
            .collect()
    }
}

/// Ends with the process that started it.
#[derive(Debug, Clone, Copy, Args)]
pub struct ParentArgs {
    /// End when this parent, a process id, ends: what `vivat dev` starts
    #[arg(long, value_name = "PID", hide = true)]
    pub parent: Option<u32>,
}

/// A seat and where its Raft listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The seat.
    pub seat: u32,
    /// `HOST:PORT`.
    pub address: String,
}

impl std::str::FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || "ID=HOST:RAFTPORT is needed, like 0=10.0.0.1:7071".to_owned();
        let (seat, address) = text.split_once('=').ok_or_else(expected)?;
        Ok(Self {
            seat: seat.parse().map_err(|_| expected())?,
            address: endpoint(address).map_err(|_| expected())?,
        })
    }
}

/// A number from 0 to 1.
fn probability(text: &str) -> Result<f64, String> {
    let read = text.parse().ok().filter(|p: &f64| (0.0..=1.0).contains(p));
    read.ok_or_else(|| format!("`{text}` is not a probability, 0 to 1, like 0.2"))
}

/// Checks that a text is `HOST:PORT`.
pub fn endpoint(text: &str) -> Result<String, String> {
    let expected = || format!("`{text}` is not HOST:PORT, like 127.0.0.1:7070");
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    if !plain || port.parse::<u16>().is_err() {
        return Err(expected());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_is_between_nothing_and_certainty() {
        assert!(probability("0.25").is_ok_and(|p| p > 0.2 && p < 0.3));
        for text in ["-0.1", "1.5", "NaN", "often", ""] {
            assert!(probability(text).is_err(), "{text}");
        }
    }

    #[test]
    fn peer_is_a_seat_and_an_address() {
        let peer: Peer = "2=[::1]:7071".parse().unwrap();
        assert_eq!((peer.seat, peer.address.as_str()), (2, "[::1]:7071"));
        for text in ["", "2", "x=h:1", "2=h", "2=:1", "2=h:99999", "2=http://h:1"] {
            assert!(text.parse::<Peer>().is_err(), "{text}");
        }
    }
}
