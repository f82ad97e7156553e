//! Why a segment cannot be written or read.

use std::io;

/// Why a segment cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file system or the stream failed.
    #[error("input or output failed")]
    Io {
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The bytes are not a segment that we wrote: treat it as lost.
    #[error("damaged at byte {offset}: {damage}")]
    Damaged {
        /// Where, counted from the beginning of what is read.
        offset: u64,
        /// In what way.
        damage: Damage,
    },
    /// Another version wrote it.
    #[error("segment format {found} is not known, this version reads {known}")]
    UnknownVersion {
        /// What the file says.
        found: u32,
        /// What is read.
        known: u32,
    },
}

impl SegmentError {
    /// The error of the file system, when it is one.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source } => Some(source),
            Self::Damaged { .. } | Self::UnknownVersion { .. } => None,
        }
    }

    pub(crate) fn from_io(source: io::Error) -> Self {
        Self::Io { source }
    }
}

/// How bytes differ from a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// They end too early.
    #[error("it ends too early")]
    Truncated,
    /// More bytes follow the end.
    #[error("bytes follow its end")]
    Trailing,
    /// A checksum differs.
    #[error("checksum {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// What the bytes give.
        found: u32,
        /// What is written.
        expected: u32,
    },
    /// The bytes at a fixed place are not ours.
    #[error("not a segment")]
    Magic,
    /// A field has a value that it cannot have.
    #[error("impossible {field}")]
    Field {
        /// Which.
        field: &'static str,
    },
    /// The run belongs to another partition.
    #[error("partition {found} where {expected} is meant")]
    Partition {
        /// What the block says.
        found: u32,
        /// What the first block said.
        expected: u32,
    },
}
