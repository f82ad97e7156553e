//! The handle: what is here, who holds it, what goes.
//!
//! Names change under the lock of their shard, which is held over the sync of
//! its directory too. So a finished block can't be deleted half-way, and nobody
//! takes a directory's sync for a success that already failed for another.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::{BlockId, DatasetId};

use crate::aside::Aside;
use crate::error::{Damage, StoreError};
use crate::layout::{Layout, shard_of};
use crate::reader::BlockReader;
use crate::space::{Space, Usage, block_charge};
use crate::writer::{BlockWriter, Created};

/// A copy that is lost, so that the directory may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedBlock {
    /// Which block.
    pub id: BlockId,
    /// What was wrong with it.
    pub damage: Damage,
}

/// What became of a block that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone, also after a power cut.
    Deleted,
    /// It was not here.
    NotHere,
    /// Somebody holds it: try again later.
    Pinned,
}

/// Keeps a block from being deleted (S15): held by an attempt that reads it.
/// A copy that turns out damaged is dropped nevertheless.
#[derive(Debug, Clone)]
pub struct Pin {
    _hold: Arc<()>,
}

/// A finished block.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
    /// Tells this file from an earlier one of the same id.
    pub(crate) generation: u64,
    /// Held once by the entry, and once by each pin.
    pub(crate) pins: Arc<()>,
}

impl Entry {
    pub(crate) fn summary(&self, id: BlockId) -> BlockSummary {
        BlockSummary {
            id,
            bytes: self.bytes,
            crc32c: self.crc32c,
        }
    }
}

/// A shard's directory.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// It exists, and its name is synced.
    pub(crate) is_made: bool,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) layout: Layout,
    pub(crate) space: Space,
    pub(crate) shards: Vec<Mutex<Shard>>,
    /// Held while the directory of shards changes.
    pub(crate) making: Mutex<()>,
    pub(crate) index: Mutex<BTreeMap<BlockId, Entry>>,
    pub(crate) aside: Mutex<Aside>,
    /// Never more messages than blocks: a copy is reported once.
    pub(crate) damaged: Sender<DamagedBlock>,
    pub(crate) stopped: AtomicBool,
    pub(crate) next_number: AtomicU64,
    pub(crate) _lock: File,
}

/// A block store that is open; clones are the same one.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

impl Store {
    /// Begins a block of at most so many bytes, or says that it is here already.
    /// Two senders may write one block at a time: who finishes first wins, and
    /// the other learns that the same bytes are here. So a sender whose
    /// connection broke need not wait for what is left of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`]; [`StoreError::Stopped`]; the operating system's.
    pub fn create(&self, id: BlockId, bytes_max: u64) -> Result<Created, StoreError> {
        if let Some(here) = self.summary(id) {
            return Ok(Created::Already(here));
        }
        self.check_running()?;
        let charge = block_charge(bytes_max);
        self.reserve(charge)?;
        BlockWriter::begin(self.clone(), id, bytes_max, charge).map(Created::Writer)
    }

    /// What is known of a block, if it is here.
    #[must_use]
    pub fn summary(&self, id: BlockId) -> Option<BlockSummary> {
        self.lock_index().get(&id).map(|entry| entry.summary(id))
    }

    /// Up to so many blocks behind the one given, in the order of ids: a block
    /// report takes one page after the other. From memory, where the footers were
    /// read to at the start.
    #[must_use]
    pub fn list(&self, after: Option<BlockId>, count_max: usize) -> Vec<BlockSummary> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let index = self.lock_index();
        let behind = index.range((from, Bound::Unbounded));
        behind
            .take(count_max)
            .map(|(id, entry)| entry.summary(*id))
            .collect()
    }

    /// Up to so many datasets behind the one given that have blocks here, in the
    /// order of ids.
    #[must_use]
    pub fn datasets(&self, after: Option<DatasetId>, count_max: usize) -> Vec<DatasetId> {
        let index = self.lock_index();
        let mut from = after.map_or(Bound::Unbounded, behind);
        let mut found = Vec::new();
        while found.len() < count_max {
            let Some((id, _)) = index.range((from, Bound::Unbounded)).next() else {
                break;
            };
            found.push(id.dataset);
            from = behind(id.dataset);
        }
        found
    }

    /// Opens a block for reading. A reader is no pin, and needs none to end well:
    /// the bytes of a deleted block stay until its readers are gone.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`]; [`StoreError::Damaged`]; the operating system's.
    pub fn reader(&self, id: BlockId) -> Result<BlockReader, StoreError> {
        // Each turn but the last one met another file of the block, newly finished.
        loop {
            let (summary, generation) = {
                let index = self.lock_index();
                let entry = index.get(&id).ok_or(StoreError::NotFound { block: id })?;
                (entry.summary(id), entry.generation)
            };
            match BlockReader::open(self.clone(), summary, generation) {
                Err(StoreError::Damaged { block, damage }) => {
                    if self.condemn(id, generation, damage) {
                        return Err(StoreError::Damaged { block, damage });
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// Keeps a block from being deleted until the pin is dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`].
    pub fn pin(&self, id: BlockId) -> Result<Pin, StoreError> {
        let index = self.lock_index();
        let entry = index.get(&id).ok_or(StoreError::NotFound { block: id })?;
        let _hold = entry.pins.clone();
        Ok(Pin { _hold })
    }

    /// Deletes blocks, with one sync for all of a shard. Answers in the order of
    /// ids.
    ///
    /// # Errors
    ///
    /// The operating system's: some are deleted then, and asking again is right.
    /// [`StoreError::Stopped`].
    pub fn delete(&self, ids: &[BlockId]) -> Result<Vec<(BlockId, Deletion)>, StoreError> {
        let mut by_shard: BTreeMap<u8, Vec<BlockId>> = BTreeMap::new();
        for &id in ids {
            by_shard.entry(shard_of(id)).or_default().push(id);
        }
        let mut answers = Vec::with_capacity(ids.len());
        for (shard, ids) in by_shard {
            let guard = self.lock_shard(shard);
            self.check_running()?;
            let before = answers.len();
            for id in ids {
                answers.push((id, self.delete_one(id)?));
            }
            let changed = answers[before..]
                .iter()
                .any(|(_, deletion)| *deletion == Deletion::Deleted);
            if changed {
                self.sync_directory(&self.inner.layout.shard(shard))?;
            }
            drop(guard);
        }
        answers.sort_by_key(|(id, _)| *id);
        Ok(answers)
    }

    /// How much of the budget is used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.inner.space.usage()
    }

    /// Gives blocks so much room from now on. If they take more already, none is
    /// added and none is removed.
    pub fn set_budget(&self, bytes: u64) {
        self.inner.space.set_budget(bytes);
    }

    /// What the file system has left for blocks, whatever the budget says.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        self.inner.space.available()
    }

    /// Whether it takes blocks; see [`StoreError::Stopped`].
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.inner.stopped.load(Ordering::SeqCst)
    }

    /// Under the lock of the block's shard.
    fn delete_one(&self, id: BlockId) -> Result<Deletion, StoreError> {
        let entry = {
            let mut index = self.lock_index();
            let Some(entry) = index.get(&id) else {
                return Ok(Deletion::NotHere);
            };
            // Pins are made under this lock, so nobody can come in between.
            if Arc::strong_count(&entry.pins) > 1 {
                return Ok(Deletion::Pinned);
            }
            index.remove(&id)
        };
        let Some(entry) = entry else {
            return Ok(Deletion::NotHere);
        };
        let path = self.inner.layout.block(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.lock_index().insert(id, entry);
                Err(StoreError::io("delete", &path)(error))
            }
            Ok(()) | Err(_) => {
                self.inner.space.remove_used(block_charge(entry.bytes));
                Ok(Deletion::Deleted)
            }
        }
    }

    /// Moves a copy aside and reports it. False if it is not here any more: that
    /// file was deleted, or somebody else condemned it.
    pub(crate) fn condemn(&self, id: BlockId, generation: u64, damage: Damage) -> bool {
        let _shard = self.lock_shard(shard_of(id));
        let entry = {
            let mut index = self.lock_index();
            match index.get(&id) {
                Some(entry) if entry.generation == generation => index.remove(&id),
                Some(_) | None => None,
            }
        };
        let Some(entry) = entry else {
            return false;
        };
        let inner = &self.inner;
        self.lock_aside().take(
            &inner.layout.damaged(),
            &inner.layout.block(id),
            block_charge(entry.bytes),
            &inner.space,
        );
        // Nobody may be listening: the next block report shows it too.
        inner.damaged.send(DamagedBlock { id, damage }).ok();
        true
    }

    pub(crate) fn check_running(&self) -> Result<(), StoreError> {
        if self.is_stopped() {
            return Err(StoreError::Stopped);
        }
        Ok(())
    }

    /// Ends writing: the kernel may have dropped what the sync was to keep, and
    /// would not say so twice.
    pub(crate) fn stop(&self) {
        self.inner.stopped.store(true, Ordering::SeqCst);
    }

    /// Makes the names in a directory last. Under a lock of that directory.
    pub(crate) fn sync_directory(&self, path: &Path) -> Result<(), StoreError> {
        sync_directory(path).inspect_err(|_| self.stop())
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.inner.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// What was moved aside goes when its room is wanted.
    fn reserve(&self, charge: u64) -> Result<(), StoreError> {
        let space = &self.inner.space;
        match space.reserve(charge) {
            Err(StoreError::Full { .. }) if self.lock_aside().clear(space) => space.reserve(charge),
            outcome => outcome,
        }
    }

    pub(crate) fn lock_index(&self) -> MutexGuard<'_, BTreeMap<BlockId, Entry>> {
        lock(&self.inner.index)
    }

    pub(crate) fn lock_shard(&self, shard: u8) -> MutexGuard<'_, Shard> {
        lock(&self.inner.shards[usize::from(shard)])
    }

    fn lock_aside(&self) -> MutexGuard<'_, Aside> {
        lock(&self.inner.aside)
    }
}

/// Where the blocks of later datasets begin.
fn behind(dataset: DatasetId) -> Bound<BlockId> {
    Bound::Excluded(BlockId {
        dataset,
        index: u64::MAX,
    })
}

/// What these locks guard is whole between any two statements that may panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(StoreError::io("sync", path))
}
