//! What the leader is told of blocks, and what it orders.

use std::collections::BTreeSet;
use std::time::Duration;

use vivat_shared::ids::{BlockId, DatasetId};
use vivat_store::{Created, Store};
use vivat_worker::{StartError, Worker, WorkerConfig};

use crate::leader::State;
use crate::rig::{Rig, content, eventually, flip, id, until_registered};

/// Blocks that a worker has before it starts.
fn fill(rig_dir: &std::path::Path, ids: impl IntoIterator<Item = BlockId>) {
    let store = Store::open(&rig_dir.join("store"), u64::MAX / 2)
        .unwrap()
        .store;
    for id in ids {
        let Created::Writer(mut writer) = store.create(id, 1).unwrap() else {
            panic!("{id} is here");
        };
        writer.write(b"x").unwrap();
        writer.finish(None).unwrap();
    }
}

fn of_dataset(dataset: u64) -> BlockId {
    BlockId {
        dataset: DatasetId(dataset),
        index: 0,
    }
}

/// Starts a second worker on a directory that was filled.
async fn start(rig: &mut Rig, set: impl Fn(&mut WorkerConfig)) {
    let number = rig.workers.len() + 1;
    let mut config = WorkerConfig::new(rig.dir(number), vec![rig.leader.address()]);
    config.scrub_bytes_per_second = 0;
    set(&mut config);
    let worker = Worker::start(config).unwrap();
    until_registered(&worker, true).await;
    rig.workers.push(worker);
}

/// The blocks of the first whole report.
fn reported(state: &State) -> Option<Vec<BlockId>> {
    let mut blocks = Vec::new();
    for page in &state.pages {
        assert_eq!(page.after.map(BlockId::from), blocks.last().copied());
        let ids = page
            .blocks
            .iter()
            .map(|summary| BlockId::from(summary.block.unwrap()));
        blocks.extend(ids);
        if page.last {
            return Some(blocks);
        }
    }
    None
}

#[tokio::test]
async fn all_blocks_are_reported_in_pages_after_a_registration_and_the_pull_does_not_wait() {
    let mut rig = Rig::start(0).await;
    let ids: Vec<BlockId> = (0..1_500).map(id).collect();
    fill(&rig.dir(1), ids.iter().copied());
    start(&mut rig, |_| {}).await;
    let done = |state: &State| reported(state).is_some() && state.pulls > 0;
    rig.leader.until("a whole report and a pull", done).await;
    rig.leader.look(|state| {
        assert_eq!(reported(state), Some(ids.clone()));
        assert_eq!(state.pages[0].blocks.len(), 1_000);
    });
    // And again after the next registration.
    rig.leader.change(|state| {
        state.pages.clear();
        state.stale_up_to = 1;
    });
    let again = |state: &State| reported(state).is_some_and(|blocks| blocks.len() == 1_500);
    rig.leader
        .until("a whole report of the next epoch", again)
        .await;
    rig.leader
        .look(|state| assert_eq!(state.pages[0].worker.unwrap().epoch, 2));
}

#[tokio::test]
async fn copies_that_are_not_wanted_go_and_unknown_and_held_ones_stay() {
    let mut rig = Rig::start(0).await;
    let often = |config: &mut WorkerConfig| {
        config.block_report_interval = Duration::from_millis(100);
    };
    fill(&rig.dir(1), (0..3).map(id));
    start(&mut rig, often).await;
    let store = rig.worker(1).blocks().store().clone();
    let pin = store.pin(id(1)).unwrap();
    rig.leader
        .change(|state| state.remove = BTreeSet::from([id(0), id(1)]));
    let here = || -> Vec<u64> {
        let blocks = store.list(None, 9);
        blocks.iter().map(|summary| summary.id.index).collect()
    };
    eventually("the unwanted copy goes", || here() == [1, 2]).await;
    let pages = rig.leader.look(|state| state.pages.len());
    let later = |state: &State| state.pages.len() > pages + 3;
    rig.leader.until("further reports", later).await;
    assert_eq!(here(), [1, 2]);
    drop(pin);
    eventually("it goes when nobody holds it", || here() == [2]).await;
}

#[tokio::test]
async fn every_dataset_is_asked_about_in_turn_and_those_gone_are_deleted() {
    let mut rig = Rig::start(0).await;
    fill(&rig.dir(1), (0..300).map(of_dataset));
    start(&mut rig, |_| {}).await;
    let asked = |state: &State| -> BTreeSet<u64> {
        let beats = state.heartbeats.iter();
        beats
            .flat_map(|beat| beat.datasets.iter().copied())
            .collect()
    };
    rig.leader
        .until("all are asked about", |state| asked(state).len() == 300)
        .await;
    rig.leader.look(|state| {
        let lengths = state.heartbeats.iter().map(|beat| beat.datasets.len());
        assert_eq!(lengths.max(), Some(256));
        let beat = state.heartbeats.last().unwrap();
        assert!(
            beat.disk_bytes > 0 && beat.disk_used_bytes == 300 * 4096,
            "{beat:?}"
        );
    });
    let gone = BTreeSet::from([0, 7, 299]);
    rig.leader
        .change(|state| state.gone_datasets = gone.clone());
    let store = rig.worker(1).blocks().store().clone();
    let deleted = || store.list(None, 300).len() == 297;
    eventually("the blocks of those gone are deleted", deleted).await;
    let left = store.list(None, 300);
    assert!(
        left.iter()
            .all(|summary| !gone.contains(&summary.id.dataset.0))
    );
}

#[tokio::test]
async fn lost_copy_is_reported_until_a_leader_has_answered_and_in_the_next_epoch_too() {
    let rig = Rig::start(1).await;
    rig.put(id(1), &content(100_000), &[rig.hop(1)])
        .await
        .unwrap();
    flip(&rig.block_files(1)[0], 50_000);
    rig.leader.change(|state| state.lost_answers_to_lose = 3);
    rig.get(id(1), &rig.hop(1)).await.unwrap_err();
    rig.leader
        .until("answers are lost", |state| state.lost_answers_to_lose < 3)
        .await;
    rig.leader.change(|state| {
        state.lost_answers_to_lose = 0;
        state.stale_up_to = 1;
    });
    let told = |state: &State| state.lost_blocks.contains(&(2, BTreeSet::from([id(1)])));
    rig.leader.until("the copy is reported", told).await;
    rig.leader
        .look(|state| assert_eq!(state.lost_blocks.len(), 1));
}

#[tokio::test]
async fn copy_that_goes_bad_is_found_though_nobody_reads_it() {
    let rig = Rig::with(1, |_, config| config.scrub_bytes_per_second = 100 << 20).await;
    rig.put(id(1), &content(1_000_000), &[rig.hop(1)])
        .await
        .unwrap();
    flip(&rig.block_files(1)[0], 500_000);
    let told = |state: &State| !state.lost_blocks.is_empty();
    rig.leader.until("the copy is reported", told).await;
    assert!(rig.worker(1).blocks().store().list(None, 1).is_empty());
}

#[tokio::test]
async fn copy_that_is_damaged_at_the_start_is_reported_after_the_registration() {
    let mut rig = Rig::start(0).await;
    fill(&rig.dir(1), [id(1), id(2)]);
    let file = rig.block_files(1).pop().unwrap();
    std::fs::File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(10)
        .unwrap();
    start(&mut rig, |_| {}).await;
    let told = |state: &State| {
        state
            .lost_blocks
            .first()
            .is_some_and(|(_, lost)| lost.len() == 1)
    };
    rig.leader.until("the copy is reported", told).await;
}

#[tokio::test]
async fn budget_is_what_was_said_or_a_part_of_what_is_free() {
    let rig = Rig::with(2, |number, config| {
        config.disk_bytes = (number == 1).then_some(12_345_678);
    })
    .await;
    assert_eq!(rig.worker(1).blocks().store().usage().budget, 12_345_678);
    let store = rig.worker(2).blocks().store();
    let (budget, free) = (store.usage().budget, store.free_bytes().unwrap());
    // Others write to the same disk meanwhile.
    let part = budget as f64 / free as f64;
    assert!((0.7..0.9).contains(&part), "{budget} of {free}");
}

#[tokio::test]
async fn store_that_cannot_be_opened_is_named() {
    let rig = Rig::start(0).await;
    std::fs::create_dir_all(rig.dir(1)).unwrap();
    std::fs::write(rig.dir(1).join("store"), "a file").unwrap();
    let config = WorkerConfig::new(rig.dir(1), vec![rig.leader.address()]);
    let error = Worker::start(config).unwrap_err();
    assert!(matches!(error, StartError::Blocks { .. }), "{error}");
    assert!(error.to_string().contains("store"), "{error}");
}
