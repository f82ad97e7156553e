//! Who may use how much of the disk.
//!
//! A block's place is reserved before its first byte is written, so that of two
//! writers that together would not fit one is refused at once. A block is
//! charged for what its file takes in units of 4 KiB, which is a function of its
//! length: the sum after a restart is the sum before it.
//!
//! The file system has other users (spills, segments, the rest of the machine),
//! so it is asked before each block too. What was reserved and not yet written
//! counts as used, and 1 % of its size stays free for those who cannot wait.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Limit, StoreError};
use crate::format;

/// What a file is rounded up to: the blocks of the usual file systems.
const UNIT_BYTES: u64 = 4096;
/// Of the file system's size, the part that blocks leave free.
const KEPT_FREE_PERCENT: u64 = 1;

/// What a file of so many bytes is charged for.
pub(crate) fn charge(file_bytes: u64) -> u64 {
    file_bytes.div_ceil(UNIT_BYTES).saturating_mul(UNIT_BYTES)
}

/// What a block of so much data is charged for.
pub(crate) fn block_charge(bytes: u64) -> u64 {
    charge(format::file_bytes(bytes).unwrap_or(u64::MAX))
}

/// How much is used of what may be used, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What blocks may take.
    pub budget: u64,
    /// What finished blocks take, and damaged ones that were moved aside.
    pub used: u64,
    /// What is set aside for blocks that are being written.
    pub reserved: u64,
}

#[derive(Debug, Default)]
struct Sums {
    used: u64,
    reserved: u64,
    /// Of the reserved bytes, those that already are on the file system.
    written: u64,
}

/// The books.
#[derive(Debug)]
pub(crate) struct Space {
    budget: AtomicU64,
    root: PathBuf,
    sums: Mutex<Sums>,
}

impl Space {
    pub(crate) fn new(root: &Path, budget: u64) -> Self {
        Self {
            budget: AtomicU64::new(budget),
            root: root.to_owned(),
            sums: Mutex::default(),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        let sums = self.lock();
        Usage {
            budget: self.budget(),
            used: sums.used,
            reserved: sums.reserved,
        }
    }

    pub(crate) fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    fn budget(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    /// Counts a file that was found.
    pub(crate) fn add_used(&self, charge: u64) {
        let mut sums = self.lock();
        sums.used = sums.used.saturating_add(charge);
    }

    /// Counts a file that is gone.
    pub(crate) fn remove_used(&self, charge: u64) {
        let mut sums = self.lock();
        debug_assert!(sums.used >= charge, "{sums:?} less {charge}");
        sums.used = sums.used.saturating_sub(charge);
    }

    /// Sets so much aside, or says why not.
    pub(crate) fn reserve(&self, needed: u64) -> Result<(), StoreError> {
        let mut sums = self.lock();
        let taken = sums.used.saturating_add(sums.reserved);
        let free = self.budget().saturating_sub(taken);
        if needed > free {
            return Err(self.full(needed, free, Limit::Budget));
        }
        // Under the lock, or two writers would see the same free bytes.
        let available = self.available()?;
        let promised = sums.reserved.saturating_sub(sums.written);
        let free = available.saturating_sub(promised);
        if needed > free {
            return Err(self.full(needed, free, Limit::FileSystem));
        }
        sums.reserved += needed;
        Ok(())
    }

    /// Bytes of a reservation have reached the file system.
    pub(crate) fn add_written(&self, bytes: u64) {
        self.lock().written += bytes;
    }

    /// Ends a reservation; `used` is what stays on the disk of it.
    pub(crate) fn settle(&self, reserved: u64, written: u64, used: u64) {
        let mut sums = self.lock();
        debug_assert!(
            sums.reserved >= reserved && sums.written >= written,
            "{sums:?}"
        );
        sums.reserved = sums.reserved.saturating_sub(reserved);
        sums.written = sums.written.saturating_sub(written);
        sums.used = sums.used.saturating_add(used);
    }

    /// The answer to a write that the file system refused although it had been
    /// asked: somebody else was faster.
    pub(crate) fn overtaken(&self, needed: u64) -> StoreError {
        let free = self.available().unwrap_or(0).min(needed);
        self.full(needed, free, Limit::FileSystem)
    }

    fn full(&self, needed: u64, free: u64, limit: Limit) -> StoreError {
        StoreError::Full {
            needed,
            free,
            budget: self.budget(),
            limit,
        }
    }

    /// What the file system has left beyond what must stay free.
    pub(crate) fn available(&self) -> Result<u64, StoreError> {
        let found = rustix::fs::statvfs(&self.root).map_err(|errno| {
            StoreError::io("ask for the free space of", &self.root)(errno.into())
        })?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        let kept_free = bytes(found.f_blocks) / 100 * KEPT_FREE_PERCENT;
        Ok(bytes(found.f_bavail).saturating_sub(kept_free))
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        // Whole at every moment: sums of numbers.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
