//! A master process: binds, starts Raft, opens services, and ends in order.
//!
//! The caller's runtime serves clients and workers; Raft and its transport have
//! a runtime of their own, so that no service can starve a heartbeat. `vivat
//! master` runs one of these, the embedded cluster three.
//!
//! Exit codes are the command line's: a port that is taken or a directory in
//! use is 4 ([`StartError::PortInUse`], [`StartError::DirInUse`]), settings that
//! contradict one another are 2, every other failure to start is 1, and a fatal
//! end is 70. After a fatal end the process is to be started again: what was
//! acknowledged is safe, and it recovers from its disk.

mod ending;
mod error;
mod listen;

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use vivat_core::command::LeaderRecord;
use vivat_ground::Listener;
use vivat_shared::ids::{ClusterId, NodeId, Seat};

pub use self::error::{Fatal, StartError};
pub use self::listen::Addresses;
use self::listen::Listeners;
use crate::config::MasterConfig;
use crate::grpc::{self, Services};
use crate::http::metrics::Metrics;
use crate::http::{self, Probe};
use crate::leader::{Gate, LeaderSettings, Lifecycle};
use crate::raft::{Handle, Node, NodeConfig, TransferError};

// A process has ten seconds to end in (L10); three deadlines make nine.
/// For handing leadership over when the process ends.
const HAND_OVER_DEADLINE: Duration = Duration::from_secs(3);
/// For requests that are under way when the process ends, and for all its loops
/// together.
const DRAIN_DEADLINE: Duration = Duration::from_secs(3);
/// For Raft to say why, when what depends on it has ended.
const REASON_DEADLINE: Duration = Duration::from_millis(200);
/// For Raft to stop.
const RAFT_DEADLINE: Duration = Duration::from_secs(3);

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
    pub async fn start(mut config: MasterConfig) -> Result<MasterHandle, StartError> {
        config.validate().map_err(StartError::Config)?;
        let listeners = Listeners::bind(&mut config)?;
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
        let lifecycle = tokio::spawn(lifecycle.run(life.stop.clone()));
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
            lifecycle,
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
    lifecycle: JoinHandle<()>,
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

    /// Its Raft.
    #[must_use]
    pub fn raft(&self) -> &Handle {
        &self.raft
    }

    /// Whether it leads and its services are open.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.gate.is_open()
    }

    /// Waits until the process must end; pending as long as all is well.
    pub async fn fatal(&mut self) -> Fatal {
        if cfg!(vivat_seeded_bug = "ignored-fatal") {
            // Mistake 18: the port stays open over a Raft that is dead.
            return std::future::pending().await;
        }
        let other = tokio::select! {
            reason = self.raft.wait_fatal() => return Fatal::Raft(reason),
            _ = &mut self.services => Fatal::Services,
            _ = &mut self.lifecycle => Fatal::Leadership,
        };
        // What Raft's end took along is not the reason.
        match tokio::time::timeout(REASON_DEADLINE, self.raft.wait_fatal()).await {
            Ok(reason) => Fatal::Raft(reason),
            Err(_elapsed) => other,
        }
    }

    /// Ends in order, within ten seconds: readiness off, leadership handed over
    /// when leading, services closed and drained, Raft stopped.
    pub async fn shutdown(self) {
        self.life.draining.cancel();
        self.hand_over().await;
        self.life.stop.cancel();
        let drained_by = Instant::now() + DRAIN_DEADLINE;
        let loops = self.tasks.into_iter().map(|task| ("a loop", task));
        let first = [("requests", self.services), ("leadership", self.lifecycle)];
        ending::until(drained_by, first.into_iter().chain(loops).collect()).await;
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

async fn start_node(
    config: MasterConfig,
    raft_listener: Listener,
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
        disk: config.disk,
        ground: config.ground,
    });
    Ok(node.await?)
}

async fn serve(services: Services, listener: Listener, stop: CancellationToken) {
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
