//! What a master knows of itself, and tells whoever asks.
//!
//! It is there before Raft, and answers in every state of formation. The
//! identity changes here only, one change at a time, each durable before it is
//! answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Mutex, watch};
use tonic::{Request, Response, Status};
use vivat_ground::Threads;
use vivat_proto::raft::v1 as proto;
use vivat_proto::raft::v1::peer_service_server::PeerService;
use vivat_shared::ids::{ClusterId, NodeId, Seat};

use crate::disk::Disk;
use crate::identity::{Identity, Stage};
use crate::raft::api::{Formation, PeerDescription, PeerRaft, StartError};
use crate::raft::wire;
use crate::storage::StorageError;

/// Tells how Raft is, once it runs.
pub type DescribeRaft = Box<dyn Fn() -> Option<PeerRaft> + Send + Sync>;

/// See the module.
pub struct Local {
    seat: Seat,
    disk: Arc<dyn Disk>,
    threads: Threads,
    client_address: String,
    http_address: Option<String>,
    identity: watch::Sender<Option<Identity>>,
    /// Held while the identity is written.
    writing: Mutex<()>,
    initialized: AtomicBool,
    raft: OnceLock<DescribeRaft>,
}

impl Local {
    /// What the configuration and the disk say.
    pub fn new(
        seat: Seat,
        (disk, threads): (Arc<dyn Disk>, Threads),
        client_address: String,
        http_address: Option<String>,
        identity: Option<Identity>,
        initialized: bool,
    ) -> Self {
        Self {
            seat,
            disk,
            threads,
            client_address,
            http_address,
            identity: watch::channel(identity).0,
            writing: Mutex::new(()),
            initialized: AtomicBool::new(initialized),
            raft: OnceLock::new(),
        }
    }

    /// The configured seat.
    pub fn seat(&self) -> Seat {
        self.seat
    }

    /// The advertised address of the client and worker services.
    pub fn client_address(&self) -> &str {
        &self.client_address
    }

    /// The advertised address of the HTTP endpoint.
    pub fn http_address(&self) -> Option<&str> {
        self.http_address.as_deref()
    }

    /// The identity, once there is one.
    pub fn identity(&self) -> Option<Identity> {
        *self.identity.borrow()
    }

    /// The identity as it changes.
    pub fn watch_identity(&self) -> watch::Receiver<Option<Identity>> {
        self.identity.subscribe()
    }

    /// Whether Raft has a log or a vote.
    pub fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::Acquire)
    }

    /// Says that Raft has one.
    pub fn set_initialized(&self) {
        self.initialized.store(true, Ordering::Release);
    }

    /// Says how to ask Raft. The first call counts.
    pub fn set_raft(&self, describe: DescribeRaft) {
        // A node starts its Raft once.
        let _ = self.raft.set(describe);
    }

    /// Keeps an identity.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub async fn save(&self, identity: Identity) -> Result<(), StartError> {
        let _writing = self.writing.lock().await;
        self.write(identity).await.map_err(StartError::Storage)
    }

    async fn write(&self, identity: Identity) -> Result<(), StorageError> {
        let disk = Arc::clone(&self.disk);
        let written = self.threads.run(move || disk.save_identity(&identity));
        let written = written.await;
        match written {
            Ok(outcome) => outcome?,
            // The runtime is ending, and this call with it.
            Err(_) => return Err(StorageError::Failed),
        }
        self.identity.send_replace(Some(identity));
        Ok(())
    }

    async fn adopt(&self, cluster_id: ClusterId, node_id: NodeId) -> Result<(), Status> {
        let _writing = self.writing.lock().await;
        if let Some(ours) = self.identity() {
            return if ours.cluster_id == cluster_id && ours.node_id == node_id {
                Ok(())
            } else {
                Err(Status::failed_precondition(format!(
                    "{} in cluster {}",
                    ours.node_id, ours.cluster_id
                )))
            };
        }
        if self.is_initialized() {
            return Err(Status::failed_precondition(
                "initialized, without an identity",
            ));
        }
        let identity = Identity {
            cluster_id,
            node_id,
            seat: self.seat,
            stage: Stage::Adopted,
        };
        self.write(identity).await.map_err(|error| {
            tracing::error!(error = %error, "cannot write the identity");
            Status::internal(error.to_string())
        })
    }

    /// What peers are told.
    pub fn describe(&self) -> PeerDescription {
        let identity = self.identity();
        let formation = if self.is_initialized() {
            Formation::Initialized
        } else if identity.is_some() {
            Formation::Adopted
        } else {
            Formation::Pristine
        };
        PeerDescription {
            seat: self.seat,
            formation,
            membership: identity.map(|identity| (identity.cluster_id, identity.node_id)),
            client_address: self.client_address.clone(),
            http_address: self.http_address.clone(),
            pid: std::process::id(),
            raft: self.raft.get().and_then(|describe| describe()),
        }
    }
}

/// Answers for a [`Local`].
pub struct PeerServer {
    local: Arc<Local>,
}

impl PeerServer {
    /// Answers for `local`.
    pub fn new(local: Arc<Local>) -> Self {
        Self { local }
    }
}

#[tonic::async_trait]
impl PeerService for PeerServer {
    async fn describe_master(
        &self,
        _request: Request<proto::DescribeMasterRequest>,
    ) -> Result<Response<proto::DescribeMasterResponse>, Status> {
        let description = self.local.describe();
        Ok(Response::new(wire::description_to_proto(description)))
    }

    async fn adopt_cluster(
        &self,
        request: Request<proto::AdoptClusterRequest>,
    ) -> Result<Response<proto::AdoptClusterResponse>, Status> {
        let request = request.into_inner();
        if request.seat != self.local.seat.0 {
            return Err(Status::failed_precondition(self.local.seat.to_string()));
        }
        let cluster_id: ClusterId = request
            .cluster_id
            .parse()
            .map_err(|_| Status::invalid_argument("not a cluster id"))?;
        if request.node_id == 0 {
            return Err(Status::invalid_argument("not a node id"));
        }
        self.local
            .adopt(cluster_id, NodeId(request.node_id))
            .await?;
        Ok(Response::new(proto::AdoptClusterResponse {}))
    }
}
