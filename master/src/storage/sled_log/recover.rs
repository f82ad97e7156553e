//! Opens the database, and finds out whether it still has what it had.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sled::{Db, Tree};

use super::super::durable_file::{create_directory, io, sync_directory};
use super::super::{MetaKey, StorageError};
use super::chunks::Assembler;
use super::index::Index;
use super::progress::{Guard, Progress};
use super::{DatabaseError, chunks, meta};
use crate::failpoints::{Point, pass};

/// The version of everything in this folder.
const FORMAT: u32 = 1;
/// sled's page cache; what is read often is cached above it.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// sled's own thread syncs and collects garbage this often.
const BACKGROUND_FLUSH_MS: u64 = 500;
/// The file in sled's directory that holds the data.
const DATA_FILE: &str = "db";

/// The file in sled's directory that holds its settings.
const CONFIGURATION_FILE: &str = "conf";
/// The ending of a page-table snapshot that sled was writing when it died.
const UNFINISHED_ENDING: &str = ".generating";

/// An open database and what is in it.
pub struct Recovered {
    pub db: Db,
    pub log: Tree,
    pub meta: Tree,
    pub progress: Progress,
    pub guard: Guard,
    /// Our own handle of sled's file.
    pub file: File,
    pub path: PathBuf,
}

/// Opens the database of a directory, or makes one where there is none.
pub fn recover(
    directory: &Path,
) -> Result<(Recovered, Index, BTreeMap<MetaKey, Bytes>), StorageError> {
    pass(Point::OpenBegin)?;
    create_directory(directory)?;
    let guarded = Guard::load(directory)?;
    remove_unfinished(directory)?;
    let db = open_database(directory)?;
    pass(Point::OpenDatabase)?;
    let log = open_tree(&db, "log")?;
    let meta = open_tree(&db, "meta")?;
    check_format(directory, &db, &log, &meta)?;
    let (metas, purged) = load_metas(directory, &meta)?;
    if let Some(purged) = purged {
        remove_purged(&log, purged)?;
    }
    let index = load_index(directory, &log, purged)?;
    let progress = load_progress(directory, &meta)?;
    let vote = metas.get(&MetaKey::Vote);
    let loss = match (guarded, progress) {
        (Some(guarded), found) => {
            found
                .unwrap_or_default()
                .find_loss(guarded, index.range().end, purged, vote)
        }
        (None, Some(_)) => Some("its guard is missing".to_owned()),
        (None, None) => None,
    };
    if let Some(problem) = loss {
        return Err(damaged(directory, problem));
    }
    pass(Point::OpenChecked)?;
    let path = directory.join(DATA_FILE);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(io("open", &path))?;
    db.flush().map_err(refused("flush"))?;
    file.sync_all().map_err(io("sync", &path))?;
    // sled writes it once and never syncs it.
    let configuration = directory.join(CONFIGURATION_FILE);
    File::open(&configuration)
        .and_then(|file| file.sync_all())
        .map_err(io("sync", &configuration))?;
    sync_directory(directory)?;
    pass(Point::OpenSynced)?;
    let progress = progress.unwrap_or_default();
    let mut guard = Guard::new(directory);
    guard.save(&progress)?;
    pass(Point::OpenDone)?;
    let recovered = Recovered {
        db,
        log,
        meta,
        progress,
        guard,
        file,
        path,
    };
    Ok((recovered, index, metas))
}

fn load_progress(directory: &Path, tree: &Tree) -> Result<Option<Progress>, StorageError> {
    let bytes = tree
        .get(meta::PROGRESS)
        .map_err(refused("read the progress"))?;
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let progress = meta::decode(&bytes).and_then(Progress::decode);
    let problem = || damaged(directory, "the progress does not decode".to_owned());
    progress.ok_or_else(problem).map(Some)
}

/// Removes what sled did not finish: it takes the beginning of such a file for
/// a whole one and refuses to open. Without it, it reads the log instead.
fn remove_unfinished(directory: &Path) -> Result<(), StorageError> {
    let entries = fs::read_dir(directory).map_err(io("list", directory))?;
    for entry in entries {
        let entry = entry.map_err(io("list", directory))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(UNFINISHED_ENDING) {
            let path = entry.path();
            fs::remove_file(&path).map_err(io("remove", &path))?;
        }
    }
    Ok(())
}

fn open_database(directory: &Path) -> Result<Db, StorageError> {
    let config = sled::Config::new()
        .path(directory)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(BACKGROUND_FLUSH_MS));
    let source = match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => return Ok(db),
        // The file system's refusals are not damage: the disk may be read-only
        // or full, and the next start may succeed.
        Ok(Err(sled::Error::Io(source))) => return Err(io("open", directory)(source)),
        Ok(Err(error)) => DatabaseError::Refused(error),
        Err(panic) => DatabaseError::Panicked {
            message: panic
                .downcast_ref::<String>()
                .cloned()
                .unwrap_or_else(|| "without a message".to_owned()),
        },
    };
    Err(StorageError::DoesNotOpen {
        path: directory.to_owned(),
        source,
    })
}

fn open_tree(db: &Db, name: &str) -> Result<Tree, StorageError> {
    db.open_tree(name).map_err(refused("open a tree"))
}

fn check_format(directory: &Path, db: &Db, log: &Tree, meta: &Tree) -> Result<(), StorageError> {
    let Some(bytes) = meta.get(meta::FORMAT).map_err(refused("read the format"))? else {
        if db.was_recovered() && !(log.is_empty() && meta.is_empty()) {
            return Err(damaged(directory, "it has no format version".to_owned()));
        }
        let value = meta::encode(&FORMAT.to_le_bytes());
        meta.insert(meta::FORMAT, value)
            .map_err(refused("write the format"))?;
        return Ok(());
    };
    let found = meta::decode(&bytes)
        .and_then(|value| value.try_into().ok())
        .map(u32::from_le_bytes);
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(StorageError::Format {
            path: directory.to_owned(),
            found,
            supported: FORMAT,
        }),
        None => Err(damaged(directory, "the format does not decode".to_owned())),
    }
}

type Metas = (BTreeMap<MetaKey, Bytes>, Option<u64>);

fn load_metas(directory: &Path, tree: &Tree) -> Result<Metas, StorageError> {
    let mut metas = BTreeMap::new();
    let mut purged = None;
    for key in [MetaKey::Vote, MetaKey::Purged, MetaKey::Committed] {
        let Some(bytes) = tree.get(meta::name(key)).map_err(refused("read a value"))? else {
            continue;
        };
        let problem = || damaged(directory, format!("`{}` does not decode", meta::name(key)));
        let value = meta::decode(&bytes).ok_or_else(problem)?;
        let value = match key {
            MetaKey::Vote | MetaKey::Committed => value,
            MetaKey::Purged => {
                let (upto, mark) = meta::decode_purged(value).ok_or_else(problem)?;
                purged = Some(upto);
                mark
            }
        };
        metas.insert(key, Bytes::copy_from_slice(value));
    }
    Ok((metas, purged))
}

/// A crash between the purge mark and the removal leaves records behind.
fn remove_purged(log: &Tree, upto: u64) -> Result<(), StorageError> {
    let keys: Result<Vec<_>, _> = log.range(..=chunks::key(upto, u32::MAX)).keys().collect();
    for key in keys.map_err(refused("list records"))? {
        log.remove(key).map_err(refused("remove a record"))?;
    }
    Ok(())
}

fn load_index(directory: &Path, log: &Tree, purged: Option<u64>) -> Result<Index, StorageError> {
    let mut assembler = Assembler::default();
    let mut sizes = VecDeque::new();
    let mut first = purged.map_or(0, |upto| upto + 1);
    for item in log.iter() {
        let (key, value) = item.map_err(refused("read records"))?;
        let record = assembler
            .push(&key, &value)
            .map_err(|problem| damaged(directory, problem))?;
        let Some(record) = record else { continue };
        if sizes.is_empty() && purged.is_none() {
            first = record.index;
        }
        if record.index != first + sizes.len() as u64 {
            return Err(damaged(
                directory,
                format!("record {} follows a hole", record.index),
            ));
        }
        sizes.push_back(u32::try_from(record.bytes.len()).expect("read as 32 bits"));
    }
    assembler
        .finish()
        .map_err(|problem| damaged(directory, problem))?;
    Ok(Index::recovered(first, sizes))
}

pub fn damaged(directory: &Path, problem: String) -> StorageError {
    StorageError::Damaged {
        what: "the raft log",
        path: directory.to_owned(),
        problem,
    }
}

pub fn refused(action: &'static str) -> impl FnOnce(sled::Error) -> StorageError {
    move |source| StorageError::Database {
        action,
        source: DatabaseError::Refused(source),
    }
}
