//! openraft's type configuration, and what goes in its holes.
//!
//! Nothing outside `raft/` names these types. A term has one leader
//! (`leader_id_std`), so a term alone fences.

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::type_config::alias;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vivat_core::command::{Proposal, Reply};

openraft::declare_raft_types!(
    /// The types of our Raft.
    pub TypeConfig:
        D = Payload,
        R = ApplyReply,
        NodeId = u64,
        Node = MemberNode,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

pub type LogId = alias::LogIdOf<TypeConfig>;
pub type Vote = alias::VoteOf<TypeConfig>;
pub type Entry = alias::EntryOf<TypeConfig>;
pub type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub type Snapshot = alias::SnapshotOf<TypeConfig, Bytes>;
pub type CommittedLeaderId = alias::CommittedLeaderIdOf<TypeConfig>;

/// An encoded [`Proposal`].
///
/// It is encoded once, where it is proposed: the log, each follower's stream
/// and openraft's queues then share the bytes, and its size is known before
/// Raft sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl Payload {
    /// Encodes a proposal.
    pub fn encode(proposal: &Proposal) -> Self {
        let bytes = postcard::to_stdvec(proposal)
            .expect("a proposal is plain data of known lengths, which postcard always encodes");
        Self(bytes.into())
    }

    /// Decodes it; an error means that another program wrote it.
    pub fn decode(&self) -> Result<Proposal, postcard::Error> {
        postcard::from_bytes(&self.0)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

// By hand: a derived implementation writes a sequence, byte by byte.
impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a proposal")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Payload, E> {
        Ok(Payload(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Payload, E> {
        Ok(Payload(bytes.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Payload, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(Payload(bytes.into()))
    }
}

/// What `apply` answers the proposer; empty for entries without commands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyReply {
    /// One for each command.
    pub replies: Vec<Reply>,
}

/// What the membership in the log says of a member.
///
/// The configured address of a seat goes before the one in here, so that a
/// cluster can be moved without a membership change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemberNode {
    /// Its seat.
    pub seat: u32,
    /// `HOST:PORT` of its Raft listener when it joined.
    pub raft_address: String,
}

/// The id under which openraft knows the leader of a term.
pub fn committed_leader(term: u64) -> CommittedLeaderId {
    use openraft::vote::RaftLeaderId as _;
    leader_id_std::LeaderId {
        term,
        voted_for: 0u64,
    }
    .to_committed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_survives_postcard_at_one_byte_a_byte() {
        let payload = Payload(Bytes::from(vec![7; 1000]));
        let bytes = postcard::to_stdvec(&payload).unwrap();
        assert_eq!(bytes.len(), 1002);
        assert_eq!(postcard::from_bytes::<Payload>(&bytes).unwrap(), payload);
    }
}
