//! What runs on the hosts: a master or a worker, as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vivat_ground::{Ground, Threads, WallClock};
use vivat_master::config::{Listen, MasterConfig};
use vivat_master::process::Master;
use vivat_master::raft::RaftLimits;
use vivat_shared::ids::Seat;
use vivat_worker::{Worker, WorkerConfig};

use crate::disk::SimulatedDisk;
use crate::network;
use crate::town::Town;

/// Masters of a cluster.
pub const MASTERS: u32 = 3;
/// Where clients and workers find a master.
pub const CLIENT_PORT: u16 = 7000;
const RAFT_PORT: u16 = 7001;
const SEGMENT_PORT: u16 = 7100;

/// Shorter than by default, so that a run sees more of them.
const LEASE: Duration = Duration::from_secs(4);
const HEARTBEAT: Duration = Duration::from_millis(500);
const SLOTS: u32 = 2;
/// For blocks of datasets.
const DISK_BYTES: u64 = 1024 * 1024 * 1024;
/// An attempt's time, in milliseconds.
const PACE_MS: (u64, u64) = (50, 1_500);

/// A master's host.
pub fn master_name(seat: u32) -> String {
    format!("m{seat}")
}

/// A worker's host.
pub fn worker_name(number: u32) -> String {
    format!("w{number}")
}

/// Where the masters are found.
pub fn endpoints() -> Vec<String> {
    let endpoint = |seat| format!("{}:{CLIENT_PORT}", master_name(seat));
    (0..MASTERS).map(endpoint).collect()
}

/// Small, so that logs are purged and snapshots sent.
fn limits() -> RaftLimits {
    RaftLimits {
        in_flight_max: 16,
        snapshot_interval_entries: 60,
        log_margin_entries: 40,
        ..RaftLimits::default()
    }
}

/// Runs a master until it is crashed from outside.
pub async fn master(seat: u32, disk: SimulatedDisk, town: Town) -> turmoil::Result {
    let name = master_name(seat);
    let raft_of = |seat| (Seat(seat), format!("{}:{RAFT_PORT}", master_name(seat)));
    let peers: BTreeMap<Seat, String> = (0..MASTERS).map(raft_of).collect();
    let mut config = MasterConfig::new(Seat(seat), PathBuf::from(&name), peers);
    config.listen = Listen::Other(network::listen(&name, CLIENT_PORT).await?);
    config.raft = Listen::Other(network::listen(&name, RAFT_PORT).await?);
    config.raft_limits = limits();
    config.lease = LEASE;
    config.heartbeat = HEARTBEAT;
    config.disk = Some(Arc::new(disk));
    let clock = town.clone();
    config.ground = Ground {
        transport: network::transport(&name, &town),
        threads: Threads::Callers,
        clock: WallClock::telling(move || clock.wall_clock_ms(seat)),
    };
    let mut master = match Master::start(config).await {
        Ok(master) => master,
        Err(error) => {
            town.violate("start", format_args!("{name} does not start: {error:?}"));
            return std::future::pending().await;
        }
    };
    let raft = master.raft().clone();
    town.tell(format_args!("{name} runs"));
    town.started(seat, raft);
    let fatal = master.fatal().await;
    town.violate("fatal", format_args!("{name} ends by itself: {fatal:?}"));
    std::future::pending().await
}

/// Runs a worker until it is crashed from outside.
pub async fn worker(number: u32, town: Town) -> turmoil::Result {
    let name = worker_name(number);
    let mut config = WorkerConfig::new(PathBuf::from(&name), endpoints());
    config.slots = SLOTS;
    // Not what the machine's disk has: runs of one seed are to be the same.
    config.disk_bytes = Some(DISK_BYTES);
    config.listen = vivat_worker::Listen::Other(network::listen(&name, SEGMENT_PORT).await?);
    config.ground = Ground {
        transport: network::transport(&name, &town),
        threads: Threads::Callers,
        clock: WallClock::default(),
    };
    config.pace = || Duration::from_millis(rand::random_range(PACE_MS.0..=PACE_MS.1));
    let mut worker = match Worker::start(config) {
        Ok(worker) => worker,
        Err(error) => {
            town.violate("start", format_args!("{name} does not start: {error:?}"));
            return std::future::pending().await;
        }
    };
    town.tell(format_args!("{name} runs"));
    let why = worker.join().await;
    town.violate("fatal", format_args!("{name} ends by itself: {why:?}"));
    std::future::pending().await
}
