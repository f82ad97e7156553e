//! Three replicas, and something that proposes: sensible things mostly, stale and
//! foreign ones often enough.

use std::collections::{BTreeMap, BTreeSet};

use vivat_core::command::{
    Applied, Command, Event, Grant, HeldSegments, LeaderRecord, Proposal, Rejection, Reply,
};
use vivat_core::state::Job;
use vivat_core::{LivenessView, State, WorkerLiveness, apply, duties, invariants, snapshot};
use vivat_shared::attempt::{FetchFailure, Work};
use vivat_shared::ids::{
    AttemptId, ClusterId, Epoch, JobId, NodeId, RoundId, Seat, SegmentId, TaskId, TaskKind,
    WorkerEpoch, WorkerId,
};
use vivat_shared::view::JobState;

use crate::build;
use crate::outcomes::segments;

/// Worker processes that there are: more than hold the jobs' paths.
const UIDS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
/// Rounds of scheduling and finishing after which healed jobs must have ended.
const HEALING_ROUNDS_MAX: usize = 400;

/// Replicas of the state.
pub const REPLICAS: usize = 3;

pub struct World {
    /// The one that is looked at.
    first: State,
    /// The others, which must come to the same.
    others: [State; REPLICAS - 1],
    now_ms: u64,
    /// Everything that was ever granted, for late reports.
    history: Vec<(AttemptId, WorkerEpoch)>,
    /// What was reached, in words.
    pub seen: BTreeSet<&'static str>,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            first: State::new(),
            others: [State::new(), State::new()],
            now_ms: 1,
            history: Vec::new(),
            seen: BTreeSet::new(),
        };
        world.open(1);
        world
    }

    /// A replica forgets everything but its snapshot; all hashes agree (S8).
    pub fn restart_replica(&mut self, replica: usize) {
        let whole = self.first.whole_hash();
        let restarted = match replica {
            0 => &mut self.first,
            other => &mut self.others[other - 1],
        };
        let bytes = snapshot::encode(restarted);
        *restarted = snapshot::decode(&bytes).unwrap();
        for replica in [&self.first].into_iter().chain(&self.others) {
            assert_eq!(replica.whole_hash(), whole, "S8");
        }
    }

    /// What all replicas hold.
    pub fn state(&self) -> &State {
        &self.first
    }

    pub fn propose(&mut self, commands: Vec<Command>) -> Applied {
        let before = self.first.clone();
        let index = self.first.applied_index() + 1;
        let proposal = Proposal {
            proposed_at_ms: self.now_ms,
            term: self.first.term(),
            age_ms: self.now_ms,
            commands,
        };
        let applied = apply(&mut self.first, index, &proposal);
        for other in &mut self.others {
            assert_eq!(applied, apply(other, index, &proposal), "S8");
            assert_eq!(self.first.chained_hash(), other.chained_hash(), "S8");
            assert_eq!(self.first.hash_point(), other.hash_point(), "S8");
        }
        assert_eq!(applied.replies.len(), proposal.commands.len());
        let mut violations = invariants::check(&self.first);
        violations.extend(invariants::check_step(&before, &self.first));
        assert!(violations.is_empty(), "{violations:#?} after {proposal:#?}");
        self.note(&proposal.commands, &applied);
        self.note_outputs(&applied.events);
        applied
    }

    /// Notes what a sequence reached.
    fn note(&mut self, commands: &[Command], applied: &Applied) {
        for event in &applied.events {
            self.seen.insert(kind_of(event));
            if let Event::SegmentsLocated { map, .. } = event
                && map.number > 1
            {
                self.seen.insert("map completed again");
            }
            if let Event::AttemptRevoked { attempt, .. } = event
                && applied
                    .events
                    .iter()
                    .any(|other| won_instead(other, *attempt))
            {
                self.seen.insert("backup race decided");
            }
            if let Event::JobEnded { job } = event {
                let end = self.first.job(*job).map(Job::state);
                let retried = Event::JobRetried { job: *job };
                let goes_on = applied.events.contains(&retried);
                self.seen.insert(match end.unwrap() {
                    JobState::Queued | JobState::Running if goes_on => "job retried at once",
                    JobState::Queued | JobState::Running => panic!("{job} ended and runs"),
                    JobState::Succeeded => "job succeeded",
                    JobState::Failed => "job failed",
                    JobState::Cancelled => "job cancelled",
                });
            }
        }
        let restores = matches!(commands.first(), Some(Command::RestoreSegments { .. }));
        if restores && !applied.events.is_empty() {
            self.seen.insert("map restored");
        }
        let late = |reply: &Reply| matches!(reply, Reply::Rejected(Rejection::TooLate(_)));
        if applied.replies.iter().any(late) {
            self.seen.insert("too late");
        }
    }

    pub fn one(&mut self, command: Command) -> Reply {
        self.propose(vec![command]).replies.pop().unwrap()
    }

    fn open(&mut self, term: u64) {
        let leader = LeaderRecord {
            node_id: NodeId(term),
            seat: Seat(0),
            client_address: "127.0.0.1:1".to_owned(),
        };
        self.one(Command::OpenTerm {
            term,
            cluster: ClusterId(1),
            leader,
        });
    }

    pub fn live(&self) -> Vec<(AttemptId, WorkerEpoch)> {
        let workers = self.first.workers();
        workers
            .flat_map(|worker| {
                let current = worker.current();
                worker.running.iter().map(move |id| (*id, current))
            })
            .collect()
    }

    /// A live attempt mostly, else one of the past.
    pub fn some_attempt(&self, dice: [u16; 4]) -> Option<(AttemptId, WorkerEpoch)> {
        let live = self.live();
        let past = dice[1].is_multiple_of(8) || live.is_empty();
        let from = if past { &self.history } else { &live };
        pick(from, dice[0]).copied()
    }

    fn some_job(dice: [u16; 4]) -> JobId {
        JobId(u64::from(dice[0] % 6) + 1)
    }

    pub fn some_worker(&self, dice: [u16; 4]) -> WorkerEpoch {
        let worker = WorkerId(u32::from(dice[0] % 5) + 1);
        let current = self.first.worker(worker).map_or(0, |known| known.epoch.0);
        let stale = u64::from(dice[1].is_multiple_of(8));
        WorkerEpoch {
            worker,
            epoch: Epoch(current.saturating_sub(stale)),
        }
    }

    /// One step; what it does is chosen by `kind`, how by the dice.
    pub fn step(&mut self, kind: u8, dice: [u16; 4]) {
        self.now_ms += u64::from(dice[3] % 50);
        let term = self.first.term() - u64::from(dice[2].is_multiple_of(16));
        match kind % 32 {
            0 | 1 => self.submit(dice),
            2 | 3 => self.register(dice),
            4 => {
                let worker = self.some_worker(dice);
                self.one(Command::ExpireWorker {
                    worker,
                    term,
                    reason: "silent".to_owned(),
                });
            }
            5 => self.drain(dice, term),
            6..=10 => self.schedule(dice),
            11 => self.assign_anything(dice, term),
            12..=16 => self.finish_something(dice, true),
            17 => self.finish_something(dice, false),
            18 => self.report_fetch_failure(dice),
            19 => self.judge(dice, term),
            20 => self.restore(dice),
            21 => self.end_something(dice),
            22 => self.open(self.first.term() + u64::from(dice[0] % 2)),
            23 | 24 => self.put(dice),
            25 => self.go_on_putting(dice),
            26 => self.remove_dataset(dice, term),
            27 => self.report_blocks(dice),
            28 => self.lose_blocks(dice),
            29 => self.write_value(dice),
            30 => self.place(dice),
            _ => {
                let index = self.first.applied_index() + 1;
                self.first.note_index(index);
                for other in &mut self.others {
                    other.note_index(index);
                }
            }
        }
    }

    /// Drains a worker, takes that back, or takes from it what it still runs.
    fn drain(&mut self, dice: [u16; 4], term: u64) {
        let worker = self.some_worker(dice);
        if dice[1] % 3 == 2 {
            self.one(Command::RevokeAttempts { worker, term });
            return;
        }
        self.one(Command::DrainWorker {
            worker: worker.worker,
            draining: dice[1].is_multiple_of(3),
            deadline_ms: dice[2].is_multiple_of(2).then(|| u64::from(dice[3] % 300)),
        });
    }

    fn submit(&mut self, dice: [u16; 4]) {
        let key = format!("key-{}", dice[0] % 6);
        let reducers = (dice[0] % 3 + 1).to_string();
        let mut options: BTreeMap<&str, &str> = Self::data_options(dice);
        options.insert("reducers", &reducers);
        if dice[1].is_multiple_of(3) {
            options.insert("host", "here");
        }
        if dice[1].is_multiple_of(4) {
            options.insert("timeout", "300");
        }
        if dice[2].is_multiple_of(4) {
            options.insert("speculation", "off");
        }
        Self::step_options(&mut options, dice);
        options.insert(
            "attempts",
            if dice[2].is_multiple_of(2) { "2" } else { "4" },
        );
        let spec = build::spec(&options);
        let submit = Command::SubmitJob { key, spec };
        let reply = self.one(submit.clone());
        let again = self.one(submit);
        if let Reply::Job { job, .. } = reply {
            let known = Reply::Job {
                job,
                created: false,
            };
            assert_eq!(again, known, "S5");
        }
    }

    fn register(&mut self, dice: [u16; 4]) {
        let uid = UIDS[usize::from(dice[0]) % UIDS.len()];
        let host = if uid == "delta" { "there" } else { "here" };
        let crashed = if dice[1].is_multiple_of(4) {
            self.some_attempt(dice)
        } else {
            None
        };
        self.one(Command::RegisterWorker {
            info: build::info(uid, &BTreeMap::from([("host", host)])),
            crashed: crashed.into_iter().map(|(attempt, _)| attempt).collect(),
        });
    }

    /// What the scheduler proposes on a state is granted on that state.
    fn schedule(&mut self, dice: [u16; 4]) {
        let wants = |worker: WorkerId| u32::from(dice[worker.0 as usize % 4] % 4);
        let grants = self.grants(&wants, usize::from(dice[3] % 12));
        self.assign(grants);
        self.back_up();
    }

    /// What the scheduler would back up if everything granted hung for an hour.
    fn back_up(&mut self) {
        let liveness = self.liveness(&|_| 4);
        let later_ms = self.now_ms + 3_600_000;
        let backups = vivat_core::backups(&self.first, &liveness, later_ms);
        if !backups.is_empty() {
            self.seen.insert("backup granted");
        }
        self.assign(backups);
    }

    fn grants(&self, wants: &dyn Fn(WorkerId) -> u32, limit: usize) -> Vec<Grant> {
        let liveness = self.liveness(wants);
        vivat_core::schedule(&self.first, &liveness, self.now_ms, limit)
    }

    fn liveness(&self, wants: &dyn Fn(WorkerId) -> u32) -> LivenessView {
        let workers = self.first.workers().filter(|worker| worker.is_registered());
        let seen = workers.map(|worker| {
            let busy = worker.running.iter().any(|id| id.task.kind.is_control());
            let seen = WorkerLiveness {
                epoch: worker.epoch,
                want: wants(worker.id),
                control_free: !busy,
                pulled: true,
            };
            (worker.id, seen)
        });
        LivenessView {
            workers: seen.collect(),
            ..LivenessView::default()
        }
    }

    fn assign(&mut self, grants: Vec<Grant>) {
        if grants.is_empty() {
            return;
        }
        let term = self.first.term();
        let reply = self.one(Command::AssignAttempts {
            term,
            grants: grants.clone(),
        });
        let Reply::Assigned(answers) = reply else {
            panic!("refused: {reply:?}");
        };
        for (grant, answer) in grants.into_iter().zip(answers) {
            let attempt = match answer {
                Ok(attempt) => attempt,
                Err(rejection) => panic!("{grant:?} refused: {rejection}"),
            };
            assert!(vivat_core::assignment(&self.first, attempt).is_some());
            let twice = self.history.iter().any(|(known, _)| *known == attempt);
            assert!(!twice, "{attempt} was granted twice");
            self.history.push((attempt, grant.worker));
        }
    }

    fn assign_anything(&mut self, dice: [u16; 4], term: u64) {
        let kind = [
            TaskKind::Plan,
            TaskKind::Map,
            TaskKind::Reduce,
            TaskKind::Close,
            TaskKind::Commit,
            TaskKind::Notify,
        ][usize::from(dice[2] % 6)];
        let task = TaskId {
            round: RoundId {
                job: Self::some_job(dice),
                step: dice[2] % 32 / 31,
                round: u32::from(dice[2] % 64 / 63),
            },
            kind,
            index: u32::from(dice[3] % 4),
        };
        let worker = self.some_worker(dice);
        let reply = self.one(Command::AssignAttempts {
            term,
            grants: vec![Grant {
                task,
                worker,
                backup: dice[1].is_multiple_of(2),
            }],
        });
        if let Reply::Assigned(answers) = reply {
            for attempt in answers.into_iter().flatten() {
                self.history.push((attempt, worker));
            }
        }
    }

    fn report_fetch_failure(&mut self, dice: [u16; 4]) {
        let reduces: Vec<_> = self
            .live()
            .into_iter()
            .filter(|(attempt, _)| attempt.task.kind == TaskKind::Reduce)
            .collect();
        let Some(&(reducer, worker)) = pick(&reduces, dice[0]) else {
            return;
        };
        let partition = reducer.task.index;
        let there = vivat_core::locations(&self.first, reducer.task.round, partition);
        let Some(there) = pick(&there, dice[1]).copied() else {
            return;
        };
        let map = AttemptId {
            task: TaskId {
                round: reducer.task.round,
                kind: TaskKind::Map,
                index: there.map,
            },
            number: there.attempt,
        };
        let located = vivat_core::location(&self.first, map, partition);
        assert_eq!(located, Some(there));
        self.one(Command::ReportFetchFailure {
            worker,
            failure: FetchFailure {
                reducer,
                segment: SegmentId {
                    attempt: map,
                    partition,
                },
                holder: there.holder,
                gone: dice[2].is_multiple_of(2),
            },
        });
    }

    fn judge(&mut self, dice: [u16; 4], term: u64) {
        let due = duties::due(&self.first, self.now_ms);
        for (map, holder) in due.suspects {
            self.one(Command::JudgeSegment {
                term,
                map,
                holder,
                healthy: !dice[0].is_multiple_of(3),
            });
        }
    }

    fn restore(&mut self, dice: [u16; 4]) {
        let worker = self.some_worker(dice);
        let held = self
            .history
            .iter()
            .filter(|(attempt, holder)| {
                attempt.task.kind == TaskKind::Map && holder.worker == worker.worker
            })
            .map(|(attempt, _)| {
                let spec = vivat_core::job_spec(&self.first, attempt.job());
                HeldSegments {
                    attempt: *attempt,
                    segments: segments(*attempt, spec.map_or(1, |spec| spec.steps[0].reducers)),
                }
            })
            .collect();
        self.one(Command::RestoreSegments { worker, held });
    }

    fn end_something(&mut self, dice: [u16; 4]) {
        let job = Self::some_job(dice);
        let due = duties::due(&self.first, self.now_ms);
        match dice[1] % 3 {
            0 => {
                self.one(Command::CancelJob { job });
            }
            1 => {
                let job = due.timed_out.first().copied();
                let reply = job.map(|job| self.one(Command::TimeOutJob { job }));
                // The state's time may be behind the leader's by this entry only.
                assert!(
                    reply.is_none_or(|reply| reply == Reply::Done),
                    "a duty is refused"
                );
            }
            _ => {
                self.one(Command::ForgetJob { job });
            }
        }
    }

    /// All faults stop: every job must reach its end (L1).
    pub fn heal(&mut self) {
        for uid in UIDS {
            let host = if uid == "delta" { "there" } else { "here" };
            self.one(Command::RegisterWorker {
                info: build::info(uid, &BTreeMap::from([("host", host)])),
                crashed: Vec::new(),
            });
        }
        for _ in 0..HEALING_ROUNDS_MAX {
            self.now_ms += 1_000;
            let grants = self.grants(&|_| 8, 100);
            self.assign(grants);
            let live = self.live();
            if self.first.jobs().all(|job| job.active().is_none()) {
                break;
            }
            for (attempt, worker) in live {
                let work = vivat_core::assignment(&self.first, attempt).map(|given| given.work);
                if self.is_fetching(attempt, work.as_ref()) {
                    continue;
                }
                let outcome = self.success(attempt, worker, 2);
                self.one(Command::FinishAttempt {
                    attempt,
                    worker,
                    outcome,
                });
            }
        }
        let unfinished: Vec<JobId> = self
            .first
            .jobs()
            .map(|job| job.id)
            .filter(|job| !duties::job_has_ended(&self.first, *job))
            .collect();
        assert!(unfinished.is_empty(), "L1: {unfinished:?} never ends");
    }

    /// Whether a reduce waits for maps that are not done.
    fn is_fetching(&self, attempt: AttemptId, work: Option<&Work>) -> bool {
        let Some(Work::Reduce { maps, .. }) = work else {
            return false;
        };
        let task = attempt.task;
        let there = vivat_core::locations(&self.first, task.round, task.index);
        there.len() < *maps as usize
    }
}

fn kind_of(event: &Event) -> &'static str {
    match event {
        Event::TermOpened { .. } => "term opened",
        Event::JobChanged { .. } => "job changed",
        Event::JobEnded { .. } => "job ended",
        Event::JobRetried { .. } => "job retried",
        Event::WorkerRegistered { .. } => "worker registered",
        Event::WorkerExpired { .. } => "worker expired",
        Event::AttemptGranted { .. } => "attempt granted",
        Event::AttemptRevoked { .. } => "attempt revoked",
        Event::AttemptFinished { .. } => "attempt finished",
        Event::TaskIdle { .. } => "task idle",
        Event::SegmentsLocated { .. } => "segments located",
        Event::SegmentsLost { .. } => "segments lost",
        Event::SegmentSuspected { .. } => "segment suspected",
        Event::DatasetChanged { .. } => "dataset changed",
    }
}

/// Whether another attempt of the same task was accepted.
fn won_instead(event: &Event, loser: AttemptId) -> bool {
    match event {
        Event::AttemptFinished {
            attempt,
            accepted: true,
            ..
        } => attempt.task == loser.task && *attempt != loser,
        _ => false,
    }
}

pub fn pick<T>(from: &[T], dice: u16) -> Option<&T> {
    from.get(usize::from(dice).checked_rem(from.len())?)
}
