//! The disk of a simulated master. It outlives the process, and loses what was
//! not synced.
//!
//! Log and vote are written at once and durable later, when a sync that began
//! after the write has ended. Identity and snapshots are whole files that are
//! durable when their call returns, as the real ones promise; no crash falls
//! within such a call here.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vivat_master::disk::Disk;
use vivat_master::identity::Identity;
use vivat_master::storage::memory_log::{Loss, SyncMode};
use vivat_master::storage::{LogStore, MemoryLog, SnapshotStore, StorageError, StoredSnapshot};
use vivat_testkit::dice::Dice;

use crate::evidence::Fact;
use crate::town::Town;

/// How long a sync takes, in milliseconds, where nothing is wrong.
const SYNC_MS: (u64, u64) = (1, 20);

/// Whether a disk keeps its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Honesty {
    /// What it said is durable outlives a loss of power.
    Honest,
    /// The syncs that it reported in the last seconds were none. A simulation
    /// that does not notice that proves nothing.
    Lying,
}

/// How long a liar keeps nothing.
const LIE: Duration = Duration::from_secs(2);

struct Content {
    log: MemoryLog,
    /// What a liar really keeps, and since when.
    kept: Option<(Duration, MemoryLog)>,
    identity: Option<Identity>,
    snapshot: Option<StoredSnapshot>,
    dice: Dice,
}

/// See the module. Clones share one disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    content: Arc<Mutex<Content>>,
    /// Added to every sync, in milliseconds.
    stall_ms: Arc<AtomicU64>,
    honesty: Honesty,
    town: Town,
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedDisk")
    }
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(dice: Dice, honesty: Honesty, town: Town) -> Self {
        let content = Content {
            log: MemoryLog::new(SyncMode::OnDemand),
            kept: None,
            identity: None,
            snapshot: None,
            dice,
        };
        Self {
            content: Arc::new(Mutex::new(content)),
            stall_ms: Arc::default(),
            honesty,
            town,
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets every sync from now on take so much longer.
    pub fn stall(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.stall_ms.store(ms, Ordering::Relaxed);
    }

    /// The process has ended. With its power a disk loses any number of the last
    /// writes that were not synced, and a part of one of them.
    pub fn crash(&self, power_lost: bool) {
        let mut content = self.content();
        let unsynced = content.log.unsynced();
        let mut writes = unsynced;
        let mut records = 0;
        if power_lost {
            let most = unsynced as u64;
            writes = usize::try_from(content.dice.up_to(most)).unwrap_or(unsynced);
            let end = |writes, records| {
                let after = content.log.crash(Loss::Behind { writes, records });
                after.range().end
            };
            // Of an append of one record nothing can be torn.
            let is_torn = |from: &usize| {
                let (none, one, all) = (end(*from, 0), end(*from, 1), end(*from + 1, 0));
                none < one && one < all
            };
            if let Some(torn) = (writes..unsynced).find(is_torn) {
                self.town.note(Fact::AppendTorn);
                (writes, records) = (torn, 1);
            }
        }
        if writes < unsynced {
            self.town.note(Fact::WritesLost);
        }
        let left = content.log.crash(Loss::Behind { writes, records });
        content.log = match content.kept.take() {
            Some((_, kept)) if power_lost => kept,
            Some(_) | None => left,
        };
    }

    fn lie(&self, log: &MemoryLog) {
        let now = self.town.now();
        let mut content = self.content();
        let kept_at = content.kept.as_ref().map(|(at, _)| *at);
        if kept_at.is_none_or(|at| now >= at + LIE) {
            content.kept = Some((now, log.crash(Loss::All)));
        }
    }

    async fn sync(self, log: MemoryLog) {
        loop {
            log.written().await;
            let begun = log.unsynced();
            let takes = self.content().dice.between(SYNC_MS.0, SYNC_MS.1);
            let stall = self.stall_ms.load(Ordering::Relaxed);
            if stall > 0 {
                self.town.note(Fact::SyncStalled);
            }
            tokio::time::sleep(Duration::from_millis(takes + stall)).await;
            if self.honesty == Honesty::Lying {
                self.lie(&log);
            }
            log.sync_first(begun);
        }
    }
}

impl Disk for SimulatedDisk {
    fn take(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn identity(&self) -> Result<Option<Identity>, StorageError> {
        Ok(self.content().identity)
    }

    fn save_identity(&self, identity: &Identity) -> Result<(), StorageError> {
        self.content().identity = Some(*identity);
        Ok(())
    }

    fn snapshots(&self) -> Result<Arc<dyn SnapshotStore>, StorageError> {
        Ok(Arc::new(self.clone()))
    }

    fn log(&self) -> Result<Arc<dyn LogStore>, StorageError> {
        let log = self.content().log.clone();
        if !log.range().is_empty() {
            self.town.note(Fact::MasterRecovered);
        }
        tokio::spawn(self.clone().sync(log.clone()));
        Ok(Arc::new(log))
    }
}

impl SnapshotStore for SimulatedDisk {
    fn save(&self, snapshot: &StoredSnapshot) -> Result<(), StorageError> {
        self.town.note(Fact::SnapshotSaved);
        let mut content = self.content();
        let have = content.snapshot.as_ref().map_or(0, |have| have.index);
        if have <= snapshot.index {
            content.snapshot = Some(snapshot.clone());
        }
        Ok(())
    }

    fn newest(&self) -> Result<Option<StoredSnapshot>, StorageError> {
        Ok(self.content().snapshot.clone())
    }
}
