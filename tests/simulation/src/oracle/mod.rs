//! What must hold, by a history of its own.
//!
//! The oracle sees every entry first and applies it to a reference state. It
//! checks the core's invariants on that state, and beside them keeps books from
//! commands, replies and events alone: who was granted what, which outcome
//! counts, what clients and workers were told. What the core says of itself and
//! what these books say must agree.

mod attempts;
mod clients;
mod data;
mod ends;
mod retries;
mod rounds;
mod segments;

use std::collections::{BTreeMap, BTreeSet};

use vivat_core::command::{Applied, Command, Event, Rejection, Reply};
use vivat_core::{State, apply, invariants, snapshot};
use vivat_shared::attempt::CommittedPart;
use vivat_shared::ids::{
    AttemptId, BlockId, DatasetId, JobId, RoundId, TaskId, TaskKind, WorkerEpoch, WorkerId,
};
use vivat_shared::view::JobState;

pub use data::Disks;

use crate::event::MasterAt;
use crate::evidence::Fact;
use crate::ground::Ground;
use crate::leader::LEASE_MS;
use crate::raft::Entry;

/// The reference goes through a snapshot at multiples of this many entries, and
/// whole states are compared at them.
const SNAPSHOT_ENTRIES: u64 = 64;

/// Something that must hold and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// In the catalogue of invariants.
    pub id: &'static str,
    /// What was found.
    pub detail: String,
}

impl Violation {
    /// A violation of the property with that id.
    #[must_use]
    pub fn new(id: &'static str, detail: String) -> Self {
        Self { id, detail }
    }
}

/// What became of a granted attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Live,
    Accepted,
    Returned,
    Revoked,
}

/// What the books have on a job.
#[derive(Debug, Default)]
struct Account {
    granted: u64,
    accepted: u64,
    failed: u64,
    /// Returned as killed.
    killed: u64,
    revoked: u64,
    reruns: u64,
    /// Failures taken, by task.
    failures: BTreeMap<TaskId, u32>,
    /// Attempts that were named as running when a worker died.
    crashes: BTreeMap<TaskId, BTreeSet<AttemptId>>,
    /// Everything that befell a task and was no success.
    troubles: BTreeMap<TaskId, u32>,
    /// When it was proposed, in virtual time.
    submitted_at_ms: u64,
    /// A commit was granted.
    commits: bool,
    /// It ended when nobody was left who could tell what became of its commit.
    abandoned: bool,
    cancel_proposed: bool,
    cancel_won: Option<bool>,
    published: Option<Vec<CommittedPart>>,
    end: Option<JobState>,
    retries: u32,
    /// How often each end was told, and as what.
    told: BTreeMap<u32, (JobState, u32)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Oracle {
    reference: State,
    chain: Vec<u64>,
    whole: BTreeMap<u64, u64>,
    violation: Option<Violation>,
    fates: BTreeMap<AttemptId, (WorkerEpoch, Fate)>,
    /// The newest granted attempt of a task, and the one beside it.
    live: BTreeMap<TaskId, (AttemptId, Option<AttemptId>)>,
    /// Attempts that were granted beside another.
    backups: BTreeSet<AttemptId>,
    accepted: BTreeMap<TaskId, AttemptId>,
    /// Closed rounds, and the blocks of what their closes said.
    said: BTreeMap<RoundId, Vec<BlockId>>,
    ever_accepted: BTreeSet<TaskId>,
    epochs: BTreeMap<WorkerId, WorkerEpoch>,
    accounts: BTreeMap<JobId, Account>,
    keys: BTreeMap<String, JobId>,
    heard: BTreeMap<(MasterAt, WorkerEpoch), u64>,
    opened: BTreeMap<MasterAt, (u64, u64)>,
    segments: segments::SegmentBooks,
    /// Sealed, acknowledged and not to be removed.
    stays: BTreeSet<DatasetId>,
}

impl Oracle {
    /// The first thing that was wrong.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Something is wrong; the first report counts.
    pub fn report(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    fn ensure(&mut self, holds: bool, id: &'static str, detail: impl FnOnce() -> String) {
        if !holds {
            self.report(Violation::new(id, detail()));
        }
    }

    /// Takes an entry in.
    pub fn decide(&mut self, ground: &mut Ground, index: u64, entry: &Entry) {
        let Some(append) = &entry.append else {
            self.reference.note_index(index);
            self.chain.push(self.reference.chained_hash());
            return;
        };
        let before = self.reference.clone();
        let applied = apply(&mut self.reference, index, &append.proposal);
        self.chain.push(self.reference.chained_hash());
        ground.say(|| format!("{index}: {append:?}\n         {applied:?}"));
        for reply in &applied.replies {
            if let Reply::Job { job, created: true } = reply {
                self.account(*job).submitted_at_ms = append.sent_at_ms;
            }
        }
        for (command, reply) in append.proposal.commands.iter().zip(&applied.replies) {
            if let (Command::RetryJob { job, .. }, Reply::Retried { .. }) = (command, reply)
                && self.is_retried(&before, *job)
            {
                self.account(*job).submitted_at_ms = append.sent_at_ms;
            }
        }
        self.check_replies(ground, &before, &append.proposal.commands, &applied);
        for event in &applied.events {
            self.take_event(ground, &append.proposal.commands, event);
        }
        self.check_surplus(&before, &append.proposal.commands);
        self.check_reports(&append.proposal.commands, &applied);
        let violations = invariants::check_step(&before, &self.reference)
            .into_iter()
            .chain(invariants::check(&self.reference));
        for violation in violations.collect::<Vec<_>>() {
            self.report(Violation::new(violation.id, violation.detail));
        }
        if index.is_multiple_of(SNAPSHOT_ENTRIES) {
            self.whole.insert(index, self.reference.whole_hash());
            match snapshot::decode(&snapshot::encode(&self.reference)) {
                Ok(state) => self.reference = state,
                Err(error) => self.report(Violation::new("S8", error.to_string())),
            }
        }
    }

    /// A replica has applied an entry: same log, same state (S8).
    pub fn compare(&mut self, index: u64, at: MasterAt, state: &State) {
        let expected = usize::try_from(index - 1)
            .ok()
            .and_then(|position| self.chain.get(position));
        let same = expected == Some(&state.chained_hash());
        self.ensure(same, "S8", || {
            format!("seat {at} differs from others at entry {index}")
        });
        if index.is_multiple_of(SNAPSHOT_ENTRIES) {
            self.compare_whole(at, state);
        }
    }

    /// Compares all of a replica's state with what is known of that index.
    pub fn compare_whole(&mut self, at: MasterAt, state: &State) {
        let index = state.applied_index();
        let found = state.whole_hash();
        let expected = *self.whole.entry(index).or_insert(found);
        self.ensure(expected == found, "S8", || {
            format!("seat {at} has another state at entry {index}")
        });
    }

    /// Commands are checked by who sent them; what an old term decided about
    /// workers and attempts is refused.
    fn check_replies(
        &mut self,
        ground: &mut Ground,
        before: &State,
        commands: &[Command],
        applied: &Applied,
    ) {
        let term = self.reference.term();
        self.ensure(applied.replies.len() == commands.len(), "S5", || {
            "not one reply for each command".to_owned()
        });
        for (command, reply) in commands.iter().zip(&applied.replies) {
            if let Reply::Rejected(Rejection::StaleTerm { .. }) = reply {
                ground.note(Fact::CommandOfOldTermRefused);
            }
            let fenced = match command {
                Command::ExpireWorker { term, .. }
                | Command::AssignAttempts { term, .. }
                | Command::JudgeSegment { term, .. }
                | Command::OpenTerm { term, .. } => Some(*term),
                Command::SubmitJob { .. }
                | Command::CancelJob { .. }
                | Command::TimeOutJob { .. }
                | Command::RegisterWorker { .. }
                | Command::RestoreSegments { .. }
                | Command::DrainWorker { .. }
                | Command::AppendPlan { .. }
                | Command::FinishAttempt { .. }
                | Command::ReportFetchFailure { .. }
                | Command::RevokeAttempts { .. }
                | Command::Data(_)
                | Command::RetryJob { .. }
                | Command::GiveUpNotice { .. }
                | Command::ForgetJob { .. } => None,
            };
            let taken = !matches!(reply, Reply::Rejected(_));
            self.ensure(!taken || fenced.is_none_or(|of| of == term), "L5", || {
                format!("in term {term} this was taken: {command:?}")
            });
            if taken {
                self.check_recall(before, commands, command);
                self.check_reporter(before, commands, command);
                self.note_segments(before, commands, command);
            }
            if let (Command::CancelJob { job }, true) = (command, taken) {
                self.account(*job).cancel_proposed = true;
            }
            if let (Command::RegisterWorker { crashed, .. }, true) = (command, taken) {
                for attempt in crashed {
                    let account = self.account(attempt.job());
                    let named = account.crashes.entry(attempt.task).or_default();
                    named.insert(*attempt);
                }
            }
        }
    }

    fn account(&mut self, job: JobId) -> &mut Account {
        self.accounts.entry(job).or_default()
    }

    fn take_event(&mut self, ground: &mut Ground, commands: &[Command], event: &Event) {
        match event {
            Event::AttemptGranted { attempt, worker } => self.granted(ground, *attempt, *worker),
            Event::AttemptRevoked { attempt, worker } => {
                let healthy = |command: &Command| {
                    matches!(command, Command::JudgeSegment { healthy: true, .. })
                };
                if attempt.task.kind == TaskKind::Reduce && commands.iter().any(healthy) {
                    ground.note(Fact::ReduceMoved);
                }
                self.revoked(ground, *attempt, *worker);
            }
            Event::AttemptFinished {
                attempt,
                worker,
                accepted,
            } => self.finished(ground, commands, *attempt, *worker, *accepted),
            Event::SegmentsLost { map } => {
                ground.note(Fact::MapLost);
                self.segments_lost(commands, *map);
                let was = self.accepted.remove(&map.task);
                self.trouble(map.task);
                self.ensure(was == Some(*map), "S3", || {
                    format!("segments of {map} are lost, which did not count")
                });
            }
            Event::SegmentsLocated { map, .. } => self.located(ground, *map),
            Event::WorkerRegistered { worker } => {
                self.epochs.insert(worker.worker, *worker);
            }
            Event::WorkerExpired { worker, .. } => {
                ground.note(Fact::WorkerExpired);
                let was = self.epochs.remove(&worker.worker);
                self.ensure(was == Some(*worker), "S4", || {
                    format!("{worker} expired, which was not current")
                });
            }
            Event::JobEnded { job } => self.job_ended(ground, *job),
            Event::JobRetried { job } => self.job_retried(ground, *job),
            Event::TermOpened { .. }
            | Event::JobChanged { .. }
            | Event::SegmentSuspected { .. } => {}
            Event::TaskIdle { task } => self.idle_again(ground, *task),
            Event::DatasetChanged { dataset } => {
                ground.note(Fact::DatasetChanged);
                let known = self.reference.directory().get(*dataset);
                if known.is_some_and(|known| known.job.is_some()) {
                    ground.note(Fact::OutputVisible);
                }
            }
        }
    }

    /// A leader opened: leases begin anew.
    pub fn opened(&mut self, at: MasterAt, term: u64, now_ms: u64) {
        self.opened.insert(at, (term, now_ms));
    }

    /// A leader heard a worker.
    pub fn heard(&mut self, at: MasterAt, worker: WorkerEpoch, now_ms: u64) {
        self.heard.insert((at, worker), now_ms);
    }

    /// A leader is about to expire a worker: it must have been silent towards
    /// that leader, since it opened, for a whole lease (L5).
    pub fn check_expiry(&mut self, at: MasterAt, term: u64, worker: WorkerEpoch, now_ms: u64) {
        let opened = self.opened.get(&at).copied().unwrap_or_default();
        let heard_ms = self.heard.get(&(at, worker)).copied().unwrap_or_default();
        let silent_ms = now_ms.saturating_sub(opened.1.max(heard_ms));
        self.ensure(opened.0 == term && silent_ms >= LEASE_MS, "L5", || {
            format!("seat {at} expires {worker} after a silence of {silent_ms}")
        });
    }

    /// Workers that are given nothing new.
    pub fn draining(&self) -> Vec<WorkerId> {
        let workers = self.reference.workers();
        workers
            .filter(|worker| worker.is_registered() && !worker.accepts_work())
            .map(|worker| worker.id)
            .collect()
    }

    /// The worker that has a uid.
    pub fn worker_of(&self, uid: &str) -> Option<WorkerId> {
        let mut workers = self.reference.workers();
        workers
            .find(|worker| worker.info.uid == uid)
            .map(|worker| worker.id)
    }
}
