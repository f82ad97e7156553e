//! The books on retries, and on what is told of ends.

use vivat_core::State;
use vivat_core::state::{Job, NoticeStage, Phase};
use vivat_shared::ids::{JobId, RoundId, TaskId};
use vivat_shared::notify::JobEvent;
use vivat_shared::view::JobState;

use super::Oracle;
use crate::event::Response;
use crate::evidence::Fact;
use crate::ground::Ground;

impl Oracle {
    /// How a job ended, if it has.
    pub fn end_of(&self, job: JobId) -> Option<JobState> {
        self.accounts.get(&job).and_then(|account| account.end)
    }

    /// Whether an entry retried a job.
    pub(super) fn is_retried(&self, before: &State, job: JobId) -> bool {
        let retries = |state: &State| state.job(job).map_or(0, |job| job.retries);
        retries(before) < retries(&self.reference)
    }

    /// A job goes on: what it had before the round that did not end still counts, and
    /// nothing of that round.
    pub(super) fn job_retried(&mut self, ground: &mut Ground, id: JobId) {
        let was = self.account(id).end;
        let unsuccessful = matches!(was, Some(JobState::Failed | JobState::Cancelled) | None);
        self.ensure(unsuccessful, "S3", || {
            format!("{id} is retried though it ended {was:?}")
        });
        let account = self.account(id);
        account.end = None;
        account.retries += 1;
        account.commits = false;
        account.cancel_won = None;
        account.published = None;
        account.failures.clear();
        account.crashes.clear();
        account.troubles.clear();
        let Some(active) = self.reference.job(id).and_then(Job::active) else {
            return;
        };
        if active.phase == Phase::Commit {
            ground.note(Fact::JobWentOn);
            return;
        }
        let start = active.round().id;
        let first = RoundId {
            job: id,
            step: 0,
            round: 0,
        };
        let had = self.said.keys().any(|said| said.job == id);
        ground.note(match (start == first, had) {
            (true, true) => Fact::JobWentBack,
            (true, false) | (false, _) => Fact::JobWentOn,
        });
        let stays = |round: &RoundId| round.job != id || *round < start;
        let task_stays = |task: &TaskId| stays(&task.round);
        self.accepted.retain(|task, _| task_stays(task));
        self.ever_accepted.retain(task_stays);
        self.said.retain(|round, _| stays(round));
    }

    /// A retry was answered by what answers none.
    pub fn refused_retry(&mut self, job: JobId, body: &Response) {
        self.ensure(false, "S5", || {
            format!("the retry of {job} was answered {body:?}")
        });
    }

    /// Somebody was told of an end: always the same.
    pub fn told(&mut self, ground: &mut Ground, event: &JobEvent) {
        let told = &mut self.account(event.id.job).told;
        let (state, times) = told.entry(event.id.ending).or_insert((event.state, 0));
        let same = *state == event.state;
        *times += 1;
        ground.note(if *times == 1 {
            Fact::EndTold
        } else {
            Fact::EndToldAgain
        });
        self.ensure(same, "S3", || format!("{} was told otherwise", event.id));
    }

    /// The last end of a job was told, unless nobody is to be.
    pub(super) fn check_told(&mut self, job: &Job) {
        let Some(notice) = &job.notice else {
            self.ensure(job.spec.notify.is_none(), "L1", || {
                format!("nobody is told of {}", job.id)
            });
            return;
        };
        let told = self.account(job.id).told.get(&notice.ending).copied();
        let delivered = notice.stage == NoticeStage::Delivered;
        let right = told.is_some_and(|(state, times)| state == job.state() && times > 0);
        self.ensure(!delivered || right, "S1", || {
            format!(
                "the end of {} counts as told, and was told {told:?}",
                job.id
            )
        });
        self.ensure(delivered, "L1", || {
            format!("the telling of the end of {}: {notice:?}", job.id)
        });
    }
}
