//! Blocks that one worker fetches from another.

use tonic::{Code, Status};
use vivat_proto::error::detail_of;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::dataset::{BlockSummary, Holder};

use crate::proxy::Proxy;
use crate::rig::{CLUSTER, LARGE, Rig, content, flip, id, summary};

/// Orders worker 2 to copy.
async fn copy(rig: &Rig, block: BlockSummary, from: Holder) -> Result<(), Status> {
    let request = v1::CopyBlockRequest {
        block: Some(block.into()),
        worker: 2,
        cluster_id: CLUSTER.to_owned(),
        from: Some(from.into()),
    };
    let answer = rig.client(2).await.copy_block(request).await;
    answer.map(|_| ())
}

#[tokio::test]
async fn copy_holds_the_same_bytes_and_may_be_ordered_again() {
    let rig = Rig::start(2).await;
    for (index, bytes) in [(0, 0), (1, LARGE + 1)] {
        let content = content(bytes);
        rig.put(id(index), &content, &[rig.hop(1)]).await.unwrap();
        for _ in 0..2 {
            let block = summary(id(index), &content);
            copy(&rig, block, rig.hop(1)).await.unwrap();
        }
        assert!(rig.get(id(index), &rig.hop(2)).await.unwrap() == content);
    }
}

#[tokio::test]
async fn damaged_or_missing_original_gives_no_copy_and_its_type() {
    let rig = Rig::start(2).await;
    let content = content(LARGE);
    rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
    flip(&rig.block_files(1)[0], LARGE - 100_000);
    let status = copy(&rig, summary(id(1), &content), rig.hop(1))
        .await
        .unwrap_err();
    assert!(
        matches!(detail_of(&status), Some(Kind::BlockDamaged(_))),
        "{status:?}"
    );
    assert!(status.message().contains("worker-1"), "{status:?}");
    rig.until_clean(2).await;
    let status = copy(&rig, summary(id(1), &content), rig.hop(1))
        .await
        .unwrap_err();
    assert!(
        matches!(detail_of(&status), Some(Kind::BlockGone(_))),
        "{status:?}"
    );
    let told = |state: &crate::leader::State| !state.lost_blocks.is_empty();
    rig.leader
        .until("the lost original is reported", told)
        .await;
}

#[tokio::test]
async fn original_that_is_not_the_block_ordered_gives_no_copy() {
    let rig = Rig::start(2).await;
    let content = content(100_000);
    rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
    let mut other = summary(id(1), &content);
    other.crc32c ^= 1;
    let status = copy(&rig, other, rig.hop(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    rig.until_clean(2).await;
    // And one that is here with other bytes stays as it is.
    copy(&rig, summary(id(1), &content), rig.hop(1))
        .await
        .unwrap();
    let status = copy(&rig, other, rig.hop(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    assert!(rig.get(id(1), &rig.hop(2)).await.unwrap() == content);
}

#[tokio::test]
async fn copy_that_breaks_off_leaves_nothing_and_goes_well_later() {
    let rig = Rig::start(2).await;
    let content = content(LARGE);
    rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
    let proxy = Proxy::start(rig.worker(1).address(), LARGE as u64 / 2).await;
    let block = summary(id(1), &content);
    let status = copy(&rig, block, rig.hop_at(1, &proxy.address))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    rig.until_clean(2).await;
    copy(&rig, block, rig.hop(1)).await.unwrap();
}

#[tokio::test]
async fn copy_beyond_the_room_is_refused_with_its_type() {
    let set = |number, config: &mut vivat_worker::WorkerConfig| {
        config.disk_bytes = (number == 2).then_some(1024 * 1024);
    };
    let rig = Rig::with(2, set).await;
    let content = content(LARGE);
    rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
    let status = copy(&rig, summary(id(1), &content), rig.hop(1))
        .await
        .unwrap_err();
    assert!(
        matches!(detail_of(&status), Some(Kind::NoRoom(_))),
        "{status:?}"
    );
}
