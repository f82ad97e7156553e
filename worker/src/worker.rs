//! A worker from its start to its end: puts the parts together and owns them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use vivat_client::{ClientOptions, LeaderClient};
use vivat_ground::{Incoming, Listener, Threads, Transport};
use vivat_proto::v1::segment_service_server::SegmentServiceServer;
use vivat_shared::ids::{AttemptId, WorkerEpoch};
use vivat_shared::limits::{MESSAGE_BYTES_MAX, SLOTS_MAX};

use crate::config::{Listen, WorkerConfig};
use crate::core::Core;
use crate::dir::{DirError, WorkerDir};
use crate::held::Held;
use crate::runner::{Runner, RunnerParts, slots};
use crate::session::{Introduction, Session};
use crate::shuffle::{SegmentServer, Shuffle};

/// What is done after the grace of a shutdown: threads notice within it, also
/// those of slots, who come last when cores are short.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// A connection whose other end vanished is noticed by this.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory cannot be used, or another process has it.
    #[error(transparent)]
    Dir(DirError),
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
    /// No thread for a slot.
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
    grace: Duration,
    stop: CancellationToken,
    /// Why the session gave up, if it did.
    broke: oneshot::Receiver<DirError>,
    /// The session's and the server's task.
    tasks: TaskTracker,
    threads: Vec<JoinHandle<()>>,
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
        let (threads, transport) = (config.ground.threads, config.ground.transport);
        let dir = Arc::new(
            WorkerDir::open(&config.dir)
                .map_err(StartError::Dir)?
                .on(threads),
        );
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
        ));
        let runner = Arc::new(Runner::new(RunnerParts {
            core: core.clone(),
            dir: dir.clone(),
            leader: leader.clone(),
            shuffle: shuffle.clone(),
            runtime,
            slots: config.slots,
            slot_memory_bytes: config.slot_memory_bytes,
            cells,
            catalogue: config.catalogue,
            fail_after: config.fail_after,
        }));
        let tasks = TaskTracker::new();
        let threads = match threads {
            Threads::Own => runner.start(config.slots).map_err(StartError::Thread)?,
            Threads::Callers => start_slots_here(&runner, config.slots, config.pace, &tasks),
        };
        let introduction = Introduction {
            uid: dir.uid().to_owned(),
            address: address.clone(),
            slots: config.slots,
            host: vivat_client::host::identity(),
            labels: config.labels,
        };
        let (registered, watched) = watch::channel(None);
        let stop = CancellationToken::new();
        let server = SegmentServer::new(dir.clone(), watched.clone());
        let session = Session {
            core: core.clone(),
            dir,
            leader,
            runner,
            shuffle: shuffle.clone(),
            introduction,
            registered,
        };
        tasks.spawn(serve(server, incoming, stop.clone()));
        let (breaks, broke) = oneshot::channel();
        tasks.spawn(run(session, crashed, stop.clone(), breaks));
        tasks.close();
        Ok(WorkerHandle {
            address,
            registered: watched,
            core,
            shuffle,
            grace: config.shutdown_grace,
            broke,
            stop,
            tasks,
            threads,
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
        let joined = tokio::task::spawn_blocking(move || {
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

fn leader(cluster: Vec<String>, transport: &Transport) -> LeaderClient {
    let options = ClientOptions {
        transport: transport.clone(),
        ..ClientOptions::default()
    };
    LeaderClient::new(cluster, options)
}

/// Slots as tasks; there is no thread to wait for.
fn start_slots_here(
    runner: &Arc<Runner>,
    count: u32,
    pace: fn() -> Duration,
    tasks: &TaskTracker,
) -> Vec<JoinHandle<()>> {
    for (kind, cell) in slots(count) {
        tasks.spawn(runner.clone().run_slot_here(kind, cell, pace));
    }
    Vec::new()
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
    if config.cluster.is_empty() {
        return Err(StartError::Setting {
            setting: "cluster",
            problem: "at least one master, HOST:PORT".to_owned(),
        });
    }
    Ok(())
}

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

async fn serve(server: SegmentServer, incoming: Incoming, stop: CancellationToken) {
    // However it ends, the session ends with it, and the other way round.
    let _both = stop.clone().drop_guard();
    let service = SegmentServiceServer::new(server)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(service)
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
    tokio::select! {
        error = session.run(crashed) => {
            // Whoever does not wait for the end does not ask for its reason.
            let _unheard = broke.send(error);
        }
        () = stop.cancelled() => {}
    }
}
