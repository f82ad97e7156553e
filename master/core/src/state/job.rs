//! A job: what was asked, and how far it is.
//!
//! ```text
//!         +---------------- next step ---------------+
//!         v        +----- again: next round -----+   |
//!   plan --sealed--> work (maps and reduces) --> close --> commit --> Succeeded
//!     \____________________\______________________\___________\----> Failed
//!      \____________________\______________________\----> Cancelled (not while
//!                                                             a commit can go on)
//! ```
//!
//! A retry takes a job that failed or was cancelled back to the beginning of the
//! round that did not end.
//!
//! A step that does not close goes from work to what comes after it. A close goes
//! back to work when a block of the round's output is lost. Only the current round
//! has tables; of those before it remain what they wrote, what they handed on, and
//! a line of history.
//!
//! An ended job keeps no table: a thousand of them must stay small.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vivat_shared::attempt::{Counters, OutputIdentity, SkippedRecord, counters};
use vivat_shared::cause::JobFailure;
use vivat_shared::dataset::ReplicatedBlock;
use vivat_shared::ids::{
    AttemptId, BlockId, DatasetId, JobId, RoundId, TaskId, TaskKind, WorkerEpoch, WorkerId,
};
use vivat_shared::job::{HostIdentity, JobSpec, OutputLocation, StepSpec, Visibility};
use vivat_shared::limits::COUNTERS_MAX;
use vivat_shared::limits::NAME_BYTES_MAX;
use vivat_shared::logs::log_dataset;
use vivat_shared::view::{AttemptCounts, JobState, TaskCounts};

use super::history::History;
use super::logs::Logs;
use super::notice::Notice;
use super::resume::{Resume, SumsBefore};
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
    /// All of the round is reduced, and it is judged.
    Close,
    /// All is reduced; the output becomes visible.
    Commit,
}

/// How a job ended. Final (S3), unless somebody asks for a retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobEnd {
    /// The output is visible.
    Succeeded,
    /// It is not.
    Failed(Box<JobFailure>),
    /// Someone asked for it.
    Cancelled,
}

/// What the tasks of a round read beside their input.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HandedOn {
    /// Nothing.
    #[default]
    Nothing,
    /// These bytes.
    Inline(Arc<[u8]>),
    /// A dataset without a name, which the job reads.
    Stored(DatasetId),
}

/// What only a job that has not ended has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// What it is doing.
    pub phase: Phase,
    /// The current round.
    round: Round,
    /// The commit task; never granted when the output is a dataset.
    pub commit: TaskTable,
    /// What the round has written so far, if it writes into a dataset.
    pub output: Option<DatasetOutput>,
    /// Where the round's close puts a broadcast that is too large to be inline;
    /// from the time that the round is closed.
    pub close_output: Option<DatasetId>,
    /// What the round reads beside its input.
    pub handed_on: HandedOn,
    /// What the step before wrote, if the current one reads it.
    pub previous: Option<DatasetId>,
    /// What the last step's last round wrote, to be copied to where the output goes.
    pub written: Option<DatasetId>,
    /// What the first plan found at the output.
    pub replaces: Option<OutputIdentity>,
    /// Granted attempts.
    pub running: u32,
    /// Attempts of the current round that came to nothing, the first of them.
    pub(crate) mishaps: Vec<Span>,
    /// The cluster's age when a map last went to a worker that has its block, or
    /// when the maps began.
    pub local_age_ms: u64,
    /// What had been accepted when the current round began.
    pub before: SumsBefore,
    /// The number after which its tasks' attempts are counted.
    pub numbers_from: u16,
    /// A commit attempt, before a retry, of which nobody knows what it did.
    pub unsettled: Option<AttemptId>,
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
    pub(crate) fn new(dataset: DatasetId) -> Self {
        Self {
            dataset,
            parts: BTreeMap::new(),
        }
    }

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
    /// What a retry begins with; none of a job that succeeded.
    pub resume: Option<Box<Resume>>,
}

/// Whether a job has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Not yet.
    Active(Box<Active>),
    /// For ever, unless it is retried.
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
    /// The datasets that its side files name, in their order; none once it ended.
    pub side_datasets: Vec<DatasetId>,
    /// The machine whose plain paths it names.
    pub host: Option<HostIdentity>,
    /// When it was accepted, in milliseconds since 1970.
    pub submitted_at_ms: u64,
    /// The cluster's age then: what times of its attempts count from.
    pub submitted_age_ms: u64,
    /// When its first attempt was granted.
    pub started_at_ms: Option<u64>,
    /// Attempts of all rounds.
    pub counts: AttemptCounts,
    /// Sums over accepted attempts, each task once.
    pub counters: Counters,
    /// Bytes of input, by the plan.
    pub input_bytes: u64,
    /// Rounds that are over.
    pub history: History,
    /// Records that were skipped.
    pub skipped_records: u64,
    /// The first of them.
    pub skipped: Vec<SkippedRecord>,
    /// Attempts that failed or left a log.
    pub logs: Logs,
    /// How often it ended.
    pub endings: u32,
    /// The telling of its last end, if somebody is to be told.
    pub notice: Option<Notice>,
    /// How often it was retried.
    pub retries: u32,
    /// The key of the last retry.
    pub retry_key: Option<Arc<str>>,
    /// The cluster's age when it was accepted, or retried last: what its time-out
    /// counts from.
    pub begun_age_ms: u64,
    /// The highest number of an attempt of the rounds that are over.
    pub numbers: u16,
    /// Whether it has ended.
    pub stage: Stage,
}

impl Active {
    /// At the beginning of a round, whose attempts are counted after a number.
    pub(crate) fn new(id: RoundId, spec: &JobSpec, age_ms: u64, numbers_from: u16) -> Self {
        let step = spec.steps.get(usize::from(id.step));
        let reducers = step.map_or(1, |step| step.reducers);
        Self {
            phase: Phase::Plan,
            round: Round::new(id, reducers, age_ms, numbers_from),
            commit: TaskTable::new(1, numbers_from),
            output: None,
            close_output: None,
            handed_on: HandedOn::Nothing,
            previous: None,
            written: None,
            replaces: None,
            running: 0,
            mishaps: Vec::new(),
            local_age_ms: 0,
            before: SumsBefore::default(),
            numbers_from,
            unsettled: None,
        }
    }

    /// The current round.
    #[must_use]
    pub fn round(&self) -> &Round {
        &self.round
    }

    pub(crate) fn round_mut(&mut self) -> &mut Round {
        &mut self.round
    }

    /// Datasets of its own that it reads: they go with it.
    pub(crate) fn owned(&self) -> impl Iterator<Item = DatasetId> {
        let stored = match self.handed_on {
            HandedOn::Stored(dataset) => Some(dataset),
            HandedOn::Nothing | HandedOn::Inline(_) => None,
        };
        [self.previous, self.written, stored].into_iter().flatten()
    }

    /// Datasets that it writes into, and that are not there yet.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = DatasetId> {
        let output = self.output.as_ref().map(|output| output.dataset);
        output.into_iter().chain(self.close_output)
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
            TaskKind::Close => Some(&round.close),
            TaskKind::Commit => Some(&self.commit),
            TaskKind::Notify => None,
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
            TaskKind::Close => Some(&mut self.round_mut().close),
            TaskKind::Commit => Some(&mut self.commit),
            TaskKind::Notify => None,
        }
    }

    /// Whether tasks of a kind may be granted in this phase.
    #[must_use]
    pub fn wants(&self, kind: TaskKind) -> bool {
        match kind {
            TaskKind::Plan => self.phase == Phase::Plan,
            TaskKind::Map | TaskKind::Reduce => self.phase == Phase::Work,
            TaskKind::Close => self.phase == Phase::Close,
            TaskKind::Commit => self.phase == Phase::Commit,
            TaskKind::Notify => false,
        }
    }

    /// Whether this attempt is granted to this worker (S4).
    #[must_use]
    pub fn is_live(&self, attempt: AttemptId, worker: WorkerEpoch) -> bool {
        self.table(attempt.task)
            .is_some_and(|table| table.is_live(attempt.task.index, attempt.number, worker))
    }

    /// The highest number of an attempt of the current round.
    pub(crate) fn highest_number(&self) -> u16 {
        let round = self.round();
        [
            &round.planning,
            &round.maps,
            &round.reduces,
            &round.close,
            &self.commit,
        ]
        .into_iter()
        .map(TaskTable::highest_granted)
        .fold(0, u16::max)
    }

    /// All granted attempts.
    #[must_use]
    pub fn live(&self) -> Vec<(AttemptId, WorkerEpoch)> {
        let round = self.round();
        let tables = [
            (TaskKind::Plan, &round.planning),
            (TaskKind::Map, &round.maps),
            (TaskKind::Reduce, &round.reduces),
            (TaskKind::Close, &round.close),
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
        self.commit.was_granted(0)
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
            Phase::Close => round.close.next_idle(0).is_some(),
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
        Some(self.begun_age_ms.saturating_add(timeout_ms))
    }

    /// Milliseconds of the cluster's age since its submission; 49 days and more are
    /// as many as fit.
    #[must_use]
    pub fn since_submission_ms(&self, age_ms: u64) -> u32 {
        u32::try_from(age_ms.saturating_sub(self.submitted_age_ms)).unwrap_or(u32::MAX)
    }

    /// The datasets that it must find as long as it has not ended (S15), what it
    /// keeps for a retry, and its logs.
    pub(crate) fn reads(&self) -> BTreeSet<DatasetId> {
        let given = self.datasets.iter().chain(&self.side_datasets).copied();
        let owned = self.active().into_iter().flat_map(Active::owned);
        let kept = self.resume().into_iter().flat_map(Resume::owned);
        let logs = self.logs.stored.then(|| log_dataset(self.id));
        given.chain(owned).chain(kept).chain(logs).collect()
    }

    /// What a retry would begin with.
    #[must_use]
    pub fn resume(&self) -> Option<&Resume> {
        match &self.stage {
            Stage::Active(_) => None,
            Stage::Ended(ended) => ended.resume.as_deref(),
        }
    }

    pub(crate) fn resume_mut(&mut self) -> Option<&mut Resume> {
        match &mut self.stage {
            Stage::Active(_) => None,
            Stage::Ended(ended) => ended.resume.as_deref_mut(),
        }
    }

    /// Its current round, or its last one.
    #[must_use]
    pub fn round_id(&self) -> RoundId {
        match &self.stage {
            Stage::Active(active) => active.round().id,
            Stage::Ended(ended) => ended.round,
        }
    }

    /// What was accepted so far.
    pub(crate) fn sums(&self) -> SumsBefore {
        SumsBefore {
            counters: self.counters.clone(),
            skipped_records: self.skipped_records,
        }
    }

    /// The step that its current round belongs to.
    #[must_use]
    pub fn current_step(&self) -> Option<&StepSpec> {
        let step = self.active()?.round().id.step;
        self.spec.steps.get(usize::from(step))
    }

    /// Adds an accepted attempt's counters; names beyond the bounds are dropped,
    /// but never the one that can fail the job.
    pub(crate) fn add_counters(&mut self, counters: &Counters) {
        let skipped = counters.get(counters::MAP_RECORDS_SKIPPED);
        self.skipped_records = self
            .skipped_records
            .saturating_add(skipped.copied().unwrap_or(0));
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
        .chain(spec.side_files.iter().map(|file| &file.location))
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

/// Whether the rounds of a step write into a dataset: of the last step only if they
/// are closed, because a close reads what they wrote, or if the output is one.
pub(crate) fn writes_dataset(spec: &JobSpec, step: usize) -> bool {
    let is_last = step + 1 >= spec.steps.len();
    let closes = spec.steps.get(step).is_some_and(|step| step.closes);
    !is_last || closes || matches!(spec.output, OutputLocation::Dataset { .. })
}
