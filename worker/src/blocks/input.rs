//! Reading a block: from the own disk, else from one holder after the other.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use vivat_shared::dataset::{BlockSummary, Holder, LocatedBlock};
use vivat_shared::limits::STREAM_CHUNK_BYTES;
use vivat_store::{BlockReader, StoreError};

use super::Blocks;
use super::error::{BlockReadError, FetchError, Refusal};
use super::fetch::Fetch;

/// Pauses before those are asked again that may have it the next time: busy, or
/// not answering.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

/// A range of a block, in pieces.
#[derive(Debug)]
pub struct BlockInput {
    blocks: Blocks,
    block: BlockSummary,
    /// What is to come.
    left: Range<u64>,
    source: Source,
    /// Those who were not asked yet, in this round, the next one last.
    waiting: Vec<Holder>,
    /// Those to be asked in the next round.
    again: Vec<Holder>,
    rounds: usize,
    /// The own disk is still to be asked.
    is_local_first: bool,
    /// The directory says that it is on the own disk.
    is_here: bool,
    refusals: Vec<Refusal>,
    /// The checksum so far, if the range is the whole block.
    whole: Option<u32>,
    local_bytes: u64,
    remote_bytes: u64,
}

#[derive(Debug)]
enum Source {
    None,
    /// None while a thread reads from it.
    Local(Option<BlockReader>),
    Remote(Holder, Box<Fetch>),
}

impl Blocks {
    /// A range of a block; nothing is asked for before its first piece is.
    ///
    /// # Errors
    ///
    /// [`BlockReadError::Range`].
    pub fn read(
        &self,
        block: &LocatedBlock,
        range: Range<u64>,
    ) -> Result<BlockInput, BlockReadError> {
        let summary = block.summary;
        if range.start > range.end || range.end > summary.bytes {
            return Err(BlockReadError::Range {
                block: summary.id,
                bytes: summary.bytes,
                end: range.end.max(range.start),
            });
        }
        let here = self.identity().map(|identity| identity.worker);
        let is_own = |holder: &&Holder| Some(holder.worker) == here;
        let others = block.holders.iter().rev();
        Ok(BlockInput {
            blocks: self.clone(),
            block: summary,
            whole: (range == (0..summary.bytes)).then_some(0),
            left: range,
            source: Source::None,
            waiting: others.filter(|holder| !is_own(holder)).cloned().collect(),
            again: Vec::new(),
            rounds: 0,
            is_local_first: true,
            is_here: block.holders.iter().any(|holder| is_own(&holder)),
            refusals: Vec::new(),
            local_bytes: 0,
            remote_bytes: 0,
        })
    }
}

impl BlockInput {
    /// Bytes that came from the own disk.
    #[must_use]
    pub fn local_bytes(&self) -> u64 {
        self.local_bytes
    }

    /// Bytes that came from other workers.
    #[must_use]
    pub fn remote_bytes(&self) -> u64 {
        self.remote_bytes
    }

    /// The next piece, of at most [`STREAM_CHUNK_BYTES`] when it is read here;
    /// none at the end. Every piece was checked.
    ///
    /// # Errors
    ///
    /// [`BlockReadError::Unreadable`]; [`BlockReadError::Corrupt`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlockReadError> {
        while !self.left.is_empty() {
            let (came, is_local) = match &mut self.source {
                Source::None => {
                    self.open().await?;
                    continue;
                }
                Source::Local(reader) => {
                    let read = read_here(&self.blocks, reader, self.left.clone()).await;
                    (read.map(Some), true)
                }
                Source::Remote(_, fetch) => (fetch.next().await, false),
            };
            match came {
                Ok(Some(piece)) => return self.take(piece, is_local).map(Some),
                Ok(None) => {
                    let problem = "less than was asked for";
                    self.refuse(FetchError::Nonsense { problem });
                }
                Err(error) => self.refuse(error),
            }
        }
        Ok(None)
    }

    fn take(&mut self, piece: Bytes, is_local: bool) -> Result<Bytes, BlockReadError> {
        let bytes = piece.len() as u64;
        self.left.start += bytes;
        if is_local {
            self.local_bytes += bytes;
        } else {
            self.remote_bytes += bytes;
        }
        if let Some(sum) = &mut self.whole {
            *sum = crc32c::crc32c_append(*sum, &piece);
            let (found, expected) = (*sum, self.block.crc32c);
            if self.left.is_empty() && found != expected {
                return Err(BlockReadError::Corrupt {
                    block: self.block.id,
                    expected,
                    found,
                });
            }
        }
        Ok(piece)
    }

    /// Leaves a source that failed.
    fn refuse(&mut self, error: FetchError) {
        match std::mem::replace(&mut self.source, Source::None) {
            Source::None => {}
            Source::Local(_) => self.refused_here(error),
            Source::Remote(holder, _) => self.refused_by(holder, error),
        }
    }

    fn refused_here(&mut self, error: FetchError) {
        let block = self.block.id;
        tracing::warn!(%block, error = %error, "cannot read a block of this worker");
        self.blocks.upkeep().look_for_damage();
        if let Some(identity) = self.blocks.identity() {
            let worker = identity.worker;
            self.refusals.push(Refusal { worker, error });
        }
    }

    fn refused_by(&mut self, holder: Holder, error: FetchError) {
        let block = self.block.id;
        tracing::warn!(%block, worker = %holder.worker, error = %error, "cannot fetch a block");
        let worker = holder.worker;
        if error.is_transient() {
            self.again.push(holder);
        }
        self.refusals.retain(|refusal| refusal.worker != worker);
        self.refusals.push(Refusal { worker, error });
    }

    /// Opens the next source, if there is one.
    async fn open(&mut self) -> Result<(), BlockReadError> {
        if std::mem::take(&mut self.is_local_first) {
            let (store, id) = (self.blocks.store().clone(), self.block.id);
            let open = self.blocks.threads().run(move || store.reader(id)).await;
            match open {
                Ok(Ok(reader)) if reader.summary() == self.block => {
                    self.source = Source::Local(Some(reader));
                }
                // Other bytes under its id: the next report shows them.
                Ok(Ok(_)) => {}
                Ok(Err(StoreError::NotFound { .. })) if self.is_here => {
                    self.blocks.upkeep().add_lost(id);
                    self.refused_here(FetchError::Gone);
                }
                Ok(Err(StoreError::NotFound { .. })) => {}
                Ok(Err(error)) => self.refused_here(FetchError::Disk(error)),
                Err(_panicked) => self.refused_here(FetchError::Panicked),
            }
            return Ok(());
        }
        if self.waiting.is_empty() {
            self.next_round().await?;
        }
        let (Some(holder), Some(identity)) = (self.waiting.pop(), self.blocks.identity()) else {
            return Err(self.unreadable());
        };
        let left = self.left.clone();
        match Fetch::open(&self.blocks, identity.cluster, &holder, self.block, left).await {
            Ok(fetch) => self.source = Source::Remote(holder, Box::new(fetch)),
            Err(error) => self.refused_by(holder, error),
        }
        Ok(())
    }

    async fn next_round(&mut self) -> Result<(), BlockReadError> {
        let pause = PAUSES.get(self.rounds).copied();
        let Some(pause) = pause.filter(|_| !self.again.is_empty()) else {
            return Err(self.unreadable());
        };
        self.rounds += 1;
        tokio::time::sleep(pause).await;
        self.waiting = std::mem::take(&mut self.again);
        self.waiting.reverse();
        Ok(())
    }

    fn unreadable(&mut self) -> BlockReadError {
        BlockReadError::Unreadable {
            block: self.block.id,
            offset: self.left.start,
            refusals: std::mem::take(&mut self.refusals),
        }
    }
}

/// The first piece of what is left. The reader is lent to the thread.
async fn read_here(
    blocks: &Blocks,
    lent: &mut Option<BlockReader>,
    left: Range<u64>,
) -> Result<Bytes, FetchError> {
    // It is not there after a call that was broken off in the middle.
    let reader = lent.take().ok_or(FetchError::Panicked)?;
    let read = move || {
        let piece = first_piece(&reader, &left);
        (reader, piece)
    };
    let (reader, piece) = blocks
        .threads()
        .run(read)
        .await
        .map_err(|_panicked| FetchError::Panicked)?;
    *lent = Some(reader);
    piece.map_err(FetchError::Disk)
}

/// Ends of pieces lie between chunks, so that none is read twice.
pub(super) fn first_piece(reader: &BlockReader, left: &Range<u64>) -> Result<Bytes, StoreError> {
    let unit = STREAM_CHUNK_BYTES as u64;
    let end = (left.start + 1).next_multiple_of(unit).min(left.end);
    // At most one unit, which is a `usize`.
    let bytes = usize::try_from(end - left.start).unwrap_or(STREAM_CHUNK_BYTES);
    reader.read(left.start, bytes)
}
