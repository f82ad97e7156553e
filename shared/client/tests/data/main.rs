//! Blocks to workers that are played, and back: whoever dies or lies on the way,
//! the bytes are right or there is an error that says why.
#![expect(
    clippy::unwrap_used,
    reason = "what a fake cannot do leaves no test to go on with"
)]

mod fake;

use bytes::Bytes;
use fake::{FakeLeader, FakeWorker, Mood};
use vivat_client::data::{BlockBytes, BlockSender, DataError, DatasetReader, DatasetView, Opened};
use vivat_shared::dataset::Shape;
use vivat_shared::ids::DatasetId;
use vivat_shared::job::InputFormat;

const REPLICAS: u8 = 2;
const BLOCKS: u8 = 12;

/// A block of several messages, unlike any other.
fn block(number: u8) -> Bytes {
    let bytes = (0..3_500_u32).map(|at| (at % 251) as u8 ^ number);
    bytes.collect::<Vec<u8>>().into()
}

fn whole() -> Vec<u8> {
    (0..BLOCKS).flat_map(block).collect()
}

fn workers() -> [FakeWorker; 3] {
    [1, 2, 3].map(FakeWorker::start)
}

fn leader(workers: &[FakeWorker]) -> FakeLeader {
    FakeLeader::start(&workers.iter().collect::<Vec<_>>())
}

fn sender(leader: &FakeLeader) -> BlockSender {
    let opened = Opened {
        dataset: DatasetId(1),
        idle_ms: 60_000,
        is_sealed: false,
        blocks: 0,
    };
    BlockSender::start(&leader.client(), &leader.workers(), opened, REPLICAS, 4_096)
}

/// Sends all blocks; `before` is told the number of each before it goes.
async fn send_all(leader: &FakeLeader, mut before: impl FnMut(u8)) -> Result<u32, DataError> {
    let mut sender = sender(leader);
    for number in 0..BLOCKS {
        before(number);
        // In two pieces, as a file is read.
        let mut bytes = block(number);
        let first = bytes.split_to(1_234);
        sender.send(BlockBytes::new(vec![first, bytes])).await?;
    }
    Ok(sender.finish().await?.blocks)
}

fn view() -> DatasetView {
    DatasetView {
        id: DatasetId(1),
        name: "words".to_owned(),
        format: InputFormat::Text,
        shape: Shape::File,
        replicas: u32::from(REPLICAS),
        sealed: true,
        bytes: 0,
        files: 1,
        blocks: u32::from(BLOCKS),
        list_blocks: 0,
        created_at_ms: 0,
        job: None,
        short_blocks: 0,
        lost_blocks: 0,
    }
}

/// What comes before the end or the error.
async fn read_all(leader: &FakeLeader) -> (Vec<u8>, Option<DataError>) {
    let opened = DatasetReader::open(&leader.client(), &leader.workers(), &view()).await;
    let mut reader = opened.unwrap();
    let mut got = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(bytes)) => got.extend_from_slice(&bytes),
            Ok(None) => return (got, None),
            Err(error) => return (got, Some(error)),
        }
    }
}

/// How many workers have each block, by the directory's word.
fn copies(leader: &FakeLeader) -> Vec<usize> {
    let directory = leader.directory.lock().unwrap();
    let blocks = directory.blocks.iter();
    blocks.map(|block| block.workers.len()).collect()
}

/// What the directory says of a worker is on its disk.
fn assert_directory_is_true(leader: &FakeLeader, workers: &[FakeWorker]) {
    let directory = leader.directory.lock().unwrap();
    for appended in &directory.blocks {
        let number = u8::try_from(appended.summary.unwrap().block.unwrap().index).unwrap();
        for worker in &appended.workers {
            let holder = workers.iter().find(|it| it.hop.worker == *worker).unwrap();
            assert!(
                holder.blocks().contains(&block(number)),
                "{number}, {worker}"
            );
        }
    }
}

#[tokio::test]
async fn every_block_is_on_two_workers_and_comes_back() {
    let workers = workers();
    let leader = leader(&workers);
    assert_eq!(send_all(&leader, |_| {}).await.unwrap(), u32::from(BLOCKS));
    assert_eq!(copies(&leader), [2; BLOCKS as usize]);
    assert_directory_is_true(&leader, &workers);
    let (got, error) = read_all(&leader).await;
    assert!(error.is_none(), "{error:?}");
    assert!(got == whole());
}

#[tokio::test]
async fn worker_that_dies_in_the_middle_costs_no_copy_while_there_are_others() {
    let mut workers = workers();
    let leader = leader(&workers);
    let dying = std::cell::RefCell::new(&mut workers[1]);
    let sent = send_all(&leader, |number| {
        if number == 5 {
            dying.borrow_mut().kill();
        }
    });
    assert_eq!(sent.await.unwrap(), u32::from(BLOCKS));
    assert_eq!(copies(&leader)[6..], [2; 6], "after its death");
    assert_directory_is_true(&leader, &workers);
    let (got, error) = read_all(&leader).await;
    assert!(error.is_none(), "{error:?}");
    assert!(got == whole());
}

#[tokio::test]
async fn blocks_have_the_copies_that_the_workers_left_can_hold() {
    let mut workers = workers();
    workers[0].kill();
    workers[1].kill();
    let leader = leader(&workers);
    assert_eq!(send_all(&leader, |_| {}).await.unwrap(), u32::from(BLOCKS));
    assert_eq!(copies(&leader), [1; BLOCKS as usize]);
    assert_directory_is_true(&leader, &workers);
}

#[tokio::test]
async fn worker_without_room_is_left_for_others() {
    let workers = workers();
    workers[2].become_(Mood::Full);
    let leader = leader(&workers);
    assert_eq!(send_all(&leader, |_| {}).await.unwrap(), u32::from(BLOCKS));
    assert_eq!(copies(&leader), [2; BLOCKS as usize]);
    assert_eq!(workers[2].blocks().len(), 0);
    let copied = workers[0].counts().1 + workers[1].counts().1;
    assert!(copied > 0, "a missing copy comes from a worker that has it");
}

#[tokio::test]
async fn refusal_of_the_directory_ends_the_sending_with_its_cause() {
    let workers = workers();
    let leader = leader(&workers);
    leader.directory.lock().unwrap().refuses = true;
    let error = send_all(&leader, |_| {}).await.unwrap_err();
    assert!(matches!(error, DataError::Leader(_)), "{error}");
    assert!(error.to_string().contains("it was given up"), "{error}");
}

#[tokio::test]
async fn reading_goes_on_where_a_holder_broke_off() {
    let workers = workers();
    let leader = leader(&workers);
    send_all(&leader, |_| {}).await.unwrap();
    for mood in [Mood::BreaksOff(2), Mood::Garbles] {
        workers[0].become_(mood);
        let (got, error) = read_all(&leader).await;
        assert!(error.is_none(), "{mood:?}: {error:?}");
        assert!(got == whole(), "{mood:?}");
    }
    // 4 messages a block: who broke off after two was asked once a block.
    let (_, _, streams) = workers[0].counts();
    assert!(streams <= u32::from(BLOCKS) * 2, "{streams} streams");
}

#[tokio::test]
async fn holder_without_the_right_block_is_left_for_another() {
    let workers = workers();
    let leader = leader(&workers);
    send_all(&leader, |_| {}).await.unwrap();
    for mood in [Mood::Empty, Mood::Damaged, Mood::Other] {
        workers[1].become_(mood);
        let (got, error) = read_all(&leader).await;
        assert!(error.is_none(), "{mood:?}: {error:?}");
        assert!(got == whole(), "{mood:?}");
    }
}

#[tokio::test]
async fn block_that_nobody_has_is_an_error_that_names_it_and_what_each_said() {
    let workers = workers();
    let leader = leader(&workers);
    send_all(&leader, |_| {}).await.unwrap();
    for worker in &workers {
        worker.drop_block(4);
    }
    let (got, error) = read_all(&leader).await;
    assert!(got == (0..4).flat_map(block).collect::<Vec<u8>>());
    let error = error.unwrap();
    assert!(!error.is_temporary(), "{error}");
    let text = error.to_string();
    for part in [
        "block 4 of dataset `words`",
        "dataset-1.block-4",
        "does not have it",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn block_whose_holders_are_lost_may_come_back_and_is_not_waited_for() {
    let mut workers = workers();
    let leader = leader(&workers);
    send_all(&leader, |_| {}).await.unwrap();
    for worker in &mut workers[..2] {
        worker.kill();
        leader.lose(worker.hop.worker);
    }
    let began = std::time::Instant::now();
    let (got, error) = read_all(&leader).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
    assert!(whole().starts_with(&got));
    let error = error.unwrap();
    assert!(error.is_temporary(), "{error}");
    let text = error.to_string();
    assert!(text.contains("worker-1 is lost"), "{text}");
    assert!(text.contains("worker-2 is lost"), "{text}");
}
