//! Serves blocks to clients, to other workers and to the leader.
//!
//! Every call names the worker that is meant: an address may be another's by
//! now, and a worker must not take what was meant for another. While it is not
//! registered a worker serves as the one that it last was. What is asked for are
//! numbers; paths are the store's. Files are read and written on threads for it.

mod copy;
mod held;
mod read;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Request, Response, Status, Streaming};
use vivat_proto::error::status;
use vivat_proto::v1;
use vivat_proto::v1::block_service_server::BlockService;
use vivat_proto::v1::error_detail::Kind;

use super::{Blocks, Identity};

/// Streams served at once; further ones wait a little, then are told to come
/// again.
const READS_MAX: usize = 16;
/// How long one waits for a stream; well below the silence after which the
/// other side would take this worker for dead.
const READ_TURN_WAIT: Duration = Duration::from_secs(2);
/// Blocks written at once, of each sort: the last of their pipelines, those with
/// one hop behind, and those with more. A write waits for its hops only, which
/// are of a lower sort, so that workers full of one another's writes go on.
const WRITES_MAX: usize = 8;
const WRITE_SORTS: usize = 3;
/// Below the patience of the hop before.
const WRITE_TURN_WAIT: Duration = Duration::from_secs(5);
/// Blocks copied here at once: the leader's choice bounds it first.
const COPIES_MAX: usize = 4;
/// Verifications at once: they read from the disk as fast as it can.
const VERIFICATIONS_MAX: usize = 1;

/// The service.
#[derive(Debug)]
pub(crate) struct BlockServer {
    blocks: Blocks,
    reads: Turns,
    writes: [Turns; WRITE_SORTS],
    copies: Turns,
    verifications: Turns,
}

/// Those of one sort that are served at once.
#[derive(Debug)]
struct Turns {
    turns: Arc<Semaphore>,
    wait: Duration,
}

impl Turns {
    fn new(count: usize, wait: Duration) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(count)),
            wait,
        }
    }

    /// One's turn, until it is dropped.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Status> {
        let turn = self.turns.clone().acquire_owned();
        match tokio::time::timeout(self.wait, turn).await {
            Ok(turn) => turn.map_err(|_| Status::unavailable("this worker is stopping")),
            Err(_elapsed) => Err(Status::resource_exhausted("all streams are taken")),
        }
    }
}

impl BlockServer {
    pub(crate) fn new(blocks: Blocks) -> Self {
        Self {
            blocks,
            reads: Turns::new(READS_MAX, READ_TURN_WAIT),
            writes: std::array::from_fn(|_| Turns::new(WRITES_MAX, WRITE_TURN_WAIT)),
            copies: Turns::new(COPIES_MAX, READ_TURN_WAIT),
            verifications: Turns::new(VERIFICATIONS_MAX, READ_TURN_WAIT),
        }
    }

    /// Whether this is the worker that is meant.
    fn check(&self, worker: u32, cluster: &str) -> Result<Identity, Status> {
        let Some(identity) = self.blocks.identity() else {
            return Err(Status::unavailable("this worker has not registered yet"));
        };
        if identity.worker.0 == worker && cluster.parse() == Ok(identity.cluster) {
            return Ok(identity);
        }
        Err(status(
            Code::FailedPrecondition,
            format!(
                "this is {} of cluster {}, and not the worker that is meant",
                identity.worker, identity.cluster
            ),
            Kind::OtherWorker(v1::OtherWorker {}),
        ))
    }
}

#[tonic::async_trait]
impl BlockService for BlockServer {
    type ReadBlockStream = read::Answers;

    async fn write_block(
        &self,
        request: Request<Streaming<v1::WriteBlockRequest>>,
    ) -> Result<Response<v1::WriteBlockResponse>, Status> {
        self.write(request.into_inner()).await.map(Response::new)
    }

    async fn read_block(
        &self,
        request: Request<v1::ReadBlockRequest>,
    ) -> Result<Response<Self::ReadBlockStream>, Status> {
        self.read(request.into_inner()).await.map(Response::new)
    }

    async fn copy_block(
        &self,
        request: Request<v1::CopyBlockRequest>,
    ) -> Result<Response<v1::CopyBlockResponse>, Status> {
        self.copy(request.into_inner()).await?;
        Ok(Response::new(v1::CopyBlockResponse {}))
    }

    async fn list_held_blocks(
        &self,
        request: Request<v1::ListHeldBlocksRequest>,
    ) -> Result<Response<v1::ListHeldBlocksResponse>, Status> {
        self.list(&request.into_inner()).map(Response::new)
    }

    async fn verify_blocks(
        &self,
        request: Request<v1::VerifyBlocksRequest>,
    ) -> Result<Response<v1::VerifyBlocksResponse>, Status> {
        self.verify(request.into_inner()).await.map(Response::new)
    }
}
