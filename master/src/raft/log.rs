//! openraft's log, on any [`LogStore`].
//!
//! Records are postcard of openraft's entries. This module only translates:
//! order, durability and the end at the first error are the store's promise.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::storage::{LogStore, MetaKey, Record, StorageError};

/// See the module. Clones share one store.
#[derive(Clone)]
pub struct RaftLog {
    store: Arc<dyn LogStore>,
}

impl RaftLog {
    /// Wraps a store.
    pub fn new(store: Arc<dyn LogStore>) -> Self {
        Self { store }
    }

    /// Whether Raft was ever initialized on this store.
    pub fn is_initialized(&self) -> Result<bool, io::Error> {
        let voted = self.read_meta::<Vote>(MetaKey::Vote)?;
        let voted = voted.is_some_and(|vote| vote.leader_id.term > 0);
        let purged = self.store.meta(MetaKey::Purged).is_some();
        Ok(voted || purged || !self.store.range().is_empty())
    }

    /// Finds what a database loses when it cuts off a damaged end: what was
    /// committed is never truncated, and what was purged is in a snapshot.
    pub fn find_loss(&self, snapshot_index: Option<u64>) -> Result<Option<String>, io::Error> {
        let committed = self.read_meta::<LogId>(MetaKey::Committed)?;
        let purged = self.read_meta::<LogId>(MetaKey::Purged)?;
        let next = self.store.range().end;
        if let Some(committed) = committed
            && committed.index >= next
        {
            return Ok(Some(format!(
                "entry {} was committed, and the log ends before {next}",
                committed.index
            )));
        }
        if let Some(purged) = purged
            && snapshot_index.is_none_or(|snapshot| snapshot < purged.index)
        {
            return Ok(Some(format!(
                "entries up to {} are purged, and the newest snapshot ends at {snapshot_index:?}",
                purged.index
            )));
        }
        Ok(None)
    }

    async fn read(&self, range: std::ops::Range<u64>) -> Result<Vec<Entry>, io::Error> {
        let records = match self.store.read_cached(range.clone()) {
            Some(records) => records,
            None => {
                let store = Arc::clone(&self.store);
                tokio::task::spawn_blocking(move || store.read(range))
                    .await
                    .map_err(io::Error::other)?
                    .map_err(io::Error::other)?
            }
        };
        records.iter().map(|record| decode(&record.bytes)).collect()
    }

    fn read_meta<T: DeserializeOwned>(&self, key: MetaKey) -> Result<Option<T>, io::Error> {
        self.store.meta(key).map(|bytes| decode(&bytes)).transpose()
    }
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<B: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: B,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start..end).await
    }

    /// What replication sends. Entries that were purged after it decided to send
    /// them leave a hole at the front, and what is behind a hole must not go out: it
    /// would stand after the wrong entry. Given nothing, openraft sends a heartbeat,
    /// and then a snapshot.
    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let entries = self.read(start..end).await?;
        let begins = entries.first().map(|entry| entry.log_id.index);
        Ok(if begins == Some(start) {
            entries
        } else {
            Vec::new()
        })
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.read_meta(MetaKey::Vote)
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let last_purged_log_id: Option<LogId> = self.read_meta(MetaKey::Purged)?;
        let range = self.store.range();
        let last_log_id = if range.is_empty() {
            last_purged_log_id
        } else {
            let entries = self.read(range.end - 1..range.end).await?;
            entries.last().map(|entry| entry.log_id)
        };
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (sender, receiver) = oneshot::channel();
        let done = move |outcome| {
            // The core may have stopped while it waited.
            let _ = sender.send(outcome);
        };
        self.store.save_vote(encode(vote), Box::new(done));
        receiver
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.store.save_committed(encode(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.read_meta(MetaKey::Committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries
            .into_iter()
            .map(|entry| Record {
                index: entry.log_id.index,
                bytes: encode(&entry),
            })
            .collect();
        let done = move |outcome: Result<(), Arc<StorageError>>| {
            callback.io_completed(outcome.map_err(io::Error::other));
        };
        self.store.append(records, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.store.truncate_after(last.map(|last| last.index));
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.store.purge(upto.index, encode(&upto));
        Ok(())
    }
}

pub(super) fn encode<T: Serialize>(value: &T) -> Bytes {
    postcard::to_stdvec(value)
        .expect("raft's types are plain data of known lengths, which postcard always encodes")
        .into()
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, io::Error> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
