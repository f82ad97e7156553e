//! The answering side: gRPC services for the other masters.
//!
//! The server listens before Raft runs, because peers ask for its formation
//! first, and because the first votes would otherwise meet a closed port. Until
//! Raft runs, its calls are answered UNAVAILABLE.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, future};
use openraft::Raft;
use openraft::raft::AppendEntriesRequest;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use vivat_ground::Listener;
use vivat_proto::raft::v1 as proto;
use vivat_proto::raft::v1::peer_service_server::PeerServiceServer;
use vivat_proto::raft::v1::raft_service_server::{RaftService, RaftServiceServer};

use super::api::FatalReason;
use super::early::StreamEnds;
use super::machine::{Machine, Shared};
use super::types::{Snapshot, SnapshotMeta, TypeConfig, Vote};
use super::wire::{self, Target};
use crate::bootstrap::Local;
use crate::bootstrap::local::PeerServer;

/// A silent connection is dead after twice this time.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Our Raft.
pub type OurRaft = Raft<TypeConfig, Machine>;

/// Raft, once it runs, and who it is.
#[derive(Clone)]
pub struct Running {
    /// Whom calls must be for.
    pub target: Target,
    /// openraft's handle.
    pub raft: OurRaft,
    /// To be told of the end of every stream.
    pub ends: StreamEnds,
    /// Notes when the leader is heard of.
    pub shared: Arc<Shared>,
}

/// Listens for the other masters, from now until the runtime ends; a server
/// that ends before is fatal.
///
/// # Errors
///
/// The listener's.
pub fn serve(
    listener: Listener,
    local: Arc<Local>,
    running: Arc<OnceLock<Running>>,
    fatal: watch::Sender<Option<FatalReason>>,
) -> io::Result<()> {
    let address = listener.address()?;
    let incoming = listener.incoming()?;
    let raft = RaftServiceServer::new(RaftServer::new(running))
        .max_decoding_message_size(wire::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(wire::MESSAGE_BYTES_MAX);
    let peer = PeerServiceServer::new(PeerServer::new(local))
        .max_decoding_message_size(wire::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(wire::MESSAGE_BYTES_MAX);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_service(raft)
        .add_service(peer)
        .serve_with_incoming(incoming);
    tokio::spawn(async move {
        let problem = match serving.await {
            Ok(()) => "it ended".to_owned(),
            Err(error) => error.to_string(),
        };
        fatal.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(FatalReason::Server { address, problem });
            }
            first
        });
    });
    Ok(())
}

/// Answers Raft's calls.
#[derive(Clone)]
pub struct RaftServer {
    running: Arc<OnceLock<Running>>,
}

impl RaftServer {
    /// Answers with what will be set there.
    pub fn new(running: Arc<OnceLock<Running>>) -> Self {
        Self { running }
    }

    fn raft(&self, metadata: &MetadataMap) -> Result<&OurRaft, Status> {
        Ok(&self.running(metadata)?.raft)
    }

    fn running(&self, metadata: &MetadataMap) -> Result<&Running, Status> {
        let running = self
            .running
            .get()
            .ok_or_else(|| Status::unavailable("raft does not run yet"))?;
        running.target.check(metadata)?;
        Ok(running)
    }
}

#[tonic::async_trait]
impl RaftService for RaftServer {
    type StreamAppendStream =
        Pin<Box<dyn Stream<Item = Result<proto::StreamAppendResponse, Status>> + Send>>;

    async fn append_entries(
        &self,
        request: Request<proto::AppendEntriesRequest>,
    ) -> Result<Response<proto::AppendEntriesResponse>, Status> {
        let running = self.running(request.metadata())?;
        let rpc: AppendEntriesRequest<TypeConfig> = wire::decode(&request.get_ref().payload)?;
        running.shared.pace().heard(&rpc.vote);
        let answer = running.raft.append_entries(rpc).await.map_err(stopped)?;
        let payload = wire::encode(&answer);
        Ok(Response::new(proto::AppendEntriesResponse { payload }))
    }

    async fn stream_append(
        &self,
        request: Request<Streaming<proto::StreamAppendRequest>>,
    ) -> Result<Response<Self::StreamAppendStream>, Status> {
        let running = self.running(request.metadata())?;
        // A bad item ends the stream; skipping it would shift the answers.
        let guard = running.ends.guard();
        let shared = Arc::clone(&running.shared);
        let appends = until_bad(request.into_inner()).inspect(move |append| {
            let _held_as_long_as_the_stream = &guard;
            shared.pace().heard(&append.vote);
        });
        let answers = running
            .raft
            .stream_append(appends)
            .map(|answer| match answer {
                Ok(answer) => Ok(proto::StreamAppendResponse {
                    payload: wire::encode(&answer),
                }),
                Err(error) => Err(stopped(error)),
            });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn request_vote(
        &self,
        request: Request<proto::RequestVoteRequest>,
    ) -> Result<Response<proto::RequestVoteResponse>, Status> {
        let raft = self.raft(request.metadata())?;
        let rpc = wire::decode(&request.get_ref().payload)?;
        let payload = wire::encode(&raft.vote(rpc).await.map_err(stopped)?);
        Ok(Response::new(proto::RequestVoteResponse { payload }))
    }

    async fn request_pre_vote(
        &self,
        request: Request<proto::RequestPreVoteRequest>,
    ) -> Result<Response<proto::RequestPreVoteResponse>, Status> {
        let raft = self.raft(request.metadata())?;
        let rpc = wire::decode(&request.get_ref().payload)?;
        let payload = wire::encode(&raft.pre_vote(rpc).await.map_err(stopped)?);
        Ok(Response::new(proto::RequestPreVoteResponse { payload }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<proto::InstallSnapshotRequest>>,
    ) -> Result<Response<proto::InstallSnapshotResponse>, Status> {
        let raft = self.raft(request.metadata())?;
        let (vote, snapshot) = receive_snapshot(request.into_inner()).await?;
        let answer = raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(stopped)?;
        let payload = wire::encode(&answer);
        Ok(Response::new(proto::InstallSnapshotResponse { payload }))
    }

    async fn transfer_leader(
        &self,
        request: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderResponse>, Status> {
        let raft = self.raft(request.metadata())?;
        let rpc = wire::decode(&request.get_ref().payload)?;
        let answer = raft.handle_transfer_leader(rpc).await.map_err(stopped)?;
        let payload = wire::encode(&answer);
        Ok(Response::new(proto::TransferLeaderResponse { payload }))
    }
}

/// Requests up to the first that is not one.
fn until_bad(
    requests: Streaming<proto::StreamAppendRequest>,
) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 'static {
    requests
        .map(|item| wire::decode(&item?.payload))
        .take_while(|item| future::ready(item.is_ok()))
        .filter_map(|item: Result<_, Status>| future::ready(item.ok()))
}

async fn receive_snapshot(
    mut parts: Streaming<proto::InstallSnapshotRequest>,
) -> Result<(Vote, Snapshot), Status> {
    use proto::install_snapshot_request::Part;
    let first = parts.message().await?.and_then(|request| request.part);
    let Some(Part::Header(header)) = first else {
        return Err(Status::invalid_argument("snapshot without a header"));
    };
    if header.content_bytes > wire::SNAPSHOT_BYTES_MAX {
        return Err(Status::resource_exhausted("snapshot is too large"));
    }
    let (vote, meta): (Vote, SnapshotMeta) = wire::decode(&header.payload)?;
    let mut content = BytesMut::new();
    while let Some(request) = parts.message().await? {
        let Some(Part::Chunk(chunk)) = request.part else {
            return Err(Status::invalid_argument("snapshot with two headers"));
        };
        if (content.len() + chunk.len()) as u64 > header.content_bytes {
            return Err(Status::invalid_argument("snapshot is longer than it said"));
        }
        content.extend_from_slice(&chunk);
    }
    let content: Bytes = content.freeze();
    if content.len() as u64 != header.content_bytes || crc32c::crc32c(&content) != header.checksum {
        return Err(Status::data_loss("snapshot arrived damaged"));
    }
    let snapshot = Snapshot {
        meta,
        snapshot: content,
    };
    Ok((vote, snapshot))
}

fn stopped<E: std::fmt::Display>(error: E) -> Status {
    Status::unavailable(format!("raft stopped: {error}"))
}
