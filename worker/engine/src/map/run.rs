//! Sorted runs: what gathered records become when they leave memory.

use std::path::Path;

use vivat_mapreduce::{EncodedKey, MapContext, Program};

use crate::error::{EngineError, StorageUse};
use crate::failpoint::point;
use crate::segment::{SegmentCompression, SegmentError, SegmentWriter};
use crate::task::CancelFlag;

/// What gathering needs to know of the task.
pub(super) struct Place<'t, P> {
    pub program: &'t P,
    pub context: &'t MapContext<'t>,
    pub cancel: &'t CancelFlag,
}

// Derived, these would ask that the program be `Copy`.
impl<P> Clone for Place<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Place<'_, P> {}

impl<P: Program> Place<'_, P> {
    /// The partition of a key, checked.
    #[inline]
    pub fn partition(&self, key: EncodedKey<'_>) -> Result<u32, EngineError> {
        let partition = self.program.partition(key, self.context);
        let partitions = self.context.partitions;
        if partition < partitions {
            Ok(partition)
        } else {
            Err(EngineError::NoSuchPartition {
                partition,
                partitions,
            })
        }
    }
}

/// The file that a run goes to.
pub(super) struct RunFile<'t> {
    writer: SegmentWriter,
    path: &'t Path,
    usage: StorageUse,
}

impl<'t> RunFile<'t> {
    pub fn create(
        path: &'t Path,
        (partitions, compression): (u32, SegmentCompression),
        usage: StorageUse,
    ) -> Result<Self, EngineError> {
        let created = match usage {
            StorageUse::Spill => point("spill-create"),
            StorageUse::Segment => point("segment-create"),
        };
        let writer = created
            .map_err(SegmentError::from_io)
            .and_then(|()| SegmentWriter::create(path, partitions))
            .map_err(|source| storage(usage, path, source))?;
        Ok(Self {
            writer: writer.compressed(compression),
            path,
            usage,
        })
    }

    #[inline]
    pub fn push(&mut self, partition: u32, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.writer
            .push(partition, key, value)
            .map_err(|source| storage(self.usage, self.path, source))
    }

    /// Gives the file its name; returns the stored bytes of each partition, and
    /// what reading one takes in memory.
    pub fn finish(self) -> Result<(Vec<u64>, usize), EngineError> {
        let (usage, path) = (self.usage, self.path);
        let finish = || {
            let finished = self.writer.finish_measured()?;
            match usage {
                StorageUse::Spill => point("spill-written"),
                StorageUse::Segment => point("segment-renamed"),
            }
            .map_err(SegmentError::from_io)?;
            Ok(finished)
        };
        finish().map_err(|source| storage(usage, path, source))
    }
}

/// The engine's error for a file of ours that cannot be written or read.
pub(crate) fn storage(usage: StorageUse, path: &Path, source: SegmentError) -> EngineError {
    let path = path.to_owned();
    match source {
        SegmentError::Io { source } => EngineError::Storage {
            usage,
            path,
            source,
        },
        SegmentError::Damaged { .. } | SegmentError::UnknownVersion { .. } => {
            EngineError::Spill { path, source }
        }
    }
}
