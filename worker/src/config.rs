//! What a worker is told at its start.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use vivat_engine::SegmentCompression;
use vivat_ground::{Ground, Listener};
use vivat_programs::ProgramEntry;

/// Default memory of one slot, in bytes: 256 MiB.
pub const SLOT_MEMORY_BYTES_DEFAULT: usize = 256 * 1024 * 1024;

/// Default time between two reports of all blocks.
pub const BLOCK_REPORT_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// Default rate of reading in the background, 20 MiB a second: a tenth of what a
/// disk gives, and a terabyte in 15 hours.
pub const SCRUB_BYTES_PER_SECOND_DEFAULT: u64 = 20 * 1024 * 1024;

/// Where a worker serves its segments and blocks.
#[derive(Debug)]
pub enum Listen {
    /// An address to bind; port 0 takes a free one.
    Address(SocketAddr),
    /// A socket that is bound already, so that nobody can take its port.
    Bound(TcpListener),
    /// On another network than the machine's.
    Other(Listener),
}

/// Settings of one worker.
#[derive(Debug)]
pub struct WorkerConfig {
    /// Its directory, its own; created when missing.
    pub dir: PathBuf,
    /// The masters, `HOST:PORT`; any subset will do.
    pub cluster: Vec<String>,
    /// Attempts that it runs at once, 1 to [`vivat_shared::limits::SLOTS_MAX`].
    pub slots: u32,
    /// Bytes of memory per slot: three quarters for the records of the attempt
    /// that runs, one for segments fetched for reduces that are about to run.
    pub slot_memory_bytes: usize,
    /// How it compresses the segments and spills that it writes. It reads all kinds.
    pub segment_compression: SegmentCompression,
    /// Bytes that blocks of datasets may take on the disk. When nothing is said,
    /// four fifths of what is free at the start and of what they take already:
    /// the rest is for segments, spills and other users of the disk. Whatever is
    /// said, 1 % of the file system stays free.
    pub disk_bytes: Option<u64>,
    /// How often it tells the leader of all blocks that it has: what single
    /// messages failed to tell is mended after so long.
    pub block_report_interval: Duration,
    /// Bytes a second that are read to find copies that went bad; 0 reads none.
    pub scrub_bytes_per_second: u64,
    /// Where it serves segments and blocks.
    pub listen: Listen,
    /// The host name or address under which others reach it; the bound address
    /// when none is given.
    pub advertise_host: Option<String>,
    /// `key=value` labels, for people and placement.
    pub labels: BTreeMap<String, String>,
    /// The programs that it can run: the built-in ones, unless a test brings
    /// its own. What it does not have fails a job by its name.
    pub catalogue: &'static [ProgramEntry],
    /// Ends the process, hard, when so many attempts have run: fault tests.
    pub fail_after: Option<u32>,
    /// Behave as a busy machine, 0 to 1: with that probability an attempt begins
    /// three seconds late, and one of a job that goes by least-loaded is handed back.
    pub load_probability: f64,
    /// How long a shutdown waits for what runs.
    pub shutdown_grace: Duration,
    /// Network and threads. Without threads of its own a worker runs attempts in
    /// tasks, each after the time that [`WorkerConfig::pace`] gives it.
    pub ground: Ground,
    /// How long an attempt takes where work itself takes no time.
    pub pace: fn() -> Duration,
}

/// One part in so many of a worker's memory is for fetched segments.
const FETCH_SHARE: usize = 4;

impl WorkerConfig {
    /// What the engine has for one attempt.
    pub(crate) fn engine_memory_bytes(&self) -> usize {
        self.slot_memory_bytes - self.slot_memory_bytes / FETCH_SHARE
    }

    /// What there is for fetched segments, over all slots.
    pub(crate) fn fetch_memory_bytes(&self) -> u64 {
        (self.slot_memory_bytes / FETCH_SHARE) as u64 * u64::from(self.slots)
    }

    /// The defaults: a slot, any free port on loopback.
    #[must_use]
    pub fn new(dir: PathBuf, cluster: Vec<String>) -> Self {
        Self {
            dir,
            cluster,
            slots: 1,
            slot_memory_bytes: SLOT_MEMORY_BYTES_DEFAULT,
            segment_compression: SegmentCompression::default(),
            disk_bytes: None,
            block_report_interval: BLOCK_REPORT_INTERVAL_DEFAULT,
            scrub_bytes_per_second: SCRUB_BYTES_PER_SECOND_DEFAULT,
            listen: Listen::Address(SocketAddr::from(([127, 0, 0, 1], 0))),
            advertise_host: None,
            labels: BTreeMap::new(),
            catalogue: vivat_programs::catalogue(),
            fail_after: None,
            load_probability: 0.0,
            shutdown_grace: Duration::from_secs(5),
            ground: Ground::default(),
            pace: || Duration::ZERO,
        }
    }
}
