//! The bytes of Raft: what it keeps in the log, and what it says to its peers.
//!
//! Their types are openraft's and stay in this folder. Whoever only has to
//! check bytes, such as the fuzzer, names a format instead.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use vivat_proto::raft::v1 as proto;

use super::types::{Entry, LogId, Payload, SnapshotMeta, TypeConfig, Vote};
use super::{log, wire};

/// What bytes are meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A record of the log: an entry, with a proposal in it or without.
    LogEntry,
    /// A mark beside the log: what was purged or committed.
    LogMark,
    /// The vote beside the log.
    Vote,
    /// An entry's proposal.
    Proposal,
    /// What a snapshot file says of itself.
    SnapshotMeta,
    /// A call.
    AppendRequest,
    /// Its answer.
    AppendResponse,
    /// An answer on a stream of appends.
    StreamAppendResponse,
    /// A call for a vote or a pre-vote.
    VoteRequest,
    /// Its answer.
    VoteResponse,
    /// The head of a snapshot that is sent.
    SnapshotHeader,
    /// The answer to a snapshot.
    SnapshotResponse,
    /// A call that hands leadership over.
    TransferRequest,
    /// Its answer.
    TransferResponse,
    /// What a master says of itself.
    Description,
}

impl Format {
    /// Each of them.
    pub const ALL: [Self; 15] = [
        Self::LogEntry,
        Self::LogMark,
        Self::Vote,
        Self::Proposal,
        Self::SnapshotMeta,
        Self::AppendRequest,
        Self::AppendResponse,
        Self::StreamAppendResponse,
        Self::VoteRequest,
        Self::VoteResponse,
        Self::SnapshotHeader,
        Self::SnapshotResponse,
        Self::TransferRequest,
        Self::TransferResponse,
        Self::Description,
    ];

    /// Decodes bytes as a master does, and encodes what they say; `None` when
    /// a master refuses them.
    #[must_use]
    pub fn reencode(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::LogEntry => kept::<Entry>(bytes),
            Self::LogMark => kept::<LogId>(bytes),
            Self::Vote => kept::<Vote>(bytes),
            Self::Proposal => {
                let payload = Payload(bytes.to_vec().into());
                let proposal = payload.decode().ok()?;
                Some(Payload::encode(&proposal).0.to_vec())
            }
            Self::SnapshotMeta => kept::<SnapshotMeta>(bytes),
            Self::AppendRequest => said::<AppendEntriesRequest<TypeConfig>>(bytes),
            Self::AppendResponse => said::<AppendEntriesResponse<TypeConfig>>(bytes),
            Self::StreamAppendResponse => said::<StreamAppendResult<TypeConfig>>(bytes),
            Self::VoteRequest => said::<VoteRequest<TypeConfig>>(bytes),
            Self::VoteResponse => said::<VoteResponse<TypeConfig>>(bytes),
            Self::SnapshotHeader => said::<(Vote, SnapshotMeta)>(bytes),
            Self::SnapshotResponse => said::<SnapshotResponse<TypeConfig>>(bytes),
            Self::TransferRequest => said::<TransferLeaderRequest<TypeConfig>>(bytes),
            Self::TransferResponse => said::<TransferLeaderResponse<TypeConfig>>(bytes),
            Self::Description => {
                let message = proto::DescribeMasterResponse::decode(bytes).ok()?;
                let description = wire::description_from_proto(message).ok()?;
                Some(wire::description_to_proto(description).encode_to_vec())
            }
        }
    }
}

fn kept<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    let value: T = log::decode(bytes).ok()?;
    Some(log::encode(&value).to_vec())
}

fn said<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    let value: T = wire::decode(bytes).ok()?;
    Some(wire::encode(&value).to_vec())
}
