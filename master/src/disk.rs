//! The disk of a replica as a whole: who it is, its log and vote, its snapshots.
//!
//! [`Directory`] is the one that masters have. The trait is for simulations,
//! whose disks live in memory and lose what was not synced.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::identity::Identity;
use crate::storage::{DirLock, LogStore, SledLog, SnapshotFiles, SnapshotStore, StorageError};

/// A disk. All calls block.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Takes it for this process; comes before all else.
    ///
    /// # Errors
    ///
    /// [`StorageError::DirInUse`] when another has it.
    fn take(&self) -> Result<(), StorageError>;

    /// The identity, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not what was written.
    fn identity(&self) -> Result<Option<Identity>, StorageError>;

    /// Keeps an identity; durable on return.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    fn save_identity(&self, identity: &Identity) -> Result<(), StorageError>;

    /// Its snapshots.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    fn snapshots(&self) -> Result<Arc<dyn SnapshotStore>, StorageError>;

    /// Its log; the disk is taken until that is closed.
    ///
    /// # Errors
    ///
    /// When it is damaged, or the disk refuses.
    fn log(&self) -> Result<Arc<dyn LogStore>, StorageError>;
}

/// A directory of its own on a file system.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    lock: Mutex<Option<DirLock>>,
}

impl Directory {
    /// The directory; made when it is taken, if there is none.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            lock: Mutex::default(),
        }
    }
}

impl Disk for Directory {
    fn take(&self) -> Result<(), StorageError> {
        let taken = DirLock::take(&self.path)?;
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        Ok(())
    }

    fn identity(&self) -> Result<Option<Identity>, StorageError> {
        Identity::load(&self.path)
    }

    fn save_identity(&self, identity: &Identity) -> Result<(), StorageError> {
        identity.save(&self.path)
    }

    fn snapshots(&self) -> Result<Arc<dyn SnapshotStore>, StorageError> {
        Ok(Arc::new(SnapshotFiles::open(&self.path.join("snapshots"))?))
    }

    fn log(&self) -> Result<Arc<dyn LogStore>, StorageError> {
        let log = SledLog::open(&self.path.join("log"))?;
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // The log is the last to be closed.
        Ok(match lock.take() {
            Some(lock) => Arc::new(log.holding(lock)),
            None => Arc::new(log),
        })
    }
}
