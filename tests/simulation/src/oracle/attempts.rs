//! The books on attempts: granted once, ended once, by whom they were granted to.

use vivat_core::command::{Applied, Command, Event, Reply};
use vivat_shared::attempt::Outcome;
use vivat_shared::ids::{AttemptId, JobId, TaskId, TaskKind, WorkerEpoch};

use super::{Fate, Oracle};
use crate::evidence::Fact;
use crate::ground::Ground;

impl Oracle {
    pub(super) fn granted(&mut self, ground: &mut Ground, attempt: AttemptId, worker: WorkerEpoch) {
        let task = attempt.task;
        let known = self.fates.insert(attempt, (worker, Fate::Live));
        self.ensure(known.is_none(), "S4", || {
            format!("{attempt} is granted a second time")
        });
        if task.kind == TaskKind::Notify {
            let former = self.live.insert(task, (attempt, None));
            self.ensure(former.is_none(), "S2", || {
                format!("{attempt} is granted beside {former:?}")
            });
            return;
        }
        let beside = self.live.get(&task).copied();
        self.note_beside(ground, attempt, worker, beside);
        self.live
            .insert(task, (attempt, beside.map(|(other, _)| other)));
        let done = self.accepted.get(&task).copied();
        self.ensure(done.is_none(), "S3", || {
            format!("{attempt} is granted although {done:?} counts and was not lost")
        });
        let current = self.epochs.get(&worker.worker) == Some(&worker);
        self.ensure(current, "S4", || {
            format!("{attempt} is granted to {worker}, which is not current")
        });
        // A backup of a rerun is not another one.
        let rerun = self.ever_accepted.contains(&task) && beside.is_none();
        if rerun {
            ground.note(Fact::MapRanAgain);
        }
        let account = self.account(attempt.job());
        account.granted += 1;
        account.commits |= task.kind == TaskKind::Commit;
        account.reruns += u64::from(rerun);
        let ended = account.end;
        self.ensure(ended.is_none(), "S3", || {
            format!("{attempt} is granted after the end of its job")
        });
        // What runs again is a map whose segments were lost, or a reduce whose blocks.
        let may = match task.kind {
            TaskKind::Map => true,
            TaskKind::Reduce => self.may_lose_blocks(task),
            TaskKind::Plan | TaskKind::Close | TaskKind::Commit | TaskKind::Notify => false,
        };
        self.ensure(!rerun || may, "S3", || {
            format!("{attempt} repeats what counted")
        });
    }

    /// Ends a live attempt in the books.
    fn end(&mut self, attempt: AttemptId, worker: WorkerEpoch, fate: Fate) {
        let was = self.fates.insert(attempt, (worker, fate));
        self.ensure(was == Some((worker, Fate::Live)), "S4", || {
            format!("{attempt} of {worker} is {fate:?}, and was {was:?}")
        });
        let live = self.live.remove(&attempt.task);
        let other = live.and_then(|(newer, older)| {
            let both = [Some(newer), older];
            both.into_iter().flatten().find(|other| *other != attempt)
        });
        if let Some(other) = other {
            self.live.insert(attempt.task, (other, None));
        }
    }

    /// A second attempt of a task runs on another worker, and there is no third.
    fn note_beside(
        &mut self,
        ground: &mut Ground,
        attempt: AttemptId,
        worker: WorkerEpoch,
        beside: Option<(AttemptId, Option<AttemptId>)>,
    ) {
        let Some((first, second)) = beside else {
            return;
        };
        let of_first = self.fates.get(&first).map(|(holder, _)| holder.worker);
        let apart = second.is_none() && of_first != Some(worker.worker);
        self.ensure(apart && !attempt.task.kind.is_control(), "S2", || {
            format!("{attempt} is granted to {worker} beside {first} and {second:?}")
        });
        self.backups.insert(attempt);
        ground.note(Fact::BackupGranted);
    }

    pub(super) fn revoked(&mut self, ground: &mut Ground, attempt: AttemptId, worker: WorkerEpoch) {
        if self.backups.contains(&attempt) {
            ground.note(Fact::BackupRevoked);
        }
        self.end(attempt, worker, Fate::Revoked);
        if attempt.task.kind == TaskKind::Notify {
            return;
        }
        self.account(attempt.job()).revoked += 1;
        self.trouble(attempt.task);
    }

    pub(super) fn finished(
        &mut self,
        ground: &mut Ground,
        commands: &[Command],
        attempt: AttemptId,
        worker: WorkerEpoch,
        accepted: bool,
    ) {
        let task = attempt.task;
        let fate = if accepted {
            Fate::Accepted
        } else {
            Fate::Returned
        };
        self.end(attempt, worker, fate);
        if task.kind == TaskKind::Notify {
            return;
        }
        let current = self.epochs.get(&worker.worker) == Some(&worker);
        self.ensure(current, "S4", || {
            format!("{attempt} is taken from {worker}, which is not current")
        });
        let reported = commands
            .iter()
            .find_map(|command| outcome_of(command, attempt, worker));
        let Some(outcome) = reported else {
            self.ensure(false, "S4", || {
                format!("{attempt} ended, and nobody said so")
            });
            return;
        };
        // Of a rerun that has a backup one is left.
        let rerun = self.ever_accepted.contains(&task) && !self.live.contains_key(&task);
        let account = self.account(attempt.job());
        match outcome {
            Outcome::Failed(_) => {
                account.failed += 1;
                *account.failures.entry(task).or_default() += 1;
            }
            Outcome::Killed => account.killed += 1,
            Outcome::HandedBack => {
                // It never began.
                account.granted -= 1;
                account.reruns -= u64::from(rerun);
                ground.note(Fact::AttemptHandedBack);
            }
            Outcome::Planned { .. }
            | Outcome::Mapped { .. }
            | Outcome::Reduced { .. }
            | Outcome::Committed
            | Outcome::Notified => account.accepted += 1,
            Outcome::Closed { broadcast, .. } => {
                account.accepted += 1;
                self.round_closed(ground, task.round, broadcast);
            }
        }
        // What was handed back is no trouble: nothing was done, nothing lost.
        let is_trouble = !accepted && *outcome != Outcome::HandedBack;
        let produced = outcome.is_result();
        self.ensure(produced == accepted, "S2", || {
            format!("{attempt} is accepted: {accepted}, and said {outcome:?}")
        });
        if is_trouble {
            self.trouble(task);
        }
        if !accepted {
            return;
        }
        let beside = self.live.get(&task).copied();
        self.ensure(beside.is_none(), "S2", || {
            format!("{attempt} counts, and {beside:?} goes on")
        });
        if self.backups.contains(&attempt) {
            ground.note(Fact::BackupWon);
        }
        let other = self.accepted.insert(task, attempt);
        self.ensure(other.is_none(), "S2", || {
            format!("{attempt} counts beside {other:?}")
        });
        self.ever_accepted.insert(task);
    }

    /// Segments can be fetched: of a map that was accepted just now, or of one
    /// that was lost and came back with its worker.
    pub(super) fn located(&mut self, ground: &mut Ground, map: AttemptId) {
        let counts = self.accepted.get(&map.task).copied();
        if counts == Some(map) {
            return;
        }
        ground.note(Fact::MapRestored);
        let once = self.fates.get(&map).map(|(_, fate)| *fate) == Some(Fate::Accepted);
        let running = self.live.get(&map.task).copied();
        self.ensure(once && counts.is_none() && running.is_none(), "S2", || {
            format!("{map} comes back; {counts:?} counts, {running:?} runs")
        });
        self.accepted.insert(map.task, map);
    }

    pub(super) fn trouble(&mut self, task: TaskId) {
        let account = self.account(task.round.job);
        *account.troubles.entry(task).or_default() += 1;
    }

    /// A report is answered done exactly when it ended a live attempt.
    pub(super) fn check_reports(&mut self, commands: &[Command], applied: &Applied) {
        let taken = commands
            .iter()
            .zip(&applied.replies)
            .filter(|(command, reply)| {
                matches!(command, Command::FinishAttempt { .. }) && **reply == Reply::Done
            })
            .count();
        let ended = applied
            .events
            .iter()
            .filter(|event| matches!(event, Event::AttemptFinished { .. }))
            .count();
        self.ensure(taken == ended, "S4", || {
            format!("{taken} reports were taken, {ended} attempts ended")
        });
    }

    /// Whether anything of a job is granted.
    pub(super) fn lives(&self, job: JobId) -> bool {
        let of_job = |task: &&TaskId| task.round.job == job && task.kind != TaskKind::Notify;
        self.live.keys().any(|task| of_job(&task))
    }
}

fn outcome_of(command: &Command, of: AttemptId, by: WorkerEpoch) -> Option<&Outcome> {
    match command {
        Command::FinishAttempt {
            attempt,
            worker,
            outcome,
        } if *attempt == of && *worker == by => Some(outcome),
        Command::FinishAttempt { .. }
        | Command::OpenTerm { .. }
        | Command::SubmitJob { .. }
        | Command::CancelJob { .. }
        | Command::TimeOutJob { .. }
        | Command::RegisterWorker { .. }
        | Command::RestoreSegments { .. }
        | Command::ExpireWorker { .. }
        | Command::DrainWorker { .. }
        | Command::AssignAttempts { .. }
        | Command::AppendPlan { .. }
        | Command::ReportFetchFailure { .. }
        | Command::JudgeSegment { .. }
        | Command::RevokeAttempts { .. }
        | Command::Data(_)
        | Command::RetryJob { .. }
        | Command::GiveUpNotice { .. }
        | Command::ForgetJob { .. } => None,
    }
}
