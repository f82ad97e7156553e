//! Writing a block here and on other workers at the same time.

use bytes::Bytes;
use vivat_shared::dataset::{BlockSummary, Holder, ReplicatedBlock};
use vivat_shared::ids::BlockId;

use super::Blocks;
use super::error::{BlockWriteError, FailedHop};
use super::pipeline::{Order, Pipeline};

/// A block that is being written. Dropped before its end it leaves nothing
/// behind, here or elsewhere.
#[derive(Debug)]
pub struct BlockOutput {
    block: BlockId,
    /// None before the first registration: nobody could be told who has it.
    pipeline: Option<Pipeline>,
    bytes: u64,
    crc32c: u32,
}

/// A block that somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenBlock {
    /// What it is and who has it durably: at least one, not always this worker.
    pub block: ReplicatedBlock,
    /// Hops that do not have it.
    pub failed: Vec<FailedHop>,
}

impl Blocks {
    /// Begins a block of at most so many bytes, which goes to this worker and
    /// from here along the other hops. An id is for the same bytes for ever.
    #[must_use]
    pub fn write(&self, block: BlockId, bytes_max: u64, next: Vec<Holder>) -> BlockOutput {
        let start = |identity| {
            let order = Order {
                block,
                bytes_max,
                next,
                identity,
            };
            Pipeline::start(self, order)
        };
        BlockOutput {
            block,
            pipeline: self.identity().map(start),
            bytes: 0,
            crc32c: 0,
        }
    }
}

impl BlockOutput {
    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a piece: what a message carries, at most 1 MiB, best
    /// [`vivat_shared::limits::STREAM_CHUNK_BYTES`]. Waits while all buffers are
    /// full.
    ///
    /// # Errors
    ///
    /// Nobody takes it any more.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), BlockWriteError> {
        let Some(pipeline) = &mut self.pipeline else {
            return Err(self.nobody(Vec::new()));
        };
        self.bytes += piece.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &piece);
        if pipeline.push(piece).await {
            return Ok(());
        }
        let failed = match self.pipeline.take() {
            Some(pipeline) => pipeline.end().await.failed,
            None => Vec::new(),
        };
        Err(self.nobody(failed))
    }

    /// Waits until every hop has it, or has not.
    ///
    /// # Errors
    ///
    /// Nobody has it.
    pub async fn finish(mut self) -> Result<WrittenBlock, BlockWriteError> {
        let Some(pipeline) = self.pipeline.take() else {
            return Err(self.nobody(Vec::new()));
        };
        let end = pipeline.finish(self.bytes, self.crc32c).await;
        if end.workers.is_empty() {
            return Err(self.nobody(end.failed));
        }
        Ok(WrittenBlock {
            block: ReplicatedBlock {
                summary: BlockSummary {
                    id: self.block,
                    bytes: self.bytes,
                    crc32c: self.crc32c,
                },
                workers: end.workers,
            },
            failed: end.failed,
        })
    }

    fn nobody(&self, failed: Vec<FailedHop>) -> BlockWriteError {
        BlockWriteError {
            block: self.block,
            failed,
        }
    }
}
