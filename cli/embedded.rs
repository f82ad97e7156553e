//! A whole cluster inside this process: three masters on loopback, a worker
//! per core, one temporary directory for everything.
//!
//! It is the real thing, Raft and sockets included; only the processes are
//! missing. What is not kept is durable all the same, and thrown away at the
//! end.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use vivat_client::{ClientOptions, LeaderClient};
use vivat_master::config::{Listen, MasterConfig};
use vivat_master::process::{Master, MasterHandle};
use vivat_shared::ids::Seat;
use vivat_worker::{Worker, WorkerConfig, WorkerHandle};

use crate::failure::{Failure, chain};

/// Workers of the largest machine.
const WORKERS_MAX: usize = 64;
/// Memory for sort buffers over all workers, in bytes: that of `vivat worker`.
const MEMORY_BYTES: usize = 512 << 20;
/// Below it a worker would spill all the time.
const SLOT_MEMORY_BYTES_MIN: usize = 16 << 20;

/// Tries to remove the directory.
const REMOVE_TRIES_MAX: u32 = 10;
/// Between two of them.
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// A running embedded cluster. Dropping it ends it without good-bye.
pub struct Embedded {
    client: LeaderClient,
    workers: Vec<WorkerHandle>,
    masters: Vec<MasterHandle>,
    directory: TempDir,
}

impl Embedded {
    /// Starts it. There may be no leader yet when this returns.
    ///
    /// # Errors
    ///
    /// A port or the temporary directory cannot be had.
    pub async fn start() -> Result<Self, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("vivat-run-")
            .tempdir()
            .map_err(|error| {
                Failure::failed(format!("cannot make a temporary directory: {error}"))
            })?;
        let masters = start_masters(directory.path()).await?;
        let endpoints: Vec<String> = masters
            .iter()
            .map(|master| master.addresses().client.clone())
            .collect();
        tracing::debug!("masters of the embedded cluster started");
        let workers = start_workers(directory.path(), &endpoints)?;
        Ok(Self {
            client: LeaderClient::new(endpoints, ClientOptions::default()),
            workers,
            masters,
            directory,
        })
    }

    /// A client of it.
    pub fn client(&self) -> &LeaderClient {
        &self.client
    }

    /// Ends it and removes all that it wrote.
    pub async fn stop(self) {
        tracing::debug!("ending the embedded cluster");
        let stops = self.workers.into_iter().map(WorkerHandle::shutdown);
        futures_util::future::join_all(stops).await;
        tracing::debug!("workers of the embedded cluster ended");
        drop(self.masters);
        tracing::debug!("masters of the embedded cluster ended");
        let path = self.directory.keep();
        if let Err(error) = remove(&path).await {
            tracing::warn!(path = %path.display(), error = %error, "left behind");
        }
    }
}

/// Removes the directory. A master's last write may fall into it meanwhile, so
/// it is tried more than once.
async fn remove(path: &Path) -> io::Result<()> {
    let mut tries = 1;
    loop {
        match tokio::fs::remove_dir_all(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound && tries < REMOVE_TRIES_MAX => {
                tries += 1;
                tokio::time::sleep(REMOVE_PAUSE).await;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            ended => return ended,
        }
    }
}

async fn start_masters(directory: &Path) -> Result<Vec<MasterHandle>, Failure> {
    let mut sockets = Vec::new();
    let mut peers = BTreeMap::new();
    for seat in (0..3).map(Seat) {
        let raft = bind()?;
        let address = raft
            .local_addr()
            .map_err(|error| Failure::failed(format!("a socket has no address: {error}")))?;
        peers.insert(seat, address.to_string());
        sockets.push((seat, raft, bind()?));
    }
    let starts = sockets.into_iter().map(|(seat, raft, listen)| {
        let dir = directory.join(format!("master-{}", seat.0));
        let mut config = MasterConfig::new(seat, dir, peers.clone());
        config.raft = Listen::Bound(raft);
        config.listen = Listen::Bound(listen);
        Master::start(config)
    });
    futures_util::future::try_join_all(starts)
        .await
        .map_err(|error| {
            Failure::failed(format!(
                "the embedded cluster did not start: {}",
                chain(&error)
            ))
        })
}

fn start_workers(directory: &Path, endpoints: &[String]) -> Result<Vec<WorkerHandle>, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = cores.min(WORKERS_MAX);
    (0..count)
        .map(|number| {
            let dir = directory.join(format!("worker-{number}"));
            let mut config = WorkerConfig::new(dir, endpoints.to_vec());
            config.slot_memory_bytes = (MEMORY_BYTES / count).max(SLOT_MEMORY_BYTES_MIN);
            // When it is stopped the job has ended, or is not wanted any more.
            config.shutdown_grace = Duration::ZERO;
            Worker::start(config).map_err(|error| {
                Failure::failed(format!(
                    "the embedded cluster did not start: {}",
                    chain(&error)
                ))
            })
        })
        .collect()
}

fn bind() -> Result<TcpListener, Failure> {
    TcpListener::bind("127.0.0.1:0")
        .map_err(|error| Failure::failed(format!("cannot listen on loopback: {error}")))
}
