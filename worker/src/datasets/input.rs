//! A file of a dataset as the engine reads it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use vivat_engine::{InputError, InputOpener, InputReader};
use vivat_shared::attempt::{InputFile, InputOrigin};
use vivat_shared::dataset::LocatedBlock;

use crate::blocks::{BlockInput, BlockReadError, Blocks};

/// How many of the bytes that were read came from where.
#[derive(Debug, Default)]
pub(crate) struct Served {
    local: AtomicU64,
    remote: AtomicU64,
}

impl Served {
    /// From the own disk.
    pub(crate) fn local(&self) -> u64 {
        self.local.load(Ordering::Relaxed)
    }

    /// From other workers.
    pub(crate) fn remote(&self) -> u64 {
        self.remote.load(Ordering::Relaxed)
    }
}

/// Opens files of datasets by the blocks that came with the assignment.
#[derive(Debug)]
pub(crate) struct DatasetOpener<'t> {
    pub(crate) blocks: &'t Blocks,
    /// Those that the task's slice lies in, and the next one.
    pub(crate) located: &'t [LocatedBlock],
    /// Where the first of them begins in the dataset's bytes.
    pub(crate) start: u64,
    pub(crate) stopped: &'t CancellationToken,
    pub(crate) served: Arc<Served>,
}

impl InputOpener for DatasetOpener<'_> {
    fn open(&self, file: &InputFile) -> Result<Box<dyn InputReader>, InputError> {
        let InputOrigin::Dataset { start, .. } = file.origin else {
            return Err(InputError::Unreachable {
                detail: "it is no file of a dataset".to_owned(),
            });
        };
        let mut from = self.start;
        let extents = self.located.iter().map(|block| {
            let begin = from;
            from += block.summary.bytes;
            Extent {
                range: begin..from,
                block: block.clone(),
            }
        });
        Ok(Box::new(DatasetInput {
            blocks: self.blocks.clone(),
            extents: extents.collect(),
            start,
            bytes: file.bytes,
            stopped: self.stopped.clone(),
            served: Arc::clone(&self.served),
            current: None,
        }))
    }
}

/// A block, and where it lies in the dataset's bytes.
#[derive(Debug)]
struct Extent {
    range: Range<u64>,
    block: LocatedBlock,
}

/// What is being read.
#[derive(Debug)]
struct Current {
    input: BlockInput,
    /// Where the next byte lies in the dataset.
    at: u64,
    /// What came and was not taken yet.
    piece: Bytes,
    /// Whether that came from the own disk.
    is_local: bool,
}

#[derive(Debug)]
struct DatasetInput {
    blocks: Blocks,
    extents: Vec<Extent>,
    /// Where the file begins in the dataset's bytes.
    start: u64,
    bytes: u64,
    stopped: CancellationToken,
    served: Arc<Served>,
    current: Option<Current>,
}

impl InputReader for DatasetInput {
    fn length(&self) -> Option<u64> {
        Some(self.bytes)
    }

    fn check(&mut self) -> Result<(), InputError> {
        // A sealed dataset never changes.
        Ok(())
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, InputError> {
        let left = self.bytes.saturating_sub(offset);
        let wanted = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let at = self.start + offset;
        let current = match self.current.take() {
            Some(current) if current.at == at => current,
            Some(_) | None => self.seek(at)?,
        };
        let mut current = self.fill(current)?;
        let taken = current.piece.len().min(wanted);
        buffer[..taken].copy_from_slice(&current.piece.split_to(taken));
        current.at += taken as u64;
        let source = if current.is_local {
            &self.served.local
        } else {
            &self.served.remote
        };
        source.fetch_add(taken as u64, Ordering::Relaxed);
        if !self.is_at_an_end(current.at) {
            self.current = Some(current);
        }
        Ok(taken)
    }
}

impl DatasetInput {
    fn is_at_an_end(&self, at: u64) -> bool {
        self.extents.iter().any(|extent| extent.range.end == at)
    }

    fn seek(&self, at: u64) -> Result<Current, InputError> {
        let extent = self
            .extents
            .iter()
            .find(|extent| extent.range.contains(&at))
            .ok_or_else(|| InputError::Unreachable {
                detail: format!(
                    "a record goes on behind the next block, at byte {} of the file: \
                     put the dataset with the format in which it is read",
                    at - self.start
                ),
            })?;
        let within = at - extent.range.start..extent.block.summary.bytes;
        let input = self.blocks.read(&extent.block, within);
        Ok(Current {
            input: input.map_err(|error| unreachable(&error))?,
            at,
            piece: Bytes::new(),
            is_local: false,
        })
    }

    /// Waits for bytes, at least one.
    fn fill(&self, mut current: Current) -> Result<Current, InputError> {
        while current.piece.is_empty() {
            let before = current.input.local_bytes();
            let came = self.blocks.wait(current.input.next(), &self.stopped);
            let came = came.ok_or(InputError::Stopped)?;
            let Some(piece) = came.map_err(|error| unreachable(&error))? else {
                return Err(InputError::Unreachable {
                    detail: "a block ended before its end".to_owned(),
                });
            };
            current.piece = piece;
            current.is_local = current.input.local_bytes() > before;
        }
        Ok(current)
    }
}

fn unreachable(error: &BlockReadError) -> InputError {
    InputError::Unreachable {
        detail: error.to_string(),
    }
}
