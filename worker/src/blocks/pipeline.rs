//! A block on its way to several workers: written here and sent on at the same
//! time.
//!
//! Each piece goes to two sinks, the own store and the next hop, each with a
//! small buffer of its own. A sink that fails is left out from then on and ends
//! nothing else; when both have failed, the sender is told at once. Dropped
//! before its end, a pipeline leaves nothing behind, here or further on.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use vivat_ground::Threads;
use vivat_shared::dataset::{BlockSummary, Holder};
use vivat_shared::ids::{BlockId, WorkerId};
use vivat_store::{BlockWriter, Created, StoreError};

use super::error::{FailedHop, KeepError};
use super::hop::{self, Hop};
use super::{Blocks, Identity};

/// Pieces that wait for a sink; as many again are on their way into it.
const BUFFERED: usize = 4;
/// How long the own disk may take nothing.
const DISK_STALL: Duration = Duration::from_secs(20);
/// How long it may take to sync a block, and the last pieces of it.
const FINISH_MAX: Duration = Duration::from_secs(30);

/// What flows.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Data(Bytes),
    /// The last one.
    Finish {
        bytes: u64,
        crc32c: u32,
    },
}

/// Which block goes where.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) block: BlockId,
    pub(super) bytes_max: u64,
    /// Where it goes from here.
    pub(super) next: Vec<Holder>,
    /// Who this worker is.
    pub(super) identity: Identity,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct End {
    /// Who has it, durably.
    pub(super) workers: Vec<WorkerId>,
    /// Who has not.
    pub(super) failed: Vec<FailedHop>,
    /// Why this worker has not.
    pub(super) own: Option<KeepError>,
}

/// A running pipeline.
#[derive(Debug)]
pub(super) struct Pipeline {
    own: Sink<Result<BlockSummary, KeepError>>,
    /// The own disk took nothing for too long.
    is_stalled: bool,
    identity: Identity,
    hop: Option<Hop>,
}

/// One end of it.
#[derive(Debug)]
pub(super) struct Sink<T> {
    /// None when it failed, or has all.
    pieces: Option<mpsc::Sender<Piece>>,
    task: AbortOnDropHandle<T>,
}

impl<T: Send + 'static> Sink<T> {
    pub(super) fn start<Fut>(
        runtime: &Handle,
        start: impl FnOnce(mpsc::Receiver<Piece>) -> Fut,
    ) -> Self
    where
        Fut: Future<Output = T> + Send + 'static,
    {
        let (pieces, coming) = mpsc::channel(BUFFERED);
        Self {
            pieces: Some(pieces),
            task: AbortOnDropHandle::new(runtime.spawn(start(coming))),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.pieces.is_some()
    }

    /// Hands a piece over. False when it was not taken in time.
    pub(super) async fn push(&mut self, piece: Piece, patience: Duration) -> bool {
        // One that has ended failed: what it has not taken is not waited for.
        if self.task.is_finished() {
            self.pieces = None;
        }
        let Some(pieces) = &self.pieces else {
            return true;
        };
        match tokio::time::timeout(patience, pieces.send(piece)).await {
            Ok(Ok(())) => true,
            // It has failed, and its task says why.
            Ok(Err(_)) => {
                self.pieces = None;
                true
            }
            Err(_elapsed) => {
                self.pieces = None;
                false
            }
        }
    }

    /// What its task says; none when it does not, in time or for a panic.
    pub(super) async fn end(mut self, patience: Duration) -> Option<T> {
        self.pieces = None;
        tokio::time::timeout(patience, &mut self.task)
            .await
            .ok()?
            .ok()
    }
}

impl Pipeline {
    /// Begins it.
    pub(super) fn start(blocks: &Blocks, order: Order) -> Self {
        let (store, threads) = (blocks.store().clone(), blocks.threads());
        let (block, bytes_max) = (order.block, order.bytes_max);
        let own = Sink::start(blocks.runtime(), |pieces| async move {
            let created = move || store.create(block, bytes_max).map_err(KeepError::Store);
            match in_threads(threads, created).await? {
                Created::Writer(writer) => write(writer, threads, pieces).await,
                Created::Already(here) => compare(here, pieces).await,
            }
        });
        Self {
            own,
            is_stalled: false,
            identity: order.identity,
            hop: hop::start(blocks, order),
        }
    }

    /// Hands a piece to every sink that still takes some. False when none does.
    pub(super) async fn push(&mut self, data: Bytes) -> bool {
        self.pass(Piece::Data(data)).await;
        self.own.is_open() || self.hop.as_ref().is_some_and(Hop::is_open)
    }

    /// Waits until every hop has it, or has not.
    pub(super) async fn finish(mut self, bytes: u64, crc32c: u32) -> End {
        self.pass(Piece::Finish { bytes, crc32c }).await;
        self.end().await
    }

    /// The same, for one that nobody takes any more.
    pub(super) async fn end(self) -> End {
        let hop_end = async {
            match self.hop {
                Some(hop) => hop.end(FINISH_MAX).await,
                None => (Vec::new(), Vec::new()),
            }
        };
        let (own, (mut workers, mut failed)) = tokio::join!(self.own.end(FINISH_MAX), hop_end);
        let worker = self.identity.worker;
        let own = match own {
            Some(Ok(_)) => {
                workers.insert(0, worker);
                None
            }
            Some(Err(error)) if !self.is_stalled => Some(error),
            Some(Err(_)) | None => Some(KeepError::Stalled),
        };
        if let Some(error) = &own {
            let problem = error.to_string();
            failed.insert(0, FailedHop { worker, problem });
        }
        End {
            workers,
            failed,
            own,
        }
    }

    async fn pass(&mut self, piece: Piece) {
        let own = self.own.push(piece.clone(), DISK_STALL);
        let on = async {
            if let Some(hop) = &mut self.hop {
                hop.push(piece).await;
            }
        };
        let (is_taken, ()) = tokio::join!(own, on);
        self.is_stalled |= !is_taken;
    }
}

enum Written {
    Some(BlockWriter),
    All(BlockSummary),
}

/// Writes what comes. The sender's end without a last piece drops the writer,
/// and with it what it wrote.
async fn write(
    mut writer: BlockWriter,
    threads: Threads,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<BlockSummary, KeepError> {
    let block = writer.id();
    loop {
        let mut batch = Vec::with_capacity(BUFFERED);
        if pieces.recv_many(&mut batch, BUFFERED).await == 0 {
            return Err(KeepError::Store(StoreError::Broken { block }));
        }
        match in_threads(threads, move || append(writer, batch)).await? {
            Written::Some(more) => writer = more,
            Written::All(summary) => return Ok(summary),
        }
    }
}

fn append(mut writer: BlockWriter, batch: Vec<Piece>) -> Result<Written, KeepError> {
    for piece in batch {
        match piece {
            Piece::Data(data) => writer.write(&data).map_err(KeepError::Store)?,
            Piece::Finish { bytes, crc32c } => {
                let received = writer.received().bytes;
                if received != bytes {
                    return Err(KeepError::Length {
                        received,
                        announced: bytes,
                    });
                }
                let finished = writer.finish(Some(crc32c)).map_err(KeepError::Store)?;
                return Ok(Written::All(finished.summary));
            }
        }
    }
    Ok(Written::Some(writer))
}

/// The block is here already: whether it is the one that is sent.
async fn compare(
    here: BlockSummary,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<BlockSummary, KeepError> {
    let block = here.id;
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Data(_) => {}
            Piece::Finish { bytes, crc32c } if (bytes, crc32c) == (here.bytes, here.crc32c) => {
                return Ok(here);
            }
            Piece::Finish { .. } => {
                return Err(KeepError::Store(StoreError::Conflict {
                    block,
                    bytes: here.bytes,
                    crc32c: here.crc32c,
                }));
            }
        }
    }
    Err(KeepError::Store(StoreError::Broken { block }))
}

/// Does what blocks.
async fn in_threads<T: Send + 'static>(
    threads: Threads,
    work: impl FnOnce() -> Result<T, KeepError> + Send + 'static,
) -> Result<T, KeepError> {
    threads.run(work).await.unwrap_or(Err(KeepError::Panicked))
}
