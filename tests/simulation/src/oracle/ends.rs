//! How jobs end, and what must hold when all is over.

use vivat_core::command::Command;
use vivat_core::state::{Job, JobEnd, Phase, Stage};
use vivat_core::{LivenessView, State, view};
use vivat_shared::cause::{FailureCause, JobFailure};
use vivat_shared::ids::{JobId, RoundId, TaskId, TaskKind};
use vivat_shared::limits::{CRASHES_MAX, LOSSES_MAX};
use vivat_shared::view::JobState;

use super::Oracle;
use crate::evidence::Fact;
use crate::ground::Ground;
use crate::jobs;

impl Oracle {
    pub(super) fn job_ended(&mut self, ground: &mut Ground, id: JobId) {
        let end = self.reference.job(id).map(Job::state);
        if end.is_some_and(|end| !end.is_final()) {
            // It was retried in the same entry.
            return;
        }
        let unsettled = self.reference.job(id).is_some_and(|job| match &job.stage {
            Stage::Active(_) => false,
            Stage::Ended(ended) => ended.unsettled_commit.is_some(),
        });
        if unsettled {
            ground.note(Fact::CommitAbandoned);
        }
        self.check_time(ground.now_ms, id);
        let account = self.account(id);
        account.abandoned |= unsettled;
        let silent = account.commits && end == Some(JobState::Cancelled) && !unsettled;
        self.ensure(!silent, "S11", || {
            format!("{id} was cancelled after its commit began, and does not say so")
        });
        let former = self.account(id).end;
        self.account(id).end = end;
        self.ensure(former.is_none(), "S3", || {
            format!("{id} ended {former:?} and then {end:?}")
        });
        let lives = self.lives(id);
        self.ensure(!lives, "mistake 8", || {
            format!("{id} ended with granted attempts")
        });
    }

    /// A job whose time passed has had that time, whatever clocks showed (F20).
    fn check_time(&mut self, now_ms: u64, id: JobId) {
        let Some(Stage::Ended(ended)) = self.reference.job(id).map(|job| &job.stage) else {
            return;
        };
        let JobEnd::Failed(failure) = &ended.end else {
            return;
        };
        let FailureCause::JobTimeout { limit_ms } = failure.cause else {
            return;
        };
        let had_ms = now_ms.saturating_sub(self.account(id).submitted_at_ms);
        self.ensure(had_ms >= limit_ms, "F20", || {
            format!("{id} was timed out after {had_ms} of {limit_ms} ms")
        });
    }

    /// A job is ended from outside: not while its commit is granted, or somebody
    /// is there to whom it can be (S11). Entries that change more than that are
    /// left to the core's own tests.
    pub(super) fn check_recall(&mut self, before: &State, commands: &[Command], taken: &Command) {
        let (Command::CancelJob { job } | Command::TimeOutJob { job }) = taken else {
            return;
        };
        let others = |command: &Command| {
            !matches!(
                command,
                Command::CancelJob { .. } | Command::TimeOutJob { .. } | Command::ForgetJob { .. }
            )
        };
        let Some(active) = before.job(*job).and_then(Job::active) else {
            return;
        };
        let goes_on = !active.commit.live(0).is_empty()
            || before
                .workers()
                .any(vivat_core::state::Worker::accepts_work);
        let may = !active.is_committing() || !goes_on || commands.iter().any(others);
        self.ensure(may, "S11", || {
            format!("{job} is ended by {taken:?}, and its commit could go on")
        });
    }

    /// Whether a job is about to end, or has ended.
    pub fn is_closing(&self, job: JobId) -> bool {
        let active = self.reference.job(job).and_then(Job::active);
        active.is_none_or(|active| active.phase == Phase::Commit)
    }

    /// Whether every job has ended.
    pub fn all_ended(&self) -> bool {
        let owes = |job: &Job| {
            let notice = job.notice.as_ref();
            notice.is_some_and(vivat_core::state::Notice::is_owed)
        };
        let mut jobs = self.reference.jobs();
        jobs.all(|job| job.active().is_none() && !owes(job))
    }

    /// What has not ended, and why.
    pub fn unfinished(&self) -> String {
        let liveness = LivenessView::of_registered(&self.reference);
        let active = self.reference.jobs().filter(|job| job.active().is_some());
        let lines: Vec<String> = active
            .map(|job| {
                let why = view::explain(&self.reference, job.id, &liveness).join("; ");
                format!("{} has not ended: {why}", job.id)
            })
            .collect();
        lines.join(" | ")
    }

    /// All is over: the books must close.
    pub fn finish(&mut self, ground: &mut Ground, last: Option<JobId>) {
        for (key, job) in self.keys.clone() {
            let known = self.reference.job_of_key(&key);
            self.ensure(known == Some(job), "S1", || {
                format!("`{key}` was {job} and is {known:?}")
            });
        }
        let state = self.reference.clone();
        for job in state.jobs() {
            self.check_counts(job);
            self.check_end(ground, job, Some(job.id) == last);
            self.check_told(job);
        }
        for worker in state.workers() {
            self.ensure(worker.held() == 0, "mistake 8", || {
                format!("{} holds {:?} for ever", worker.id, worker.running)
            });
        }
    }

    /// Granted is what was accepted, returned or revoked, for every job.
    fn check_counts(&mut self, job: &Job) {
        let account = self.account(job.id);
        let booked = (
            account.granted,
            account.accepted,
            account.failed,
            account.killed + account.revoked,
            account.reruns,
        );
        let counts = job.counts;
        let counted = (
            counts.started,
            counts.succeeded,
            counts.failed,
            counts.lost + counts.killed,
            counts.reruns_of_completed,
        );
        self.ensure(booked == counted, "mistake 8", || {
            format!("{}: booked {booked:?}, counted {counted:?}", job.id)
        });
        let ended = counted.1 + counted.2 + counted.3;
        self.ensure(counted.0 == ended, "mistake 8", || {
            format!("{}: {} granted, {ended} ended", job.id, counted.0)
        });
    }

    fn check_end(&mut self, ground: &mut Ground, job: &Job, is_last: bool) {
        let state = job.state();
        let account = self.account(job.id);
        let (end, won, proposed) = (account.end, account.cancel_won, account.cancel_proposed);
        self.ensure(end == Some(state), "S3", || {
            format!("{} ended {end:?} and is {state:?}", job.id)
        });
        let cancelled = state == JobState::Cancelled;
        self.ensure(won.is_none_or(|won| won == cancelled), "S11", || {
            format!("{} is {state:?}; its cancellation won: {won:?}", job.id)
        });
        self.ensure(!cancelled || proposed, "S11", || {
            format!("{} was cancelled by nobody", job.id)
        });
        self.ensure(!is_last || state == JobState::Succeeded, "L1", || {
            format!("{}, without any fault, is {state:?}", job.id)
        });
        let Stage::Ended(ended) = &job.stage else {
            return;
        };
        match &ended.end {
            JobEnd::Succeeded => {
                ground.note(Fact::JobSucceeded);
                if job.spec.steps.len() > 1 {
                    ground.note(Fact::StepPassed);
                }
                self.check_success(job);
            }
            JobEnd::Cancelled => ground.note(Fact::JobCancelled),
            JobEnd::Failed(failure) => {
                ground.note(Fact::JobFailed);
                self.check_failure(ground, job, failure);
            }
        }
    }

    /// Every partition once, and published; counters exact.
    fn check_success(&mut self, job: &Job) {
        let id = job.id;
        let reducers = jobs::reducers(&job.spec);
        let rounds = jobs::rounds(&job.spec);
        for (step, round) in rounds.iter().copied() {
            let round = RoundId {
                job: id,
                step,
                round,
            };
            for index in 0..reducers {
                let task = TaskId {
                    round,
                    kind: TaskKind::Reduce,
                    index,
                };
                let counts = self.accepted.contains_key(&task);
                self.ensure(counts, "S2", || format!("{id} succeeded without {task}"));
            }
        }
        let had: Vec<(u16, u32)> = job.history.rounds().collect();
        self.ensure(had == rounds, "S2", || {
            format!("{id} had the rounds {had:?}, expected {rounds:?}")
        });
        let published = self.account(id).published.as_ref().map(Vec::len);
        let visible = if self.writes_dataset(id) {
            published.is_none() && self.has_output(id)
        } else {
            published == Some(reducers as usize)
        };
        self.ensure(visible, "S2", || {
            format!("{id} succeeded and published {published:?} parts")
        });
        let expected = jobs::counters_of(&job.spec);
        self.ensure(job.counters == expected, "S2", || {
            format!("{id} counts {:?}, expected {expected:?}", job.counters)
        });
    }

    /// A job fails for a reason that happened (L1, L4, L7).
    fn check_failure(&mut self, ground: &mut Ground, job: &Job, failure: &JobFailure) {
        let age_ms = self.reference.age_ms();
        let task = failure.attempt.map(|attempt| attempt.task);
        let attempts_max = u32::from(job.spec.attempts_max);
        let account = self.account(job.id);
        let of = |counts: &std::collections::BTreeMap<TaskId, u32>| {
            task.and_then(|task| counts.get(&task).copied())
                .unwrap_or(0)
        };
        let just = match &failure.cause {
            FailureCause::InputNotFound { .. } => {
                jobs::Nature::of(&job.spec) == jobs::Nature::Empty
            }
            FailureCause::Program { .. } | FailureCause::Storage { .. } => {
                of(&account.failures) >= attempts_max
            }
            FailureCause::WorkerCrashed => {
                ground.note(Fact::JobCrashedItsWorkers);
                let named = task.and_then(|task| account.crashes.get(&task));
                named.is_some_and(|named| named.len() >= usize::from(CRASHES_MAX))
            }
            FailureCause::LostTooOften { .. } => of(&account.troubles) >= u32::from(LOSSES_MAX),
            FailureCause::JobTimeout { .. } => {
                ground.note(Fact::JobTimedOut);
                job.deadline_age_ms()
                    .is_some_and(|deadline_ms| deadline_ms <= age_ms)
            }
            FailureCause::InputIsDirectory { .. }
            | FailureCause::InputUnreadable { .. }
            | FailureCause::InputUnreachable { .. }
            | FailureCause::InputChanged { .. }
            | FailureCause::InvalidInput { .. }
            | FailureCause::PlanTooLarge { .. }
            | FailureCause::ProgramNotFound { .. }
            | FailureCause::InvalidParameter { .. }
            | FailureCause::CommandNotFound { .. }
            | FailureCause::OutputExists { .. }
            | FailureCause::OutputUnwritable { .. }
            | FailureCause::Panicked { .. }
            | FailureCause::DiskFull { .. }
            | FailureCause::TooManySkipped { .. }
            | FailureCause::Internal { .. } => false,
        };
        self.ensure(just, "L1", || {
            format!("{} failed without a reason: {failure:?}", job.id)
        });
    }
}
