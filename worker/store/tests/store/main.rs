//! The block store on a healthy disk, on damaged files, on a full disk and on
//! one that fails (S6, S7, S9, S15, F15, F16, F17, F23).

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod blocks;
mod damage;
mod faults;
mod scrub;
mod space;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vivat_shared::ids::{BlockId, DatasetId};
use vivat_store::{BlockWriter, Created, Finished, Opened, Store, StoreError};
use vivat_testkit::dice::Dice;

/// More than any test writes.
const BUDGET: u64 = 1 << 30;

fn id(index: u64) -> BlockId {
    BlockId {
        dataset: DatasetId(7),
        index,
    }
}

/// Bytes that no other block has.
fn content(index: u64, bytes: usize) -> Vec<u8> {
    let mut dice = Dice::new(index);
    let words = bytes.div_ceil(8);
    let mut content: Vec<u8> = (0..words).flat_map(|_| dice.roll().to_le_bytes()).collect();
    content.truncate(bytes);
    content
}

fn open(root: &Path) -> Opened {
    Store::open(root, BUDGET).unwrap()
}

fn writer(store: &Store, index: u64, bytes_max: u64) -> BlockWriter {
    match store.create(id(index), bytes_max).unwrap() {
        Created::Writer(writer) => writer,
        Created::Already(here) => panic!("{here:?} is here"),
    }
}

fn put(store: &Store, index: u64, content: &[u8]) -> Finished {
    let mut writer = writer(store, index, content.len() as u64);
    for piece in content.chunks(10_000) {
        writer.write(piece).unwrap();
    }
    writer.finish(Some(crc32c::crc32c(content))).unwrap()
}

/// All of it, as a stream gives it.
fn get(store: &Store, index: u64) -> Result<Vec<u8>, StoreError> {
    let reader = store.reader(id(index))?;
    let pieces = reader.stream(0..reader.summary().bytes)?;
    let pieces: Result<Vec<_>, _> = pieces.collect();
    Ok(pieces?.concat())
}

fn indexes(store: &Store) -> Vec<u64> {
    let all = store.list(None, usize::MAX);
    all.iter().map(|summary| summary.id.index).collect()
}

/// Files below a folder of the store.
fn files(root: &Path, folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A store with one block, closed, and the block's file.
fn closed_with_one(content: &[u8]) -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    put(&open(root.path()).store, 1, content);
    let files = files(root.path(), "blocks");
    (root, files[0].clone())
}
