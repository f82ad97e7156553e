//! What a leader sees and does about datasets: who has room, who still writes,
//! which blocks want another copy.
//!
//! The directory is in the state. Here is only what is soft: the free space that
//! workers told of, when somebody last wrote to an open dataset, and which
//! copies are being made right now. A new leader gives every open dataset its
//! time anew and looks at all blocks once.

mod copies;
mod reports;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use vivat_core::State;
use vivat_core::command::DataCommand;
use vivat_core::placement::{self, DiskView, Wish};
use vivat_shared::dataset::Holder;
use vivat_shared::ids::{BlockId, DatasetId, WorkerId};

use super::{Leader, LeaderError};
pub use reports::BlockReport;

/// A dataset that is not sealed, and to which nobody wrote for so long, is given
/// up: a client that lives asks for a place for its next block much more often.
pub const OPEN_IDLE: Duration = Duration::from_secs(60);
/// How often the loop looks without being woken.
const TICK: Duration = Duration::from_secs(1);
/// How often all blocks are looked at though nothing has changed: a copy that had
/// no room may have some by now.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Between two looks: with millions of blocks each takes some milliseconds.
const PAUSE: Duration = Duration::from_millis(100);
/// A page of a report may be older than what the log says of a dataset: it was on
/// its way, and its worker made it before. So long nothing is missed in it.
const PAGE_AGE_MAX: Duration = Duration::from_secs(10);

/// What a worker told of its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFigures {
    /// Bytes that blocks may take.
    pub bytes: u64,
    /// Bytes that they take.
    pub used: u64,
}

/// The soft state.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    seen: Mutex<Seen>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    disks: BTreeMap<WorkerId, DiskFigures>,
    /// When an open dataset was last written to, or first seen by this leader.
    touched: BTreeMap<DatasetId, Instant>,
    /// Copies under way, by block and by who gets them.
    copying: BTreeMap<BlockId, WorkerId>,
    /// When a worker's copy of some block of a dataset was last recorded here.
    recorded: BTreeMap<DatasetId, Instant>,
    /// When this leader began to look: what was recorded before, it does not know.
    began: Option<Instant>,
    /// Something changed that may want copies.
    dirty: bool,
    /// Changes which worker comes first, so that load spreads.
    turn: u64,
}

/// Where the next blocks are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceRequest {
    /// The dataset, which is touched by this.
    pub dataset: DatasetId,
    /// Pipelines.
    pub count: usize,
    /// Hops of each.
    pub replicas: usize,
    /// The most bytes of a block.
    pub block_bytes: u64,
    /// Workers that did not answer.
    pub avoid: BTreeSet<WorkerId>,
    /// Host identity of the caller.
    pub near_host: String,
}

impl Desk {
    /// A dataset changed.
    pub(super) fn look_at(&self, dataset: DatasetId) {
        let mut seen = self.seen();
        seen.dirty = true;
        seen.touched.remove(&dataset);
        drop(seen);
        self.wake.notify_one();
    }

    /// Workers came or went.
    pub(super) fn look_at_all(&self) {
        self.seen().dirty = true;
        self.wake.notify_one();
    }

    /// Copies of blocks of a dataset were just recorded.
    pub(super) fn note_recorded(&self, dataset: DatasetId) {
        self.seen().recorded.insert(dataset, Instant::now());
    }

    /// Whether a page that comes now may be older than what is recorded.
    pub(super) fn is_fresh(&self, dataset: DatasetId) -> bool {
        let is_young = |at: &Instant| at.elapsed() < PAGE_AGE_MAX;
        let mut seen = self.seen();
        seen.recorded.retain(|_, at| is_young(at));
        seen.recorded.contains_key(&dataset) || seen.began.as_ref().is_none_or(is_young)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Plain data, whole between any two statements that may panic.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what is due until leadership closes.
pub(super) async fn run(leader: Arc<Leader>) {
    leader.data.look_at_all();
    let mut looked = Instant::now();
    leader.data.seen().began = Some(looked);
    loop {
        leader.give_up_idle().await;
        if looked.elapsed() >= LOOK_AGAIN {
            leader.data.look_at_all();
            looked = Instant::now();
        }
        leader.make_copies();
        tokio::select! {
            () = leader.closed.cancelled() => return,
            () = async {
                tokio::time::sleep(PAUSE).await;
                let woken = leader.data.wake.notified();
                let _or_by_time = tokio::time::timeout(TICK, woken).await;
            } => {}
        }
    }
}

impl Leader {
    /// Notes what a worker said of its disk.
    pub fn note_disk(&self, worker: WorkerId, figures: DiskFigures) {
        let mut seen = self.data.seen();
        let before = seen.disks.insert(worker, figures);
        // A worker that is heard for the first time may take copies that had no place.
        if before.is_none() {
            seen.dirty = true;
        }
    }

    /// Workers came, went or are to go: blocks may want copies.
    pub fn look_at_blocks(&self) {
        self.data.look_at_all();
    }

    /// What each worker said of its disk.
    #[must_use]
    pub fn disks(&self) -> BTreeMap<WorkerId, DiskFigures> {
        self.data.seen().disks.clone()
    }

    /// Somebody writes to an open dataset.
    pub fn touch(&self, dataset: DatasetId) {
        let mut seen = self.data.seen();
        seen.touched.insert(dataset, Instant::now());
    }

    /// The same, and blocks of it are recorded.
    pub fn touch_blocks(&self, dataset: DatasetId) {
        self.touch(dataset);
        self.data.note_recorded(dataset);
    }

    /// Of the datasets, those that are gone for ever: their blocks may go (S15).
    /// Asked by workers that will delete, so only a leader that was confirmed
    /// says so: a deposed one may not have applied what was opened since.
    #[must_use]
    pub fn gone(&self, datasets: impl IntoIterator<Item = DatasetId>) -> Vec<DatasetId> {
        if !self.is_confirmed() {
            return Vec::new();
        }
        self.raft.read(|state| {
            datasets
                .into_iter()
                .filter(|dataset| state.is_gone(*dataset))
                .collect()
        })
    }

    /// Pipelines for the next blocks of a dataset, best first. None has fewer hops
    /// than one; with fewer workers than replicas they have fewer hops.
    pub fn place(&self, request: &PlaceRequest) -> Vec<Vec<Holder>> {
        self.touch(request.dataset);
        let (view, turn) = {
            let mut seen = self.data.seen();
            seen.turn += 1;
            (seen.view(), seen.turn)
        };
        let wish = Wish {
            count: request.count,
            replicas: request.replicas,
            block_bytes: request.block_bytes,
            avoid: &request.avoid,
            near_host: Some(request.near_host.as_str()).filter(|host| !host.is_empty()),
            turn,
        };
        self.raft.read(|state| {
            let pipelines = placement::place(state, &view, &wish);
            let hop = |worker: WorkerId| holder(state, worker);
            pipelines
                .into_iter()
                .map(|workers| workers.into_iter().filter_map(hop).collect())
                .collect()
        })
    }

    /// Gives up datasets that nobody writes any more.
    async fn give_up_idle(&self) {
        let open: Vec<DatasetId> = self.raft.read(|state| state.directory().open().collect());
        let idle: Vec<DatasetId> = {
            let now = Instant::now();
            let mut seen = self.data.seen();
            let touched = &mut seen.touched;
            touched.retain(|dataset, _| open.contains(dataset));
            let is_idle = |dataset: &DatasetId| {
                let since = *touched.entry(*dataset).or_insert(now);
                now.saturating_duration_since(since) >= OPEN_IDLE
            };
            open.into_iter().filter(is_idle).collect()
        };
        for dataset in idle {
            let term = self.term;
            tracing::info!(%dataset, "given up: nobody writes to it");
            let command = DataCommand::AbandonDataset { dataset, term };
            match self.propose_one(command.into()).await {
                Ok(_) | Err(LeaderError::Rejected(_)) => {}
                Err(error) => {
                    tracing::debug!(%dataset, error = %error, "not given up yet");
                    return;
                }
            }
        }
    }
}

impl Seen {
    fn view(&self) -> DiskView {
        let free = |figures: &DiskFigures| figures.bytes.saturating_sub(figures.used);
        DiskView {
            free: self
                .disks
                .iter()
                .map(|(worker, figures)| (*worker, free(figures)))
                .collect(),
        }
    }
}

/// A worker as others reach it, while it is registered.
fn holder(state: &State, worker: WorkerId) -> Option<Holder> {
    state
        .worker(worker)
        .filter(|known| known.is_registered())
        .map(|known| Holder {
            worker,
            address: known.info.address.clone(),
        })
}
