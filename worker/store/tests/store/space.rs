//! The budget, and the file system's own bound (F16).

use std::thread;

use vivat_store::{Created, Limit, Store, StoreError};
use vivat_testkit::lossy_fs::{Fault, LossyFs};

use super::{BUDGET, content, files, get, id, put, writer};
use crate::faults::skipped;

/// What a small block is charged.
const UNIT: u64 = 4096;

#[test]
fn block_that_would_break_the_budget_is_refused_before_its_first_byte() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), 3 * UNIT).unwrap().store;
    put(&store, 1, b"one");
    let held = writer(&store, 2, 100);
    let refused = store.create(id(3), 2 * UNIT).unwrap_err();
    let StoreError::Full {
        needed,
        free,
        budget,
        limit,
    } = refused
    else {
        panic!("{refused}");
    };
    assert_eq!((needed, free, budget), (3 * UNIT, UNIT, 3 * UNIT));
    assert_eq!(limit, Limit::Budget);
    assert_eq!(files(root.path(), "new").len(), 1);
    // What is given back is there for the next one.
    drop(held);
    put(&store, 3, &content(3, 5_000));
    assert_eq!(store.usage().used, 3 * UNIT);
    assert!(store.create(id(4), 0).is_err());
}

#[test]
fn shorter_block_than_announced_is_charged_for_what_it_is() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), 100 * UNIT).unwrap().store;
    let mut writer = writer(&store, 1, 90 * UNIT);
    writer.write(b"short").unwrap();
    writer.finish(None).unwrap();
    assert_eq!(store.usage().used, UNIT);
    assert_eq!(store.usage().reserved, 0);
}

#[test]
fn writers_at_once_never_exceed_the_budget_and_use_all_of_it() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), 20 * UNIT).unwrap().store;
    let accepted: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|number| {
                let store = store.clone();
                scope.spawn(move || {
                    let indexes = (0..10).map(|round| 10 * number + round);
                    indexes
                        .filter(|index| match store.create(id(*index), 100) {
                            Ok(Created::Writer(mut writer)) => {
                                writer.write(&content(*index, 100)).unwrap();
                                writer.finish(None).unwrap();
                                true
                            }
                            Ok(Created::Already(here)) => panic!("{here:?}"),
                            Err(StoreError::Full { .. }) => false,
                            Err(error) => panic!("{error}"),
                        })
                        .count()
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert_eq!(accepted, 20);
    assert_eq!(store.usage().used, 20 * UNIT);
}

#[test]
fn lowered_budget_keeps_what_is_here_and_takes_nothing() {
    let root = tempfile::tempdir().unwrap();
    put(&Store::open(root.path(), BUDGET).unwrap().store, 1, b"one");
    let store = Store::open(root.path(), 1).unwrap().store;
    assert_eq!(get(&store, 1).unwrap(), b"one");
    assert!(matches!(
        store.create(id(2), 0),
        Err(StoreError::Full { free: 0, .. })
    ));
}

const DISK: u64 = 8 << 20;

fn small_disk() -> Option<(LossyFs, [tempfile::TempDir; 2])> {
    if skipped() {
        return None;
    }
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let fs = LossyFs::mount(folders[0].path(), folders[1].path(), DISK).unwrap();
    Some((fs, folders))
}

#[test]
fn one_percent_of_the_disk_stays_free_whatever_the_budget() {
    let Some((fs, _folders)) = small_disk() else {
        return;
    };
    let store = Store::open(fs.mount_point(), BUDGET).unwrap().store;
    let block = vec![7; 1 << 20];
    let mut count = 0;
    let limit = loop {
        match store.create(id(count), block.len() as u64) {
            Ok(Created::Writer(mut writer)) => {
                writer.write(&block).unwrap();
                writer.finish(None).unwrap();
                count += 1;
            }
            Ok(Created::Already(here)) => panic!("{here:?}"),
            Err(StoreError::Full { limit, .. }) => break limit,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!((count, limit), (7, Limit::FileSystem));
    assert_eq!(fs.counters().faults, 0, "refused by us, not by the disk");
    // A place that is held counts before it is written.
    let room = writer(&store, 100, 500_000);
    let refused = store.create(id(101), 500_000);
    assert!(matches!(refused, Err(StoreError::Full { .. })));
    drop(room);
    writer(&store, 101, 500_000);
}

#[test]
fn disk_that_fills_up_while_a_block_comes_is_named_and_the_file_removed() {
    let Some((fs, _folders)) = small_disk() else {
        return;
    };
    let store = Store::open(fs.mount_point(), BUDGET).unwrap().store;
    put(&store, 1, b"one");
    let mut writing = writer(&store, 2, 1 << 20);
    writing.write(&[1; 100_000]).unwrap();
    fs.set_fault(Some(Fault::Full));
    let refused = writing.write(&[2; 100_000]);
    let Err(StoreError::Full { limit, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(limit, Limit::FileSystem);
    assert!(fs.counters().faults > 0);
    assert_eq!(files(fs.mount_point(), "new").len(), 0);
    assert_eq!(store.usage().reserved, 0);
    assert!(matches!(
        writing.write(b"x"),
        Err(StoreError::Broken { .. })
    ));
    // Not a failed sync: when there is room again, it goes on.
    assert!(matches!(
        store.create(id(2), 10),
        Err(StoreError::Full { .. })
    ));
    fs.set_fault(None);
    put(&store, 2, b"two");
    assert_eq!(get(&store, 1).unwrap(), b"one");
}
