//! The other masters: where they are, what they last said of themselves, and
//! how to ask them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use vivat_ground::Transport;
use vivat_proto::raft::v1 as proto;
use vivat_proto::raft::v1::peer_service_client::PeerServiceClient;
use vivat_shared::ids::{ClusterId, NodeId, Seat};

use super::api::PeerDescription;
use super::wire;

/// A dead address swallows connection attempts; a live one answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a silent connection may be dead before it is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

fn lazy_channel(transport: &Transport, address: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    Ok(transport.channel(&endpoint))
}

#[derive(Debug)]
struct Peer {
    address: String,
    client: Option<PeerServiceClient<Channel>>,
    last: Option<PeerDescription>,
}

/// See the module. Seats and addresses are fixed by the configuration.
#[derive(Debug)]
pub struct Peers {
    own: Seat,
    transport: Transport,
    peers: Mutex<BTreeMap<Seat, Peer>>,
}

impl Peers {
    /// All seats, the own one among them.
    pub fn new(own: Seat, addresses: BTreeMap<Seat, String>, transport: Transport) -> Self {
        let peers = addresses.into_iter().map(|(seat, address)| {
            let peer = Peer {
                address,
                client: None,
                last: None,
            };
            (seat, peer)
        });
        Self {
            own,
            transport,
            peers: Mutex::new(peers.collect()),
        }
    }

    /// A connection that is made when it is first needed, and again when it broke.
    ///
    /// One for each peer and purpose: a snapshot must not delay a heartbeat.
    ///
    /// # Errors
    ///
    /// When `address` is not `HOST:PORT`.
    pub fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        lazy_channel(&self.transport, address)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Seat, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every configured seat.
    pub fn seats(&self) -> Vec<Seat> {
        self.lock().keys().copied().collect()
    }

    /// Every configured seat but the own.
    pub fn others(&self) -> Vec<Seat> {
        let seats = self.seats().into_iter();
        seats.filter(|seat| *seat != self.own).collect()
    }

    /// The configured Raft address of a seat.
    pub fn address(&self, seat: Seat) -> Option<String> {
        self.lock().get(&seat).map(|peer| peer.address.clone())
    }

    /// What a seat last said of itself.
    pub fn last(&self, seat: Seat) -> Option<PeerDescription> {
        self.lock().get(&seat).and_then(|peer| peer.last.clone())
    }

    /// Asks a peer who it is, and remembers the answer.
    ///
    /// # Errors
    ///
    /// When it does not answer within the deadline.
    pub async fn describe(
        &self,
        seat: Seat,
        deadline: Duration,
    ) -> Result<PeerDescription, Status> {
        let mut client = self.client(seat)?;
        let call = client.describe_master(Request::new(proto::DescribeMasterRequest {}));
        let response = within(deadline, call).await?;
        let description = wire::description_from_proto(response.into_inner())?;
        if let Some(peer) = self.lock().get_mut(&seat) {
            peer.last = Some(description.clone());
        }
        Ok(description)
    }

    /// Gives a peer its identity.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION when it has another one.
    pub async fn adopt(
        &self,
        seat: Seat,
        cluster_id: ClusterId,
        node_id: NodeId,
        deadline: Duration,
    ) -> Result<(), Status> {
        let mut client = self.client(seat)?;
        let request = proto::AdoptClusterRequest {
            cluster_id: cluster_id.to_string(),
            seat: seat.0,
            node_id: node_id.0,
        };
        within(deadline, client.adopt_cluster(Request::new(request))).await?;
        Ok(())
    }

    /// Calls a peer over a connection of its own: an older one, broken, would
    /// not tell whether something listens there now.
    ///
    /// # Errors
    ///
    /// When it does not answer within the deadline; a refused connection is
    /// among the sources.
    pub async fn call_anew(&self, seat: Seat, deadline: Duration) -> Result<(), Status> {
        let address = self
            .address(seat)
            .ok_or_else(|| Status::not_found(format!("no peer has {seat}")))?;
        let mut client = new_client(&self.transport, &address)?;
        let call = client.describe_master(Request::new(proto::DescribeMasterRequest {}));
        within(deadline, call).await?;
        Ok(())
    }

    fn client(&self, seat: Seat) -> Result<PeerServiceClient<Channel>, Status> {
        let mut peers = self.lock();
        let peer = peers
            .get_mut(&seat)
            .ok_or_else(|| Status::not_found(format!("no peer has {seat}")))?;
        if let Some(client) = &peer.client {
            return Ok(client.clone());
        }
        let client = new_client(&self.transport, &peer.address)?;
        peer.client = Some(client.clone());
        Ok(client)
    }
}

fn new_client(transport: &Transport, address: &str) -> Result<PeerServiceClient<Channel>, Status> {
    let channel = lazy_channel(transport, address)
        .map_err(|error| Status::invalid_argument(format!("{address}: {error}")))?;
    Ok(PeerServiceClient::new(channel)
        .max_decoding_message_size(wire::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(wire::MESSAGE_BYTES_MAX))
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(deadline, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}
