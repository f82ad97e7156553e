//! No file that differs from what was written is ever taken for it (S7, F15).

use std::fs;
use std::os::unix::fs::FileExt;

use vivat_store::{Damage, StoreError};

use super::{closed_with_one, content, files, get, id, indexes, open, put};

/// What a user of the store sees of a damaged block: it is reported once, at the
/// start or at the first read, and is not here after that.
fn is_found_out(root: &std::path::Path, what: &str) {
    let opened = open(root);
    let at_start = opened.damaged.try_iter().count();
    match get(&opened.store, 1) {
        Err(StoreError::NotFound { .. }) => assert_eq!(at_start, 1, "{what}"),
        Err(StoreError::Damaged { .. }) => assert_eq!(at_start, 0, "{what}"),
        Ok(_) => panic!("{what}: it is read as if nothing were"),
        Err(error) => panic!("{what}: {error}"),
    }
    assert_eq!(indexes(&opened.store), [], "{what}");
    assert!(matches!(
        get(&opened.store, 1),
        Err(StoreError::NotFound { .. })
    ));
    assert_eq!(files(root, "damaged").len(), 1, "{what}");
}

#[test]
fn every_flipped_byte_is_found_out() {
    let original = content(1, 200);
    let (root, file) = closed_with_one(&original);
    let bytes = fs::read(&file).unwrap();
    assert_eq!(bytes.len(), 32 + 200 + 4 + 48);
    for at in 0..bytes.len() {
        let mask = [0x01, 0x80, 0xff][at % 3];
        let mut flipped = bytes.clone();
        flipped[at] ^= mask;
        fs::write(&file, &flipped).unwrap();
        is_found_out(root.path(), &format!("byte {at} xor {mask:#x}"));
        fs::remove_dir_all(root.path().join("damaged")).unwrap();
    }
}

#[test]
fn every_truncation_and_every_longer_file_is_found_out() {
    let (root, file) = closed_with_one(&content(1, 200));
    let bytes = fs::read(&file).unwrap();
    let longer = [&bytes[..], b"x"].concat();
    let doubled = [&bytes[..], &bytes[..]].concat();
    let shorter = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    for wrong in shorter.chain([longer, doubled]) {
        fs::write(&file, &wrong).unwrap();
        is_found_out(root.path(), &format!("{} bytes", wrong.len()));
        fs::remove_dir_all(root.path().join("damaged")).unwrap();
    }
}

#[test]
fn damage_is_named_by_block_and_place_while_the_other_chunks_were_served() {
    let (root, file) = closed_with_one(&content(1, 600_000));
    let handle = fs::File::options().write(true).open(&file).unwrap();
    // In the fifth chunk, which is the first of the second piece.
    handle.write_all_at(b"????", 32 + 4 * 65_536 + 10).unwrap();
    let opened = open(root.path());
    let reader = opened.store.reader(id(1)).unwrap();
    let mut stream = reader.stream(0..600_000).unwrap();
    let first = stream.next().unwrap().unwrap();
    assert_eq!(first, content(1, 600_000)[..262_144]);
    let error = stream.next().unwrap().unwrap_err();
    let StoreError::Damaged { block, damage } = error else {
        panic!("{error}");
    };
    let Damage::Chunk {
        offset, expected, ..
    } = damage
    else {
        panic!("{damage}");
    };
    assert_eq!((block, offset), (id(1), 262_144));
    assert_eq!(
        expected,
        crc32c::crc32c(&content(1, 600_000)[262_144..327_680])
    );
    assert!(stream.next().is_none());
    let told: Vec<_> = opened.damaged.try_iter().collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].id, told[0].damage), (id(1), damage));
    put(&opened.store, 1, b"again");
    assert_eq!(get(&opened.store, 1).unwrap(), b"again");
    // Who had it open reads no wrong bytes either, and it is told of once.
    assert!(reader.read(262_144, 1).is_err());
    assert_eq!(opened.damaged.try_iter().count(), 0);
}

#[test]
fn damage_in_a_deleted_file_is_not_held_against_its_successor() {
    let (root, file) = closed_with_one(&content(1, 100_000));
    let opened = open(root.path());
    let reader = opened.store.reader(id(1)).unwrap();
    let handle = fs::File::options().write(true).open(&file).unwrap();
    handle.write_all_at(b"????", 50).unwrap();
    opened.store.delete(&[id(1)]).unwrap();
    put(&opened.store, 1, b"new");
    assert!(matches!(reader.read(0, 1), Err(StoreError::Damaged { .. })));
    assert_eq!(get(&opened.store, 1).unwrap(), b"new");
    assert_eq!(opened.damaged.try_iter().count(), 0);
}

#[test]
fn whole_file_of_another_block_is_not_served() {
    let root = tempfile::tempdir().unwrap();
    put(&open(root.path()).store, 2, b"of another");
    let other = files(root.path(), "blocks")[0].clone();
    put(&open(root.path()).store, 1, b"content");
    let all = files(root.path(), "blocks");
    let own = all.iter().find(|path| **path != other).unwrap();
    fs::copy(other, own).unwrap();
    let opened = open(root.path());
    let told: Vec<_> = opened.damaged.try_iter().collect();
    assert_eq!(told[0].damage, Damage::OtherBlock { found: id(2) });
    assert_eq!(indexes(&opened.store), [2]);
}

/// F23 in small: the file went while the worker ran.
#[test]
fn block_whose_file_vanished_is_reported() {
    let (root, file) = closed_with_one(b"content");
    let opened = open(root.path());
    fs::remove_file(file).unwrap();
    let error = get(&opened.store, 1).unwrap_err();
    let missing = StoreError::Damaged {
        block: id(1),
        damage: Damage::Missing,
    };
    assert_eq!(error.to_string(), missing.to_string());
    assert_eq!(opened.damaged.try_iter().count(), 1);
    assert_eq!(opened.store.usage().used, 0);
}

/// F23.
#[test]
fn worker_with_an_empty_disk_reports_no_blocks() {
    let (root, _file) = closed_with_one(b"content");
    fs::remove_dir_all(root.path()).unwrap();
    let opened = open(root.path());
    assert_eq!(indexes(&opened.store), []);
    assert_eq!(opened.store.usage().used, 0);
}

#[test]
fn block_of_a_later_version_is_not_thrown_away() {
    let (root, file) = closed_with_one(b"content");
    let mut bytes = fs::read(&file).unwrap();
    let footer = bytes.len() - 48;
    bytes[footer + 32] = 2;
    let sum = crc32c::crc32c(&bytes[footer..footer + 36]);
    bytes[footer + 36..footer + 40].copy_from_slice(&sum.to_le_bytes());
    fs::write(&file, &bytes).unwrap();
    let refused = vivat_store::Store::open(root.path(), 1).unwrap_err();
    assert!(refused.to_string().contains("version 2"), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn only_the_newest_damaged_files_are_kept_and_they_go_when_room_is_wanted() {
    let root = tempfile::tempdir().unwrap();
    let opened = open(root.path());
    for index in 0..20 {
        put(&opened.store, index, b"content");
    }
    for file in files(root.path(), "blocks") {
        fs::write(file, b"nonsense").unwrap();
    }
    for index in 0..20 {
        assert!(get(&opened.store, index).is_err());
    }
    assert_eq!(files(root.path(), "damaged").len(), 16);
    assert_eq!(opened.store.usage().used, 16 * 4096);
    drop(opened);
    let opened = vivat_store::Store::open(root.path(), 16 * 4096).unwrap();
    assert_eq!(opened.store.usage().used, 16 * 4096);
    put(&opened.store, 1, b"content");
    assert_eq!(files(root.path(), "damaged").len(), 0);
    assert_eq!(opened.store.usage().used, 4096);
}
