//! A block along a pipeline, and hops that fail.

use bytes::Bytes;
use tonic::Code;
use vivat_proto::error::detail_of;
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::write_block_request::Part;
use vivat_proto::v1::{FinishBlock, WriteBlockResponse};

use crate::proxy::Proxy;
use crate::rig::{LARGE, PIECE_BYTES, Rig, content, eventually, id, until_registered, within};

/// Sends so many pieces of a block and says how many bytes that were.
async fn send_some(writing: &mut crate::rig::Writing, content: &[u8], pieces: usize) {
    for piece in content.chunks(PIECE_BYTES).take(pieces) {
        assert!(
            writing
                .send(Part::Data(Bytes::copy_from_slice(piece)))
                .await
        );
    }
}

fn failed(answer: &WriteBlockResponse) -> Vec<u32> {
    answer.failed.iter().map(|hop| hop.worker).collect()
}

#[tokio::test]
async fn every_hop_of_a_pipeline_has_the_block_when_it_is_answered() {
    let rig = Rig::start(3).await;
    for (index, bytes) in [(0, 0), (1, 1), (2, LARGE + 17)] {
        let content = content(bytes);
        let hops = [rig.hop(1), rig.hop(2), rig.hop(3)];
        let answer = rig.put(id(index), &content, &hops).await.unwrap();
        assert_eq!(answer.workers, [1, 2, 3], "{answer:?}");
        assert!(answer.failed.is_empty());
        for hop in &hops {
            assert!(rig.get(id(index), hop).await.unwrap() == content);
        }
    }
}

#[tokio::test]
async fn middle_hop_that_dies_in_the_middle_of_a_block_ends_neither_the_first_nor_itself_half() {
    let rig = Rig::start(3).await;
    let proxy = Proxy::start(rig.worker(2).address(), u64::MAX).await;
    let content = content(LARGE);
    let hops = [rig.hop(1), rig.hop_at(2, &proxy.address), rig.hop(3)];
    let mut writing = rig.begin(id(1), LARGE as u64, &hops).await;
    send_some(&mut writing, &content, 10).await;
    let third = rig.worker(3).blocks().store().clone();
    eventually("the last hop is writing", || third.usage().reserved > 0).await;
    assert!(proxy.carried() > 0);
    proxy.cut();
    for piece in content.chunks(PIECE_BYTES).skip(10) {
        assert!(
            writing
                .send(Part::Data(Bytes::copy_from_slice(piece)))
                .await
        );
    }
    let answer = writing.finish(&content).await.unwrap();
    assert_eq!(answer.workers, [1]);
    assert_eq!(failed(&answer), [2, 3]);
    assert!(answer.failed[1].problem.contains("worker-2"), "{answer:?}");
    assert!(rig.get(id(1), &rig.hop(1)).await.unwrap() == content);
    rig.until_clean(2).await;
    rig.until_clean(3).await;
}

#[tokio::test]
async fn hop_that_hangs_is_given_up_and_the_one_before_it_has_the_block() {
    let rig = Rig::start(3).await;
    let proxy = Proxy::start(rig.worker(3).address(), u64::MAX).await;
    let content = content(LARGE);
    let hops = [rig.hop(1), rig.hop(2), rig.hop_at(3, &proxy.address)];
    let mut writing = rig.begin(id(1), LARGE as u64, &hops).await;
    send_some(&mut writing, &content, 10).await;
    proxy.stop();
    for piece in content.chunks(PIECE_BYTES).skip(10) {
        assert!(
            writing
                .send(Part::Data(Bytes::copy_from_slice(piece)))
                .await
        );
    }
    let answer = writing.finish(&content).await.unwrap();
    assert_eq!(answer.workers, [1, 2]);
    assert_eq!(failed(&answer), [3]);
}

#[tokio::test]
async fn hop_without_room_is_named_and_the_others_have_the_block() {
    for (full, has) in [(3, [1, 2]), (2, [1, 3]), (1, [2, 3])] {
        let set = |number, config: &mut vivat_worker::WorkerConfig| {
            config.disk_bytes = (number == full).then_some(1024 * 1024);
        };
        let rig = Rig::with(3, set).await;
        let content = content(LARGE);
        let hops = [rig.hop(1), rig.hop(2), rig.hop(3)];
        let answer = rig.put(id(1), &content, &hops).await.unwrap();
        assert_eq!(answer.workers, has);
        assert_eq!(failed(&answer), [u32::try_from(full).unwrap()]);
        assert!(answer.failed[0].problem.contains("--disk"), "{answer:?}");
        rig.until_clean(full).await;
    }
}

#[tokio::test]
async fn only_hop_without_room_refuses_with_its_type_before_all_was_sent() {
    let rig = Rig::with(1, |_, config| config.disk_bytes = Some(1024 * 1024)).await;
    let refused = rig.put(id(1), &content(LARGE), &[rig.hop(1)]).await;
    let status = refused.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let Some(Kind::NoRoom(no_room)) = detail_of(&status) else {
        panic!("{status:?}");
    };
    assert!(no_room.problem.contains("--disk"), "{no_room:?}");
    // What fits is taken.
    rig.put(id(2), b"small", &[rig.hop(1)]).await.unwrap();
}

#[tokio::test]
async fn address_of_another_worker_is_refused_and_no_hop_of_that_name_has_the_block() {
    let rig = Rig::start(2).await;
    let mistaken = rig.hop_at(1, rig.worker(2).address());
    let status = rig.put(id(1), b"x", std::slice::from_ref(&mistaken)).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(matches!(detail_of(&status), Some(Kind::OtherWorker(_))));
    let status = rig.get(id(1), &mistaken).await.unwrap_err();
    assert!(matches!(detail_of(&status), Some(Kind::OtherWorker(_))));

    let stranger = rig.hop_at(9, rig.worker(2).address());
    let answer = rig.put(id(1), b"x", &[rig.hop(1), stranger]).await.unwrap();
    assert_eq!(answer.workers, [1]);
    assert_eq!(failed(&answer), [9]);
    rig.until_clean(2).await;
}

#[tokio::test]
async fn pipeline_that_comes_back_to_a_hop_is_refused() {
    let rig = Rig::start(2).await;
    let hops = [rig.hop(1), rig.hop(2), rig.hop(1)];
    let status = rig.put(id(1), b"x", &hops).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    rig.until_clean(1).await;
    rig.until_clean(2).await;
}

#[tokio::test]
async fn worker_that_is_not_registered_now_serves_as_the_one_that_it_last_was() {
    let rig = Rig::start(1).await;
    rig.leader.change(|state| {
        state.not_leading = true;
        state.stale_up_to = 1;
    });
    rig.leader.change(|state| state.not_leading = false);
    rig.leader
        .until("a new registration", |state| state.registrations.len() == 2)
        .await;
    // Now it loses its registration, and there is nobody to register with.
    rig.leader.change(|state| state.stale_up_to = u64::MAX);
    let worker = rig.worker(1);
    until_registered(worker, false).await;
    rig.leader.change(|state| state.not_leading = true);
    let content = content(100_000);
    rig.put(id(1), &content, &[rig.hop(1)]).await.unwrap();
    assert!(rig.get(id(1), &rig.hop(1)).await.unwrap() == content);
}

#[tokio::test]
async fn two_writers_of_the_same_bytes_both_succeed_and_other_bytes_are_refused() {
    let rig = Rig::start(2).await;
    let content = content(3 * PIECE_BYTES);
    let hops = [rig.hop(1), rig.hop(2)];
    let mut first = rig.begin(id(1), content.len() as u64, &hops).await;
    send_some(&mut first, &content, 2).await;
    let second = rig.put(id(1), &content, &hops).await.unwrap();
    assert_eq!(second.workers, [1, 2]);
    send_some(&mut first, &content[2 * PIECE_BYTES..], 1).await;
    let first = first.finish(&content).await.unwrap();
    assert_eq!(first.workers, [1, 2]);
    // A third one finds it there.
    let third = rig.put(id(1), &content, &hops).await.unwrap();
    assert_eq!(third.workers, [1, 2]);

    let status = rig.put(id(1), b"others", &hops).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    for hop in &hops {
        assert!(rig.get(id(1), hop).await.unwrap() == content);
    }
}

#[tokio::test]
async fn client_that_vanishes_in_the_middle_of_a_block_leaves_nothing_on_any_hop() {
    let rig = Rig::start(3).await;
    let content = content(LARGE);
    let hops = [rig.hop(1), rig.hop(2), rig.hop(3)];
    for is_silent in [true, false] {
        let mut writing = rig.begin(id(1), LARGE as u64, &hops).await;
        send_some(&mut writing, &content, 20).await;
        let third = rig.worker(3).blocks().store().clone();
        eventually("the last hop is writing", || third.usage().reserved > 0).await;
        if is_silent {
            writing.vanish();
        } else {
            assert!(writing.answer().await.is_err());
        }
        for number in 1..=3 {
            rig.until_clean(number).await;
        }
    }
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_checksum_are_kept_nowhere() {
    let rig = Rig::start(2).await;
    let hops = [rig.hop(1), rig.hop(2)];
    for (bytes, crc32c) in [(5, crc32c::crc32c(b"other")), (4, crc32c::crc32c(b"bytes"))] {
        let mut writing = rig.begin(id(1), 5, &hops).await;
        writing.send(Part::Data(Bytes::from_static(b"bytes"))).await;
        let finish = FinishBlock { bytes, crc32c };
        writing.send(Part::Finish(finish)).await;
        let status = within(writing.answer()).await.unwrap_err();
        assert_eq!(status.code(), Code::DataLoss, "{status:?}");
    }
    rig.until_clean(1).await;
    rig.until_clean(2).await;
}
