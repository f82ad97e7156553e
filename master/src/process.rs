//! A master process: binds, starts Raft, opens services, and ends in order.
//!
//! The caller's runtime serves clients and workers; Raft and its transport have
//! a runtime of their own, so that no service can starve a heartbeat. `vivat
//! master` runs one of these, the embedded cluster three.
//!
//! Exit codes are the command line's: a port that is taken or a directory in
//! use is 4 ([`StartError::PortInUse`], [`StartError::DirInUse`]), settings that
//! contradict one another are 2, every other failure to start and every fatal
//! end is 1. After a fatal end the process is to be started again: what was
//! acknowledged is safe, and it recovers from its disk.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use vivat_core::command::LeaderRecord;
use vivat_shared::ids::{ClusterId, NodeId, Seat};

use crate::config::{ConfigError, Listen, MasterConfig};
use crate::grpc::{self, Services};
use crate::http::metrics::Metrics;
use crate::http::{self, Probe};
use crate::leader::{Gate, LeaderSettings, Lifecycle};
use crate::raft::{self, FatalReason, Handle, Node, NodeConfig, TransferError};

/// For handing leadership over when the process ends.
const HAND_OVER_DEADLINE: Duration = Duration::from_secs(3);
/// For requests that are under way when the process ends.
const DRAIN_DEADLINE: Duration = Duration::from_secs(3);
/// For Raft to stop.
const RAFT_DEADLINE: Duration = Duration::from_secs(3);

/// Where a master is reached, `HOST:PORT` each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Client and worker services.
    pub client: String,
    /// Raft.
    pub raft: String,
    /// `/livez`, `/readyz`, `/metrics`, if served.
    pub http: Option<String>,
}

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict one another.
    #[error("settings of the master are wrong")]
    Config(#[source] ConfigError),
    /// Another process listens there.
    #[error("{address} is in use by another process")]
    PortInUse {
        /// As configured.
        address: String,
    },
    /// The operating system refuses to listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: String,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// Another process serves the directory.
    #[error("{dir} is in use by another process")]
    DirInUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk is empty, or was, while the peers have a cluster. The message
    /// says what to type.
    #[error(transparent)]
    DiskLost(raft::StartError),
    /// Raft did not start.
    #[error("the master did not start")]
    Raft(#[source] raft::StartError),
}

impl From<raft::StartError> for StartError {
    fn from(error: raft::StartError) -> Self {
        match error {
            raft::StartError::DirInUse { dir } => Self::DirInUse { dir },
            lost @ (raft::StartError::DiskLost { .. } | raft::StartError::DiskDamaged { .. }) => {
                Self::DiskLost(lost)
            }
            other @ (raft::StartError::Config(_)
            | raft::StartError::OtherSeat { .. }
            | raft::StartError::WrongPeer { .. }
            | raft::StartError::Io { .. }
            | raft::StartError::Storage(_)
            | raft::StartError::Raft { .. }) => Self::Raft(other),
        }
    }
}

/// Why a running master must end its process.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// Raft has stopped.
    #[error("this master's Raft has stopped")]
    Raft(#[source] FatalReason),
    /// The services ended by themselves.
    #[error("this master's services have stopped")]
    Services,
}

/// The process; see [`Master::start`].
#[derive(Debug)]
pub struct Master;

impl Master {
    /// Starts a master and returns once its Raft runs and its services answer.
    /// That does not mean that there is a leader yet. Dropping the future, or
    /// the handle, ends everything at once, as a kill would.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then.
    pub async fn start(config: MasterConfig) -> Result<MasterHandle, StartError> {
        config.validate().map_err(StartError::Config)?;
        let listeners = Listeners::bind(&config)?;
        let life = Life::new();
        let stop_on_drop = life.stop.clone().drop_guard();
        let metrics = Arc::new(Metrics::default());
        let running: Arc<OnceLock<http::Running>> = Arc::default();
        let mut tasks = Vec::new();
        // First of all: a master that waits for its peers is alive.
        if let Some(listener) = listeners.http {
            let probe = Probe {
                running: Arc::clone(&running),
                metrics: Arc::clone(&metrics),
                draining: life.draining.clone(),
            };
            tasks.push(spawn_http(probe, listener, life.stop.clone()));
        }
        let settings = LeaderSettings {
            lease: config.lease,
            heartbeat: config.heartbeat,
            quorum_silence_max: config.timing.lease(),
        };
        let addresses = listeners.addresses;
        let node = start_node(config, listeners.raft, &addresses).await?;
        let raft = node.handle();
        let identity = Identity::of(&raft);
        let (lifecycle, gate) = Lifecycle::new(
            raft.clone(),
            settings,
            Arc::clone(&metrics),
            identity.cluster_id,
            LeaderRecord {
                node_id: identity.node_id,
                seat: identity.seat,
                client_address: addresses.client.clone(),
            },
        );
        // The only place that sets it.
        let _first = running.set(http::Running {
            raft: raft.clone(),
            gate: gate.clone(),
        });
        tasks.push(tokio::spawn(lifecycle.run(life.stop.clone())));
        let counting = count_elections(raft.clone(), Arc::clone(&metrics), life.stop.clone());
        tasks.push(tokio::spawn(counting));
        let services = Services {
            raft: raft.clone(),
            gate: gate.clone(),
            metrics,
            cluster: identity.cluster_id,
            seat: identity.seat,
            sent_on: Arc::default(),
        };
        let services = tokio::spawn(serve(services, listeners.client, life.stop.clone()));
        identity.log_start(&addresses);
        Ok(MasterHandle {
            identity,
            addresses,
            node,
            raft,
            gate,
            life,
            services,
            tasks,
            _stop_on_drop: stop_on_drop,
        })
    }
}

/// How the parts of a master are told to end.
struct Life {
    /// Cancelled as soon as the process is asked to end.
    draining: CancellationToken,
    /// Cancelled when everything must end.
    stop: CancellationToken,
}

impl Life {
    fn new() -> Self {
        Self {
            draining: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }
}

/// Who a master is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its seat.
    pub seat: Seat,
    /// Its Raft node id.
    pub node_id: NodeId,
    /// Its cluster.
    pub cluster_id: ClusterId,
}

impl Identity {
    fn of(raft: &Handle) -> Self {
        let status = raft.status();
        Self {
            seat: status.seat,
            node_id: status.node_id,
            cluster_id: status.cluster_id,
        }
    }

    fn log_start(&self, addresses: &Addresses) {
        tracing::info!(
            seat = %self.seat,
            node_id = %self.node_id,
            cluster_id = %self.cluster_id,
            client_address = %addresses.client,
            raft_address = %addresses.raft,
            "master started"
        );
    }
}

/// A running master.
pub struct MasterHandle {
    identity: Identity,
    addresses: Addresses,
    node: Node,
    raft: Handle,
    gate: Gate,
    life: Life,
    services: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
    _stop_on_drop: DropGuard,
}

impl MasterHandle {
    /// Where it is reached.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether it leads and its services are open.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.gate.is_open()
    }

    /// Waits until the process must end; pending as long as all is well.
    pub async fn fatal(&mut self) -> Fatal {
        tokio::select! {
            reason = self.raft.wait_fatal() => Fatal::Raft(reason),
            _ = &mut self.services => Fatal::Services,
        }
    }

    /// Ends in order, within ten seconds: readiness off, leadership handed over
    /// when leading, services closed and drained, Raft stopped.
    pub async fn shutdown(self) {
        self.life.draining.cancel();
        self.hand_over().await;
        self.life.stop.cancel();
        let mut services = self.services;
        if !services.is_finished()
            && tokio::time::timeout(DRAIN_DEADLINE, &mut services)
                .await
                .is_err()
        {
            tracing::warn!("requests under way did not end in time");
            services.abort();
        }
        for task in self.tasks {
            if tokio::time::timeout(DRAIN_DEADLINE, task).await.is_err() {
                tracing::warn!("a task of the master did not end in time");
            }
        }
        if tokio::time::timeout(RAFT_DEADLINE, self.node.stop())
            .await
            .is_err()
        {
            tracing::warn!("raft did not stop in time");
        }
        tracing::info!(seat = %self.identity.seat, "master ended");
    }

    async fn hand_over(&self) {
        if !self.raft.leadership().borrow().is_leader {
            return;
        }
        let transfer = self.raft.transfer_leader(None);
        match tokio::time::timeout(HAND_OVER_DEADLINE, transfer).await {
            Ok(Ok(to)) => tracing::info!(seat = %to, "leadership handed over"),
            // Nobody to hand over to: a cluster of one, or the last to go.
            Ok(Err(TransferError::NoTarget { .. } | TransferError::NotLeader { .. })) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "leadership not handed over"),
            Err(_elapsed) => tracing::warn!("leadership not handed over in time"),
        }
    }
}

/// Sockets of a master, bound before anything else is begun.
struct Listeners {
    client: TcpListener,
    raft: TcpListener,
    http: Option<TcpListener>,
    addresses: Addresses,
}

impl Listeners {
    fn bind(config: &MasterConfig) -> Result<Self, StartError> {
        let advertise = config.advertise.as_deref();
        let (client, client_address) = bind(&config.listen, advertise)?;
        let (raft, raft_address) = bind(&config.raft, advertise)?;
        let http = config
            .http
            .as_ref()
            .map(|listen| bind(listen, advertise))
            .transpose()?;
        let (http, http_address) = http.unzip();
        Ok(Self {
            client,
            raft,
            http,
            addresses: Addresses {
                client: client_address,
                raft: raft_address,
                http: http_address,
            },
        })
    }
}

fn bind(listen: &Listen, advertise: Option<&str>) -> Result<(TcpListener, String), StartError> {
    let address = match listen {
        Listen::Address(address) => address.clone(),
        Listen::Bound(_) => "a bound socket".to_owned(),
    };
    let listener = match listen {
        Listen::Address(address) => TcpListener::bind(address),
        Listen::Bound(listener) => listener.try_clone(),
    };
    let bound = listener.and_then(|listener| {
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    });
    match bound {
        Ok((listener, local)) => Ok((listener, advertised(local, advertise))),
        Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
            Err(StartError::PortInUse { address })
        }
        Err(source) => Err(StartError::Listen { address, source }),
    }
}

/// The name under which others reach a socket. A socket on all interfaces has
/// none of its own; without `--advertise` only this machine can be meant.
fn advertised(local: SocketAddr, advertise: Option<&str>) -> String {
    let port = local.port();
    match advertise {
        Some(host) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        Some(host) => format!("{host}:{port}"),
        None if local.ip().is_unspecified() => format!("127.0.0.1:{port}"),
        None => local.to_string(),
    }
}

async fn start_node(
    config: MasterConfig,
    raft_listener: TcpListener,
    addresses: &Addresses,
) -> Result<Node, StartError> {
    let node = Node::start(NodeConfig {
        seat: config.seat,
        dir: config.dir,
        raft_listener,
        peers: config.peers,
        client_address: addresses.client.clone(),
        http_address: addresses.http.clone(),
        timing: config.timing,
        limits: config.raft_limits,
    });
    Ok(node.await?)
}

async fn serve(services: Services, listener: TcpListener, stop: CancellationToken) {
    if let Err(error) = grpc::serve(services, listener, stop).await {
        tracing::error!(error = &error as &dyn std::error::Error, "services ended");
    }
}

fn spawn_http(probe: Probe, listener: TcpListener, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = http::serve(probe, listener, stop).await {
            tracing::error!(error = %error, "http endpoint ended");
        }
    })
}

async fn count_elections(raft: Handle, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut leadership = raft.leadership();
    let mut term = leadership.borrow_and_update().term;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = leadership.changed() => if changed.is_err() {
                return;
            },
        }
        let now = leadership.borrow_and_update().term;
        if now > term {
            metrics.elections.inc_by(now - term);
            term = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_name_goes_before_the_address_listened_on() {
        let local: SocketAddr = "0.0.0.0:7070".parse().unwrap();
        assert_eq!(
            advertised(local, Some("vivat-0.vivat")),
            "vivat-0.vivat:7070"
        );
        assert_eq!(advertised(local, Some("::1")), "[::1]:7070");
        assert_eq!(advertised(local, None), "127.0.0.1:7070");
    }

    #[test]
    fn taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let refused = bind(&Listen::Address(address.clone()), None);
        assert!(matches!(
            refused,
            Err(StartError::PortInUse { address: named }) if named == address
        ));
    }
}
