//! The thread that writes.
//!
//! It takes what waits, writes it in the order of the calls, makes all of it
//! durable at once, and then says so to everyone who waited. sled's `flush` is
//! not an fsync on Linux (it is `sync_file_range`, which knows neither the
//! drive's cache nor the file's length), so `sync_data` on a handle of our own
//! to the same file follows it. After the first error nothing is written and
//! every waiter gets an error.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use sled::{Batch, Db, Tree};

use super::super::{Done, Record, StorageError};
use super::progress::{Guard, Progress};
use super::recover::Recovered;
use super::{DatabaseError, Shared, chunks, meta};
use crate::failpoints::{Point, pass};

/// Jobs that share one fsync.
const GROUP_JOBS_MAX: usize = 512;
/// Bytes that share one fsync, about.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Keys removed in one batch.
const REMOVE_KEYS_MAX: usize = 4_096;

/// What the callers want.
pub enum Job {
    /// Write records.
    Append {
        records: Vec<Record>,
        generation: u64,
        done: Done,
    },
    /// Remove the records from an index on.
    Truncate { from: u64 },
    /// Remove the records up to and with an index, after the mark is durable.
    Purge { upto: u64, mark: Bytes },
    /// Write the vote.
    Vote { vote: Bytes, done: Done },
    /// Write the hint where the commit is. It comes after the records that it
    /// speaks of, but an fsync of its own would be wasted on it.
    Committed { committed: Bytes },
}

/// The thread's possessions.
pub struct Writer {
    shared: Arc<Shared>,
    db: Db,
    log: Tree,
    meta: Tree,
    progress: Progress,
    guard: Guard,
    /// Our own handle of sled's file.
    file: File,
    path: PathBuf,
}

/// Reports a panic of the thread at once. Without it a log that nobody writes to
/// would be dead and not know.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(&Arc::new(StorageError::WriterPanicked));
        }
    }
}

/// What to do when a group is durable.
#[derive(Default)]
struct After {
    dones: Vec<Done>,
    written: Option<(u64, u64)>,
    purge: Option<u64>,
    voted: bool,
}

impl Writer {
    /// A writer for an open database.
    pub fn new(shared: Arc<Shared>, recovered: Recovered) -> Self {
        Self {
            shared,
            db: recovered.db,
            log: recovered.log,
            meta: recovered.meta,
            progress: recovered.progress,
            guard: recovered.guard,
            file: recovered.file,
            path: recovered.path,
        }
    }

    /// Runs until every sender is gone.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        let _alarm = Alarm(Arc::clone(&self.shared));
        while let Ok(first) = jobs.recv() {
            let group = collect(first, jobs);
            if let Err(failed) = self.write(group) {
                fail(&self.shared, failed.0, failed.1);
                break;
            }
        }
        // Whoever still waits, now or later, must hear that it never will be.
        while let Ok(job) = jobs.recv() {
            if let Some(done) = job.done() {
                done(Err(Arc::new(StorageError::Failed)));
            }
        }
        if self.shared.failure.borrow().is_none() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let outcome = self.sync().and_then(|()| self.guard.save(&self.progress));
        if let Err(error) = outcome {
            fail(&self.shared, error, Vec::new());
        }
    }

    fn write(&mut self, group: Vec<Job>) -> Result<(), (StorageError, Vec<Done>)> {
        let mut after = After::default();
        let committed_only = group.iter().all(|job| matches!(job, Job::Committed { .. }));
        let mut outcome = self.write_jobs(group, &mut after);
        // Seeded mistake 1: who waits is told before the disk was.
        if !committed_only && !cfg!(vivat_seeded_bug = "early-ack") {
            outcome = outcome
                .and_then(|()| self.sync())
                .and_then(|()| self.guard.note(&self.progress));
        }
        if after.voted {
            outcome = outcome
                .and_then(|()| pass(Point::VoteSynced))
                .and_then(|()| self.guard.save(&self.progress));
        }
        if !after.dones.is_empty() {
            outcome = outcome.and_then(|()| pass(Point::AcknowledgeBegin));
        }
        if let Err(error) = outcome {
            return Err((error, after.dones));
        }
        if let Some((next, generation)) = after.written {
            self.shared.index().written(next, generation);
        }
        let mut rest = Ok(());
        if !after.dones.is_empty() {
            after.dones.into_iter().for_each(|done| done(Ok(())));
            rest = pass(Point::AcknowledgeDone);
        }
        // Nobody waits for the rest.
        if let Some(upto) = after.purge {
            rest = rest.and_then(|()| self.purge(upto));
        }
        if !committed_only && self.guard.is_due() {
            rest = rest.and_then(|()| self.guard.save(&self.progress));
        }
        rest.map_err(|error| (error, Vec::new()))
    }

    /// Hands everything to sled, in order. Every `done` of the group is in
    /// `after`, whatever happens.
    fn write_jobs(&mut self, group: Vec<Job>, after: &mut After) -> Result<(), StorageError> {
        let mut outcome = Ok(());
        let mut batch = Batch::default();
        let mut appended = false;
        for job in group {
            if !matches!(job, Job::Append { .. }) {
                let former = std::mem::take(&mut batch);
                outcome = outcome.and_then(|()| self.apply(former));
            }
            match job {
                Job::Append {
                    records,
                    generation,
                    done,
                } => {
                    after.dones.push(done);
                    appended = true;
                    for record in &records {
                        for (key, value) in chunks::cut(record) {
                            batch.insert(&key, value);
                        }
                        self.progress.next = record.index + 1;
                        after.written = Some((record.index + 1, generation));
                    }
                }
                Job::Truncate { from } => {
                    after.written = None;
                    self.progress.next = self.progress.next.min(from);
                    outcome = outcome.and_then(|()| self.truncate(from));
                }
                Job::Purge { upto, mark } => {
                    after.purge = after.purge.max(Some(upto));
                    self.progress.purged_next = upto + 1;
                    self.progress.next = self.progress.next.max(upto + 1);
                    outcome = outcome.and_then(|()| self.mark_purged(upto, &mark));
                }
                Job::Vote { vote, done } => {
                    after.dones.push(done);
                    after.voted = true;
                    self.progress.vote_checksum = Progress::checksum(&vote);
                    outcome = outcome.and_then(|()| self.keep_vote(&vote));
                }
                Job::Committed { committed } => {
                    outcome = outcome.and_then(|()| self.keep_committed(&committed));
                }
            }
        }
        if appended {
            outcome = outcome.and_then(|()| self.append(batch));
        }
        outcome
    }

    /// The last records of a group. Earlier ones were applied as they stood.
    fn append(&mut self, batch: Batch) -> Result<(), StorageError> {
        pass(Point::AppendBegin)?;
        self.apply(batch)?;
        pass(Point::AppendWritten)?;
        self.note(None)?;
        pass(Point::AppendNoted)
    }

    fn keep_vote(&mut self, vote: &[u8]) -> Result<(), StorageError> {
        pass(Point::VoteBegin)?;
        self.note(Some((meta::VOTE, meta::encode(vote))))?;
        pass(Point::VoteWritten)
    }

    fn mark_purged(&mut self, upto: u64, mark: &[u8]) -> Result<(), StorageError> {
        pass(Point::PurgeBegin)?;
        if cfg!(vivat_seeded_bug = "forgotten-purge") {
            // Mistake 3: only the process knows what was purged.
            self.progress.purged_next = 0;
            return Ok(());
        }
        self.note(Some((meta::PURGED, meta::encode_purged(upto, mark))))?;
        pass(Point::PurgeMarked)
    }

    fn keep_committed(&mut self, committed: &[u8]) -> Result<(), StorageError> {
        pass(Point::CommittedBegin)?;
        self.insert(meta::COMMITTED, meta::encode(committed))?;
        pass(Point::CommittedWritten)
    }

    /// Notes a write, together with the value that it wrote.
    fn note(&mut self, value: Option<(&str, Vec<u8>)>) -> Result<(), StorageError> {
        self.progress.number += 1;
        let mut batch = Batch::default();
        if let Some((key, value)) = value {
            batch.insert(key, value);
        }
        batch.insert(meta::PROGRESS, meta::encode(&self.progress.encode()));
        self.meta
            .apply_batch(batch)
            .map_err(database("write a value"))
    }

    fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        self.log
            .apply_batch(batch)
            .map_err(database("write records"))
    }

    fn insert(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError> {
        self.meta
            .insert(key, value)
            .map_err(database("write a value"))?;
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        pass(Point::SyncBegin)?;
        self.db.flush().map_err(database("flush"))?;
        pass(Point::SyncFlushed)?;
        self.file.sync_data().map_err(|source| StorageError::Io {
            action: "sync",
            path: self.path.clone(),
            source,
        })?;
        pass(Point::SyncDone)
    }

    /// From the last key backwards, so that a crash leaves no hole.
    fn truncate(&mut self, from: u64) -> Result<(), StorageError> {
        pass(Point::TruncateBegin)?;
        self.note(None)?;
        pass(Point::TruncateNoted)?;
        loop {
            let mut keys = Vec::new();
            let range = self.log.range(chunks::key(from, 0)..);
            for item in range.rev().take(REMOVE_KEYS_MAX) {
                let (key, _) = item.map_err(database("list records"))?;
                keys.push(key);
            }
            if keys.is_empty() {
                return pass(Point::TruncateDone);
            }
            self.remove(keys)?;
            pass(Point::TruncateRemoving)?;
        }
    }

    fn purge(&self, upto: u64) -> Result<(), StorageError> {
        pass(Point::PurgeSynced)?;
        loop {
            let mut keys = Vec::new();
            let range = self.log.range(..=chunks::key(upto, u32::MAX));
            for key in range.keys().take(REMOVE_KEYS_MAX) {
                keys.push(key.map_err(database("list records"))?);
            }
            if keys.is_empty() {
                return pass(Point::PurgeDone);
            }
            self.remove(keys)?;
            pass(Point::PurgeRemoving)?;
        }
    }

    fn remove(&self, keys: Vec<sled::IVec>) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        for key in keys {
            batch.remove(key);
        }
        self.log
            .apply_batch(batch)
            .map_err(database("remove records"))
    }
}

impl Job {
    fn done(self) -> Option<Done> {
        match self {
            Self::Append { done, .. } | Self::Vote { done, .. } => Some(done),
            Self::Truncate { .. } | Self::Purge { .. } | Self::Committed { .. } => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append { records, .. } => records.iter().map(|record| record.bytes.len()).sum(),
            Self::Vote { vote, .. } => vote.len(),
            Self::Committed { committed } => committed.len(),
            Self::Truncate { .. } | Self::Purge { .. } => 0,
        }
    }
}

fn collect(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.bytes();
    let mut group = vec![first];
    while group.len() < GROUP_JOBS_MAX && bytes < GROUP_BYTES_MAX {
        match jobs.try_recv() {
            Ok(job) => {
                bytes += job.bytes();
                group.push(job);
            }
            Err(_) => break,
        }
    }
    group
}

fn fail(shared: &Shared, error: StorageError, dones: Vec<Done>) {
    let error = Arc::new(error);
    tracing::error!(error = %error, "raft log failed");
    shared.fail(&error);
    for done in dones {
        done(Err(Arc::clone(&error)));
    }
}

fn database(action: &'static str) -> impl FnOnce(sled::Error) -> StorageError {
    move |source| StorageError::Database {
        action,
        source: DatabaseError::Refused(source),
    }
}
