//! Blocks as they are served: right bytes, or an error by its type, and the leader
//! is told.

use tonic::Code;
use vivat_proto::error::detail_of;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;

use crate::rig::{CLUSTER, LARGE, PIECE_BYTES, Rig, content, flip, id, read_request, summary};

/// Damage to a block's file.
type Harm = fn(&std::path::Path);

const HARMS: [(&str, Harm); 4] = [
    ("a flipped byte of data", |path| flip(path, 3 * PIECE_BYTES)),
    ("a flipped byte at its beginning", |path| flip(path, 2)),
    ("a truncated file", |path| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(PIECE_BYTES as u64).unwrap();
    }),
    ("a deleted file", |path| std::fs::remove_file(path).unwrap()),
];

#[tokio::test]
async fn damaged_copy_is_never_served_and_the_leader_is_told() {
    for (what, harm) in HARMS {
        let rig = Rig::start(1).await;
        let content = content(5 * PIECE_BYTES);
        rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
        harm(&rig.block_files(1)[0]);
        let status = rig.get(id(1), &rig.hop(1)).await.unwrap_err();
        assert_eq!(status.code(), Code::DataLoss, "{what}: {status:?}");
        assert!(
            matches!(detail_of(&status), Some(Kind::BlockDamaged(_))),
            "{what}"
        );
        let told = |state: &crate::leader::State| {
            let mut lost = state.lost_blocks.iter();
            lost.any(|(_, blocks)| blocks.contains(&id(1)))
        };
        rig.leader.until("the lost copy is reported", told).await;
        // It is not here any more, and can come again.
        let status = rig.get(id(1), &rig.hop(1)).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{what}");
        assert!(
            matches!(detail_of(&status), Some(Kind::BlockGone(_))),
            "{what}"
        );
        rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
        assert!(rig.get(id(1), &rig.hop(1)).await.unwrap() == content);
    }
}

#[tokio::test]
async fn range_of_a_block_is_served_and_one_that_it_does_not_have_refused() {
    let rig = Rig::start(1).await;
    let content = content(2 * PIECE_BYTES);
    rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
    let whole = content.len();
    for (offset, bytes) in [
        (0, 1),
        (1, 70_000),
        (PIECE_BYTES - 1, 2),
        (whole - 1, 0),
        (whole, 0),
    ] {
        let mut request = read_request(id(1), &rig.hop(1));
        (request.offset, request.bytes) = (offset as u64, bytes as u64);
        let answer = rig.client(1).await.read_block(request).await.unwrap();
        let mut stream = answer.into_inner();
        let mut read = Vec::new();
        while let Some(message) = stream.message().await.unwrap() {
            read.extend_from_slice(&message.data);
        }
        let end = if bytes == 0 { whole } else { offset + bytes };
        assert!(read == content[offset..end], "{offset} {bytes}");
    }
    for (offset, bytes) in [(whole as u64 + 1, 0), (0, whole as u64 + 1), (1, u64::MAX)] {
        let mut request = read_request(id(1), &rig.hop(1));
        (request.offset, request.bytes) = (offset, bytes);
        let status = rig.client(1).await.read_block(request).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{offset} {bytes}");
    }
}

#[tokio::test]
async fn readers_beyond_the_bound_are_told_to_come_again_and_are_served_later() {
    let rig = Rig::start(1).await;
    let content = content(LARGE);
    rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
    let request = || read_request(id(1), &rig.hop(1));
    let mut slow = Vec::new();
    for _ in 0..16 {
        // Readers that take nothing.
        let client = &mut rig.client(1).await;
        slow.push(client.read_block(request()).await.unwrap());
    }
    let status = rig.client(1).await.read_block(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(slow);
    assert!(rig.get(id(1), &rig.hop(1)).await.unwrap() == content);
}

#[tokio::test]
async fn listing_gives_all_blocks_in_pages() {
    let rig = Rig::start(1).await;
    for index in 0..5 {
        rig.put(id(index), b"x", &[rig.hop(1)]).await.unwrap();
    }
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let request = v1::ListHeldBlocksRequest {
            after,
            limit: 2,
            worker: 1,
            cluster_id: CLUSTER.to_owned(),
        };
        let mut client = rig.client(1).await;
        let page = client.list_held_blocks(request).await.unwrap().into_inner();
        after = page.blocks.last().and_then(|summary| summary.block);
        found.extend(page.blocks);
        if !page.more {
            break;
        }
    }
    let wanted: Vec<v1::BlockSummary> = (0..5).map(|n| summary(id(n), b"x").into()).collect();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn verification_tells_right_copies_from_damaged_and_missing_ones() {
    let rig = Rig::start(1).await;
    let content = content(PIECE_BYTES + 1);
    rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
    flip(&rig.block_files(1)[0], 70_000);
    rig.put(id(2), &content, &[rig.hop(1)]).await.unwrap();
    let request = v1::VerifyBlocksRequest {
        blocks: [1, 2, 3].map(|index| id(index).into()).to_vec(),
        worker: 1,
        cluster_id: CLUSTER.to_owned(),
    };
    let mut client = rig.client(1).await;
    let answer = client.verify_blocks(request.clone()).await.unwrap();
    let blocks = answer.into_inner().blocks;
    assert!(blocks[0].summary.is_none() && blocks[0].problem.contains("damaged"));
    assert_eq!(blocks[1].summary, Some(summary(id(2), &content).into()));
    assert!(blocks[2].summary.is_none() && blocks[2].problem.contains("not on this worker"));
    let both = |state: &crate::leader::State| {
        let lost: Vec<_> = state
            .lost_blocks
            .iter()
            .flat_map(|(_, blocks)| blocks)
            .collect();
        lost.contains(&&id(1)) && lost.contains(&&id(3))
    };
    rig.leader.until("both are reported", both).await;

    let other = v1::VerifyBlocksRequest {
        worker: 2,
        ..request
    };
    let status = client.verify_blocks(other).await.unwrap_err();
    assert!(matches!(detail_of(&status), Some(Kind::OtherWorker(_))));
}
