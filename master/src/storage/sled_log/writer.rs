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
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use sled::{Batch, Db, Tree};

use super::super::{Done, Record, StorageError};
use super::{DatabaseError, Shared, chunks, meta};

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
    /// Write a value.
    Meta {
        key: super::super::MetaKey,
        value: Bytes,
        done: Done,
    },
}

/// The thread's possessions.
pub struct Writer {
    pub shared: Arc<Shared>,
    pub db: Db,
    pub log: Tree,
    pub meta: Tree,
    /// Our own handle of sled's file.
    pub file: File,
    pub path: PathBuf,
}

/// What to do when a group is durable.
#[derive(Default)]
struct After {
    dones: Vec<Done>,
    written: Option<(u64, u64)>,
    purge: Option<u64>,
}

impl Writer {
    /// Runs until every sender is gone.
    pub fn run(self, jobs: &Receiver<Job>) {
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

    fn finish(&self) {
        let outcome = self.write_committed().and_then(|()| self.sync());
        if let Err(error) = outcome {
            fail(&self.shared, error, Vec::new());
        }
    }

    fn write(&self, group: Vec<Job>) -> Result<(), (StorageError, Vec<Done>)> {
        let mut after = After::default();
        let outcome = self
            .write_jobs(group, &mut after)
            .and_then(|()| self.write_committed())
            .and_then(|()| self.sync());
        if let Err(error) = outcome {
            return Err((error, after.dones));
        }
        if let Some((next, generation)) = after.written {
            self.shared.index().written(next, generation);
        }
        for done in after.dones {
            done(Ok(()));
        }
        match after.purge {
            Some(upto) => self.purge(upto).map_err(|error| (error, Vec::new())),
            None => Ok(()),
        }
    }

    /// Hands everything to sled, in order. Every `done` of the group is in
    /// `after`, whatever happens.
    fn write_jobs(&self, group: Vec<Job>, after: &mut After) -> Result<(), StorageError> {
        let mut outcome = Ok(());
        let mut batch = Batch::default();
        for job in group {
            match job {
                Job::Append {
                    records,
                    generation,
                    done,
                } => {
                    after.dones.push(done);
                    for record in &records {
                        for (key, value) in chunks::cut(record) {
                            batch.insert(&key, value);
                        }
                        after.written = Some((record.index + 1, generation));
                    }
                }
                Job::Truncate { from } => {
                    let former = std::mem::take(&mut batch);
                    after.written = None;
                    outcome = outcome
                        .and_then(|()| self.apply(former))
                        .and_then(|()| self.truncate(from));
                }
                Job::Purge { upto, mark } => {
                    let former = std::mem::take(&mut batch);
                    let value = meta::encode_purged(upto, &mark);
                    outcome = outcome
                        .and_then(|()| self.apply(former))
                        .and_then(|()| self.insert(meta::PURGED, value));
                    after.purge = after.purge.max(Some(upto));
                }
                Job::Meta { key, value, done } => {
                    after.dones.push(done);
                    let former = std::mem::take(&mut batch);
                    outcome = outcome
                        .and_then(|()| self.apply(former))
                        .and_then(|()| self.insert(meta::name(key), meta::encode(&value)));
                }
            }
        }
        outcome.and_then(|()| self.apply(batch))
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

    /// The hint where the commit was goes with whatever is written next: an
    /// fsync of its own would be wasted on it.
    fn write_committed(&self) -> Result<(), StorageError> {
        let committed = self
            .shared
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match committed {
            Some(value) => self.insert(meta::COMMITTED, meta::encode(&value)),
            None => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.db.flush().map_err(database("flush"))?;
        self.file.sync_data().map_err(|source| StorageError::Io {
            action: "sync",
            path: self.path.clone(),
            source,
        })
    }

    /// From the last key backwards, so that a crash leaves no hole.
    fn truncate(&self, from: u64) -> Result<(), StorageError> {
        loop {
            let mut keys = Vec::new();
            let range = self.log.range(chunks::key(from, 0)..);
            for item in range.rev().take(REMOVE_KEYS_MAX) {
                let (key, _) = item.map_err(database("list records"))?;
                keys.push(key);
            }
            if keys.is_empty() {
                return Ok(());
            }
            self.remove(keys)?;
        }
    }

    fn purge(&self, upto: u64) -> Result<(), StorageError> {
        loop {
            let mut keys = Vec::new();
            let range = self.log.range(..=chunks::key(upto, u32::MAX));
            for key in range.keys().take(REMOVE_KEYS_MAX) {
                keys.push(key.map_err(database("list records"))?);
            }
            if keys.is_empty() {
                return Ok(());
            }
            self.remove(keys)?;
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
            Self::Append { done, .. } | Self::Meta { done, .. } => Some(done),
            Self::Truncate { .. } | Self::Purge { .. } => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append { records, .. } => records.iter().map(|record| record.bytes.len()).sum(),
            Self::Meta { value, .. } => value.len(),
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
    shared.failure.send_replace(Some(Arc::clone(&error)));
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
