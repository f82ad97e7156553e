//! A job: what was asked, and how far it is.
//!
//! ```text
//!   plan --sealed--> work (maps and reduces) --all reduced--> commit --> Succeeded
//!     \____________________\_____________________________________\----> Failed
//!      \____________________\----> Cancelled (not while a commit can go on)
//! ```
//!
//! An ended job keeps no table: a thousand of them must stay small.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vivat_shared::attempt::Counters;
use vivat_shared::cause::JobFailure;
use vivat_shared::dataset::ReplicatedBlock;
use vivat_shared::ids::{
    AttemptId, BlockId, DatasetId, JobId, RoundId, TaskId, TaskKind, WorkerEpoch, WorkerId,
};
use vivat_shared::job::{HostIdentity, JobSpec, OutputLocation, Visibility};
use vivat_shared::limits::COUNTERS_MAX;
use vivat_shared::limits::NAME_BYTES_MAX;
use vivat_shared::view::{AttemptCounts, JobState, TaskCounts};

use super::round::Round;
use super::tasks::TaskTable;
use super::timeline::Span;

/// What an active job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Its plan is not sealed.
    Plan,
    /// Maps and reduces.
    Work,
    /// All is reduced; the output becomes visible.
    Commit,
}

/// How a job ended. Final (S3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobEnd {
    /// The output is visible.
    Succeeded,
    /// It is not.
    Failed(Box<JobFailure>),
    /// Someone asked for it.
    Cancelled,
}

/// One step of a job and its rounds, the last of which is the current one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// At least one.
    pub rounds: Vec<Round>,
}

/// What only a job that has not ended has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// What it is doing.
    pub phase: Phase,
    /// At least one; the last is the current one.
    steps: Vec<Step>,
    /// The commit task; never granted when the output is a dataset.
    pub commit: TaskTable,
    /// The output so far, if it is a dataset.
    pub output: Option<DatasetOutput>,
    /// Granted attempts.
    pub running: u32,
    /// Attempts of the current round that came to nothing, the first of them.
    pub(crate) mishaps: Vec<Span>,
    /// The cluster's age when a map last went to a worker that has its block, or
    /// when the maps began.
    pub local_age_ms: u64,
}

/// An output that will be a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetOutput {
    /// Which.
    pub dataset: DatasetId,
    /// The blocks of every accepted partition.
    pub parts: BTreeMap<u32, Vec<ReplicatedBlock>>,
}

impl DatasetOutput {
    /// The partition that a block of it would be of.
    #[must_use]
    pub fn part_of(id: BlockId) -> Option<u32> {
        u32::try_from(id.index >> 32).ok()
    }

    /// A copy of a block is gone.
    pub(crate) fn drop_holder(&mut self, id: BlockId, worker: WorkerId) {
        let part = Self::part_of(id).and_then(|part| self.parts.get_mut(&part));
        for block in part.into_iter().flatten() {
            if block.summary.id == id {
                block.workers.retain(|holder| *holder != worker);
            }
        }
    }

    /// A worker that nobody remembers any more has nothing.
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        for block in self.parts.values_mut().flatten() {
            block.workers.retain(|holder| *holder != worker);
        }
    }

    /// Whether a worker has any of its blocks.
    pub(crate) fn is_held_by(&self, worker: WorkerId) -> bool {
        let mut blocks = self.parts.values().flatten();
        blocks.any(|block| block.workers.contains(&worker))
    }
}

/// What is left of a job that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub end: JobEnd,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its last round.
    pub round: RoundId,
    /// Map tasks of that round.
    pub maps: TaskCounts,
    /// Reduce tasks of that round.
    pub reduces: TaskCounts,
    /// The commit attempt of which nobody knows what it did: the output of a job
    /// that did not succeed may be visible all the same.
    pub unsettled_commit: Option<AttemptId>,
}

/// Whether a job has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Not yet.
    Active(Box<Active>),
    /// For ever.
    Ended(Box<Ended>),
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which.
    pub id: JobId,
    /// The client's key.
    pub key: Arc<str>,
    /// What was asked; never changes (S14).
    pub spec: Arc<JobSpec>,
    /// Its encoded size when it was accepted.
    pub spec_bytes: u32,
    /// The datasets that its inputs name, in their order; none once it ended.
    pub datasets: Vec<DatasetId>,
    /// The machine whose plain paths it names.
    pub host: Option<HostIdentity>,
    /// When it was accepted, in milliseconds since 1970.
    pub submitted_at_ms: u64,
    /// The cluster's age then: what its time-out counts from.
    pub submitted_age_ms: u64,
    /// When its first attempt was granted.
    pub started_at_ms: Option<u64>,
    /// Attempts of all rounds.
    pub counts: AttemptCounts,
    /// Sums over accepted attempts, each task once.
    pub counters: Counters,
    /// Bytes of input, by the plan.
    pub input_bytes: u64,
    /// Whether it has ended.
    pub stage: Stage,
}

impl Active {
    pub(crate) fn new(job: JobId, spec: &JobSpec) -> Self {
        let id = RoundId {
            job,
            step: 0,
            round: 0,
        };
        let reducers = spec.steps.first().map_or(1, |step| step.reducers);
        Self {
            phase: Phase::Plan,
            steps: vec![Step {
                rounds: vec![Round::new(id, reducers)],
            }],
            commit: TaskTable::new(1),
            output: None,
            running: 0,
            mishaps: Vec::new(),
            local_age_ms: 0,
        }
    }

    /// The current round.
    #[must_use]
    pub fn round(&self) -> &Round {
        self.steps
            .last()
            .and_then(|step| step.rounds.last())
            .expect("a job has a step with a round from its submission on")
    }

    pub(crate) fn round_mut(&mut self) -> &mut Round {
        self.steps
            .last_mut()
            .and_then(|step| step.rounds.last_mut())
            .expect("a job has a step with a round from its submission on")
    }

    /// The table of a task of the current round.
    #[must_use]
    pub fn table(&self, task: TaskId) -> Option<&TaskTable> {
        let round = self.round();
        if task.round != round.id {
            return None;
        }
        match task.kind {
            TaskKind::Plan => Some(&round.planning),
            TaskKind::Map => Some(&round.maps),
            TaskKind::Reduce => Some(&round.reduces),
            TaskKind::Close => None,
            TaskKind::Commit => Some(&self.commit),
        }
    }

    pub(crate) fn table_mut(&mut self, task: TaskId) -> Option<&mut TaskTable> {
        if task.round != self.round().id {
            return None;
        }
        match task.kind {
            TaskKind::Plan => Some(&mut self.round_mut().planning),
            TaskKind::Map => Some(&mut self.round_mut().maps),
            TaskKind::Reduce => Some(&mut self.round_mut().reduces),
            TaskKind::Close => None,
            TaskKind::Commit => Some(&mut self.commit),
        }
    }

    /// Whether tasks of a kind may be granted in this phase.
    #[must_use]
    pub fn wants(&self, kind: TaskKind) -> bool {
        match kind {
            TaskKind::Plan => self.phase == Phase::Plan,
            TaskKind::Map | TaskKind::Reduce => self.phase == Phase::Work,
            TaskKind::Close => false,
            TaskKind::Commit => self.phase == Phase::Commit,
        }
    }

    /// Whether this attempt is granted to this worker (S4).
    #[must_use]
    pub fn is_live(&self, attempt: AttemptId, worker: WorkerEpoch) -> bool {
        self.table(attempt.task)
            .is_some_and(|table| table.is_live(attempt.task.index, attempt.number, worker))
    }

    /// All granted attempts.
    #[must_use]
    pub fn live(&self) -> Vec<(AttemptId, WorkerEpoch)> {
        let round = self.round();
        let tables = [
            (TaskKind::Plan, &round.planning),
            (TaskKind::Map, &round.maps),
            (TaskKind::Reduce, &round.reduces),
            (TaskKind::Commit, &self.commit),
        ];
        tables
            .into_iter()
            .flat_map(|(kind, table)| {
                table.running().map(move |(index, running)| {
                    let task = TaskId {
                        round: round.id,
                        kind,
                        index,
                    };
                    let number = running.number;
                    (AttemptId { task, number }, running.worker)
                })
            })
            .collect()
    }

    /// Whether the point of no return is passed: a commit attempt was granted
    /// at some time, and may have made the output visible.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.commit.granted(0) > 0
    }

    /// Whether some task could be granted now.
    #[must_use]
    pub fn has_grantable(&self) -> bool {
        let round = self.round();
        match self.phase {
            Phase::Plan => round.planning.next_idle(0).is_some(),
            Phase::Work => {
                round.maps.next_idle(0).is_some()
                    || (round.may_fetch() && round.reduces.next_idle(0).is_some())
            }
            Phase::Commit => self.commit.next_idle(0).is_some(),
        }
    }
}

impl Job {
    /// Its state, in the words of the views.
    #[must_use]
    pub fn state(&self) -> JobState {
        match &self.stage {
            Stage::Active(_) if self.started_at_ms.is_none() => JobState::Queued,
            Stage::Active(_) => JobState::Running,
            Stage::Ended(ended) => match ended.end {
                JobEnd::Succeeded => JobState::Succeeded,
                JobEnd::Failed(_) => JobState::Failed,
                JobEnd::Cancelled => JobState::Cancelled,
            },
        }
    }

    /// What it has while it has not ended.
    #[must_use]
    pub fn active(&self) -> Option<&Active> {
        match &self.stage {
            Stage::Active(active) => Some(active),
            Stage::Ended(_) => None,
        }
    }

    pub(crate) fn active_mut(&mut self) -> Option<&mut Active> {
        match &mut self.stage {
            Stage::Active(active) => Some(active),
            Stage::Ended(_) => None,
        }
    }

    /// At which age of the cluster its time is over.
    #[must_use]
    pub fn deadline_age_ms(&self) -> Option<u64> {
        let timeout_ms = self.spec.timeout_ms?;
        Some(self.submitted_age_ms.saturating_add(timeout_ms))
    }

    /// Milliseconds of the cluster's age since its submission; 49 days and more are
    /// as many as fit.
    #[must_use]
    pub fn since_submission_ms(&self, age_ms: u64) -> u32 {
        u32::try_from(age_ms.saturating_sub(self.submitted_age_ms)).unwrap_or(u32::MAX)
    }

    /// Adds an accepted attempt's counters; names beyond the bounds are dropped.
    pub(crate) fn add_counters(&mut self, counters: &Counters) {
        for (name, count) in counters {
            if let Some(sum) = self.counters.get_mut(name) {
                *sum = sum.saturating_add(*count);
            } else if self.counters.len() < COUNTERS_MAX && name.len() <= NAME_BYTES_MAX {
                self.counters.insert(name.clone(), *count);
            }
        }
    }
}

/// The machines whose plain paths a specification names, without repetition.
pub(crate) fn hosts(spec: &JobSpec) -> Vec<&HostIdentity> {
    let output = match &spec.output {
        OutputLocation::Directory { visibility, .. } => Some(visibility),
        OutputLocation::Dataset { .. } | OutputLocation::Objects { .. } => None,
    };
    let mut hosts: Vec<&HostIdentity> = spec
        .inputs
        .iter()
        .map(|input| &input.visibility)
        .chain(output)
        .filter_map(|visibility| match visibility {
            Visibility::Everyone => None,
            Visibility::Host(host) => Some(host),
        })
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}
