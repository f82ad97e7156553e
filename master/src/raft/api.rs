//! The words in which the rest of the master speaks to Raft.
//!
//! No type of openraft's stands here: a caller learns what it must do from an
//! error's variant and nothing about who found it.

use std::path::PathBuf;
use std::sync::Arc;

use vivat_core::HashPoint;
use vivat_core::command::{Event, Reply};
use vivat_shared::ids::{ClusterId, NodeId, Seat};

use crate::storage::StorageError;

/// A proposal that is committed on a majority and applied here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Index of its log entry.
    pub index: u64,
    /// Term of its log entry.
    pub term: u64,
    /// One for each command, in order.
    pub replies: Vec<Reply>,
}

/// Why a proposal or a read was not served; sorted by what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was written: go to the leader, or, when none is known (there is
    /// an election, a hand-over or no quorum), back off and ask again.
    #[error("not the leader of term {term}")]
    NotLeader {
        /// The term that this replica is in.
        term: u64,
        /// Who leads it, if known.
        leader: Option<NodeId>,
    },
    /// Nothing was written: too many proposals are on their way. Back off.
    #[error("{in_flight} proposals are on their way, which is the limit")]
    Overloaded {
        /// How many.
        in_flight: u32,
    },
    /// Nothing was written: the batch does not fit an entry. Propose less.
    #[error("batch has {bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        /// Encoded.
        bytes: usize,
        /// What an entry may have.
        bytes_max: usize,
    },
    /// It was accepted, and then the deadline passed or leadership was lost:
    /// it may be applied, now or later, or never. Repeat it under the same key.
    #[error("outcome unknown")]
    Unknown,
    /// This replica is stopping; see [`FatalReason`].
    #[error("this replica is stopping")]
    Fatal,
}

/// Why a replica must end its process. What was acknowledged is safe with the
/// others; the process is to be started again, and recovers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FatalReason {
    /// The disk failed; a failed fsync is never tried again.
    #[error("raft storage failed")]
    Storage(#[source] Arc<StorageError>),
    /// The Raft core returned an error or panicked.
    #[error("raft core stopped: {problem}")]
    Core {
        /// As openraft puts it.
        problem: String,
    },
    /// Two replicas agree with each other and not with us.
    #[error(
        "state differs from that of two other replicas at index {index}: \
         {ours:#018x} here, {theirs:#018x} there"
    )]
    Diverged {
        /// Where.
        index: u64,
        /// Our chained hash.
        ours: u64,
        /// Theirs.
        theirs: u64,
    },
    /// The Raft server ended by itself.
    #[error("raft server on {address} stopped: {problem}")]
    Server {
        /// Where it listened.
        address: String,
        /// As the transport puts it.
        problem: String,
    },
}

/// What one applied entry made true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedEvents {
    /// Index of the entry.
    pub index: u64,
    /// In order.
    pub events: Vec<Event>,
}

/// Who leads, as this replica knows it.
///
/// `is_leader` does not say that writes are accepted: a leader without a
/// quorum stays one. See [`crate::raft::Handle::quorum_acked_ago`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// Its leader, if known.
    pub leader: Option<NodeId>,
    /// Whether that is this replica.
    pub is_leader: bool,
}

/// A master as the membership and the last answers of peers have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its seat.
    pub seat: Seat,
    /// Its node id.
    pub node_id: NodeId,
    /// `HOST:PORT` of its Raft listener.
    pub raft_address: String,
    /// `HOST:PORT` of its client and worker services; unknown until it was
    /// heard of once.
    pub client_address: Option<String>,
    /// `HOST:PORT` of its HTTP endpoint, if it has one and was heard of.
    pub http_address: Option<String>,
    /// Whether it votes.
    pub voter: bool,
}

/// What a replica is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Follows without a vote.
    Learner,
    /// Follows.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Its core has stopped.
    Stopped,
}

/// This replica's Raft in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Who leads, if known.
    pub leader: Option<NodeId>,
    /// Last entry in its log; 0 when empty.
    pub last_log_index: u64,
    /// Last entry that it knows to be committed.
    pub committed: u64,
    /// Last entry that it applied.
    pub applied_index: u64,
    /// Last entry in its newest snapshot; 0 without one.
    pub snapshot_index: u64,
    /// Last entry that is no longer in its log; 0 when all are.
    pub purged_index: u64,
    /// Chained hash at `hash_index`.
    pub state_hash: u64,
    /// The last applied multiple of 64.
    pub hash_index: u64,
    /// Its node id.
    pub node_id: NodeId,
    /// Its seat.
    pub seat: Seat,
    /// The cluster.
    pub cluster_id: ClusterId,
}

/// What a peer answers when asked who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerDescription {
    /// Its seat.
    pub seat: Seat,
    /// How far it is in joining a cluster.
    pub formation: Formation,
    /// Its cluster and node id, unless pristine.
    pub membership: Option<(ClusterId, NodeId)>,
    /// `HOST:PORT` of its client and worker services.
    pub client_address: String,
    /// `HOST:PORT` of its HTTP endpoint, if it has one.
    pub http_address: Option<String>,
    /// Its process id.
    pub pid: u32,
    /// Its Raft, once that runs.
    pub raft: Option<PeerRaft>,
}

/// How far a master is in joining a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formation {
    /// Empty disk.
    Pristine,
    /// It has an identity, and neither log nor vote.
    Adopted,
    /// It has a log or a vote.
    Initialized,
}

/// A peer's Raft in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRaft {
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Who leads, as it knows it.
    pub leader: Option<NodeId>,
    /// Last entry in its log.
    pub last_log_index: u64,
    /// Last entry that it knows to be committed.
    pub committed: u64,
    /// Last entry that it applied.
    pub applied_index: u64,
    /// Last entry in its newest snapshot.
    pub snapshot_index: u64,
    /// Last entry that is no longer in its log; 0 when all are.
    pub purged_index: u64,
    /// Its recent hash points, by index.
    pub hash_points: Vec<HashPoint>,
}

/// Why leadership was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can.
    #[error("not the leader of term {term}")]
    NotLeader {
        /// Our term.
        term: u64,
        /// Who leads, if known.
        leader: Option<NodeId>,
    },
    /// No voter has that seat, or there is no other voter at all.
    #[error("no other voter to hand over to")]
    NoTarget {
        /// The seat that was asked for.
        seat: Option<Seat>,
    },
    /// The target did not lead in time.
    #[error("{seat} did not take over in time")]
    TimedOut {
        /// The target.
        seat: Seat,
    },
    /// This replica is stopping.
    #[error("this replica is stopping")]
    Fatal,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict one another.
    #[error("raft settings are wrong")]
    Config(#[source] super::ConfigError),
    /// Another process serves the directory.
    #[error("{dir} is in use by another process")]
    DirInUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk is empty, or was, while its peers have a cluster.
    #[error(
        "{seat} has an empty disk, but its peers have a cluster: this replica's disk is lost, \
         see `vivat cluster replace {}`", seat.0
    )]
    DiskLost {
        /// Ours.
        seat: Seat,
    },
    /// The disk has data that cannot be read.
    #[error(
        "the disk of {seat} is damaged: this replica's disk is lost; do not delete it, \
         see `vivat cluster replace {}`", seat.0
    )]
    DiskDamaged {
        /// Ours.
        seat: Seat,
        /// What was found.
        #[source]
        source: StorageError,
    },
    /// The disk belongs to another seat.
    #[error("{dir} belongs to {found}, not to {configured}")]
    OtherSeat {
        /// The directory.
        dir: PathBuf,
        /// As configured.
        configured: Seat,
        /// As on the disk.
        found: Seat,
    },
    /// A peer answers under another seat or in another cluster.
    #[error("peer at {address} is {found}, expected {expected}")]
    WrongPeer {
        /// Where.
        address: String,
        /// What it said.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The operating system refused something.
    #[error("cannot {action}")]
    Io {
        /// What.
        action: &'static str,
        /// Its answer.
        #[source]
        source: std::io::Error,
    },
    /// The disk refused something.
    #[error("raft storage failed")]
    Storage(#[source] StorageError),
    /// Raft did not start.
    #[error("raft did not start: {problem}")]
    Raft {
        /// As openraft puts it.
        problem: String,
    },
}
