//! Where the next block goes: pipelines asked for some at a time, without the
//! workers that were of no help a moment ago.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::dataset::Holder;
use vivat_shared::ids::{DatasetId, WorkerId};

use super::directory::Places;
use crate::error::ClientError;
use crate::host;
use crate::leader::LeaderClient;

/// Pipelines that are asked for at once.
const ASKED: u32 = 8;
/// How long a worker that was of no help is left alone: the leader knows by then
/// whether it lives.
const AVOIDED_FOR: Duration = Duration::from_secs(12);

/// Finds pipelines for the blocks of one dataset.
#[derive(Debug)]
pub(crate) struct Placer {
    client: LeaderClient,
    dataset: DatasetId,
    replicas: u32,
    block_bytes: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    pipelines: VecDeque<Vec<Holder>>,
    avoided: HashMap<WorkerId, Instant>,
}

impl Placer {
    pub(crate) fn new(
        client: LeaderClient,
        dataset: DatasetId,
        replicas: u32,
        block_bytes: u64,
    ) -> Self {
        Self {
            client,
            dataset,
            replicas,
            block_bytes,
            known: Mutex::default(),
        }
    }

    /// A pipeline; none when no worker can take a block now.
    pub(crate) async fn next(&self) -> Result<Option<Vec<Holder>>, ClientError> {
        if let Some(pipeline) = self.lock().pipelines.pop_front() {
            return Ok(Some(pipeline));
        }
        let avoid = self.avoided();
        let mut asked = self.ask(ASKED, &avoid).await?;
        if asked.is_empty() && !avoid.is_empty() {
            // Better one that was of no help than none.
            asked = self.ask(ASKED, &[]).await?;
        }
        let mut known = self.lock();
        known.pipelines.extend(asked);
        Ok(known.pipelines.pop_front())
    }

    /// A worker for one more copy of a block that those have.
    pub(crate) async fn another(&self, holders: &[Holder]) -> Result<Option<Holder>, ClientError> {
        let mut avoid = self.avoided();
        avoid.extend(holders.iter().map(|holder| holder.worker));
        let pipelines = self.ask(1, &avoid).await?;
        let hops = pipelines.into_iter().flatten();
        // What is to be avoided is the leader's to heed, and ours to insist on.
        let mut others = hops.filter(|hop| !avoid.contains(&hop.worker));
        Ok(others.next())
    }

    /// That worker was of no help: other pipelines for a while.
    pub(crate) fn avoid(&self, worker: WorkerId) {
        let mut known = self.lock();
        known.avoided.insert(worker, Instant::now());
        known
            .pipelines
            .retain(|hops| hops.iter().all(|hop| hop.worker != worker));
    }

    /// Tells the leader that the dataset is still being written.
    pub(crate) async fn keep_alive(&self) -> Result<(), ClientError> {
        self.ask(1, &[]).await?;
        Ok(())
    }

    async fn ask(&self, count: u32, avoid: &[WorkerId]) -> Result<Vec<Vec<Holder>>, ClientError> {
        let places = Places {
            dataset: self.dataset,
            count,
            replicas: self.replicas,
            block_bytes: self.block_bytes,
            avoid,
            near: host::identity(),
        };
        match self.client.place_blocks(&places).await {
            Ok(pipelines) => Ok(pipelines),
            Err(error) if matches!(error.detail(), Some(Kind::NoRoom(_))) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn avoided(&self) -> Vec<WorkerId> {
        let mut known = self.lock();
        known
            .avoided
            .retain(|_, since| since.elapsed() < AVOIDED_FOR);
        known.avoided.keys().copied().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // What is known is whole at every point where a panic could happen.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
