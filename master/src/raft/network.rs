//! openraft's network over gRPC: the calling side.
//!
//! Every call has openraft's deadline, names its target, and goes over a
//! connection of its own purpose. Whatever fails is `Unreachable`, which makes
//! openraft pause before it tries again; nothing here retries.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, future};
use openraft::base::BoxFuture;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use serde::de::DeserializeOwned;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use vivat_proto::raft::v1 as proto;
use vivat_proto::raft::v1::raft_service_client::RaftServiceClient;
use vivat_shared::ids::{ClusterId, NodeId, Seat};

use super::peers::Peers;
use super::types::{MemberNode, Snapshot, TypeConfig, Vote};
use super::wire::{self, Target};

type C = TypeConfig;
type Failure = RPCError<C>;

/// Makes connections.
pub struct Network {
    cluster_id: ClusterId,
    peers: Arc<Peers>,
    /// A follower that owes an answer on a stream for this long is given up.
    stall: Duration,
}

impl Network {
    /// For one cluster.
    pub fn new(cluster_id: ClusterId, peers: Arc<Peers>, stall: Duration) -> Self {
        Self {
            cluster_id,
            peers,
            stall,
        }
    }
}

impl RaftNetworkFactory<C> for Network {
    type Network = Connection;

    // openraft calls this for each purpose by itself: log, heartbeat, snapshot.
    async fn new_client(&mut self, target: u64, node: &MemberNode) -> Connection {
        let configured = self.peers.address(Seat(node.seat));
        let address = configured.unwrap_or_else(|| node.raft_address.clone());
        let target = Target {
            cluster_id: self.cluster_id,
            node_id: NodeId(target),
        };
        let client = self.peers.channel(&address).map(|channel| {
            RaftServiceClient::new(channel)
                .max_decoding_message_size(wire::MESSAGE_BYTES_MAX)
                .max_encoding_message_size(wire::MESSAGE_BYTES_MAX)
        });
        Connection {
            client: client.map_err(|error| format!("{address}: {error}")),
            target,
            stall: self.stall,
        }
    }
}

/// One connection to one peer for one purpose.
pub struct Connection {
    client: Result<RaftServiceClient<Channel>, String>,
    target: Target,
    stall: Duration,
}

impl Connection {
    fn client(&self) -> Result<RaftServiceClient<Channel>, Failure> {
        self.client
            .clone()
            .map_err(|problem| unreachable(&io::Error::new(io::ErrorKind::InvalidInput, problem)))
    }

    fn request<T>(&self, message: T, option: &RPCOption) -> Request<T> {
        let mut request = Request::new(message);
        self.target.write(request.metadata_mut());
        // For the server; the caller's own clock is below.
        request.set_timeout(option.soft_ttl());
        request
    }
}

impl RaftNetworkV2<C> for Connection {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<C>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<C>, Failure> {
        let message = proto::AppendEntriesRequest {
            payload: wire::encode(&rpc),
        };
        let request = self.request(message, &option);
        let mut client = self.client()?;
        let response = within(option.soft_ttl(), client.append_entries(request)).await?;
        decoded(&response.payload)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<C>, Failure>>, Failure>>
    where
        S: Stream<Item = AppendEntriesRequest<C>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(self.open_stream(input, option))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<C>,
        option: RPCOption,
    ) -> Result<VoteResponse<C>, Failure> {
        let message = proto::RequestVoteRequest {
            payload: wire::encode(&rpc),
        };
        let request = self.request(message, &option);
        let mut client = self.client()?;
        let response = within(option.soft_ttl(), client.request_vote(request)).await?;
        decoded(&response.payload)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<C>,
        option: RPCOption,
    ) -> Result<VoteResponse<C>, Failure> {
        let message = proto::RequestPreVoteRequest {
            payload: wire::encode(&rpc),
        };
        let request = self.request(message, &option);
        let mut client = self.client()?;
        let response = within(option.soft_ttl(), client.request_pre_vote(request)).await?;
        decoded(&response.payload)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<C>, StreamingError<C>> {
        let header = proto::SnapshotHeader {
            payload: wire::encode(&(vote, &snapshot.meta)),
            content_bytes: snapshot.snapshot.len() as u64,
            checksum: crc32c::crc32c(&snapshot.snapshot),
        };
        let parts = snapshot_parts(header, snapshot.snapshot);
        let request = self.request(stream::iter(parts), &option);
        let mut client = self.client()?;
        let call = within(option.soft_ttl(), client.install_snapshot(request));
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            response = call => Ok(decoded(&response?.payload)?),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<C>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<C>, Failure> {
        let message = proto::TransferLeaderRequest {
            payload: wire::encode(&rpc),
        };
        let request = self.request(message, &option);
        let mut client = self.client()?;
        let response = within(option.soft_ttl(), client.transfer_leader(request)).await?;
        decoded(&response.payload)
    }
}

type Answers<'s> = BoxStream<'s, Result<StreamAppendResult<C>, Failure>>;

impl Connection {
    /// Opens a stream of appends.
    ///
    /// openraft sleeps its pauses inside `input`, and gRPC does not poll a
    /// call's input until it is connected. So the first item is awaited before
    /// the connection is made: otherwise a dead peer is called in a hot loop.
    async fn open_stream<'s, S>(
        &'s self,
        mut input: S,
        option: RPCOption,
    ) -> Result<Answers<'s>, Failure>
    where
        S: Stream<Item = AppendEntriesRequest<C>> + OptionalSend + Unpin + 'static,
    {
        let Some(first) = input.next().await else {
            return Ok(stream::empty().boxed());
        };
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let messages = stream::once(future::ready(first))
            .chain(input)
            .map(move |rpc| {
                counted.fetch_add(1, Ordering::Relaxed);
                proto::StreamAppendRequest {
                    payload: wire::encode(&rpc),
                }
            });
        // No deadline in the metadata: it would end the stream, not an answer.
        let mut request = Request::new(messages);
        self.target.write(request.metadata_mut());
        let mut client = self.client()?;
        let answers = within(option.soft_ttl(), client.stream_append(request)).await?;
        let state = Inbound {
            answers,
            sent,
            received: 0,
            stall: self.stall.max(option.soft_ttl()),
        };
        Ok(stream::unfold(Some(state), next_answer).boxed())
    }
}

struct Inbound {
    answers: Streaming<proto::StreamAppendResponse>,
    sent: Arc<AtomicU64>,
    received: u64,
    stall: Duration,
}

/// The next answer; the stream ends after the first error.
async fn next_answer(
    state: Option<Inbound>,
) -> Option<(Result<StreamAppendResult<C>, Failure>, Option<Inbound>)> {
    let mut state = state?;
    loop {
        let owed = state.sent.load(Ordering::Relaxed) > state.received;
        match tokio::time::timeout(state.stall, state.answers.message()).await {
            Ok(Ok(Some(answer))) => {
                state.received += 1;
                return match decoded::<StreamAppendResult<C>>(&answer.payload) {
                    Ok(result) => Some((Ok(result), Some(state))),
                    Err(failure) => Some((Err(failure), None)),
                };
            }
            Ok(Ok(None)) => return None,
            Ok(Err(status)) => return Some((Err(unreachable(&status)), None)),
            // Only silence that began with an answer due is a failure.
            Err(_) if owed => {
                let status = Status::deadline_exceeded("follower owes an answer");
                return Some((Err(unreachable(&status)), None));
            }
            Err(_) => {}
        }
    }
}

fn snapshot_parts(
    header: proto::SnapshotHeader,
    content: Bytes,
) -> impl Iterator<Item = proto::InstallSnapshotRequest> {
    use proto::install_snapshot_request::Part;
    let chunks = (0..content.len())
        .step_by(wire::SNAPSHOT_CHUNK_BYTES)
        .map(move |start| {
            let end = content.len().min(start + wire::SNAPSHOT_CHUNK_BYTES);
            Part::Chunk(content.slice(start..end))
        });
    std::iter::once(Part::Header(header))
        .chain(chunks)
        .map(|part| proto::InstallSnapshotRequest { part: Some(part) })
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    let outcome = match tokio::time::timeout(deadline, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    };
    match outcome {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(unreachable(&status)),
    }
}

fn decoded<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Failure> {
    wire::decode(payload).map_err(|status| unreachable(&status))
}

fn unreachable<E: std::error::Error + 'static>(error: &E) -> Failure {
    RPCError::Unreachable(Unreachable::new(error))
}
