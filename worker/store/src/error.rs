//! What can go wrong with a block, sorted by what one must do about it.

use std::io;
use std::path::{Path, PathBuf};

use vivat_shared::ids::BlockId;

/// Which bound a new block would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// What the worker may use for blocks.
    Budget,
    /// What the file system has, less the part that is kept free.
    FileSystem,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Budget => "the disk budget (`--disk`)",
            Self::FileSystem => "the file system, less the 1 % that stays free",
        })
    }
}

/// In what way a block's file is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Data differ from their checksum.
    #[error("64 KiB from byte {offset} have checksum {found:#010x}, expected {expected:#010x}")]
    Chunk {
        /// The first byte of these data in the block.
        offset: u64,
        /// The checksum that was written.
        expected: u32,
        /// The checksum of what was read.
        found: u32,
    },
    /// Each part agrees with its checksum, and the whole does not.
    #[error("the whole has checksum {found:#010x}, expected {expected:#010x}")]
    Whole {
        /// The checksum that was written.
        expected: u32,
        /// The checksum of what was read.
        found: u32,
    },
    /// The first bytes of the file are not ours.
    #[error("its header is damaged")]
    Header,
    /// The table of checksums differs from its own.
    #[error("its table of checksums is damaged")]
    Table,
    /// The last bytes of the file are not ours: truncated, most likely.
    #[error("its footer is damaged or missing")]
    Footer,
    /// The file is longer or shorter than its footer says.
    #[error("its file has {found} bytes, which is not what its footer says")]
    Length {
        /// Bytes of the file.
        found: u64,
    },
    /// The file is whole, and another block's.
    #[error("its file holds {found}")]
    OtherBlock {
        /// Whose it is.
        found: BlockId,
    },
    /// Another version of the program wrote it.
    #[error("its format is version {found}, and this program reads version 1")]
    Version {
        /// What the file says.
        found: u32,
    },
    /// The disk does not give its bytes.
    #[error("the disk does not give the bytes from {offset} of its file")]
    Unreadable {
        /// Where in the file.
        offset: u64,
    },
    /// The name is gone, and nobody deleted the block.
    #[error("its file is gone")]
    Missing,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The block is not here: ask another replica.
    #[error("{block} is not on this worker")]
    NotFound {
        /// The block.
        block: BlockId,
    },
    /// The copy is damaged. It was moved aside and is not served again: read
    /// another replica.
    #[error("this worker's copy of {block} is damaged: {damage}")]
    Damaged {
        /// The block.
        block: BlockId,
        /// In what way.
        damage: Damage,
    },
    /// There is no room: put the block on another worker, or give this one more.
    #[error(
        "no room for {needed} bytes: {free} are free in {limit}, and the budget is {budget} bytes; \
         delete datasets, add workers, or raise `--disk`"
    )]
    Full {
        /// Bytes that the block would take.
        needed: u64,
        /// Bytes that it could take.
        free: u64,
        /// Bytes that all blocks may take.
        budget: u64,
        /// What is full.
        limit: Limit,
    },
    /// More bytes came than were announced: the sender is wrong.
    #[error("{block} was announced with at most {bytes_max} bytes, and more came")]
    TooLong {
        /// The block.
        block: BlockId,
        /// What was announced.
        bytes_max: u64,
    },
    /// What came is not what was sent: send it again.
    #[error("{block} arrived with checksum {found:#010x}, and its sender says {expected:#010x}")]
    Corrupt {
        /// The block.
        block: BlockId,
        /// The sender's checksum.
        expected: u32,
        /// The checksum of what came.
        found: u32,
    },
    /// Two senders sent different bytes under one id. What is here stays.
    #[error(
        "{block} is here with {bytes} bytes and checksum {crc32c:#010x}, and other bytes came \
         under its id"
    )]
    Conflict {
        /// The block.
        block: BlockId,
        /// Bytes of what is here.
        bytes: u64,
        /// Checksum of what is here.
        crc32c: u32,
    },
    /// A range that the block does not have: the reader is wrong.
    #[error("{block} has {bytes} bytes, and {wanted} bytes from {offset} were asked for")]
    Range {
        /// The block.
        block: BlockId,
        /// Bytes that it has.
        bytes: u64,
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        wanted: u64,
    },
    /// An earlier write or sync of this block failed: send it again from its start.
    #[error("{block} cannot be finished, because an earlier write of it failed")]
    Broken {
        /// The block.
        block: BlockId,
    },
    /// A sync failed, so that nothing written since can be trusted to last. What
    /// is here is still served; nothing is taken until the worker starts again.
    #[error("the block store takes no blocks since a sync failed; check the disk, then restart")]
    Stopped,
    /// Another process has the directory.
    #[error("another process uses the block store in {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// Whether another replica may have what this one did not give.
    #[must_use]
    pub fn is_of_this_copy(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Damaged { .. } | Self::Io { .. } => true,
            Self::Full { .. }
            | Self::TooLong { .. }
            | Self::Corrupt { .. }
            | Self::Conflict { .. }
            | Self::Range { .. }
            | Self::Broken { .. }
            | Self::Stopped
            | Self::InUse { .. } => false,
        }
    }
}

/// Whether the disk had no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether the disk, and not the state of this process, is at fault.
pub(crate) fn is_disk_fault(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
