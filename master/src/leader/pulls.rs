//! Long polls of workers.
//!
//! A pull says what its worker holds. What is granted to the worker and not
//! held is delivered, whoever granted it and whenever: that one rule serves new
//! grants, lost replies and a dead leader alike, so a grant needs no memory of
//! its own here. What is held and not granted is ordered killed.
//!
//! One pull waits per worker; a newer one supersedes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vivat_core::State;
use vivat_shared::attempt::{Assignment, Broadcast, Work};
use vivat_shared::dataset::LocatedBlock;
use vivat_shared::ids::{AttemptId, TaskKind, WorkerEpoch};
use vivat_shared::limits::MESSAGE_BYTES_MAX;
use vivat_shared::view::JobState;

use super::Leader;
use super::error::LeaderError;
use super::sessions::{Delivery, PullEnd};

/// The longest that a pull may wait.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// What assignments and specifications of one answer may take: half a message,
/// because the sizes are estimates. The rest goes with the next pull.
const DELIVERY_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;
/// An assignment's numbers, tags and lengths, generously.
const ASSIGNMENT_BYTES: usize = 128;
/// A committed part's numbers.
const PART_BYTES: usize = 40;
/// A block's numbers.
const BLOCK_BYTES: usize = 48;

/// What a worker asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Everything it holds: waiting, running, finished and unreported.
    pub held: Vec<AttemptId>,
    /// Attempts that it can take beyond those.
    pub want: u32,
    /// Whether its control slot is free.
    pub control_free: bool,
    /// How long it would wait.
    pub wait: Duration,
}

impl Leader {
    /// Answers as soon as there is something for the worker, else empty when
    /// the wait is over or a newer pull came.
    ///
    /// # Errors
    ///
    /// [`LeaderError::StaleEpoch`], [`LeaderError::NotLeader`] when leadership
    /// closes meanwhile.
    pub async fn pull(
        &self,
        worker: WorkerEpoch,
        request: PullRequest,
    ) -> Result<Delivery, LeaderError> {
        self.hear(worker)?;
        let orders = {
            let mut sessions = self.sessions();
            sessions.supersede(worker);
            sessions.note_held(worker, &request.held);
            sessions.take_orders(worker)
        };
        let mut delivery = self.raft.read(|state| {
            let mut delivery = delivery(state, worker, &request.held);
            delivery.kill = to_kill(state, worker, &request.held);
            delivery
        });
        self.check_kills(&delivery.kill)?;
        delivery.kill.extend(orders.kill);
        delivery.take_back.extend(orders.take_back);
        if !delivery.is_empty() || request.wait.is_zero() {
            return Ok(delivery);
        }
        self.wait_for_work(worker, request).await
    }

    async fn wait_for_work(
        &self,
        worker: WorkerEpoch,
        request: PullRequest,
    ) -> Result<Delivery, LeaderError> {
        let wait = request.wait.min(WAIT_MAX);
        let waiting =
            self.sessions()
                .wait(worker, request.held, request.want, request.control_free);
        let (number, mut answer) = waiting.ok_or(LeaderError::StaleEpoch { worker })?;
        // Something may have been granted between the look above and now.
        self.poke(worker);
        self.wake_scheduler.notify_one();
        let end = tokio::select! {
            biased;
            end = &mut answer => end.ok(),
            () = self.closed.cancelled() => return Err(LeaderError::NotLeader),
            () = tokio::time::sleep(wait) => {
                self.sessions().stop_waiting(worker, number);
                // It may have been answered in the same moment.
                answer.try_recv().ok()
            }
        };
        match end {
            Some(PullEnd::Delivered(delivery)) => Ok(delivery),
            Some(PullEnd::StaleEpoch) => Err(LeaderError::StaleEpoch { worker }),
            Some(PullEnd::Superseded) | None if self.closed.is_cancelled() => {
                Err(LeaderError::NotLeader)
            }
            Some(PullEnd::Superseded) | None => Ok(Delivery::default()),
        }
    }

    /// Answers the waiting pull of a worker if there is something for it.
    ///
    /// Only what is *missing* is looked up again: the list of held attempts is
    /// as old as the pull, and what was reported since must not look unknown.
    pub(super) fn poke(&self, worker: WorkerEpoch) {
        let waiting = self.sessions().waiting_pull(worker);
        let Some((number, held)) = waiting else {
            return;
        };
        let delivery = self.raft.read(|state| delivery(state, worker, &held));
        self.sessions().deliver(worker, number, delivery);
    }
}

/// What is granted to a worker and not held, as far as one message goes.
fn delivery(state: &State, worker: WorkerEpoch, held: &[AttemptId]) -> Delivery {
    let mut delivery = Delivery::default();
    let mut specs = BTreeMap::new();
    let mut rounds = BTreeSet::new();
    let mut bytes = 0;
    for attempt in vivat_core::reconcile(state, worker, held).missing {
        let Some(assignment) = vivat_core::assignment(state, attempt) else {
            continue;
        };
        bytes += assignment_bytes(&assignment);
        // What a round reads goes once, whatever the number of its attempts.
        if rounds.insert(attempt.task.round) {
            bytes += broadcast_bytes(&assignment.work);
        }
        let Some(spec) = vivat_core::job_spec(state, attempt.job()) else {
            continue;
        };
        specs.entry(attempt.job()).or_insert_with(|| {
            bytes += postcard::experimental::serialized_size(spec).unwrap_or(0);
            spec.clone()
        });
        let side_datasets = state.job(attempt.job()).map(vivat_core::side_datasets);
        if let Some(datasets) = side_datasets.filter(|datasets| !datasets.is_empty()) {
            delivery.side_datasets.insert(attempt.job(), datasets);
        }
        delivery.assignments.push(assignment);
        if bytes > DELIVERY_BYTES_MAX {
            break;
        }
    }
    delivery.specs = specs;
    delivery
}

fn assignment_bytes(assignment: &Assignment) -> usize {
    let work = match &assignment.work {
        Work::Plan { .. } | Work::Reduce { .. } => 0,
        Work::Map { file, .. } => file.path.len() + file.display.len() + file.header.len(),
        Work::Close { parts, .. } => blocks_bytes(parts) + parts.len() * PART_BYTES,
        Work::Commit { parts, blocks, .. } => blocks_bytes(blocks) + parts.len() * PART_BYTES,
        Work::Notify { event, .. } => event.name.len() + event.reason.len() + event.output.len(),
    };
    ASSIGNMENT_BYTES + work
}

fn broadcast_bytes(work: &Work) -> usize {
    let broadcast = match work {
        Work::Map { broadcast, .. }
        | Work::Reduce { broadcast, .. }
        | Work::Close { broadcast, .. } => broadcast,
        Work::Plan { .. } | Work::Commit { .. } | Work::Notify { .. } => return 0,
    };
    match broadcast {
        Broadcast::None => 0,
        Broadcast::Inline(bytes) => bytes.len(),
        Broadcast::Stored { blocks, .. } => blocks.iter().map(block_bytes).sum(),
    }
}

fn blocks_bytes(parts: &[Vec<LocatedBlock>]) -> usize {
    parts.iter().flatten().map(block_bytes).sum()
}

fn block_bytes(block: &LocatedBlock) -> usize {
    let holders = block.holders.iter();
    BLOCK_BYTES
        + holders
            .map(|holder| holder.address.len() + 8)
            .sum::<usize>()
}

/// Which of the held attempts the worker must stop.
///
/// An attempt whose outcome was accepted is not granted any more either, and a
/// worker that has not seen the verdict yet still lists it. To kill that one
/// would throw away what counts.
pub(super) fn to_kill(state: &State, worker: WorkerEpoch, held: &[AttemptId]) -> Vec<AttemptId> {
    let mut unknown = vivat_core::reconcile(state, worker, held).unknown;
    unknown.retain(|&attempt| !has_the_outcome(state, worker, attempt));
    unknown
}

/// Whether an attempt's outcome is its task's, or was what ended the job.
pub(super) fn has_the_outcome(state: &State, worker: WorkerEpoch, attempt: AttemptId) -> bool {
    let Some(job) = state.job(attempt.job()) else {
        return false;
    };
    if attempt.task.kind == TaskKind::Commit && job.state() == JobState::Succeeded {
        return true;
    }
    let accepted = job
        .active()
        .and_then(|active| active.table(attempt.task))
        .and_then(|table| table.accepted(attempt.task.index));
    accepted.is_some_and(|accepted| {
        accepted.number == attempt.number && accepted.worker.worker == worker.worker
    })
}
