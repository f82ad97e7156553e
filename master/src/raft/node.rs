//! Starts a replica and owns what it runs on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::errors::{InitializeError, RaftError};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use vivat_ground::{Ground, Listener, Threads};
use vivat_shared::ids::Seat;

use super::api::{FatalReason, Leadership, StartError};
use super::handle::{Handle, Inner, READS_IN_FLIGHT_MAX};
use super::log::RaftLog;
use super::machine::{Machine, Shared};
use super::network::Network;
use super::peers::Peers;
use super::server::{self, OurRaft, Running};
use super::settings::{self, RaftLimits, Timing};
use super::types::MemberNode;
use super::wire::Target;
use super::{age, duties, early};
use crate::bootstrap::{self, Local};
use crate::disk::{Directory, Disk};
use crate::identity::{Identity, Stage};
use crate::storage::{LogStore, SnapshotStore, StorageError};

/// Threads of Raft's own runtime: the core, and its transport.
const THREADS: usize = 2;
/// For tasks that are in a blocking call when the node ends.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// What a node needs to know.
#[derive(Debug)]
pub struct NodeConfig {
    /// The configured seat.
    pub seat: Seat,
    /// The directory; made if there is none.
    pub dir: PathBuf,
    /// Bound, so that the caller knows the port.
    pub raft_listener: Listener,
    /// The Raft address of every seat, the own one among them: `HOST:PORT`.
    pub peers: BTreeMap<Seat, String>,
    /// Advertised address of the client and worker services.
    pub client_address: String,
    /// Advertised address of the HTTP endpoint, if there is one.
    pub http_address: Option<String>,
    /// Clocks.
    pub timing: Timing,
    /// Bounds.
    pub limits: RaftLimits,
    /// Another disk than the directory.
    pub disk: Option<Arc<dyn Disk>>,
    /// Network, threads and wall clock. Without threads of its own a replica
    /// lives on its caller's runtime, and ends as a crash does with that alone.
    pub ground: Ground,
}

/// A replica. Dropping it ends it without a word, as a crash does.
pub struct Node {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Node {
    /// Starts a replica: takes the directory, recovers what is there, listens,
    /// and joins or forms a cluster, for which it waits as long as it takes.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        settings::validate(&config.timing, &config.limits).map_err(StartError::Config)?;
        if config.ground.threads == Threads::Callers {
            let handle = start(config).await?;
            let runtime = None;
            return Ok(Self { handle, runtime });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads())
            .thread_name("raft")
            .enable_all()
            .build()
            .map_err(io("start raft's runtime"))?;
        // Also when this future is dropped, the runtime must end in the
        // background: it may not be dropped on another one's thread.
        let mut owned = Owned {
            runtime: Some(runtime),
        };
        let starting = owned.spawn(config);
        let outcome = match starting.await {
            Ok(outcome) => outcome,
            Err(error) => Err(StartError::Raft {
                problem: error.to_string(),
            }),
        };
        match outcome {
            Ok(handle) => Ok(Self {
                handle,
                runtime: owned.runtime.take(),
            }),
            Err(error) => {
                // So that the directory is free when the caller hears of it.
                end(owned.runtime.take()).await;
                Err(error)
            }
        }
    }

    /// What the rest of the process holds.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the replica in order, and returns when its directory is free.
    pub async fn stop(mut self) {
        self.handle.shutdown().await;
        end(self.runtime.take()).await;
    }

    /// Ends the replica as a crash does, and returns when its directory is free.
    pub async fn kill(mut self) {
        end(self.runtime.take()).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Owned {
    runtime: Option<Runtime>,
}

impl Owned {
    fn spawn(&self, config: NodeConfig) -> tokio::task::JoinHandle<Result<Handle, StartError>> {
        self.runtime
            .as_ref()
            .expect("it is taken when the start is over")
            .spawn(start(config))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(not(feature = "failpoints"))]
fn threads() -> usize {
    THREADS
}

#[cfg(feature = "failpoints")]
fn threads() -> usize {
    crate::failpoints::raft_threads(THREADS)
}

async fn end(runtime: Option<Runtime>) {
    if let Some(runtime) = runtime {
        let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(END_DEADLINE));
        if ended.await.is_err() {
            tracing::warn!("raft's runtime panicked at its end");
        }
    }
}

/// What is on the disk.
struct Found {
    log: Arc<dyn LogStore>,
    snapshots: Arc<dyn SnapshotStore>,
    identity: Option<Identity>,
    /// Whether Raft has a log or a vote.
    initialized: bool,
}

fn open_disk(seat: Seat, dir: PathBuf, disk: &dyn Disk) -> Result<Found, StartError> {
    let failed = |source: StorageError| match source {
        StorageError::DirInUse { path } => StartError::DirInUse { dir: path },
        source if source.is_damage() => StartError::DiskDamaged { seat, source },
        source => StartError::Storage(source),
    };
    disk.take().map_err(failed)?;
    let identity = disk.identity().map_err(failed)?;
    if let Some(identity) = identity
        && identity.seat != seat
    {
        return Err(StartError::OtherSeat {
            dir,
            configured: seat,
            found: identity.seat,
        });
    }
    let snapshots = disk.snapshots().map_err(failed)?;
    let newest = snapshots.newest().map_err(failed)?;
    let log = disk.log().map_err(failed)?;
    let raft_log = RaftLog::new(Arc::clone(&log));
    let initialized = raft_log.is_initialized().map_err(io("read the vote"))?;
    let loss = raft_log.find_loss(newest.map(|snapshot| snapshot.index));
    let loss = match loss.map_err(io("read the log's marks"))? {
        None if initialized && identity.is_none() => Some("it has no identity beside it".into()),
        found => found,
    };
    if let Some(problem) = loss {
        return Err(failed(StorageError::Damaged {
            what: "the raft log",
            path: dir.join("log"),
            problem,
        }));
    }
    Ok(Found {
        log,
        snapshots,
        identity,
        initialized,
    })
}

async fn start(config: NodeConfig) -> Result<Handle, StartError> {
    let (seat, dir, ground) = (config.seat, config.dir.clone(), config.ground);
    let disk = config
        .disk
        .unwrap_or_else(|| Arc::new(Directory::new(config.dir)));
    let opened = Arc::clone(&disk);
    let open = move || open_disk(seat, dir, &*opened);
    let found = ground.threads.run(open).await;
    let found = found.map_err(io("open the disk"))??;
    let (fatal, _) = watch::channel(None);
    let running = Arc::new(OnceLock::new());
    let local = Arc::new(Local::new(
        seat,
        (disk, ground.threads),
        config.client_address,
        config.http_address,
        found.identity,
        found.initialized,
    ));
    let transport = ground.transport.clone();
    let peers = Arc::new(Peers::new(seat, config.peers.clone(), transport));
    // Before anything else: the peers' first questions must not meet a closed
    // port.
    server::serve(
        config.raft_listener,
        Arc::clone(&local),
        Arc::clone(&running),
        fatal.clone(),
    )
    .map_err(io("listen for raft"))?;
    let identity = bootstrap::form(&local, &peers).await?;
    let parts = Parts {
        identity,
        local,
        peers,
        fatal,
        timing: config.timing,
        limits: config.limits,
        ground,
    };
    let ends = early::StreamEnds::default();
    let (inner, log) = run(parts, found, &running, ends.clone()).await?;
    tokio::spawn(early::run(Arc::clone(&inner), ends));
    tokio::spawn(duties::watch_disk(Arc::clone(&inner), &*log));
    tokio::spawn(duties::watch_core(Arc::clone(&inner), log));
    tokio::spawn(duties::watch_machine(Arc::clone(&inner)));
    tokio::spawn(duties::compare_hashes(Arc::clone(&inner)));
    if identity.stage == Stage::Formed {
        initialize(&inner.raft, &config.peers).await?;
    }
    Ok(Handle { inner })
}

/// What Raft is put together from.
struct Parts {
    identity: Identity,
    local: Arc<Local>,
    peers: Arc<Peers>,
    fatal: watch::Sender<Option<FatalReason>>,
    timing: Timing,
    limits: RaftLimits,
    ground: Ground,
}

async fn run(
    parts: Parts,
    found: Found,
    running: &OnceLock<Running>,
    ends: early::StreamEnds,
) -> Result<(Arc<Inner>, Arc<dyn LogStore>), StartError> {
    let target = Target {
        cluster_id: parts.identity.cluster_id,
        node_id: parts.identity.node_id,
    };
    let config = settings::openraft_config(&parts.timing, &parts.limits);
    let config = Arc::new(config.map_err(StartError::Config)?);
    let shared = Arc::new(Shared::new());
    let peers = Arc::clone(&parts.peers);
    let network = Network::new(target.cluster_id, peers, parts.timing.lease());
    let log = RaftLog::new(Arc::clone(&found.log));
    let threads = parts.ground.threads;
    let machine = Machine::new(Arc::clone(&shared), found.snapshots, threads);
    let raft = OurRaft::build(target.node_id.0, config, network, log, machine)
        .await
        .map_err(|error| refused(&error))?;
    let permits = usize::try_from(parts.limits.in_flight_max).unwrap_or(Semaphore::MAX_PERMITS);
    let inner = Arc::new(Inner {
        identity: parts.identity,
        raft: raft.clone(),
        shared,
        peers: parts.peers,
        local: Arc::clone(&parts.local),
        runtime: tokio::runtime::Handle::current(),
        in_flight: Arc::new(Semaphore::new(permits)),
        reads: Arc::new(Semaphore::new(READS_IN_FLIGHT_MAX as usize)),
        leadership: watch::channel(Leadership::default()).0,
        fatal: parts.fatal,
        stopping: AtomicBool::new(false),
        timing: parts.timing,
        limits: parts.limits,
        age: age::Age::new(),
        given_away: AtomicU64::new(0),
        ground: parts.ground,
    });
    let described = Arc::downgrade(&inner);
    parts.local.set_raft(Box::new(move || {
        described.upgrade().map(|inner| inner.describe())
    }));
    // Set once, here. Calls are answered from now on, and the core runs next.
    let _ = running.set(Running {
        target,
        raft: raft.clone(),
        ends,
        shared: Arc::clone(&inner.shared),
    });
    raft.run();
    Ok((inner, found.log))
}

/// Puts the first membership in the log, once.
async fn initialize(raft: &OurRaft, peers: &BTreeMap<Seat, String>) -> Result<(), StartError> {
    let seats: Vec<Seat> = peers.keys().copied().collect();
    let ids = bootstrap::node_ids(&seats);
    let members: BTreeMap<u64, MemberNode> = peers
        .iter()
        .map(|(seat, address)| {
            let node = MemberNode {
                seat: seat.0,
                raft_address: address.clone(),
            };
            (ids[seat].0, node)
        })
        .collect();
    match raft.initialize(members).await {
        // Nobody leads yet, so nobody is disturbed by standing at once.
        Ok(()) => raft
            .trigger()
            .elect(false)
            .await
            .map_err(|error| refused(&error)),
        // A former start did it.
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(refused(&error)),
    }
}

fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> StartError {
    move |source| StartError::Io { action, source }
}

fn refused(error: &dyn std::error::Error) -> StartError {
    StartError::Raft {
        problem: error.to_string(),
    }
}
