//! Blocks as other parts of a worker write them.

use bytes::Bytes;
use vivat_shared::ids::WorkerId;
use vivat_worker::blocks::BlockOutput;

use crate::rig::{LARGE, PIECE_BYTES, Rig, content, eventually, id, summary, within};

async fn write(output: &mut BlockOutput, content: &[u8]) {
    for piece in content.chunks(PIECE_BYTES) {
        let piece = Bytes::copy_from_slice(piece);
        within(output.write(piece)).await.unwrap();
    }
}

#[tokio::test]
async fn block_is_written_here_and_on_the_hops_given() {
    let rig = Rig::start(3).await;
    for (index, bytes) in [(0, 0), (1, LARGE)] {
        let content = content(bytes);
        let hops = vec![rig.hop(2), rig.hop(3)];
        let blocks = rig.worker(1).blocks();
        let mut output = blocks.write(id(index), bytes as u64, hops);
        write(&mut output, &content).await;
        assert_eq!(output.bytes(), bytes as u64);
        let written = within(output.finish()).await.unwrap();
        assert_eq!(written.block.summary, summary(id(index), &content));
        assert_eq!(written.block.workers, [1, 2, 3].map(WorkerId));
        assert!(written.failed.is_empty());
        for number in 1..=3 {
            assert!(rig.get(id(index), &rig.hop(number)).await.unwrap() == content);
        }
    }
}

#[tokio::test]
async fn block_that_fails_on_some_hops_is_written_and_says_where_not() {
    let full = |number, config: &mut vivat_worker::WorkerConfig| {
        config.disk_bytes = (number == 1).then_some(1024 * 1024);
    };
    let rig = Rig::with(2, full).await;
    let content = content(LARGE);
    let nobody = rig.hop_at(9, "127.0.0.1:1");
    let blocks = rig.worker(1).blocks();
    let mut output = blocks.write(id(1), LARGE as u64, vec![rig.hop(2), nobody.clone()]);
    write(&mut output, &content).await;
    let written = within(output.finish()).await.unwrap();
    assert_eq!(written.block.workers, [WorkerId(2)]);
    let failed: Vec<u32> = written.failed.iter().map(|hop| hop.worker.0).collect();
    assert_eq!(failed, [1, 9]);

    let mut output = blocks.write(id(2), LARGE as u64, vec![nobody]);
    let mut result = Ok(());
    for piece in content.chunks(PIECE_BYTES) {
        result = within(output.write(Bytes::copy_from_slice(piece))).await;
        if result.is_err() {
            break;
        }
    }
    let error = result.unwrap_err().to_string();
    for part in ["dataset-7.block-2", "worker-1: no room", "worker-9: "] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[tokio::test]
async fn block_that_is_dropped_before_its_end_leaves_nothing() {
    let rig = Rig::start(2).await;
    let blocks = rig.worker(1).blocks();
    let mut output = blocks.write(id(1), LARGE as u64, vec![rig.hop(2)]);
    write(&mut output, &content(LARGE / 2)).await;
    let second = rig.worker(2).blocks().store().clone();
    eventually("the hop is writing", || second.usage().reserved > 0).await;
    drop(output);
    rig.until_clean(1).await;
    rig.until_clean(2).await;
}
