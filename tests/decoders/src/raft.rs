//! The bytes of Raft. The first byte of an input says which they are.

use prost::Message;
use serde::Serialize;
use vivat_master::raft::Format;
use vivat_proto::raft::v1;

use crate::{Target, history};

/// Log entries, marks and votes; the messages between masters.
pub const FORMATS: Target = Target::new("raft", formats, values);

fn formats(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let format = Format::ALL[usize::from(*first) % Format::ALL.len()];
    if let Some(once) = format.reencode(rest) {
        let twice = format.reencode(&once);
        assert_eq!(twice.as_ref(), Some(&once), "{format:?}");
    }
}

/// Bytes of a format, which it must take.
fn of(format: Format, body: &[u8]) -> Vec<u8> {
    assert!(format.reencode(body).is_some(), "{format:?}: {body:02x?}");
    let position = Format::ALL.iter().position(|known| *known == format);
    let first = position.and_then(|position| u8::try_from(position).ok());
    let mut bytes = vec![first.expect("there are fewer than 256 formats")];
    bytes.extend_from_slice(body);
    bytes
}

fn plain(format: Format, body: &impl Serialize) -> Vec<u8> {
    of(format, &postcard::to_stdvec(body).expect("plain data"))
}

/// The types are not ours to name here, so these are tuples of their fields:
/// postcard writes both alike.
fn values() -> Vec<Vec<u8>> {
    let proposal = &history::values_of_proposals()[2];
    let payload = postcard::to_stdvec(proposal).expect("plain data");
    let vote = ((7_u64, Some(2_u64)), true);
    let log_id = (7_u64, 300_u64);
    let node = (2_u32, "h:7401");
    let membership = (vec![vec![1_u64, 2]], vec![(1_u64, node), (2, node)]);
    let meta = (Some(log_id), (Some(log_id), &membership), "");
    // The number of a variant is one byte.
    let blank = (log_id, 0_u8);
    let normal = (log_id, 1_u8, &payload);
    let member = (log_id, 2_u8, &membership);
    let description = v1::DescribeMasterResponse {
        seat: 1,
        formation: v1::Formation::Initialized.into(),
        cluster_id: "000000000000000000000000feedbeef".to_owned(),
        node_id: 2,
        client_address: "h:7401".to_owned(),
        http_address: "h:7402".to_owned(),
        pid: 3,
        raft: Some(v1::RaftDescription::default()),
    };
    vec![
        plain(Format::LogEntry, &blank),
        plain(Format::LogEntry, &normal),
        plain(Format::LogEntry, &member),
        plain(Format::LogMark, &log_id),
        plain(Format::Vote, &vote),
        of(Format::Proposal, &payload),
        plain(Format::SnapshotMeta, &meta),
        plain(
            Format::AppendRequest,
            &(vote, Some(log_id), (2_u8, normal, blank), Some(log_id)),
        ),
        plain(Format::AppendResponse, &(1_u8, Some(log_id))),
        plain(Format::StreamAppendResponse, &(0_u8, Some(log_id))),
        plain(Format::VoteRequest, &(vote, Some(log_id), true)),
        plain(Format::VoteResponse, &(vote, true, Some(log_id))),
        plain(Format::SnapshotHeader, &(vote, &meta)),
        plain(Format::SnapshotResponse, &vote),
        plain(Format::TransferRequest, &(vote, 2_u64, Some(log_id))),
        plain(Format::TransferResponse, &(0_u8, ())),
        of(Format::Description, &description.encode_to_vec()),
    ]
}
