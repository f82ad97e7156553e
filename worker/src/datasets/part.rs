//! A partition's part of an output that is a dataset: written as blocks, here and
//! on other workers, as the reduce makes it.

use std::io::{self, Write};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memchr::memrchr;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use vivat_client::LeaderClient;
use vivat_client::data::data_service;
use vivat_proto::v1;
use vivat_shared::dataset::output_block;
use vivat_shared::dataset::{BLOCK_BYTES_DEFAULT, Holder, REPLICAS_DEFAULT, ReplicatedBlock};
use vivat_shared::ids::{DatasetId, WorkerId};
use vivat_shared::limits::{OUTPUT_BLOCKS_MAX, STREAM_CHUNK_BYTES};

use crate::blocks::{BlockOutput, Blocks};

/// Blocks of the ordinary size; later ones are larger, because a part may have
/// [`OUTPUT_BLOCKS_MAX`] in all.
const ORDINARY_BLOCKS: usize = OUTPUT_BLOCKS_MAX / 2;
/// Bytes of the larger ones.
const LARGE_BLOCK_BYTES: u64 = 4 * BLOCK_BYTES_DEFAULT;
/// A block grows so much beyond its size to end with a line.
const OVERSHOOT_BYTES: u64 = BLOCK_BYTES_DEFAULT;
/// For the leader to say who else should have a block: without its word the block
/// is written here alone, and copied later.
const PLACE_BUDGET: Duration = Duration::from_secs(10);
/// Of one try.
const PLACE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a part is to be.
#[derive(Debug)]
pub(crate) struct PartOrder<'t> {
    pub(crate) blocks: &'t Blocks,
    pub(crate) leader: &'t LeaderClient,
    pub(crate) stopped: &'t CancellationToken,
    /// The dataset that will be.
    pub(crate) output: DatasetId,
    pub(crate) partition: u32,
    /// The number of the attempt.
    pub(crate) attempt: u16,
    /// This worker: the first replica is here.
    pub(crate) worker: WorkerId,
}

/// A part that is being written.
#[derive(Debug)]
pub(crate) struct DatasetPart<'t> {
    order: PartOrder<'t>,
    gathered: BytesMut,
    current: Option<BlockOutput>,
    written: Vec<ReplicatedBlock>,
}

impl<'t> DatasetPart<'t> {
    pub(crate) fn new(order: PartOrder<'t>) -> Self {
        Self {
            order,
            gathered: BytesMut::with_capacity(2 * STREAM_CHUNK_BYTES),
            current: None,
            written: Vec::new(),
        }
    }

    /// Waits until every block has its replicas, or has those that it will have
    /// for now.
    ///
    /// # Errors
    ///
    /// Nobody took a block; the attempt was stopped.
    pub(crate) fn finish(mut self) -> io::Result<Vec<ReplicatedBlock>> {
        let rest = self.gathered.split().freeze();
        self.push(rest)?;
        self.end_block()?;
        Ok(self.written)
    }

    /// Appends a piece and ends the block at a line's end when it is large enough.
    fn push(&mut self, mut piece: Bytes) -> io::Result<()> {
        while !piece.is_empty() {
            let bytes = self.current.as_ref().map_or(0, BlockOutput::bytes);
            let after = bytes + piece.len() as u64;
            if after < self.block_bytes() {
                return self.send(piece);
            }
            let line_end = memrchr(b'\n', &piece).map(|at| at + 1);
            let forced = (after >= self.block_bytes() + OVERSHOOT_BYTES).then_some(piece.len());
            let Some(cut) = line_end.or(forced) else {
                return self.send(piece);
            };
            let head = piece.split_to(cut);
            self.send(head)?;
            self.end_block()?;
        }
        Ok(())
    }

    fn block_bytes(&self) -> u64 {
        if self.written.len() < ORDINARY_BLOCKS {
            BLOCK_BYTES_DEFAULT
        } else {
            LARGE_BLOCK_BYTES
        }
    }

    fn send(&mut self, piece: Bytes) -> io::Result<()> {
        if self.current.is_none() {
            self.current = Some(self.begin()?);
        }
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let order = &self.order;
        match order.blocks.wait(current.write(piece), order.stopped) {
            Some(written) => written.map_err(io::Error::other),
            None => Err(stopped()),
        }
    }

    fn begin(&self) -> io::Result<BlockOutput> {
        let number = self.written.len();
        if number >= OUTPUT_BLOCKS_MAX {
            return Err(io::Error::other(format!(
                "a partition's output has more than {OUTPUT_BLOCKS_MAX} blocks: use more reducers"
            )));
        }
        let order = &self.order;
        let number = u16::try_from(number).map_err(io::Error::other)?;
        let block = output_block(order.output, order.partition, order.attempt, number);
        let bytes_max = self.block_bytes() + OVERSHOOT_BYTES + STREAM_CHUNK_BYTES as u64;
        let next = order
            .blocks
            .wait(
                next_hops(order.leader, (order.output, order.worker), bytes_max),
                order.stopped,
            )
            .ok_or_else(stopped)?;
        Ok(order.blocks.write(block, bytes_max, next))
    }

    fn end_block(&mut self) -> io::Result<()> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let order = &self.order;
        let ended = order.blocks.wait(current.finish(), order.stopped);
        let written = ended.ok_or_else(stopped)?.map_err(io::Error::other)?;
        for failed in &written.failed {
            tracing::warn!(
                block = %written.block.summary.id,
                worker_id = %failed.worker,
                problem = failed.problem,
                "a replica of an output's block was not written"
            );
        }
        self.written.push(written.block);
        Ok(())
    }
}

impl Write for DatasetPart<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        while self.gathered.len() >= STREAM_CHUNK_BYTES {
            let piece = self.gathered.split_to(STREAM_CHUNK_BYTES).freeze();
            self.push(piece)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What is gathered goes with the next piece: only the end must last.
        Ok(())
    }
}

/// Not `Interrupted`, which writers repeat.
fn stopped() -> io::Error {
    io::Error::other("the attempt was stopped")
}

/// Who else gets a block, by the leader's word; nobody when it has none.
pub(crate) async fn next_hops(
    leader: &LeaderClient,
    (dataset, this): (DatasetId, WorkerId),
    block_bytes: u64,
) -> Vec<Holder> {
    let request = v1::PlaceBlocksRequest {
        dataset: dataset.0,
        count: 1,
        replicas: u32::from(REPLICAS_DEFAULT.saturating_sub(1)),
        block_bytes,
        avoid: vec![this.0],
        near_host: String::new(),
    };
    let answered = leader
        .call(PLACE_BUDGET, PLACE_TIMEOUT, |channel| {
            let mut request = Request::new(request.clone());
            request.set_timeout(PLACE_TIMEOUT);
            async move { data_service(channel).place_blocks(request).await }
        })
        .await;
    match answered {
        Ok(answer) => {
            let pipeline = answer.into_inner().pipelines.into_iter().next();
            let hops = pipeline.unwrap_or_default().hops;
            hops.into_iter().map(Holder::from).collect()
        }
        Err(error) => {
            tracing::debug!(error = %error, "no other worker for a block of an output");
            Vec::new()
        }
    }
}
