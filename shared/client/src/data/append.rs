//! Blocks into the directory, in order, as many at a time as are there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use vivat_shared::dataset::ReplicatedBlock;
use vivat_shared::ids::DatasetId;
use vivat_shared::limits::BLOCKS_APPENDED_MAX;

use super::error::DataError;
use super::place::Placer;
use super::send::SendProgress;
use crate::leader::LeaderClient;

/// A block that was brought to its replicas, and its position.
pub(crate) type Placed = (u32, ReplicatedBlock);

/// Takes what was brought to its replicas, in whatever order it comes, and
/// appends it in the order of positions.
pub(crate) struct Appender {
    pub(crate) client: LeaderClient,
    pub(crate) dataset: DatasetId,
    pub(crate) placer: Arc<Placer>,
    pub(crate) progress: Arc<SendProgress>,
    /// The dataset is given up without a word for so long: a word comes before.
    pub(crate) idle: Duration,
    pub(crate) queue: mpsc::Receiver<Placed>,
}

impl Appender {
    /// Until nothing more comes; how many blocks are recorded then.
    pub(crate) async fn run(mut self) -> Result<u32, DataError> {
        let mut waiting: BTreeMap<u32, ReplicatedBlock> = BTreeMap::new();
        let mut next = 0_u32;
        loop {
            match tokio::time::timeout(self.idle / 4, self.queue.recv()).await {
                Ok(Some((position, block))) => {
                    waiting.insert(position, block);
                }
                Ok(None) => return Ok(next),
                Err(_elapsed) => {
                    self.placer.keep_alive().await?;
                    continue;
                }
            }
            while let Ok((position, block)) = self.queue.try_recv() {
                waiting.insert(position, block);
            }
            next = self.append(&mut waiting, next).await?;
        }
    }

    /// Appends what follows without a gap; the position behind it.
    async fn append(
        &self,
        waiting: &mut BTreeMap<u32, ReplicatedBlock>,
        first: u32,
    ) -> Result<u32, DataError> {
        let mut next = first;
        loop {
            let mut batch = Vec::new();
            let begin = next;
            while batch.len() < BLOCKS_APPENDED_MAX
                && let Some(block) = waiting.remove(&next)
            {
                batch.push(block);
                next += 1;
            }
            if batch.is_empty() {
                return Ok(next);
            }
            self.client
                .append_blocks(self.dataset, begin, &batch)
                .await?;
            for block in &batch {
                self.progress.appended(block.summary.bytes);
            }
        }
    }
}
