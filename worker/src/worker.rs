//! A worker from its start to its end: puts the parts together and owns them.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use vivat_client::{ClientOptions, LeaderClient};
use vivat_ground::{Ground, Incoming, Listener, Threads, Transport};
use vivat_proto::v1::{
    block_service_server::BlockServiceServer, segment_service_server::SegmentServiceServer,
};
use vivat_shared::ids::{AttemptId, WorkerEpoch};
use vivat_shared::limits::{MESSAGE_BYTES_MAX, SLOTS_MAX};
use vivat_store::{ScrubDriver, StoreError};

use crate::blocks::{self, BlockServer, Blocks, Footing};
use crate::config::{Listen, WorkerConfig};
use crate::core::Core;
use crate::dir::{DirError, WorkerDir};
use crate::held::Held;
use crate::load::Load;
use crate::runner::{Runner, RunnerParts, slots};
use crate::session::{Introduction, Session};
use crate::shuffle::{SegmentServer, Shuffle};

/// What is done after the grace of a shutdown: threads notice within it, also
/// those of slots, who come last when cores are short.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// A connection whose other end vanished is noticed by this.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Bytes on their way in over one connection: several blocks come over it, and
/// one that waits for the disk is not to hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// The directory of blocks, below the worker's.
const STORE_DIR: &str = "store";

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory cannot be used, or another process has it.
    #[error(transparent)]
    Dir(DirError),
    /// The store of blocks below its directory cannot be used.
    #[error("cannot open the blocks of datasets in {}", path.display())]
    Blocks {
        /// Where they lie.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A bound socket cannot be used.
    #[error("cannot use the bound socket")]
    Socket(#[source] std::io::Error),
    /// A setting is out of its bounds.
    #[error("{setting}: {problem}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it may be.
        problem: String,
    },
    /// No thread for a slot or for reading in the background.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

impl StartError {
    /// Whether another worker has the directory.
    #[must_use]
    pub fn is_dir_in_use(&self) -> bool {
        matches!(self, Self::Dir(DirError::InUse { .. }))
    }

    /// Whether somebody has the port.
    #[must_use]
    pub fn is_port_taken(&self) -> bool {
        matches!(self, Self::Listen { source, .. }
            if source.kind() == std::io::ErrorKind::AddrInUse)
    }
}

/// Starts workers.
#[derive(Debug)]
pub struct Worker;

/// A running worker. Dropping it ends the worker without good-bye.
#[derive(Debug)]
pub struct WorkerHandle {
    /// Where it serves segments, as others are told.
    address: String,
    registered: watch::Receiver<Option<WorkerEpoch>>,
    core: Arc<Core>,
    shuffle: Arc<Shuffle>,
    blocks: Blocks,
    grace: Duration,
    stop: CancellationToken,
    /// Why the session gave up, if it did.
    broke: oneshot::Receiver<DirError>,
    /// The session's and the server's task.
    tasks: TaskTracker,
    threads: Vec<JoinHandle<()>>,
    /// Reads blocks in the background; ends when it is dropped.
    scrub: Option<ScrubDriver>,
}

impl Worker {
    /// Starts a worker on the current tokio runtime: several may live in one
    /// process. It registers by itself as soon as there is a leader.
    ///
    /// # Errors
    ///
    /// When directory, address or a setting cannot be used.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(config: WorkerConfig) -> Result<WorkerHandle, StartError> {
        check(&config)?;
        let runtime = Handle::current();
        let dir = open_dir(&config)?;
        let (blocks, scrub) = open_blocks(&config, &runtime)?;
        let transport = config.ground.transport.clone();
        let fetch_memory_bytes = config.fetch_memory_bytes();
        let engine_memory_bytes = config.engine_memory_bytes();
        let (cells, crashed) = dir.running().map_err(StartError::Dir)?;
        let (incoming, address) = listen(config.listen, config.advertise_host)?;
        let core = Arc::new(Core::new(config.slots));
        let leader = leader(config.cluster, &transport);
        let shuffle = Arc::new(Shuffle::new(
            core.clone(),
            dir.clone(),
            leader.clone(),
            (runtime.clone(), transport),
            config.slots,
            fetch_memory_bytes,
        ));
        let runner = Arc::new(Runner::new(RunnerParts {
            core: core.clone(),
            dir: dir.clone(),
            leader: leader.clone(),
            shuffle: shuffle.clone(),
            blocks: blocks.clone(),
            runtime,
            slots: config.slots,
            slot_memory_bytes: engine_memory_bytes,
            segment_compression: config.segment_compression,
            cells,
            catalogue: config.catalogue,
            fail_after: config.fail_after,
            load: Load::new(config.load_probability),
        }));
        let tasks = TaskTracker::new();
        let threads = start_slots(&runner, &config.ground, (config.slots, config.pace), &tasks)?;
        let introduction = introduction(&dir, &address, (config.slots, config.labels));
        let (registered, watched) = watch::channel(None);
        let stop = CancellationToken::new();
        let segments = SegmentServer::new(dir.clone(), watched.clone());
        let session = Session {
            core: core.clone(),
            dir,
            leader,
            runner,
            shuffle: shuffle.clone(),
            blocks: blocks.clone(),
            block_report_interval: config.block_report_interval,
            introduction,
            registered,
        };
        let servers = (segments, BlockServer::new(blocks.clone()));
        tasks.spawn(serve(servers, incoming, stop.clone()));
        let (breaks, broke) = oneshot::channel();
        tasks.spawn(run(session, crashed, stop.clone(), breaks));
        tasks.close();
        Ok(WorkerHandle {
            address,
            registered: watched,
            core,
            shuffle,
            blocks,
            grace: config.shutdown_grace,
            broke,
            stop,
            tasks,
            threads,
            scrub,
        })
    }
}

impl WorkerHandle {
    /// Where it serves segments, `HOST:PORT`, as others are told.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its present registration; none before the first and between two.
    #[must_use]
    pub fn registered(&self) -> watch::Receiver<Option<WorkerEpoch>> {
        self.registered.clone()
    }

    /// The blocks of datasets that it has.
    #[must_use]
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Waits until it ends by itself: when its directory belongs to another
    /// cluster or cannot be used, which is answered, after a panic of its own,
    /// or when its socket fails.
    pub async fn join(&mut self) -> Option<DirError> {
        self.tasks.wait().await;
        self.broke.try_recv().ok()
    }

    /// Ends it: takes nothing new, hands back what has not started, waits for
    /// what runs, up to the grace, and until a leader has the reports.
    pub async fn shutdown(mut self) {
        self.core.change(Held::close);
        let registered = self.registered.borrow().is_some();
        if registered {
            let done = self.core.until(Held::is_empty);
            if tokio::time::timeout(self.grace, done).await.is_err() {
                tracing::warn!("shutdown did not wait for all that runs");
            }
        }
        self.core.change(Held::stop_all);
        self.core.end();
        self.stop.cancel();
        let ended = async {
            self.tasks.wait().await;
            self.shuffle.ended().await;
        };
        if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
            tracing::warn!("a call under way does not end; it is left behind");
        }
        let threads = std::mem::take(&mut self.threads);
        let scrub = self.scrub.take();
        let joined = tokio::task::spawn_blocking(move || {
            drop(scrub);
            for thread in threads {
                // A slot's panics are caught; nothing is to be told here.
                let _ended = thread.join();
            }
        });
        if tokio::time::timeout(LAST_WORDS, joined).await.is_err() {
            tracing::warn!("an attempt does not stop; its thread is left behind");
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.core.change(Held::stop_all);
        self.core.end();
        self.stop.cancel();
    }
}

fn introduction(
    dir: &WorkerDir,
    address: &str,
    (slots, labels): (u32, std::collections::BTreeMap<String, String>),
) -> Introduction {
    Introduction {
        uid: dir.uid().to_owned(),
        address: address.to_owned(),
        slots,
        host: vivat_client::host::identity(),
        labels,
    }
}

fn leader(cluster: Vec<String>, transport: &Transport) -> LeaderClient {
    let options = ClientOptions {
        transport: transport.clone(),
        ..ClientOptions::default()
    };
    LeaderClient::new(cluster, options)
}

fn open_dir(config: &WorkerConfig) -> Result<Arc<WorkerDir>, StartError> {
    let dir = WorkerDir::open(&config.dir).map_err(StartError::Dir)?;
    Ok(Arc::new(dir.on(config.ground.threads)))
}

/// Nothing is read in the background where work is done on the callers' threads.
fn open_blocks(
    config: &WorkerConfig,
    runtime: &Handle,
) -> Result<(Blocks, Option<ScrubDriver>), StartError> {
    let footing = Footing {
        threads: config.ground.threads,
        runtime: runtime.clone(),
        transport: config.ground.transport.clone(),
    };
    let path = config.dir.join(STORE_DIR);
    let blocks = Blocks::open(&path, config.disk_bytes, footing)
        .map_err(|source| StartError::Blocks { path, source })?;
    let scrub = match config.ground.threads {
        Threads::Own if config.scrub_bytes_per_second > 0 => {
            let store = blocks.store().clone();
            let driver = ScrubDriver::start(store, config.scrub_bytes_per_second);
            Some(driver.map_err(StartError::Thread)?)
        }
        Threads::Own | Threads::Callers => None,
    };
    Ok((blocks, scrub))
}

/// The threads to wait for; slots that are tasks have none.
fn start_slots(
    runner: &Arc<Runner>,
    ground: &Ground,
    (count, pace): (u32, fn() -> Duration),
    tasks: &TaskTracker,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    match ground.threads {
        Threads::Own => runner.start(count).map_err(StartError::Thread),
        Threads::Callers => {
            for (kind, cell) in slots(count) {
                tasks.spawn(runner.clone().run_slot_here(kind, cell, pace));
            }
            Ok(Vec::new())
        }
    }
}

fn check(config: &WorkerConfig) -> Result<(), StartError> {
    if config.slots == 0 || config.slots > SLOTS_MAX {
        return Err(StartError::Setting {
            setting: "slots",
            problem: format!("1 to {SLOTS_MAX}"),
        });
    }
    if config.slot_memory_bytes < SLOT_MEMORY_BYTES_MIN {
        return Err(StartError::Setting {
            setting: "memory",
            problem: format!("at least {SLOT_MEMORY_BYTES_MIN} bytes per slot"),
        });
    }
    if config.block_report_interval < BLOCK_REPORT_INTERVAL_MIN {
        return Err(StartError::Setting {
            setting: "block report interval",
            problem: format!("at least {} ms", BLOCK_REPORT_INTERVAL_MIN.as_millis()),
        });
    }
    if config.cluster.is_empty() {
        return Err(StartError::Setting {
            setting: "cluster",
            problem: "at least one master, HOST:PORT".to_owned(),
        });
    }
    Ok(())
}

/// Below it a worker would do little else.
const BLOCK_REPORT_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Below it an attempt would spill at every other record.
const SLOT_MEMORY_BYTES_MIN: usize = 1024 * 1024;

fn listen(listen: Listen, host: Option<String>) -> Result<(Incoming, String), StartError> {
    let listener = match listen {
        Listen::Other(listener) => {
            let address = listener.address().map_err(StartError::Socket)?;
            let incoming = listener.incoming().map_err(StartError::Socket)?;
            return Ok((incoming, address));
        }
        Listen::Bound(listener) => listener,
        Listen::Address(address) => {
            TcpListener::bind(address).map_err(|source| StartError::Listen { address, source })?
        }
    };
    let bound = listener.local_addr().map_err(StartError::Socket)?;
    let incoming = Listener::from(listener).incoming();
    let address = match host {
        Some(host) if host.contains(':') && !host.starts_with('[') => {
            format!("[{host}]:{}", bound.port())
        }
        Some(host) => format!("{host}:{}", bound.port()),
        None => bound.to_string(),
    };
    Ok((incoming.map_err(StartError::Socket)?, address))
}

async fn serve(
    (segments, blocks): (SegmentServer, BlockServer),
    incoming: Incoming,
    stop: CancellationToken,
) {
    // However it ends, the session ends with it, and the other way round.
    let _both = stop.clone().drop_guard();
    let segments = SegmentServiceServer::new(segments)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let blocks = BlockServiceServer::new(blocks)
        .max_decoding_message_size(blocks::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(segments)
        .add_service(blocks)
        .serve_with_incoming(incoming);
    // Readers go elsewhere or come again: nothing is drained.
    tokio::select! {
        served = serving => if let Err(error) = served {
            tracing::error!(error = %error, "the segment server ended");
        },
        () = stop.cancelled() => {}
    }
}

async fn run(
    session: Session,
    crashed: Vec<AttemptId>,
    stop: CancellationToken,
    broke: oneshot::Sender<DirError>,
) {
    let _both = stop.clone().drop_guard();
    let blocks = session.blocks.clone();
    tokio::select! {
        never = blocks.delete_doomed() => match never {},
        error = session.run(crashed) => {
            // Whoever does not wait for the end does not ask for its reason.
            let _unheard = broke.send(error);
        }
        () = stop.cancelled() => {}
    }
}
