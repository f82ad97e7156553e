//! One block, from whichever of its holders gives it.
//!
//! Every message is checked against its checksum, the whole against the
//! directory's. A holder that fails in the middle is left for the next, which
//! goes on at the byte that was reached. Nobody's word on a copy is final for
//! another: only when nobody is left who could have it is the block unreadable.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tonic::{Request, Streaming};
use vivat_proto::v1;
use vivat_shared::dataset::{BlockSummary, Holder};
use vivat_shared::ids::WorkerId;

use super::directory::BlockView;
use super::error::{BlockProblem, DataError, HolderProblem};
use super::workers::Workers;
use crate::backoff::Backoff;
use crate::leader::LeaderClient;

/// For the first message: the disk may be busy.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// For each message after it.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long holders that do not answer are asked again: longer than a lease,
/// after which the leader no longer names them.
const PATIENCE: Duration = Duration::from_secs(15);

/// A block that is being read.
#[derive(Debug)]
pub struct BlockFetch {
    client: LeaderClient,
    workers: Workers,
    dataset: String,
    position: u32,
    summary: BlockSummary,
    /// Holders to ask yet, in this turn.
    queue: VecDeque<Holder>,
    lost_holders: Vec<WorkerId>,
    /// Holders that failed, in this turn.
    asked: Vec<HolderProblem>,
    open: Option<Open>,
    /// What came so far, and its checksum.
    offset: u64,
    crc32c: u32,
    /// Since when nobody gives anything.
    dry_since: Option<Instant>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Open {
    holder: Holder,
    messages: Streaming<v1::ReadBlockResponse>,
    has_summary: bool,
}

impl BlockFetch {
    /// A block of the dataset with that name, at that position.
    #[must_use]
    pub fn new(
        client: LeaderClient,
        workers: Workers,
        dataset: String,
        position: u32,
        block: BlockView,
    ) -> Self {
        let mut fetch = Self {
            client,
            workers,
            dataset,
            position,
            summary: block.summary,
            queue: VecDeque::new(),
            lost_holders: Vec::new(),
            asked: Vec::new(),
            open: None,
            offset: 0,
            crc32c: 0,
            dry_since: None,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(1)),
        };
        fetch.ask_all(block);
        fetch
    }

    /// The next bytes, none behind the last. Not cancel-safe in the sense that a
    /// call that is dropped may cost a holder its turn, never a byte.
    ///
    /// # Errors
    ///
    /// [`DataError::Unreadable`] when no holder is left, [`DataError::Leader`]
    /// when the leader cannot be asked for others.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DataError> {
        loop {
            if self.offset == self.summary.bytes {
                self.open = None;
                if self.crc32c == self.summary.crc32c {
                    return Ok(None);
                }
                // Each message was as its sender meant it, and the sender said
                // that the whole is what it should be: a defect, not damage.
                return Err(self.unreadable());
            }
            let Some(open) = self.open.take() else {
                self.turn_to_next().await?;
                continue;
            };
            match self.receive(open).await {
                Ok((open, data)) => {
                    self.open = Some(open);
                    if data.is_empty() {
                        continue;
                    }
                    self.offset += data.len() as u64;
                    self.crc32c = crc32c::crc32c_append(self.crc32c, &data);
                    self.dry_since = None;
                    return Ok(Some(data));
                }
                Err(failed) => {
                    tracing::debug!(
                        block = %self.summary.id, worker = %failed.worker,
                        problem = %failed.problem, "holder left for the next"
                    );
                    self.asked.push(failed);
                }
            }
        }
    }

    async fn receive(&self, mut open: Open) -> Result<(Open, Bytes), HolderProblem> {
        let worker = open.holder.worker;
        let failed = |problem| HolderProblem { worker, problem };
        let limit = if open.has_summary {
            MESSAGE_TIMEOUT
        } else {
            OPEN_TIMEOUT
        };
        let message = match timeout(limit, open.messages.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Err(failed(silent("it ended too early"))),
            Ok(Err(status)) => return Err(failed(BlockProblem::of(&status))),
            Err(_elapsed) => return Err(failed(silent("nothing came for too long"))),
        };
        if !open.has_summary {
            let found = message.summary.map(BlockSummary::try_from);
            let Some(Ok(found)) = found else {
                return Err(failed(BlockProblem::Refused {
                    said: "an answer without a summary".to_owned(),
                }));
            };
            if found != self.summary {
                return Err(failed(BlockProblem::Differs { found }));
            }
            open.has_summary = true;
        }
        let left = self.summary.bytes - self.offset;
        let is_whole = crc32c::crc32c(&message.data) == message.crc32c;
        if !is_whole || message.data.len() as u64 > left {
            return Err(failed(BlockProblem::Corrupt));
        }
        Ok((open, message.data))
    }

    /// Opens a stream from the next holder; when all had their turn, asks the
    /// leader who else there is.
    async fn turn_to_next(&mut self) -> Result<(), DataError> {
        let Some(holder) = self.queue.pop_front() else {
            return self.look_again().await;
        };
        let message = v1::ReadBlockRequest {
            block: Some(self.summary.id.into()),
            offset: self.offset,
            bytes: 0,
            worker: holder.worker.0,
            cluster_id: self.workers.cluster_id().to_owned(),
        };
        let opening = self.workers.call(&holder, |mut service| async move {
            // No deadline in the request: it would end the stream, not the
            // opening of it.
            service.read_block(Request::new(message)).await
        });
        let outcome = match timeout(OPEN_TIMEOUT, opening).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(silent("nothing came for too long")),
        };
        match outcome {
            Ok(messages) => {
                self.open = Some(Open {
                    holder,
                    messages,
                    has_summary: false,
                });
            }
            Err(problem) => self.asked.push(HolderProblem {
                worker: holder.worker,
                problem,
            }),
        }
        Ok(())
    }

    /// Everybody failed: pauses and begins anew with whom the leader names now,
    /// unless none of them can be expected to say anything else.
    async fn look_again(&mut self) -> Result<(), DataError> {
        let since = *self.dry_since.get_or_insert_with(Instant::now);
        let page = self
            .client
            .list_blocks(self.summary.id.dataset, self.position, 1)
            .await?;
        let block = page.items.into_iter().next();
        let Some(block) = block.filter(|block| block.summary == self.summary) else {
            return Err(DataError::Inconsistent {
                dataset: self.dataset.clone(),
                problem: format!("block {} is no longer {}", self.position, self.summary.id),
            });
        };
        let said_no = |worker: WorkerId| {
            let mut asked = self.asked.iter();
            asked.any(|asked| asked.worker == worker && !asked.problem.is_temporary())
        };
        let has_hope = block.holders.iter().any(|holder| !said_no(holder.worker));
        self.lost_holders.clone_from(&block.lost_holders);
        if !has_hope || since.elapsed() >= PATIENCE {
            return Err(self.unreadable());
        }
        tokio::time::sleep(self.backoff.pause()).await;
        self.asked.clear();
        self.ask_all(block);
        Ok(())
    }

    /// All holders, beginning with another one for each block.
    fn ask_all(&mut self, block: BlockView) {
        self.lost_holders = block.lost_holders;
        self.queue = block.holders.into();
        let turns = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        if let Some(turn) = self.position.checked_rem(turns) {
            self.queue.rotate_left(turn as usize);
        }
    }

    fn unreadable(&self) -> DataError {
        DataError::Unreadable {
            dataset: self.dataset.clone(),
            position: self.position,
            block: self.summary.id,
            asked: self.asked.clone(),
            lost_holders: self.lost_holders.clone(),
        }
    }
}

fn silent(said: &str) -> BlockProblem {
    BlockProblem::Unreachable {
        said: said.to_owned(),
    }
}
