//! The Raft log on sled: the only place that knows sled.
//!
//! sled 0.34 is a beta that its author no longer maintains. So it holds
//! nothing but the log, the vote and two marks, all checked by checksums of
//! our own and read whole at every start; what does not open or does not
//! decode is a lost disk, never something to repair; its flush is not trusted
//! (see `writer`); and neither is its recovery, which takes a damaged byte for
//! the end of the log and drops what follows (see `progress`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use sled::Tree;
use tokio::sync::watch;

use self::chunks::Assembler;
use self::index::Index;
use self::writer::{Job, Writer};
use super::durable_file::io;
use super::{DirLock, Done, LogStore, MetaKey, Record, StorageError};
use crate::failpoints::{Point, pass};

pub mod chunks;
mod index;
mod meta;
pub mod progress;
mod recover;
mod writer;

/// Writes that may wait. Raft's own bounds are far below it.
const JOBS_MAX: usize = 8_192;
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

    /// Ends the store. The first error stays: later ones are its consequences.
    fn fail(&self, error: &Arc<StorageError>) {
        self.failure.send_if_modified(|current| {
            let is_first = current.is_none();
            current.get_or_insert_with(|| Arc::clone(error));
            is_first
        });
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
        let (recovered, index, metas) = recover::recover(directory)?;
        let (failure, _) = watch::channel(None);
        let shared = Arc::new(Shared {
            index: Mutex::new(index),
            metas: Mutex::new(metas),
            failure,
        });
        let log = recovered.log.clone();
        let writer = Writer::new(Arc::clone(&shared), recovered);
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
        // only be gone after a panic, of which its alarm has told by then.
        if let Some(jobs) = jobs
            && jobs.send(job).is_err()
        {
            self.shared.fail(&Arc::new(StorageError::Failed));
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
        pass(Point::ReadBegin)?;
        let mut assembler = Assembler::default();
        let mut records = Vec::new();
        for item in self.log.range(keys) {
            let (key, value) = item.map_err(recover::refused("read records"))?;
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
        recover::damaged(&self.directory, problem)
    }
}

impl LogStore for SledLog {
    fn append(&self, records: Vec<Record>, done: Done) {
        let jobs = self.jobs();
        let Some(generation) = self.push(&records) else {
            let error = Arc::new(self.damaged("an append would leave a hole".to_owned()));
            self.shared.fail(&error);
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
                self.shared.fail(&error);
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

    fn save_vote(&self, vote: Bytes, done: Done) {
        let jobs = self.jobs();
        self.shared.metas().insert(MetaKey::Vote, vote.clone());
        self.submit(&jobs, Job::Vote { vote, done });
    }

    fn save_committed(&self, committed: Bytes) {
        let jobs = self.jobs();
        let key = MetaKey::Committed;
        self.shared.metas().insert(key, committed.clone());
        self.submit(&jobs, Job::Committed { committed });
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
