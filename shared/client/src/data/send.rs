//! Blocks to their replicas: a few at a time, each along a pipeline of workers,
//! and on other ways when a worker of it dies.
//!
//! A block stays in memory until enough workers have acknowledged it. When the
//! first worker of a pipeline is gone it is unknown who has the block: it is sent
//! again, under the same name, which is harmless because the same name means the
//! same bytes. When only others of the pipeline are gone, another worker fetches
//! the block from one that has it. When there is no other worker, the block is
//! recorded with the copies it has; the leader adds the rest when it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use vivat_proto::v1;
use vivat_proto::v1::write_block_request::Part;
use vivat_shared::dataset::{BlockSummary, Holder, ReplicatedBlock};
use vivat_shared::ids::{BlockId, DatasetId, WorkerId};
use vivat_shared::limits::BLOCKS_MAX;

use super::append::{Appender, Placed};
use super::directory::Opened;
use super::error::{BlockProblem, DataError, HolderProblem};
use super::place::Placer;
use super::workers::Workers;
use crate::backoff::Backoff;
use crate::leader::LeaderClient;

/// Bytes of blocks that are on their way: two of the usual size.
const FLIGHT_BYTES: u64 = 128 * 1024 * 1024;
/// Blocks that are on their way, however small.
const FLIGHT_BLOCKS: u64 = 8;
/// Bytes in one message.
const MESSAGE_BYTES: usize = 512 * 1024;
/// A worker that takes no more bytes, or has all and says nothing, for so long
/// is given up; one whose machine is gone is found out by the connection.
const STALL: Duration = Duration::from_secs(60);
/// How long a block that nobody takes is offered: longer than a lease.
const PATIENCE: Duration = Duration::from_secs(30);
/// Workers that are asked for a missing copy before it is left to the leader.
const COPIES_TRIED: u32 = 3;
/// Blocks that wait to be recorded; more than can be on their way.
const APPEND_QUEUE: usize = 64;

/// The bytes of a block, in the pieces they came in.
#[derive(Debug, Clone)]
pub struct BlockBytes {
    pieces: Vec<Bytes>,
    bytes: u64,
    crc32c: u32,
}

impl BlockBytes {
    /// Of these pieces; reads them once, for their checksum.
    #[must_use]
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let crc32c = pieces
            .iter()
            .fold(0, |crc, piece| crc32c::crc32c_append(crc, piece));
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self {
            pieces,
            bytes,
            crc32c,
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

/// How far a sending is; read while it runs.
#[derive(Debug, Default)]
pub struct SendProgress {
    recorded_bytes: AtomicU64,
    recorded_blocks: AtomicU64,
    flying_bytes: AtomicU64,
}

impl SendProgress {
    /// Bytes that are recorded or on their way to a worker.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let recorded = self.recorded_bytes.load(Ordering::Relaxed);
        recorded + self.flying_bytes.load(Ordering::Relaxed)
    }

    /// Blocks that are recorded.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.recorded_blocks.load(Ordering::Relaxed)
    }

    fn sent(&self, bytes: u64) {
        self.flying_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn lost(&self, bytes: u64) {
        self.flying_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn appended(&self, bytes: u64) {
        self.recorded_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.lost(bytes);
        self.recorded_blocks.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Blocks that are recorded.
    pub blocks: u32,
}

/// Sends the blocks of one dataset, in the order in which they are given. What
/// is on its way when it is dropped is broken off.
#[derive(Debug)]
pub struct BlockSender {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    flying: JoinSet<Result<(), DataError>>,
    appending: JoinHandle<Result<u32, DataError>>,
    appends: mpsc::Sender<Placed>,
    next: u32,
}

#[derive(Debug)]
struct Shared {
    workers: Workers,
    dataset: DatasetId,
    replicas: usize,
    placer: Arc<Placer>,
    progress: Arc<SendProgress>,
}

impl BlockSender {
    /// Into a dataset that was opened, with so many replicas of each block, whose
    /// blocks have no more than `block_bytes`, or those of one record.
    #[must_use]
    pub fn start(
        client: &LeaderClient,
        workers: &Workers,
        opened: Opened,
        replicas: u8,
        block_bytes: u64,
    ) -> Self {
        let dataset = opened.dataset;
        let placer = Placer::new(client.clone(), dataset, u32::from(replicas), block_bytes);
        let shared = Shared {
            workers: workers.clone(),
            dataset,
            replicas: usize::from(replicas),
            placer: Arc::new(placer),
            progress: Arc::default(),
        };
        let (appends, queue) = mpsc::channel(APPEND_QUEUE);
        let appender = Appender {
            client: client.clone(),
            dataset,
            placer: Arc::clone(&shared.placer),
            progress: Arc::clone(&shared.progress),
            idle: Duration::from_millis(opened.idle_ms.max(1_000)),
            queue,
        };
        Self {
            shared: Arc::new(shared),
            room: Arc::new(Semaphore::new(permits(FLIGHT_BYTES))),
            flying: JoinSet::new(),
            appending: tokio::spawn(appender.run()),
            appends,
            next: 0,
        }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Arc<SendProgress> {
        Arc::clone(&self.shared.progress)
    }

    /// Sends a block as soon as there is room for it among those on their way.
    ///
    /// # Errors
    ///
    /// What befell any block so far: the dataset cannot be whole any more.
    pub async fn send(&mut self, block: BlockBytes) -> Result<(), DataError> {
        if self.next >= BLOCKS_MAX {
            return Err(DataError::Inconsistent {
                dataset: self.shared.dataset.to_string(),
                problem: format!("more than {BLOCKS_MAX} blocks: use larger ones"),
            });
        }
        let least = FLIGHT_BYTES / FLIGHT_BLOCKS;
        let weight = permits(block.bytes.clamp(least, FLIGHT_BYTES));
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let permit = loop {
            let room = Arc::clone(&self.room);
            tokio::select! {
                permit = room.acquire_many_owned(weight) => {
                    break permit.map_err(|_| DataError::GivenUp)?;
                }
                Some(landed) = self.flying.join_next() => self.landed(landed).await?,
            }
        };
        while let Some(landed) = self.flying.try_join_next() {
            self.landed(landed).await?;
        }
        let position = self.next;
        self.next += 1;
        let shared = Arc::clone(&self.shared);
        let appends = self.appends.clone();
        self.flying.spawn(async move {
            let replicated = shared.replicate(position, &block).await?;
            drop(block);
            drop(permit);
            appends
                .send((position, replicated))
                .await
                .map_err(|_| DataError::GivenUp)
        });
        Ok(())
    }

    /// Waits until every block is recorded.
    ///
    /// # Errors
    ///
    /// What befell any of them.
    pub async fn finish(mut self) -> Result<Sent, DataError> {
        while let Some(landed) = self.flying.join_next().await {
            self.landed(landed).await?;
        }
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.appends, closed));
        let blocks = self.appended().await?;
        if blocks != self.next {
            return Err(DataError::Inconsistent {
                dataset: self.shared.dataset.to_string(),
                problem: format!("{blocks} blocks are recorded, {} were sent", self.next),
            });
        }
        Ok(Sent { blocks })
    }

    async fn landed(
        &mut self,
        landed: Result<Result<(), DataError>, tokio::task::JoinError>,
    ) -> Result<(), DataError> {
        match landed {
            Ok(Ok(())) => Ok(()),
            // Nobody takes what is to be recorded: that side knows why.
            Ok(Err(DataError::GivenUp)) => Err(match self.appended().await {
                Ok(_) => DataError::GivenUp,
                Err(error) => error,
            }),
            Ok(Err(error)) => Err(error),
            Err(_panicked) => Err(DataError::GivenUp),
        }
    }

    async fn appended(&mut self) -> Result<u32, DataError> {
        match (&mut self.appending).await {
            Ok(outcome) => outcome,
            Err(_panicked) => Err(DataError::GivenUp),
        }
    }
}

impl Drop for BlockSender {
    fn drop(&mut self) {
        self.appending.abort();
    }
}

/// Room is counted in KiB: a semaphore counts no further than that.
fn permits(bytes: u64) -> usize {
    usize::try_from(bytes / 1024).unwrap_or(usize::MAX).max(1)
}

impl Shared {
    /// Brings a block to as many workers as are wanted, or as there are.
    async fn replicate(
        &self,
        position: u32,
        block: &BlockBytes,
    ) -> Result<ReplicatedBlock, DataError> {
        let summary = BlockSummary {
            id: BlockId {
                dataset: self.dataset,
                index: u64::from(position),
            },
            bytes: block.bytes,
            crc32c: block.crc32c,
        };
        let mut holders = self.first_copies(position, summary, block).await?;
        let mut tried = 0;
        while holders.len() < self.replicas && tried < COPIES_TRIED {
            tried += 1;
            let Some(target) = self.placer.another(&holders).await? else {
                break;
            };
            // Any holder may be the one that is dying.
            let source = &holders[tried as usize % holders.len()];
            match self.workers.copy_block(&target, source, summary).await {
                Ok(()) => holders.push(target),
                Err(problem) => {
                    tracing::debug!(block = %summary.id, worker = %target.worker, %problem,
                        "another copy was not made");
                    self.placer.avoid(target.worker);
                }
            }
        }
        Ok(ReplicatedBlock {
            summary,
            workers: holders.iter().map(|holder| holder.worker).collect(),
        })
    }

    /// Sends a block along pipelines until somebody has it.
    async fn first_copies(
        &self,
        position: u32,
        summary: BlockSummary,
        block: &BlockBytes,
    ) -> Result<Vec<Holder>, DataError> {
        let began = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut asked: Vec<HolderProblem> = Vec::new();
        loop {
            if let Some(hops) = self.placer.next().await? {
                match self.write(summary, block, &hops).await {
                    Ok(holders) if !holders.is_empty() => return Ok(holders),
                    Ok(_) => {}
                    Err(failed) => {
                        tracing::debug!(block = %summary.id, worker = %failed.worker,
                            problem = %failed.problem, "a pipeline broke");
                        asked.retain(|known| known.worker != failed.worker);
                        asked.push(failed);
                    }
                }
            }
            if began.elapsed() >= PATIENCE {
                return Err(DataError::NoTaker {
                    dataset: self.dataset,
                    position,
                    waited: began.elapsed(),
                    asked,
                });
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Sends a block along one pipeline; who of it has it then.
    async fn write(
        &self,
        summary: BlockSummary,
        block: &BlockBytes,
        hops: &[Holder],
    ) -> Result<Vec<Holder>, HolderProblem> {
        let Some(first) = hops.first() else {
            return Ok(Vec::new());
        };
        let sent = Arc::new(AtomicU64::new(0));
        let messages = self.messages(summary, block, hops, &sent);
        let call = self.workers.call(first, |mut service| async move {
            service.write_block(messages).await
        });
        let outcome = match stalled(call, &sent).await {
            Some(outcome) => outcome,
            None => Err(BlockProblem::Unreachable {
                said: format!("it took nothing for {} s", STALL.as_secs()),
            }),
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(problem) => {
                self.progress.lost(sent.load(Ordering::Relaxed));
                self.placer.avoid(first.worker);
                return Err(HolderProblem {
                    worker: first.worker,
                    problem,
                });
            }
        };
        // What the worker had already needed no bytes.
        let needless = summary.bytes.saturating_sub(sent.load(Ordering::Relaxed));
        self.progress.sent(needless);
        for failed in &answer.failed {
            tracing::debug!(block = %summary.id, worker = failed.worker,
                problem = failed.problem, "a worker of the pipeline has no copy");
            self.placer.avoid(WorkerId(failed.worker));
        }
        let has = |hop: &&Holder| answer.workers.contains(&hop.worker.0);
        let holders: Vec<Holder> = hops.iter().filter(has).cloned().collect();
        if holders.is_empty() {
            self.progress.lost(summary.bytes);
        }
        Ok(holders)
    }

    fn messages(
        &self,
        summary: BlockSummary,
        block: &BlockBytes,
        hops: &[Holder],
        sent: &Arc<AtomicU64>,
    ) -> impl Stream<Item = v1::WriteBlockRequest> + Send + use<> {
        let begin = Part::Begin(v1::BeginBlock {
            block: Some(summary.id.into()),
            worker: hops.first().map_or(0, |hop| hop.worker.0),
            cluster_id: self.workers.cluster_id().to_owned(),
            bytes_max: summary.bytes,
            next: hops.iter().skip(1).cloned().map(Into::into).collect(),
        });
        let finish = Part::Finish(v1::FinishBlock {
            bytes: summary.bytes,
            crc32c: summary.crc32c,
        });
        let progress = Arc::clone(&self.progress);
        let sent = Arc::clone(sent);
        let data = stream::iter(block.pieces.clone())
            .flat_map(|piece| stream::iter(messages_of(piece)))
            .map(move |piece| {
                let bytes = piece.len() as u64;
                sent.fetch_add(bytes, Ordering::Relaxed);
                progress.sent(bytes);
                Part::Data(piece)
            });
        stream::iter([begin])
            .chain(data)
            .chain(stream::iter([finish]))
            .map(|part| v1::WriteBlockRequest { part: Some(part) })
    }
}

/// A piece in parts that each fit a message.
fn messages_of(mut piece: Bytes) -> Vec<Bytes> {
    let mut parts = Vec::with_capacity(piece.len().div_ceil(MESSAGE_BYTES));
    while piece.len() > MESSAGE_BYTES {
        parts.push(piece.split_to(MESSAGE_BYTES));
    }
    if !piece.is_empty() {
        parts.push(piece);
    }
    parts
}

/// The outcome of a call, none when the count of what was sent stood still for
/// too long.
async fn stalled<T>(call: impl Future<Output = T>, sent: &AtomicU64) -> Option<T> {
    tokio::pin!(call);
    let mut before = u64::MAX;
    loop {
        match tokio::time::timeout(STALL, &mut call).await {
            Ok(outcome) => return Some(outcome),
            Err(_elapsed) => {
                let now = sent.load(Ordering::Relaxed);
                if now == before {
                    return None;
                }
                before = now;
            }
        }
    }
}
