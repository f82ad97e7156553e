//! Serves a block's bytes, each piece checked before it goes out.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use vivat_engine::failpoint::point;
use vivat_proto::error::required;
use vivat_proto::v1;
use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::BlockId;
use vivat_store::{BlockReader, StoreError};

use super::BlockServer;
use crate::blocks::Blocks;
use crate::blocks::error::store_status;
use crate::blocks::input::first_piece;

/// Messages read ahead of a slow reader.
const READ_AHEAD: usize = 4;
/// A reader that takes nothing for so long is given up: others want its stream.
const READER_STALL: Duration = Duration::from_secs(30);

/// A block on its way out.
pub(super) type Answers = BoxStream<'static, Result<v1::ReadBlockResponse, Status>>;

impl BlockServer {
    pub(super) async fn read(&self, request: v1::ReadBlockRequest) -> Result<Answers, Status> {
        self.check(request.worker, &request.cluster_id)?;
        let id: BlockId = required(request.block, "block")?.into();
        let served = self.reads.turn().await?;
        let reader = open(&self.blocks, id).await?;
        let range = range(reader.summary(), request.offset, request.bytes)?;
        let (answers, pieces) = mpsc::channel(READ_AHEAD);
        let blocks = self.blocks.clone();
        // It ends with its reader, by its bound, or with the range.
        let serving = tokio::spawn(async move {
            let end = serve(&blocks, reader, range, &answers).await;
            drop(served);
            end
        });
        // What did not come to its end must not look as if it had.
        let end = stream::once(serving).filter_map(|end| async {
            match end {
                Ok(end) => end.err().map(Err),
                Err(_panicked) => Some(Err(Status::internal("reading the block panicked"))),
            }
        });
        let pieces = ReceiverStream::new(pieces).map(Ok);
        Ok(pieces.chain(end).boxed())
    }
}

/// Opens a block. One that is not what it should be is told to the leader.
pub(super) async fn open(blocks: &Blocks, id: BlockId) -> Result<BlockReader, Status> {
    let store = blocks.store().clone();
    let opened = blocks.threads().run(move || store.reader(id)).await;
    match opened {
        Ok(Ok(reader)) => Ok(reader),
        Ok(Err(error)) => Err(refusal(blocks, id, &error)),
        Err(_panicked) => Err(Status::internal("opening the block panicked")),
    }
}

/// What the reader is told; and the leader, if the copy is lost.
pub(super) fn refusal(blocks: &Blocks, id: BlockId, error: &StoreError) -> Status {
    tracing::warn!(block = %id, error = %error, "cannot serve a block");
    match error {
        StoreError::NotFound { .. } => blocks.upkeep().add_lost(id),
        StoreError::Damaged { .. } => blocks.upkeep().look_for_damage(),
        StoreError::Full { .. }
        | StoreError::TooLong { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Conflict { .. }
        | StoreError::Range { .. }
        | StoreError::Broken { .. }
        | StoreError::Stopped
        | StoreError::InUse { .. }
        | StoreError::Io { .. } => {}
    }
    store_status(error)
}

fn range(block: BlockSummary, offset: u64, bytes: u64) -> Result<Range<u64>, Status> {
    let end = if bytes == 0 {
        Some(block.bytes)
    } else {
        offset.checked_add(bytes)
    };
    match end {
        Some(end) if offset <= end && end <= block.bytes => Ok(offset..end),
        Some(_) | None => Err(store_status(&StoreError::Range {
            block: block.id,
            bytes: block.bytes,
            offset,
            wanted: bytes,
        })),
    }
}

async fn serve(
    blocks: &Blocks,
    mut reader: BlockReader,
    mut left: Range<u64>,
    answers: &mpsc::Sender<v1::ReadBlockResponse>,
) -> Result<(), Status> {
    point("block-serve").map_err(|error| Status::internal(error.to_string()))?;
    let block = reader.summary();
    let mut summary = Some(block);
    loop {
        let data = if left.is_empty() {
            Bytes::new()
        } else {
            let wanted = left.clone();
            let read = move || {
                let piece = first_piece(&reader, &wanted);
                (reader, piece)
            };
            let (lent, piece) = blocks
                .threads()
                .run(read)
                .await
                .map_err(|_panicked| Status::internal("reading the block panicked"))?;
            reader = lent;
            piece.map_err(|error| refusal(blocks, block.id, &error))?
        };
        left.start += data.len() as u64;
        let answer = v1::ReadBlockResponse {
            summary: summary.take().map(Into::into),
            crc32c: crc32c::crc32c(&data),
            data,
        };
        match tokio::time::timeout(READER_STALL, answers.send(answer)).await {
            Ok(Ok(())) if !left.is_empty() => {}
            // That was all, or the reader is gone.
            Ok(_) => return Ok(()),
            Err(_elapsed) => return Err(Status::deadline_exceeded("the reader takes nothing")),
        }
    }
}
