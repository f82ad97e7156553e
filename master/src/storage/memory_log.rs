//! A Raft log in memory that can lose what was not synced.
//!
//! It keeps two images: what was written, which readers see, and what was
//! synced, which survives [`MemoryLog::crash`]. It has no thread and no clock:
//! writes are synced at once, or when the owner says so, in their order. Tests
//! and the simulation decide what a crash takes, down to half of an append.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::{Done, LogStore, MetaKey, Record, StorageError};

/// When a write becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// In the call that writes.
    AtOnce,
    /// At the next [`MemoryLog::sync`].
    OnDemand,
}

/// What a crash leaves of the writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing of them.
    All,
    /// The first of them; of the next, if that is an append, its first records.
    Behind {
        /// Writes that are kept.
        writes: usize,
        /// Records that are kept of the next one.
        records: usize,
    },
}

#[derive(Debug, Clone, Default)]
struct Image {
    first: u64,
    records: BTreeMap<u64, Bytes>,
    metas: BTreeMap<MetaKey, Bytes>,
}

#[derive(Debug, Clone)]
enum Write {
    Append(Vec<Record>),
    Truncate { from: u64 },
    Purge { upto: u64, mark: Bytes },
    Meta(MetaKey, Bytes),
}

impl Image {
    fn next(&self) -> u64 {
        let last = self.records.last_key_value();
        last.map_or(self.first, |(index, _)| index + 1)
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Append(records) => {
                for record in records {
                    if self.records.is_empty() {
                        self.first = record.index;
                    }
                    self.records.insert(record.index, record.bytes.clone());
                }
            }
            Write::Truncate { from } => {
                self.records.split_off(from);
            }
            Write::Purge { upto, mark } => {
                self.records = self.records.split_off(&(upto + 1));
                self.first = self.first.max(upto + 1);
                self.metas.insert(MetaKey::Purged, mark.clone());
            }
            Write::Meta(key, value) => {
                self.metas.insert(*key, value.clone());
            }
        }
    }
}

struct Inner {
    written: Image,
    synced: Image,
    unsynced: VecDeque<(Write, Option<Done>)>,
    mode: SyncMode,
}

/// See the module. Clones share one log.
#[derive(Clone)]
pub struct MemoryLog {
    inner: Arc<Mutex<Inner>>,
    written: Arc<Notify>,
    failure: watch::Sender<Option<Arc<StorageError>>>,
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(mode: SyncMode) -> Self {
        Self::from_image(Image::default(), mode)
    }

    fn from_image(image: Image, mode: SyncMode) -> Self {
        let inner = Inner {
            written: image.clone(),
            synced: image,
            unsynced: VecDeque::new(),
            mode,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            written: Arc::default(),
            failure: watch::channel(None).0,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everything durable that was written, and says so.
    pub fn sync(&self) {
        self.sync_first(usize::MAX);
    }

    /// The same for the oldest writes, at most so many: what was written when a
    /// sync began.
    pub fn sync_first(&self, writes: usize) {
        let waiting: Vec<Done> = {
            let mut inner = self.inner();
            let count = writes.min(inner.unsynced.len());
            let synced: Vec<_> = inner.unsynced.drain(..count).collect();
            let apply = |(write, done)| {
                inner.synced.apply(&write);
                done
            };
            synced.into_iter().filter_map(apply).collect()
        };
        for done in waiting {
            done(Ok(()));
        }
    }

    /// How many writes are not durable yet.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.inner().unsynced.len()
    }

    /// Waits until some are not.
    pub async fn written(&self) {
        loop {
            let written = self.written.notified();
            if self.unsynced() > 0 {
                return;
            }
            written.await;
        }
    }

    /// The log that the next process finds. This one is not to be used again.
    #[must_use]
    pub fn crash(&self, loss: Loss) -> Self {
        let inner = self.inner();
        let mut image = inner.synced.clone();
        match loss {
            Loss::All => {}
            Loss::Behind { writes, records } => {
                for (write, _) in inner.unsynced.iter().take(writes) {
                    image.apply(write);
                }
                if let Some((Write::Append(torn), _)) = inner.unsynced.get(writes) {
                    let kept = torn.iter().take(records).cloned().collect();
                    image.apply(&Write::Append(kept));
                }
            }
        }
        Self::from_image(image, inner.mode)
    }

    /// Lets every later write fail, as a disk does.
    pub fn fail(&self, error: StorageError) {
        self.failure.send_replace(Some(Arc::new(error)));
    }

    fn write(&self, write: Write, done: Option<Done>) {
        let failure = self.failure.borrow().clone();
        if let Some(error) = failure {
            if let Some(done) = done {
                done(Err(error));
            }
            return;
        }
        let mode = {
            let mut inner = self.inner();
            inner.written.apply(&write);
            inner.unsynced.push_back((write, done));
            inner.mode
        };
        self.written.notify_waiters();
        if mode == SyncMode::AtOnce {
            self.sync();
        }
    }
}

impl LogStore for MemoryLog {
    fn append(&self, records: Vec<Record>, done: Done) {
        self.write(Write::Append(records), Some(done));
    }

    fn read_cached(&self, range: Range<u64>) -> Option<Vec<Record>> {
        if range.is_empty() {
            return Some(Vec::new());
        }
        let inner = self.inner();
        let records = inner.written.records.range(range);
        let records = records.map(|(index, bytes)| Record {
            index: *index,
            bytes: bytes.clone(),
        });
        Some(records.collect())
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<Record>, Arc<StorageError>> {
        Ok(self.read_cached(range).unwrap_or_default())
    }

    fn range(&self) -> Range<u64> {
        let inner = self.inner();
        inner.written.first..inner.written.next()
    }

    fn truncate_after(&self, last: Option<u64>) {
        let from = last.map_or(0, |last| last + 1);
        self.write(Write::Truncate { from }, None);
    }

    fn purge(&self, upto: u64, mark: Bytes) {
        self.write(Write::Purge { upto, mark }, None);
    }

    fn save_vote(&self, vote: Bytes, done: Done) {
        self.write(Write::Meta(MetaKey::Vote, vote), Some(done));
    }

    fn save_committed(&self, committed: Bytes) {
        self.write(Write::Meta(MetaKey::Committed, committed), None);
    }

    fn meta(&self, key: MetaKey) -> Option<Bytes> {
        self.inner().written.metas.get(&key).cloned()
    }

    fn keep_from(&self, entries_max: u64, bytes_max: u64, entries_min: u64) -> u64 {
        let inner = self.inner();
        let (mut entries, mut bytes) = (0, 0);
        for record in inner.written.records.values().rev() {
            let more = bytes + record.len() as u64;
            if entries >= entries_min && (entries >= entries_max || more > bytes_max) {
                break;
            }
            entries += 1;
            bytes = more;
        }
        inner.written.next() - entries
    }

    fn failure(&self) -> watch::Receiver<Option<Arc<StorageError>>> {
        self.failure.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(index: u64) -> Record {
        Record {
            index,
            bytes: Bytes::from(index.to_string()),
        }
    }

    fn ignore() -> Done {
        Box::new(|_| {})
    }

    #[test]
    fn crash_takes_what_was_not_synced_and_nothing_else() {
        let log = MemoryLog::new(SyncMode::OnDemand);
        log.append(vec![record(1), record(2)], ignore());
        log.sync();
        log.append(vec![record(3)], ignore());
        assert_eq!(log.range(), 1..4);
        assert_eq!(log.crash(Loss::All).range(), 1..3);
    }

    #[test]
    fn torn_append_keeps_its_first_records() {
        let log = MemoryLog::new(SyncMode::OnDemand);
        log.append(vec![record(1)], ignore());
        log.append(vec![record(2), record(3), record(4)], ignore());
        let loss = Loss::Behind {
            writes: 1,
            records: 1,
        };
        assert_eq!(log.crash(loss).range(), 1..3);
    }

    #[test]
    fn what_is_written_while_a_sync_runs_is_not_in_it() {
        let log = MemoryLog::new(SyncMode::OnDemand);
        log.append(vec![record(1)], ignore());
        let begun = log.unsynced();
        log.append(vec![record(2)], ignore());
        log.sync_first(begun);
        assert_eq!(log.crash(Loss::All).range(), 1..2);
    }
}
