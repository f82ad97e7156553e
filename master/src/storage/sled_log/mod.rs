//! The Raft log on sled: the only place that knows sled.
//!
//! sled 0.34 is a beta that its author no longer maintains. So it holds
//! nothing but the log, the vote and two marks, all checked by checksums of
//! our own and read whole at every start; what does not open or does not
//! decode is a lost disk, never something to repair; and its flush is not
//! trusted (see `writer`).

use std::collections::{BTreeMap, VecDeque};
use std::fs::OpenOptions;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use sled::{Db, Tree};
use tokio::sync::watch;

use self::chunks::Assembler;
use self::index::Index;
use self::writer::{Job, Writer};
use super::durable_file::{create_directory, io, sync_directory};
use super::{DirLock, Done, LogStore, MetaKey, Record, StorageError};

mod chunks;
mod index;
mod meta;
mod writer;

/// The version of everything in this folder.
const FORMAT: u32 = 1;
/// sled's page cache; what is read often is cached above it.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// sled's own thread syncs and collects garbage this often.
const BACKGROUND_FLUSH_MS: u64 = 500;
/// Writes that may wait. Raft's own bounds are far below it.
const JOBS_MAX: usize = 8_192;
/// The file in sled's directory that holds the data.
const DATA_FILE: &str = "db";

/// What sled answered.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// An error.
    #[error(transparent)]
    Refused(sled::Error),
    /// A panic, as it does on some kinds of damage.
    #[error("the database panicked: {message}")]
    Panicked {
        /// Its message.
        message: String,
    },
}

/// What callers and the writer share.
#[derive(Debug)]
pub struct Shared {
    index: Mutex<Index>,
    metas: Mutex<BTreeMap<MetaKey, Bytes>>,
    /// The newest hint that is not written yet.
    committed: Mutex<Option<Bytes>>,
    failure: watch::Sender<Option<Arc<StorageError>>>,
}

impl Shared {
    // The lock is held for moves in memory, none of which leaves it half done.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metas(&self) -> MutexGuard<'_, BTreeMap<MetaKey, Bytes>> {
        self.metas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
#[derive(Debug)]
pub struct SledLog {
    shared: Arc<Shared>,
    log: Tree,
    directory: PathBuf,
    /// Held over each write: the disk must see writes in the order in which
    /// readers do. The index is locked within, and never the other way round:
    /// the writer needs the index while a caller waits for room in the queue.
    jobs: Mutex<Option<SyncSender<Job>>>,
    writer: Option<JoinHandle<()>>,
    /// Let go when the database is closed.
    lock: Option<DirLock>,
}

impl SledLog {
    /// Opens a log, or makes one in an empty directory. Blocks: reads all of it.
    ///
    /// # Errors
    ///
    /// One with [`StorageError::is_damage`] when the disk is lost.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        create_directory(directory)?;
        let db = open_database(directory)?;
        let log = open_tree(&db, "log")?;
        let meta = open_tree(&db, "meta")?;
        check_format(directory, &db, &log, &meta)?;
        let (metas, purged) = load_metas(directory, &meta)?;
        if let Some(purged) = purged {
            remove_purged(&log, purged)?;
        }
        let index = load_index(directory, &log, purged)?;
        let path = directory.join(DATA_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io("open", &path))?;
        db.flush().map_err(refused("flush"))?;
        file.sync_all().map_err(io("sync", &path))?;
        sync_directory(directory)?;

        let (failure, _) = watch::channel(None);
        let shared = Arc::new(Shared {
            index: Mutex::new(index),
            metas: Mutex::new(metas),
            committed: Mutex::new(None),
            failure,
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            db,
            log: log.clone(),
            meta,
            file,
            path,
        };
        let (jobs, waiting) = sync_channel(JOBS_MAX);
        let thread = std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(io("start the writer of", directory))?;
        Ok(Self {
            shared,
            log,
            directory: directory.to_owned(),
            jobs: Mutex::new(Some(jobs)),
            writer: Some(thread),
            lock: None,
        })
    }

    /// Keeps a directory's lock until the database is closed.
    #[must_use]
    pub fn holding(mut self, lock: DirLock) -> Self {
        self.lock = Some(lock);
        self
    }

    fn jobs(&self) -> MutexGuard<'_, Option<SyncSender<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, jobs: &Option<SyncSender<Job>>, job: Job) {
        // The writer drains the channel until this end is dropped, so it can
        // only be gone after a panic, and then the failure says so.
        if let Some(jobs) = jobs
            && jobs.send(job).is_err()
        {
            self.shared
                .failure
                .send_replace(Some(Arc::new(StorageError::Failed)));
        }
    }

    /// Takes the records in; false if they would leave a hole.
    fn push(&self, records: &[Record]) -> Option<u64> {
        let mut index = self.shared.index();
        let all = records.iter().all(|record| index.push(record));
        all.then(|| index.generation())
    }

    fn read_disk(&self, range: Range<u64>) -> Result<Vec<Record>, StorageError> {
        let keys = chunks::key(range.start, 0)..chunks::key(range.end, 0);
        let mut assembler = Assembler::default();
        let mut records = Vec::new();
        for item in self.log.range(keys) {
            let (key, value) = item.map_err(refused("read records"))?;
            let record = assembler
                .push(&key, &value)
                .map_err(|problem| self.damaged(problem))?;
            records.extend(record);
        }
        assembler
            .finish()
            .map_err(|problem| self.damaged(problem))?;
        let found: Vec<u64> = records.iter().map(|record| record.index).collect();
        if found.iter().copied().ne(range.clone()) {
            return Err(self.damaged(format!("records {found:?} instead of {range:?}")));
        }
        Ok(records)
    }

    fn damaged(&self, problem: String) -> StorageError {
        damaged(&self.directory, problem)
    }
}

impl LogStore for SledLog {
    fn append(&self, records: Vec<Record>, done: Done) {
        let jobs = self.jobs();
        let Some(generation) = self.push(&records) else {
            let error = Arc::new(self.damaged("an append would leave a hole".to_owned()));
            self.shared.failure.send_replace(Some(Arc::clone(&error)));
            done(Err(error));
            return;
        };
        let job = Job::Append {
            records,
            generation,
            done,
        };
        self.submit(&jobs, job);
    }

    fn read_cached(&self, range: Range<u64>) -> Option<Vec<Record>> {
        let split = self.shared.index().split(range);
        split.disk.is_empty().then_some(split.tail)
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<Record>, Arc<StorageError>> {
        loop {
            let split = self.shared.index().split(range.clone());
            if split.disk.is_empty() {
                return Ok(split.tail);
            }
            let outcome = self.read_disk(split.disk);
            if self.shared.index().split(0..0).stamp != split.stamp {
                // Purged or truncated meanwhile: what was read is no one state.
                continue;
            }
            let mut records = outcome.map_err(|error| {
                let error = Arc::new(error);
                self.shared.failure.send_replace(Some(Arc::clone(&error)));
                error
            })?;
            records.extend(split.tail);
            return Ok(records);
        }
    }

    fn range(&self) -> Range<u64> {
        self.shared.index().range()
    }

    fn truncate_after(&self, last: Option<u64>) {
        let from = last.map_or(0, |last| last + 1);
        let jobs = self.jobs();
        self.shared.index().truncate(from);
        self.submit(&jobs, Job::Truncate { from });
    }

    fn purge(&self, upto: u64, mark: Bytes) {
        let jobs = self.jobs();
        self.shared.index().purge(upto);
        self.shared.metas().insert(MetaKey::Purged, mark.clone());
        self.submit(&jobs, Job::Purge { upto, mark });
    }

    fn save_meta(&self, key: MetaKey, value: Bytes, done: Done) {
        let jobs = self.jobs();
        self.shared.metas().insert(key, value.clone());
        match key {
            MetaKey::Vote | MetaKey::Purged => self.submit(&jobs, Job::Meta { key, value, done }),
            MetaKey::Committed => {
                *self
                    .shared
                    .committed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(value);
                drop(jobs);
                done(Ok(()));
            }
        }
    }

    fn meta(&self, key: MetaKey) -> Option<Bytes> {
        self.shared.metas().get(&key).cloned()
    }

    fn keep_from(&self, entries_max: u64, bytes_max: u64, entries_min: u64) -> u64 {
        self.shared
            .index()
            .keep_from(entries_max, bytes_max, entries_min)
    }

    fn failure(&self) -> watch::Receiver<Option<Arc<StorageError>>> {
        self.shared.failure.subscribe()
    }
}

impl Drop for SledLog {
    fn drop(&mut self) {
        drop(self.jobs().take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("writer of the raft log panicked");
        }
    }
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

fn damaged(directory: &Path, problem: String) -> StorageError {
    StorageError::Damaged {
        what: "the raft log",
        path: directory.to_owned(),
        problem,
    }
}

fn refused(action: &'static str) -> impl FnOnce(sled::Error) -> StorageError {
    move |source| StorageError::Database {
        action,
        source: DatabaseError::Refused(source),
    }
}
