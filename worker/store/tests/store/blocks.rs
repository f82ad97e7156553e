//! Blocks come, are read, are listed, and go.

use std::fs;
use std::thread;

use vivat_store::{Created, Deletion, StoreError};

use super::{content, files, get, id, indexes, open, put, writer};

#[test]
fn block_of_any_length_is_read_as_it_was_written_also_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let lengths = [0, 1, 65_535, 65_536, 65_537, 262_144, 600_000];
    let opened = open(root.path());
    for (index, bytes) in (0..).zip(lengths) {
        let content = content(index, bytes);
        let finished = put(&opened.store, index, &content);
        assert_eq!(finished.summary.bytes, bytes as u64);
        assert_eq!(finished.summary.crc32c, crc32c::crc32c(&content));
        assert!(!finished.was_here);
        assert_eq!(get(&opened.store, index).unwrap(), content);
    }
    let before = opened.store.list(None, usize::MAX);
    let usage = opened.store.usage();
    drop(opened);
    let opened = open(root.path());
    assert_eq!(opened.store.list(None, usize::MAX), before);
    assert_eq!(opened.store.usage(), usage);
    assert_eq!(opened.damaged.try_iter().count(), 0);
    for (index, bytes) in (0..).zip(lengths) {
        assert_eq!(get(&opened.store, index).unwrap(), content(index, bytes));
    }
}

#[test]
fn every_range_of_a_block_is_what_was_written_there() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let content = content(1, 200_000);
    put(&opened.store, 1, &content);
    let reader = opened.store.reader(id(1)).unwrap();
    let edges = [0, 1, 65_535, 65_536, 65_537, 131_072, 199_999, 200_000];
    for start in edges {
        for end in edges.into_iter().filter(|end| *end >= start) {
            let found = reader.read(start as u64, end - start).unwrap();
            assert_eq!(found, content[start..end], "{start}..{end}");
            let pieces = reader.stream(start as u64..end as u64).unwrap();
            let pieces: Vec<_> = pieces.map(Result::unwrap).collect();
            assert_eq!(pieces.concat(), content[start..end], "{start}..{end}");
        }
    }
    for (offset, wanted) in [(0, 200_001), (200_001, 0), (u64::MAX, 1)] {
        let refused = reader.read(offset, wanted);
        assert!(matches!(refused, Err(StoreError::Range { .. })));
    }
}

#[test]
fn unfinished_block_is_visible_to_nobody_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let mut unfinished = writer(&opened.store, 1, 100);
    unfinished.write(&[1; 100]).unwrap();
    assert!(matches!(
        get(&opened.store, 1),
        Err(StoreError::NotFound { .. })
    ));
    assert_eq!(indexes(&opened.store), []);
    assert!(opened.store.usage().reserved > 0);
    assert_eq!(files(root.path(), "new").len(), 1);
    drop(unfinished);
    assert_eq!(files(root.path(), "new").len(), 0);
    assert_eq!(opened.store.usage().reserved, 0);
}

#[test]
fn what_a_killed_process_was_writing_is_removed_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()));
    fs::write(root.path().join("new/0.part"), b"half a block").unwrap();
    let opened = open(root.path());
    assert_eq!(files(root.path(), "new").len(), 0);
    // The number is free for the next one.
    put(&opened.store, 1, b"content");
}

#[test]
fn block_that_is_here_is_not_taken_again() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let here = put(&opened.store, 1, b"content").summary;
    match opened.store.create(id(1), 7).unwrap() {
        Created::Already(found) => assert_eq!(found, here),
        Created::Writer(_) => panic!("it is taken again"),
    }
}

#[test]
fn second_of_two_senders_learns_that_the_same_bytes_are_here() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let mut first = writer(&opened.store, 1, 7);
    let mut second = writer(&opened.store, 1, 7);
    let mut other = writer(&opened.store, 1, 7);
    second.write(b"content").unwrap();
    first.write(b"content").unwrap();
    other.write(b"CONTENT").unwrap();
    assert!(!second.finish(None).unwrap().was_here);
    let usage = opened.store.usage();
    assert!(first.finish(None).unwrap().was_here);
    let refused = other.finish(None);
    assert!(matches!(
        refused,
        Err(StoreError::Conflict { bytes: 7, .. })
    ));
    let after = opened.store.usage();
    assert_eq!((after.used, after.reserved), (usage.used, 0));
    assert_eq!(files(root.path(), "new").len(), 0);
    assert_eq!(get(&opened.store, 1).unwrap(), b"content");
}

#[test]
fn what_arrives_otherwise_than_it_was_sent_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let mut writer = writer(&opened.store, 1, 7);
    writer.write(b"contemt").unwrap();
    let refused = writer.finish(Some(crc32c::crc32c(b"content")));
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })));
    assert_eq!(indexes(&opened.store), []);
    assert_eq!(opened.store.usage().reserved, 0);
}

#[test]
fn more_than_was_announced_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let mut writer = writer(&opened.store, 1, 7);
    writer.write(b"content").unwrap();
    let refused = writer.write(b"s");
    assert!(matches!(
        refused,
        Err(StoreError::TooLong { bytes_max: 7, .. })
    ));
    assert!(matches!(writer.write(b""), Err(StoreError::Broken { .. })));
    assert!(matches!(
        writer.finish(None),
        Err(StoreError::Broken { .. })
    ));
    assert_eq!(opened.store.usage().reserved, 0);
}

#[test]
fn sender_may_go_on_where_the_writer_is() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let content = content(1, 100_000);
    let mut writer = writer(&opened.store, 1, 100_000);
    writer.write(&content[..70_001]).unwrap();
    let received = writer.received();
    assert_eq!(received.bytes, 70_001);
    assert_eq!(received.crc32c, crc32c::crc32c(&content[..70_001]));
    writer.write(&content[70_001..]).unwrap();
    writer.finish(Some(crc32c::crc32c(&content))).unwrap();
    assert_eq!(get(&opened.store, 1).unwrap(), content);
}

#[test]
fn report_is_paged_in_the_order_of_ids() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    for index in [5, 1, 300, 2, 4] {
        put(&opened.store, index, b"x");
    }
    let page = |after| {
        let page = opened.store.list(after, 2);
        page.iter().map(|it| it.id.index).collect::<Vec<_>>()
    };
    assert_eq!(page(None), [1, 2]);
    assert_eq!(page(Some(id(2))), [4, 5]);
    assert_eq!(page(Some(id(5))), [300]);
    assert_eq!(page(Some(id(300))), []);
}

#[test]
fn deleted_block_is_gone_for_everybody_but_its_readers() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let long = content(1, 300_000);
    put(&opened.store, 1, &long);
    put(&opened.store, 2, b"two");
    let reader = opened.store.reader(id(1)).unwrap();
    let mut stream = reader.stream(0..300_000).unwrap();
    let first = stream.next().unwrap().unwrap();
    let answers = opened.store.delete(&[id(2), id(1), id(3)]).unwrap();
    let expected = [
        (id(1), Deletion::Deleted),
        (id(2), Deletion::Deleted),
        (id(3), Deletion::NotHere),
    ];
    assert_eq!(answers, expected);
    let rest: Vec<_> = stream.map(Result::unwrap).collect();
    assert_eq!([first.to_vec(), rest.concat()].concat(), long);
    assert_eq!(opened.store.usage().used, 0);
    assert_eq!(files(root.path(), "blocks").len(), 0);
    // Deleted on request is not lost.
    assert_eq!(opened.damaged.try_iter().count(), 0);
    put(&opened.store, 1, b"again");
    assert_eq!(get(&opened.store, 1).unwrap(), b"again");
}

/// S15.
#[test]
fn pinned_block_is_deleted_only_when_the_last_pin_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    put(&opened.store, 1, b"content");
    let pin = opened.store.pin(id(1)).unwrap();
    let second = pin.clone();
    let delete = || opened.store.delete(&[id(1)]).unwrap()[0].1;
    assert_eq!(delete(), Deletion::Pinned);
    drop(pin);
    assert_eq!(delete(), Deletion::Pinned);
    drop(second);
    assert_eq!(delete(), Deletion::Deleted);
    assert_eq!(delete(), Deletion::NotHere);
    let refused = opened.store.pin(id(1));
    assert!(matches!(refused, Err(StoreError::NotFound { .. })));
}

#[test]
fn two_processes_cannot_have_one_store() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    let refused = vivat_store::Store::open(root.path(), 1);
    assert!(matches!(refused, Err(StoreError::InUse { .. })));
    drop(opened);
    open(root.path());
}

#[test]
fn files_that_are_not_blocks_are_counted_and_left_alone() {
    let (root, file) = super::closed_with_one(b"content");
    let misplaced = root.path().join("blocks/00");
    fs::create_dir_all(&misplaced).unwrap();
    fs::copy(&file, misplaced.join(file.file_name().unwrap())).unwrap();
    fs::write(file.with_file_name("notes.txt"), b"mine").unwrap();
    let opened = open(root.path());
    assert_eq!(opened.strangers, 2);
    assert_eq!(indexes(&opened.store), [1]);
    assert_eq!(files(root.path(), "blocks").len(), 3);
}

#[test]
fn writers_readers_and_deleters_at_once_leave_exact_books() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    thread::scope(|scope| {
        for number in 0..4_u64 {
            let store = opened.store.clone();
            scope.spawn(move || {
                for round in 0..40 {
                    // All four write the same ids, in different orders.
                    let index = (round * (2 * number + 1)) % 16;
                    let content = content(index, 3_000 * index as usize);
                    match store.create(id(index), content.len() as u64).unwrap() {
                        Created::Already(_) => {}
                        Created::Writer(mut writer) => {
                            writer.write(&content).unwrap();
                            writer.finish(None).unwrap();
                        }
                    }
                    match get(&store, index) {
                        Ok(found) => assert_eq!(found, content),
                        Err(StoreError::NotFound { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    store.delete(&[id((index + number) % 16)]).unwrap();
                }
            });
        }
    });
    let before = (opened.store.usage(), opened.store.list(None, usize::MAX));
    assert_eq!(before.0.reserved, 0);
    assert_eq!(opened.damaged.try_iter().count(), 0);
    drop(opened);
    let opened = open(root.path());
    let after = (opened.store.usage(), opened.store.list(None, usize::MAX));
    assert_eq!(after, before);
}
