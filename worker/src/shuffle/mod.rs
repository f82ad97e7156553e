//! Moving segments to reduces.
//!
//! Every worker serves the stored bytes of its map outputs as they are, and
//! gathers those of the partitions that it reduces, while maps still run and
//! without occupying a slot. What arrives proves itself by checksums; what
//! cannot be had is reported to the leader, who alone decides whether a map
//! runs again.

mod fetched;
mod gather;
mod gathering;
mod holders;
mod landing;
mod line;
mod locations;
mod memory;
mod order;
mod server;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use vivat_client::LeaderClient;
use vivat_ground::Transport;

use crate::core::Core;
use crate::dir::WorkerDir;
use crate::held::Grant;
use line::Lines;
use memory::Pool;

pub(crate) use fetched::Fetched;
pub(crate) use holders::Holders;
pub(crate) use server::SegmentServer;

/// Reduces that gather or hold what they gathered, per slot; the others wait
/// their turn. What they hold in memory is bounded for all of them together.
const GATHERING_PER_SLOT: usize = 4;

/// What all gatherings of a worker share.
#[derive(Debug)]
pub(crate) struct Shuffle {
    core: Arc<Core>,
    dir: Arc<WorkerDir>,
    leader: LeaderClient,
    lines: Arc<Lines>,
    memory: Arc<Pool>,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Shuffle {
    pub(crate) fn new(
        core: Arc<Core>,
        dir: Arc<WorkerDir>,
        leader: LeaderClient,
        (runtime, transport): (Handle, Transport),
        slots: u32,
        memory_bytes: u64,
    ) -> Self {
        Self {
            core,
            dir,
            leader,
            lines: Lines::new(Holders::new(transport)),
            memory: Pool::new(memory_bytes),
            turns: Arc::new(Semaphore::new(slots as usize * GATHERING_PER_SLOT)),
            tasks: TaskTracker::new(),
            runtime,
        }
    }

    /// Starts to gather the segments of a reduce, beside those it has already;
    /// ends when it has all, or when the attempt is stopped.
    pub(crate) fn fetch(self: &Arc<Self>, grant: Arc<Grant>, fetched: Option<Fetched>) {
        let shuffle = self.clone();
        let gathering = async move {
            let stopped = grant.stopped.clone();
            tokio::select! {
                () = stopped.cancelled() => {}
                () = shuffle.gather(&grant, fetched) => {}
            }
        };
        self.tasks.spawn_on(gathering, &self.runtime);
    }

    /// Waits until no gathering is left; all have been told to stop.
    pub(crate) async fn ended(&self) {
        self.lines.stop();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
