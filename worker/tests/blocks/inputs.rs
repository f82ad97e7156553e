//! Blocks as other parts of a worker read them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vivat_shared::dataset::LocatedBlock;
use vivat_worker::blocks::{BlockReadError, Blocks};

use crate::proxy::Proxy;
use crate::rig::{LARGE, Rig, content, flip, id, located, within};

/// All of a range, with the bytes that came from here and from others.
async fn read(
    blocks: &Blocks,
    block: &LocatedBlock,
    range: std::ops::Range<u64>,
) -> Result<(Vec<u8>, u64, u64), BlockReadError> {
    let mut input = blocks.read(block, range)?;
    let mut content = Vec::new();
    while let Some(piece) = within(input.next()).await? {
        content.extend_from_slice(&piece);
    }
    Ok((content, input.local_bytes(), input.remote_bytes()))
}

#[tokio::test]
async fn own_copy_is_read_first_and_others_where_there_is_none() {
    let rig = Rig::start(2).await;
    let content = content(LARGE);
    rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
    let block = located(id(1), &content, vec![rig.hop(1)]);
    let all = 0..LARGE as u64;
    let here = read(rig.worker(1).blocks(), &block, all.clone()).await;
    assert!(here.unwrap() == (content.clone(), LARGE as u64, 0));
    let there = read(rig.worker(2).blocks(), &block, all).await;
    assert!(there.unwrap() == (content.clone(), 0, LARGE as u64));
    let part = read(rig.worker(2).blocks(), &block, 70_001..900_003).await;
    assert!(part.unwrap().0 == content[70_001..900_003]);
    let none = read(rig.worker(2).blocks(), &block, 5..5).await;
    assert!(none.unwrap().0.is_empty());
    let beyond = rig.worker(2).blocks().read(&block, 5..LARGE as u64 + 1);
    assert!(matches!(beyond, Err(BlockReadError::Range { .. })));
}

#[tokio::test]
async fn copy_that_turns_out_damaged_in_the_middle_is_gone_on_with_elsewhere() {
    let rig = Rig::start(3).await;
    let content = content(LARGE);
    let hops = [rig.hop(1), rig.hop(2), rig.hop(3)];
    rig.put(id(1), &content, &hops).await.unwrap();
    flip(&rig.block_files(1)[0], LARGE / 4);
    flip(&rig.block_files(2)[0], LARGE / 2);
    let block = located(id(1), &content, hops.to_vec());
    let (read, local_bytes, remote_bytes) = read(rig.worker(1).blocks(), &block, 0..LARGE as u64)
        .await
        .unwrap();
    assert!(read == content);
    assert!(local_bytes > 0 && local_bytes <= LARGE as u64 / 4);
    assert_eq!(local_bytes + remote_bytes, LARGE as u64);
    let both = |state: &crate::leader::State| state.lost_blocks.len() >= 2;
    rig.leader
        .until("both lost copies are reported", both)
        .await;
}

#[tokio::test]
async fn holder_that_dies_in_the_middle_is_gone_on_without() {
    let rig = Rig::start(3).await;
    let content = content(LARGE);
    rig.put(id(1), &content, &[rig.hop(2), rig.hop(3)])
        .await
        .unwrap();
    let proxy = Proxy::start(rig.worker(2).address(), LARGE as u64 / 2).await;
    let holders = vec![rig.hop_at(2, &proxy.address), rig.hop(3)];
    let block = located(id(1), &content, holders);
    let (read, _, remote_bytes) = read(rig.worker(1).blocks(), &block, 0..LARGE as u64)
        .await
        .unwrap();
    assert!(read == content);
    assert_eq!(remote_bytes, LARGE as u64);
    assert!(proxy.carried() > LARGE as u64 / 2);
}

#[tokio::test]
async fn holder_that_comes_back_is_asked_again() {
    let rig = Rig::start(2).await;
    let content = content(LARGE);
    rig.put(id(1), &content, &[rig.hop(2)]).await.unwrap();
    // Each connection breaks off, and the next one goes on where it did.
    let proxy = Proxy::start(rig.worker(2).address(), LARGE as u64 / 2).await;
    let twice = vec![rig.hop_at(2, &proxy.address), rig.hop(2)];
    let block = located(id(1), &content, twice);
    let all = 0..LARGE as u64;
    let (read, ..) = read(rig.worker(1).blocks(), &block, all).await.unwrap();
    assert!(read == content);
}

#[tokio::test]
async fn block_that_nobody_gives_is_named_with_what_each_holder_said() {
    let rig = Rig::start(3).await;
    let content = content(1_000_000);
    let hops = [rig.hop(1), rig.hop(2)];
    rig.put(id(5), &content, &hops).await.unwrap();
    flip(&rig.block_files(1)[0], 5_000);
    std::fs::remove_file(&rig.block_files(2)[0]).unwrap();
    let mistaken = rig.hop_at(9, rig.worker(3).address());
    let holders = vec![rig.hop(1), rig.hop(2), rig.hop(3), mistaken];
    let block = located(id(5), &content, holders);
    let error = read(rig.worker(1).blocks(), &block, 0..1_000_000).await;
    let error = error.unwrap_err();
    let BlockReadError::Unreadable {
        offset, refusals, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((*offset, refusals.len()), (0, 4));
    let text = error.to_string();
    for part in [
        "dataset-7.block-5",
        "worker-1: ",
        "damaged",
        "worker-2: ",
        "worker-3: ",
        "worker-9: ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let nowhere = located(id(6), &content, Vec::new());
    let error = read(rig.worker(1).blocks(), &nowhere, 0..1_000_000).await;
    assert!(error.unwrap_err().to_string().contains("no worker"));
}

#[tokio::test]
async fn holder_that_is_silent_costs_seconds_and_no_more() {
    let rig = Rig::start(2).await;
    let content = content(1_000_000);
    rig.put(id(1), &content, &[rig.hop(2)]).await.unwrap();
    let proxy = Proxy::start(rig.worker(2).address(), u64::MAX).await;
    proxy.stop();
    let holders = vec![rig.hop_at(2, &proxy.address), rig.hop(2)];
    let block = located(id(1), &content, holders);
    let reading = read(rig.worker(1).blocks(), &block, 0..1_000_000);
    let (read, ..) = tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap()
        .unwrap();
    assert!(read == content);
}

#[tokio::test]
async fn thread_waits_for_a_block_until_it_is_told_to_stop() {
    let rig = Rig::start(2).await;
    let content = content(1_000_000);
    rig.put(id(1), &content, &[rig.hop(2)]).await.unwrap();
    let proxy = Proxy::start(rig.worker(2).address(), u64::MAX).await;
    proxy.stop();
    let silent = located(id(1), &content, vec![rig.hop_at(2, &proxy.address)]);
    let good = located(id(1), &content, vec![rig.hop(2)]);
    let blocks = rig.worker(1).blocks().clone();
    let stopped = CancellationToken::new();
    let stop = stopped.clone();
    let thread = tokio::task::spawn_blocking(move || {
        let mut input = blocks.read(&good, 0..1_000_000).unwrap();
        let first = blocks.wait(input.next(), &stopped).unwrap().unwrap();
        let mut input = blocks.read(&silent, 0..1_000_000).unwrap();
        (first, blocks.wait(input.next(), &stopped).is_none())
    });
    proxy.until_asked().await;
    assert!(proxy.carried() == 0 && !thread.is_finished());
    stop.cancel();
    let (first, was_stopped) = within(thread).await.unwrap();
    assert!(was_stopped && first.is_some_and(|piece| content.starts_with(&piece)));
}
