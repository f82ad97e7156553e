//! What a master keeps on its disk: the Raft log and vote, snapshots, the
//! identity; and the lock that gives a directory to one process.
//!
//! This module promises durability and knows nothing of Raft: a record is an
//! index and bytes. Whoever gets a `Done` called with `Ok` may tell the world;
//! before that, nothing is promised. Every error here is final: the store that
//! returned it accepts nothing more, the process ends, and the next one opens
//! the disk anew. A failed fsync is never tried again, because the kernel may
//! have dropped the pages and would then report success.
//!
//! Only `sled_log` knows sled.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

pub mod durable_file;
pub mod lock;
pub mod memory_log;
pub mod sled_log;
pub mod snapshot_file;

pub use lock::DirLock;
pub use memory_log::MemoryLog;
pub use sled_log::SledLog;
pub use snapshot_file::{SnapshotFiles, StoredSnapshot};

/// A log record: an index and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position in the log, without holes.
    pub index: u64,
    /// At most a little over 64 KiB.
    pub bytes: Bytes,
}

/// Small values beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetaKey {
    /// Raft's vote; durable when acknowledged.
    Vote,
    /// The id of the last purged record, written by [`LogStore::purge`].
    Purged,
    /// A hint where the commit was; may be lost.
    Committed,
}

/// Called once, with the outcome, when a write is durable or never will be.
/// It may run on any thread and must not block.
pub type Done = Box<dyn FnOnce(Result<(), Arc<StorageError>>) + Send>;

/// A Raft log.
///
/// Writes take effect in the order of the calls: what is written is readable
/// when the call returns, and durable when `done` is called.
pub trait LogStore: Send + Sync + 'static {
    /// Adds records behind the last one, or behind what was purged.
    fn append(&self, records: Vec<Record>, done: Done);

    /// The records of a range that exist: none may be missing but before the
    /// first and behind the last. `None` when the answer needs the disk.
    fn read_cached(&self, range: Range<u64>) -> Option<Vec<Record>>;

    /// The same from the disk. Blocks.
    ///
    /// # Errors
    ///
    /// When a record is missing or damaged.
    fn read(&self, range: Range<u64>) -> Result<Vec<Record>, Arc<StorageError>>;

    /// Indexes that exist; empty when there are none.
    fn range(&self) -> Range<u64>;

    /// Removes every record behind `last`.
    fn truncate_after(&self, last: Option<u64>);

    /// Removes every record up to and with `upto`, after `mark` is durable
    /// under [`MetaKey::Purged`].
    fn purge(&self, upto: u64, mark: Bytes);

    /// Keeps Raft's vote.
    fn save_vote(&self, vote: Bytes, done: Done);

    /// Keeps a hint where the commit is. It is never ahead of the records, and
    /// may be lost.
    fn save_committed(&self, committed: Bytes);

    /// A value, if it was ever set.
    fn meta(&self, key: MetaKey) -> Option<Bytes>;

    /// The first index to keep, if at most so many of the newest records and
    /// bytes are to stay, and at least `entries_min` of them.
    fn keep_from(&self, entries_max: u64, bytes_max: u64, entries_min: u64) -> u64;

    /// The error that ended the store, once there is one.
    fn failure(&self) -> watch::Receiver<Option<Arc<StorageError>>>;
}

/// Snapshots of one replica. All calls block.
pub trait SnapshotStore: Send + Sync + 'static {
    /// Keeps a snapshot, durably, and gives up older ones.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    fn save(&self, snapshot: &StoredSnapshot) -> Result<(), StorageError>;

    /// The newest one, if there is any.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] when it is not what was written.
    fn newest(&self) -> Result<Option<StoredSnapshot>, StorageError>;
}

/// What went wrong with a disk. There is no variant after which to go on.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process has the directory.
    #[error("{path} is in use by another process")]
    DirInUse {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// The database refused to open: it is damaged.
    #[error("the raft log in {path} does not open")]
    DoesNotOpen {
        /// Its directory.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: sled_log::DatabaseError,
    },
    /// The database refused an operation.
    #[error("cannot {action} in the raft log")]
    Database {
        /// What.
        action: &'static str,
        /// Its answer.
        #[source]
        source: sled_log::DatabaseError,
    },
    /// Bytes that are not what was written.
    #[error("{what} in {path} is damaged: {problem}")]
    Damaged {
        /// What.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A newer program wrote it.
    #[error("{path} has format {found}, this program reads {supported}")]
    Format {
        /// Where.
        path: PathBuf,
        /// As written.
        found: u32,
        /// As known here.
        supported: u32,
    },
    /// An earlier error ended the store.
    #[error("the raft log has failed before")]
    Failed,
    /// The thread that writes has ended by a panic: ours, or the database's.
    #[error("the writer of the raft log panicked")]
    WriterPanicked,
}

impl StorageError {
    /// Whether the disk's content is at fault, and so the replica is lost;
    /// otherwise another start may succeed.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::DoesNotOpen { .. } | Self::Damaged { .. } => true,
            Self::DirInUse { .. }
            | Self::Io { .. }
            | Self::Database { .. }
            | Self::Format { .. }
            | Self::Failed
            | Self::WriterPanicked => false,
        }
    }
}
