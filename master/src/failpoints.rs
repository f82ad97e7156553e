//! Named places at which a test can let a master die, fail or wait.
//!
//! They lie between the steps of everything that a master promises: written,
//! synced, renamed, acknowledged. `NAMES` is the whole table. Without the
//! feature `failpoints`, which only tests ask for, [`pass`] is nothing.
//!
//! With it, `VIVAT_FAILPOINTS` names a file of orders, one for each line, which
//! may change while the process runs:
//!
//! ```text
//! POINT kill|panic|error|full|sleep=MS [PASSES TO LET THROUGH]
//! ```
//!
//! Beside it, ending in `.struck`, grows a line for each order that was carried
//! out: without one, a test has proved nothing.

/// Where.
#[expect(missing_docs, reason = "the names say it, and the table gives them")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    AppendBegin,
    AppendWritten,
    AppendNoted,
    SyncBegin,
    SyncFlushed,
    SyncDone,
    AcknowledgeBegin,
    AcknowledgeDone,
    VoteBegin,
    VoteWritten,
    VoteSynced,
    CommittedBegin,
    CommittedWritten,
    TruncateBegin,
    TruncateNoted,
    TruncateRemoving,
    TruncateDone,
    PurgeBegin,
    PurgeMarked,
    PurgeSynced,
    PurgeRemoving,
    PurgeDone,
    ReachedWritten,
    ReadBegin,
    OpenBegin,
    OpenDatabase,
    OpenChecked,
    OpenSynced,
    OpenDone,
    GuardCreated,
    GuardWritten,
    GuardSynced,
    GuardRenamed,
    GuardKept,
    IdentityCreated,
    IdentityWritten,
    IdentitySynced,
    IdentityRenamed,
    IdentityKept,
    SnapshotBegin,
    SnapshotCreated,
    SnapshotWritten,
    SnapshotSynced,
    SnapshotRenamed,
    SnapshotKept,
    SnapshotOlderRemoved,
    SnapshotDone,
    ApplyBegin,
    ApplyDone,
    BuildBegin,
    BuildSaved,
    InstallBegin,
    InstallSaved,
}

/// The steps of a file that is replaced as a whole.
#[derive(Debug, Clone, Copy)]
pub struct FilePoints {
    /// The new file is there, and empty.
    pub created: Point,
    /// It has its content, and was not synced.
    pub written: Point,
    /// It was synced, and has not its name.
    pub synced: Point,
    /// It has its name, and the directory was not synced.
    pub renamed: Point,
    /// All of it is durable.
    pub kept: Point,
}

/// Of the guard of the log.
pub const GUARD: FilePoints = FilePoints {
    created: Point::GuardCreated,
    written: Point::GuardWritten,
    synced: Point::GuardSynced,
    renamed: Point::GuardRenamed,
    kept: Point::GuardKept,
};

/// Of the identity.
pub const IDENTITY: FilePoints = FilePoints {
    created: Point::IdentityCreated,
    written: Point::IdentityWritten,
    synced: Point::IdentitySynced,
    renamed: Point::IdentityRenamed,
    kept: Point::IdentityKept,
};

/// Of a snapshot.
pub const SNAPSHOT: FilePoints = FilePoints {
    created: Point::SnapshotCreated,
    written: Point::SnapshotWritten,
    synced: Point::SnapshotSynced,
    renamed: Point::SnapshotRenamed,
    kept: Point::SnapshotKept,
};

#[cfg(feature = "failpoints")]
pub use self::with::{NAMES, pass, raft_threads};
#[cfg(not(feature = "failpoints"))]
pub use self::without::pass;

#[cfg(not(feature = "failpoints"))]
mod without {
    use super::Point;
    use crate::storage::StorageError;

    /// Nothing.
    ///
    /// # Errors
    ///
    /// None.
    #[inline]
    pub fn pass(_point: Point) -> Result<(), StorageError> {
        Ok(())
    }
}

#[cfg(feature = "failpoints")]
mod with;
