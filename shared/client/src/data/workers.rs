//! Calls to workers, each to the one that is meant.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Channel;
use vivat_proto::v1;
use vivat_proto::v1::block_service_client::BlockServiceClient;
use vivat_shared::dataset::{BlockSummary, Holder};
use vivat_shared::ids::BlockId;
use vivat_shared::limits::BLOCKS_LISTED_MAX;

use super::block_service;
use super::error::BlockProblem;
use crate::channels::Channels;
use crate::error::ClientError;
use crate::jobs::timed;
use crate::leader::LeaderClient;
use crate::options::ClientOptions;

/// A worker that writes much answers later than a master does; a dead one is
/// found out all the same.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(8);
/// For a page of a list, which stands in the worker's memory.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// For a block that a worker fetches from another, with its sync.
const COPY_TIMEOUT: Duration = Duration::from_secs(120);
/// For blocks that a worker reads whole.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(300);

/// The workers of one cluster. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Workers {
    inner: Arc<Inner>,
}

struct Inner {
    cluster_id: String,
    channels: Channels,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("cluster_id", &self.inner.cluster_id)
            .finish_non_exhaustive()
    }
}

impl Workers {
    /// Of the cluster with that id, 32 hexadecimal digits.
    #[must_use]
    pub fn new(cluster_id: String, options: ClientOptions) -> Self {
        let options = ClientOptions {
            connect_timeout: options.connect_timeout.max(CONNECT_TIMEOUT),
            keepalive_timeout: options.keepalive_timeout.max(KEEPALIVE_TIMEOUT),
            ..options
        };
        Self {
            inner: Arc::new(Inner {
                cluster_id,
                channels: Channels::new(options),
            }),
        }
    }

    /// Of the client's cluster; asks the first master that answers which it is.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoLeader`] when no master answers.
    pub async fn of(client: &LeaderClient) -> Result<Self, ClientError> {
        let status = client.cluster_status().await?;
        Ok(Self::new(status.cluster_id, client.options().clone()))
    }

    /// The cluster that every call names.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.inner.cluster_id
    }

    /// Calls a worker. A connection that broke is given up.
    pub(crate) async fn call<T, F, Fut>(&self, holder: &Holder, call: F) -> Result<T, BlockProblem>
    where
        F: FnOnce(BlockServiceClient<Channel>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let Some(built) = self.inner.channels.get(&holder.address) else {
            return Err(BlockProblem::Unreachable {
                said: format!("`{}` is not HOST:PORT", holder.address),
            });
        };
        let answer = call(block_service(built.channel.clone())).await;
        answer.map(tonic::Response::into_inner).map_err(|status| {
            let problem = BlockProblem::of(&status);
            if problem.is_of_the_connection() {
                self.inner.channels.give_up(&holder.address, &built);
            }
            problem
        })
    }

    /// Has a worker fetch a block from another and keep it.
    pub(crate) async fn copy_block(
        &self,
        to: &Holder,
        from: &Holder,
        block: BlockSummary,
    ) -> Result<(), BlockProblem> {
        let message = v1::CopyBlockRequest {
            block: Some(block.into()),
            worker: to.worker.0,
            cluster_id: self.cluster_id().to_owned(),
            from: Some(from.clone().into()),
        };
        self.call(to, |mut service| async move {
            service.copy_block(timed(message, COPY_TIMEOUT)).await
        })
        .await?;
        Ok(())
    }

    /// Blocks on a worker's disk behind the one given, and whether more follow.
    ///
    /// # Errors
    ///
    /// The worker's.
    pub async fn list_held(
        &self,
        holder: &Holder,
        after: Option<BlockId>,
    ) -> Result<(Vec<BlockSummary>, bool), BlockProblem> {
        let message = v1::ListHeldBlocksRequest {
            after: after.map(Into::into),
            limit: u32::try_from(BLOCKS_LISTED_MAX).unwrap_or(u32::MAX),
            worker: holder.worker.0,
            cluster_id: self.cluster_id().to_owned(),
        };
        let answer = self
            .call(holder, |mut service| async move {
                service.list_held_blocks(timed(message, LIST_TIMEOUT)).await
            })
            .await?;
        let blocks = answer.blocks.into_iter().map(BlockSummary::try_from);
        Ok((
            blocks.collect::<Result<_, _>>().map_err(unread)?,
            answer.more,
        ))
    }

    /// Has a worker read blocks whole: each with what it is, or what is wrong.
    pub(crate) async fn verify(
        &self,
        holder: &Holder,
        blocks: &[BlockId],
    ) -> Result<Vec<v1::VerifiedBlock>, BlockProblem> {
        let message = v1::VerifyBlocksRequest {
            blocks: blocks.iter().copied().map(Into::into).collect(),
            worker: holder.worker.0,
            cluster_id: self.cluster_id().to_owned(),
        };
        let answer = self
            .call(holder, |mut service| async move {
                service.verify_blocks(timed(message, VERIFY_TIMEOUT)).await
            })
            .await?;
        Ok(answer.blocks)
    }
}

/// An answer that this version cannot read.
fn unread(error: impl fmt::Display) -> BlockProblem {
    BlockProblem::Refused {
        said: format!("an answer that cannot be read: {error}"),
    }
}
