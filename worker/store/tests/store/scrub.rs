//! What nobody reads is read nevertheless, and at a bounded rate.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use vivat_store::{ScrubDriver, ScrubStep, Scrubber, StoreError, TokenBucket};

use super::{content, files, get, id, indexes, open, put};

const PIECE: u64 = 256 * 1024;
/// What opening a block counts for.
const OPENING: u64 = 4096;

#[test]
fn steps_go_on_where_the_last_one_ended_and_pass_every_block() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    for index in 0..4 {
        put(&opened.store, index, &content(index, 600_000));
    }
    let mut scrubber = Scrubber::new(opened.store.clone());
    let mut sum = ScrubStep::default();
    let mut steps = 0;
    while !sum.ended_pass {
        let step = scrubber.step(1).unwrap();
        assert!(step.bytes <= PIECE + OPENING, "{step:?}");
        sum.bytes += step.bytes;
        sum.whole += step.whole;
        sum.ended_pass = step.ended_pass;
        steps += 1;
    }
    let expected = 4 * (600_000 + 3 * OPENING);
    assert_eq!((sum.bytes, sum.whole), (expected, 4));
    assert_eq!(steps, 4 * 3 + 1);
    // The next pass begins anew.
    let pass = scrubber.step(u64::MAX).unwrap();
    assert_eq!((pass.bytes, pass.whole), (4 * (600_000 + OPENING), 4));
    assert!(pass.ended_pass);
}

#[test]
fn bad_block_is_reported_and_dropped_and_the_pass_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    for index in 0..3 {
        put(&opened.store, index, &content(index, 600_000));
    }
    let mut scrubber = Scrubber::new(opened.store.clone());
    // In the middle of the second block, whose end then goes bad.
    scrubber.step(900_000).unwrap();
    let name = "0000000000000007-0000000000000001.block";
    let all = files(root.path(), "blocks");
    let file = all.iter().find(|path| path.ends_with(name)).unwrap();
    let handle = fs::File::options().write(true).open(file).unwrap();
    handle.write_all_at(b"?", 590_000).unwrap();
    let step = scrubber.step(u64::MAX).unwrap();
    assert_eq!((step.damaged, step.whole), (1, 1));
    assert!(step.ended_pass);
    assert_eq!(opened.damaged.try_iter().next().unwrap().id, id(1));
    assert_eq!(indexes(&opened.store), [0, 2]);
    assert!(matches!(
        get(&opened.store, 1),
        Err(StoreError::NotFound { .. })
    ));
}

#[test]
fn block_that_is_deleted_or_replaced_meanwhile_is_no_bad_block() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    for index in 0..3 {
        put(&opened.store, index, &content(index, 600_000));
    }
    let mut scrubber = Scrubber::new(opened.store.clone());
    scrubber.step(1).unwrap();
    opened.store.delete(&[id(0)]).unwrap();
    put(&opened.store, 0, &content(9, 300_000));
    // The new one is read from its own beginning.
    let step = scrubber.step(300_000).unwrap();
    assert_eq!((step.bytes, step.whole), (300_000 + OPENING, 1));
    scrubber.step(1).unwrap();
    opened.store.delete(&[id(1)]).unwrap();
    let step = scrubber.step(u64::MAX).unwrap();
    assert_eq!((step.whole, step.damaged), (1, 0));
    assert_eq!(opened.damaged.try_iter().count(), 0);
}

#[test]
fn empty_blocks_and_an_empty_store_end_the_pass() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let mut scrubber = Scrubber::new(opened.store.clone());
    assert!(scrubber.step(1).unwrap().ended_pass);
    put(&opened.store, 1, b"");
    let step = scrubber.step(1).unwrap();
    assert_eq!((step.whole, step.bytes), (1, OPENING));
    assert!(scrubber.step(1).unwrap().ended_pass);
}

#[test]
fn bucket_gives_its_rate_and_saves_up_to_its_bound() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut bucket = TokenBucket::new(1_000, 500, start);
    assert_eq!(bucket.available(start), 0);
    assert_eq!(bucket.available(at(100)), 100);
    bucket.spend(60);
    assert_eq!(bucket.available(at(200)), 140);
    assert_eq!(bucket.available(at(10_000)), 500);
    // Too much is waited for: 1,000 bytes are a second.
    bucket.spend(1_500);
    assert_eq!(bucket.available(at(10_900)), 0);
    assert_eq!(bucket.available(at(11_100)), 100);
    let mut idle = TokenBucket::new(0, 1, start);
    assert_eq!(idle.available(at(1_000_000)), 0);
}

#[test]
fn driver_finds_a_bad_block_once_it_is_switched_on() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    put(&opened.store, 1, &content(1, 100_000));
    let file = &files(root.path(), "blocks")[0];
    let handle = fs::File::options().write(true).open(file).unwrap();
    handle.write_all_at(b"?", 99_000).unwrap();
    let driver = ScrubDriver::start(opened.store.clone(), 0).unwrap();
    driver.set_rate(10_000_000);
    let told = opened
        .damaged
        .recv_timeout(Duration::from_secs(30))
        .unwrap();
    assert_eq!(told.id, id(1));
    drop(driver);
    assert_eq!(indexes(&opened.store), []);
}
