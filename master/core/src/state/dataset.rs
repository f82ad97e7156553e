//! A dataset as the directory has it: its blocks in order, and who has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vivat_shared::dataset::{BlockSummary, DatasetFile, DatasetSpec, ReplicatedBlock};
use vivat_shared::ids::{BlockId, DatasetId, JobId, WorkerId};

/// One block. Which dataset it belongs to, its table knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRow {
    /// Its number in its dataset; rises along the table.
    pub index: u64,
    /// Bytes of this block and all before it.
    pub end: u64,
    /// Checksum of its data.
    pub crc32c: u32,
    /// Who has it, in order of their numbers. Empty: every copy is lost (S6).
    pub workers: Vec<WorkerId>,
}

/// The blocks of a dataset in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BlockTable {
    rows: Vec<BlockRow>,
    /// An index: how many blocks each worker has.
    holders: BTreeMap<WorkerId, u32>,
}

impl BlockTable {
    /// Blocks.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of the first so many blocks.
    #[must_use]
    pub fn bytes_before(&self, position: u32) -> u64 {
        let last = (position as usize).min(self.rows.len()).checked_sub(1);
        last.and_then(|last| self.rows.get(last))
            .map_or(0, |row| row.end)
    }

    /// The rows, in order.
    #[must_use]
    pub fn rows(&self) -> &[BlockRow] {
        &self.rows
    }

    /// What the block at a position is.
    #[must_use]
    pub fn summary(&self, dataset: DatasetId, position: u32) -> Option<BlockSummary> {
        let row = self.rows.get(position as usize)?;
        Some(BlockSummary {
            id: BlockId {
                dataset,
                index: row.index,
            },
            bytes: row.end - self.bytes_before(position),
            crc32c: row.crc32c,
        })
    }

    /// Where a block stands, by its number.
    #[must_use]
    pub fn position(&self, index: u64) -> Option<u32> {
        let found = self.rows.binary_search_by_key(&index, |row| row.index);
        found.ok().and_then(|at| u32::try_from(at).ok())
    }

    /// The positions of the blocks that a range of the dataset's bytes lies in.
    #[must_use]
    pub fn spanning(&self, start: u64, end: u64) -> std::ops::Range<u32> {
        let at = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let first = self.rows.partition_point(|row| row.end <= start);
        let before = |row: &BlockRow| row.end < end;
        let last = self.rows.partition_point(before);
        at(first)..at((last + 1).min(self.rows.len())).max(at(first))
    }

    /// Whether a worker has any of them.
    #[must_use]
    pub fn is_held_by(&self, worker: WorkerId) -> bool {
        self.holders.contains_key(&worker)
    }

    /// Who has any of them, and how many.
    #[must_use]
    pub fn holders(&self) -> &BTreeMap<WorkerId, u32> {
        &self.holders
    }

    /// Appends a block, whose number must be above the last one's.
    pub(crate) fn push(&mut self, block: &ReplicatedBlock) {
        let workers: BTreeSet<WorkerId> = block.workers.iter().copied().collect();
        for worker in &workers {
            *self.holders.entry(*worker).or_insert(0) += 1;
        }
        self.rows.push(BlockRow {
            index: block.summary.id.index,
            end: self.bytes_before(u32::MAX) + block.summary.bytes,
            crc32c: block.summary.crc32c,
            workers: workers.into_iter().collect(),
        });
    }

    /// Adds a block in its place.
    pub(crate) fn insert(&mut self, block: &ReplicatedBlock) {
        let index = block.summary.id.index;
        let at = self.rows.partition_point(|row| row.index < index);
        let behind = self.rows.split_off(at);
        self.push(block);
        for mut row in behind {
            row.end += block.summary.bytes;
            self.rows.push(row);
        }
    }

    /// Names another holder; false if it was one.
    pub(crate) fn add_holder(&mut self, position: u32, worker: WorkerId) -> bool {
        let Some(row) = self.rows.get_mut(position as usize) else {
            return false;
        };
        let Err(at) = row.workers.binary_search(&worker) else {
            return false;
        };
        row.workers.insert(at, worker);
        *self.holders.entry(worker).or_insert(0) += 1;
        true
    }

    /// Takes a holder away; false if it was none.
    pub(crate) fn drop_holder(&mut self, position: u32, worker: WorkerId) -> bool {
        let Some(row) = self.rows.get_mut(position as usize) else {
            return false;
        };
        let Ok(at) = row.workers.binary_search(&worker) else {
            return false;
        };
        row.workers.remove(at);
        if let Some(count) = self.holders.get_mut(&worker) {
            *count -= 1;
            if *count == 0 {
                self.holders.remove(&worker);
            }
        }
        true
    }

    /// Takes a worker away from all blocks.
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        if self.holders.remove(&worker).is_none() {
            return;
        }
        for row in &mut self.rows {
            row.workers.retain(|holder| *holder != worker);
        }
    }
}

/// The list of a dataset's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileList {
    /// Here.
    Listed(Vec<DatasetFile>),
    /// In the last so many blocks.
    InBlocks(u32),
}

/// What is fixed when a dataset is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Its files.
    pub files: FileList,
    /// How many.
    pub file_count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether its name leads to it: one that was replaced while a job reads it
    /// goes when the job ends.
    pub named: bool,
}

/// A dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Which.
    pub id: DatasetId,
    /// The key that made it; a job's output has none.
    pub key: Option<Arc<str>>,
    /// What it is to be; never changes.
    pub spec: DatasetSpec,
    /// When it was opened, or written by a job, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// The job that wrote it.
    pub job: Option<JobId>,
    /// None while it is open.
    pub sealed: Option<Sealed>,
    /// Its blocks, those of a list of files last.
    pub blocks: BlockTable,
    /// Jobs that have not ended and read it.
    pub readers: BTreeSet<JobId>,
}

impl Dataset {
    /// Blocks that hold the list of files.
    #[must_use]
    pub fn list_blocks(&self) -> u32 {
        match self.sealed.as_ref().map(|sealed| &sealed.files) {
            Some(FileList::InBlocks(blocks)) => *blocks,
            Some(FileList::Listed(_)) | None => 0,
        }
    }

    /// Its blocks became more: its one file is as large as they are.
    pub(crate) fn resize(&mut self) {
        let all = self.blocks.bytes_before(u32::MAX);
        let Some(sealed) = &mut self.sealed else {
            return;
        };
        sealed.bytes = all;
        if let FileList::Listed(files) = &mut sealed.files
            && let [file] = files.as_mut_slice()
        {
            file.bytes = all;
        }
    }

    /// Its files, if they are listed here.
    #[must_use]
    pub fn listed(&self) -> Option<&[DatasetFile]> {
        match self.sealed.as_ref().map(|sealed| &sealed.files) {
            Some(FileList::Listed(files)) => Some(files),
            Some(FileList::InBlocks(_)) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(bytes: &[u64]) -> BlockTable {
        let mut table = BlockTable::default();
        for (index, bytes) in bytes.iter().enumerate() {
            table.push(&ReplicatedBlock {
                summary: BlockSummary {
                    id: BlockId {
                        dataset: DatasetId(1),
                        index: index as u64 * 10,
                    },
                    bytes: *bytes,
                    crc32c: 0,
                },
                workers: vec![WorkerId(2), WorkerId(1)],
            });
        }
        table
    }

    #[test]
    fn range_of_bytes_lies_in_the_blocks_that_it_touches() {
        let table = table(&[10, 10, 5]);
        assert_eq!(table.spanning(0, 1), 0..1);
        assert_eq!(table.spanning(0, 10), 0..1);
        assert_eq!(table.spanning(9, 11), 0..2);
        assert_eq!(table.spanning(10, 20), 1..2);
        assert_eq!(table.spanning(10, 25), 1..3);
        assert_eq!(table.spanning(24, 25), 2..3);
        assert!(table.spanning(25, 25).is_empty());
    }

    #[test]
    fn holder_that_has_nothing_more_is_none() {
        let mut table = table(&[1, 1]);
        assert!(table.is_held_by(WorkerId(1)));
        assert!(table.drop_holder(0, WorkerId(1)));
        assert!(!table.drop_holder(0, WorkerId(1)));
        assert!(table.drop_holder(1, WorkerId(1)));
        assert!(!table.is_held_by(WorkerId(1)));
        assert!(table.add_holder(1, WorkerId(1)));
        table.forget(WorkerId(2));
        let holders: Vec<_> = table.rows().iter().map(|row| row.workers.clone()).collect();
        assert_eq!(holders, [vec![], vec![WorkerId(1)]]);
    }
}
