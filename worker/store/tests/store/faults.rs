//! Disks that say no (F17, S13).

use vivat_store::{Damage, Scrubber, Store, StoreError};
use vivat_testkit::lossy_fs::{CAPACITY_BYTES, Fault, LossyFs, probe};

use super::{BUDGET, content, files, get, id, indexes, open, put, writer};

/// Says so, where FUSE cannot be mounted.
pub fn skipped() -> bool {
    let reason = probe().err();
    if let Some(reason) = &reason {
        eprintln!("SKIPPED: {reason}");
    }
    reason.is_some()
}

fn disk() -> Option<(LossyFs, [tempfile::TempDir; 2])> {
    if skipped() {
        return None;
    }
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let fs = LossyFs::mount(folders[0].path(), folders[1].path(), CAPACITY_BYTES).unwrap();
    Some((fs, folders))
}

#[test]
fn failed_write_names_the_file_and_leaves_nothing() {
    let Some((fs, _folders)) = disk() else {
        return;
    };
    let store = open(fs.mount_point()).store;
    let mut writing = writer(&store, 1, 100);
    fs.set_fault(Some(Fault::WriteFails));
    let error = writing.write(b"content").unwrap_err();
    fs.set_fault(None);
    assert!(fs.counters().faults > 0);
    assert!(matches!(error, StoreError::Io { what: "write", .. }));
    assert!(error.to_string().contains(".part"), "{error}");
    assert!(matches!(
        writing.finish(None),
        Err(StoreError::Broken { .. })
    ));
    assert_eq!(files(fs.mount_point(), "new").len(), 0);
    assert_eq!(store.usage().reserved, 0);
    put(&store, 1, b"content");
}

#[test]
fn store_takes_nothing_after_a_failed_sync_and_serves_what_it_has() {
    let Some((fs, _folders)) = disk() else {
        return;
    };
    let opened = open(fs.mount_point());
    let store = &opened.store;
    put(store, 1, b"one");
    let mut failing = writer(store, 2, 100);
    failing.write(b"two").unwrap();
    let mut later = writer(store, 3, 100);
    later.write(b"three").unwrap();
    fs.set_fault(Some(Fault::SyncFails));
    let error = failing.finish(None).unwrap_err();
    fs.set_fault(None);
    assert!(fs.counters().faults > 0);
    assert!(matches!(error, StoreError::Io { what: "sync", .. }));
    // The disk says yes again, and is not asked.
    assert!(matches!(later.finish(None), Err(StoreError::Stopped)));
    assert!(matches!(store.create(id(4), 1), Err(StoreError::Stopped)));
    assert!(matches!(store.delete(&[id(1)]), Err(StoreError::Stopped)));
    assert_eq!(indexes(store), [1]);
    assert_eq!(get(store, 1).unwrap(), b"one");
    assert_eq!(files(fs.mount_point(), "new").len(), 0);
    drop(opened);
    let store = open(fs.mount_point()).store;
    assert_eq!(indexes(&store), [1]);
    put(&store, 2, b"two");
}

#[test]
fn failed_read_names_the_file_and_condemns_nothing() {
    let Some((fs, _folders)) = disk() else {
        return;
    };
    let opened = open(fs.mount_point());
    put(&opened.store, 1, &content(1, 100_000));
    let reader = opened.store.reader(id(1)).unwrap();
    fs.set_fault(Some(Fault::ReadFails));
    let error = reader.read(0, 100_000).unwrap_err();
    assert!(matches!(error, StoreError::Io { what: "read", .. }));
    assert!(get(&opened.store, 1).is_err());
    fs.set_fault(None);
    assert!(fs.counters().faults > 0);
    assert_eq!(get(&opened.store, 1).unwrap(), content(1, 100_000));
    assert_eq!(opened.damaged.try_iter().count(), 0);
}

#[test]
fn block_that_the_disk_does_not_give_at_the_start_is_reported() {
    let Some((fs, _folders)) = disk() else {
        return;
    };
    put(&open(fs.mount_point()).store, 1, b"one");
    fs.set_fault(Some(Fault::ReadFails));
    let opened = Store::open(fs.mount_point(), BUDGET).unwrap();
    fs.set_fault(None);
    assert_eq!(indexes(&opened.store), []);
    let told: Vec<_> = opened.damaged.try_iter().collect();
    assert_eq!(told.len(), 1);
    assert!(matches!(told[0].damage, Damage::Unreadable { .. }));
}

#[test]
fn scrub_drops_what_the_disk_does_not_give_and_goes_on() {
    let Some((fs, _folders)) = disk() else {
        return;
    };
    let opened = open(fs.mount_point());
    put(&opened.store, 1, b"one");
    put(&opened.store, 2, b"two");
    let mut scrubber = Scrubber::new(opened.store.clone());
    fs.set_fault(Some(Fault::ReadFails));
    let step = scrubber.step(1).unwrap();
    fs.set_fault(None);
    assert_eq!((step.damaged, step.whole), (1, 0));
    let step = scrubber.step(u64::MAX).unwrap();
    assert_eq!((step.damaged, step.whole), (0, 1));
    let told: Vec<_> = opened.damaged.try_iter().collect();
    assert_eq!((told.len(), told[0].id), (1, id(1)));
    assert_eq!(indexes(&opened.store), [2]);
}
