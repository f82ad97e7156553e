//! How Raft's messages look on the wire, for both ends.
//!
//! openraft's own types travel as postcard in a bytes field: both ends are the
//! same pinned version, and the package carries the version of the layout.
//! Every call of `RaftService` names the cluster and the node that it is for.

use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use vivat_core::HashPoint;
use vivat_proto::raft::v1 as proto;
use vivat_shared::ids::{ClusterId, NodeId, Seat};

use super::api::{Formation, PeerDescription, PeerRaft, Role};

/// Largest chunk of a snapshot on the wire.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1024 * 1024;
/// Largest snapshot that is accepted.
pub const SNAPSHOT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// A message, both ways: an append of 16 entries of 64 KiB, or a chunk.
pub const MESSAGE_BYTES_MAX: usize = vivat_shared::limits::MESSAGE_BYTES_MAX;

const CLUSTER_KEY: &str = "vivat-cluster";
const TARGET_KEY: &str = "vivat-target";

/// Whom a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The node.
    pub node_id: NodeId,
}

impl Target {
    /// Writes it into a call's metadata.
    pub fn write(&self, metadata: &mut MetadataMap) {
        let cluster = self.cluster_id.to_string();
        let node = self.node_id.0.to_string();
        let digits = "digits are ASCII";
        metadata.insert(CLUSTER_KEY, cluster.parse().expect(digits));
        metadata.insert(TARGET_KEY, node.parse().expect(digits));
    }

    /// Refuses a call that is for somebody else.
    pub fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let text = |key| metadata.get(key).and_then(|value| value.to_str().ok());
        let cluster: Option<ClusterId> = text(CLUSTER_KEY).and_then(|text| text.parse().ok());
        let node: Option<u64> = text(TARGET_KEY).and_then(|text| text.parse().ok());
        if cluster == Some(self.cluster_id) && node == Some(self.node_id.0) {
            return Ok(());
        }
        let details = proto::WrongTarget {
            cluster_id: self.cluster_id.to_string(),
            node_id: self.node_id.0,
        };
        Err(Status::with_details(
            Code::FailedPrecondition,
            format!("this is {} of cluster {}", self.node_id, self.cluster_id),
            details.encode_to_vec().into(),
        ))
    }
}

/// Encodes one of openraft's messages.
pub fn encode<T: Serialize>(message: &T) -> Bytes {
    postcard::to_stdvec(message)
        .expect("raft's types are plain data of known lengths, which postcard always encodes")
        .into()
}

/// Decodes one of openraft's messages.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Status> {
    postcard::from_bytes(bytes)
        .map_err(|error| Status::invalid_argument(format!("payload does not decode: {error}")))
}

/// A role for the wire.
pub fn role_to_proto(role: Role) -> proto::RaftRole {
    match role {
        Role::Learner => proto::RaftRole::Learner,
        Role::Follower => proto::RaftRole::Follower,
        Role::Candidate => proto::RaftRole::Candidate,
        Role::Leader => proto::RaftRole::Leader,
        Role::Stopped => proto::RaftRole::Stopped,
    }
}

fn role_from_proto(role: proto::RaftRole) -> Role {
    match role {
        proto::RaftRole::Learner => Role::Learner,
        proto::RaftRole::Follower => Role::Follower,
        proto::RaftRole::Candidate => Role::Candidate,
        proto::RaftRole::Leader => Role::Leader,
        proto::RaftRole::Stopped | proto::RaftRole::Unspecified => Role::Stopped,
    }
}

/// A description for the wire.
pub fn description_to_proto(description: PeerDescription) -> proto::DescribeMasterResponse {
    let formation = match description.formation {
        Formation::Pristine => proto::Formation::Pristine,
        Formation::Adopted => proto::Formation::Adopted,
        Formation::Initialized => proto::Formation::Initialized,
    };
    let (cluster_id, node_id) = match description.membership {
        Some((cluster, node)) => (cluster.to_string(), node.0),
        None => (String::new(), 0),
    };
    proto::DescribeMasterResponse {
        seat: description.seat.0,
        formation: formation.into(),
        cluster_id,
        node_id,
        client_address: description.client_address,
        http_address: description.http_address.unwrap_or_default(),
        pid: description.pid,
        raft: description.raft.map(|raft| proto::RaftDescription {
            role: role_to_proto(raft.role).into(),
            term: raft.term,
            leader_node_id: raft.leader.map_or(0, |leader| leader.0),
            last_log_index: raft.last_log_index,
            committed_index: raft.committed,
            applied_index: raft.applied_index,
            snapshot_index: raft.snapshot_index,
            purged_index: raft.purged_index,
            hash_points: raft
                .hash_points
                .into_iter()
                .map(|point| proto::HashPoint {
                    index: point.index,
                    hash: point.hash,
                })
                .collect(),
        }),
    }
}

/// A description from the wire.
pub fn description_from_proto(
    response: proto::DescribeMasterResponse,
) -> Result<PeerDescription, Status> {
    let wrong = |what: &str| Status::internal(format!("peer describes itself without {what}"));
    let formation = match response.formation() {
        proto::Formation::Pristine => Formation::Pristine,
        proto::Formation::Adopted => Formation::Adopted,
        proto::Formation::Initialized => Formation::Initialized,
        proto::Formation::Unspecified => return Err(wrong("a formation")),
    };
    let membership = match formation {
        Formation::Pristine => None,
        Formation::Adopted | Formation::Initialized => {
            let cluster = response.cluster_id.parse();
            let cluster = cluster.map_err(|_| wrong("a cluster id"))?;
            Some((cluster, NodeId(response.node_id)))
        }
    };
    Ok(PeerDescription {
        seat: Seat(response.seat),
        formation,
        membership,
        client_address: response.client_address,
        http_address: Some(response.http_address).filter(|address| !address.is_empty()),
        pid: response.pid,
        raft: response.raft.map(|raft| PeerRaft {
            role: role_from_proto(raft.role()),
            term: raft.term,
            leader: Some(raft.leader_node_id).filter(|id| *id != 0).map(NodeId),
            last_log_index: raft.last_log_index,
            committed: raft.committed_index,
            applied_index: raft.applied_index,
            snapshot_index: raft.snapshot_index,
            purged_index: raft.purged_index,
            hash_points: raft
                .hash_points
                .into_iter()
                .map(|point| HashPoint {
                    index: point.index,
                    hash: point.hash,
                })
                .collect(),
        }),
    })
}
