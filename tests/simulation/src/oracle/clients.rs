//! What clients and workers were told, against what is.

use vivat_core::{LivenessView, job_has_ended};
use vivat_shared::attempt::CommittedPart;
use vivat_shared::ids::{AttemptId, JobId, RoundId, TaskId, TaskKind};
use vivat_shared::job::JobSpec;
use vivat_shared::view::{JobState, JobView};

use super::Oracle;
use crate::event::{Response, SubmissionAt};
use crate::jobs;

impl Oracle {
    /// A client was told its job's id (S1, S5, S14).
    pub fn acknowledged(&mut self, key: &str, spec: &JobSpec, job: JobId) {
        let known = self.reference.job_of_key(key);
        self.ensure(known == Some(job), "S1", || {
            format!("`{key}` was answered {job}, the state has {known:?}")
        });
        let first = *self.keys.entry(key.to_owned()).or_insert(job);
        self.ensure(first == job, "S5", || {
            format!("`{key}` was answered {first} and then {job}")
        });
        let same = self
            .reference
            .job(job)
            .is_some_and(|known| *known.spec == *spec);
        self.ensure(same, "S14", || format!("{job} is not what was submitted"));
    }

    /// No submission of a run may be refused.
    pub fn refused_submission(&mut self, at: SubmissionAt, body: &Response) {
        self.ensure(false, "S5", || {
            format!("submission {at} was answered {body:?}")
        });
    }

    /// A client was told whether its cancellation won (S11).
    pub fn cancel_answered(&mut self, job: JobId, won: bool) {
        let former = self.account(job).cancel_won.replace(won);
        self.ensure(former.is_none_or(|former| former == won), "S11", || {
            format!("cancelling {job} won: {won}, and before: {former:?}")
        });
    }

    /// A client sees a job. An end is the end (S3, S11); who waits without
    /// workers is told so (L6).
    pub fn viewed(&mut self, seen: &JobView, liveness: &LivenessView) {
        let end = self.account(seen.job_id).end;
        let is_end = match seen.state {
            JobState::Queued | JobState::Running => false,
            JobState::Succeeded | JobState::Failed | JobState::Cancelled => true,
        };
        self.ensure(!is_end || end == Some(seen.state), "S11", || {
            format!("{} is seen {:?}, and is {end:?}", seen.job_id, seen.state)
        });
        self.ensure(is_end || end.is_none(), "S10", || {
            format!("{} is seen running after its end", seen.job_id)
        });
        let silent =
            seen.state == JobState::Queued && liveness.workers.is_empty() && seen.reason.is_empty();
        self.ensure(!silent, "L6", || {
            format!("{} waits without a reason", seen.job_id)
        });
    }

    /// A commit attempt made a job's output visible, by whatever worker and
    /// however late: it must be the output, and the same every time (S2, S11).
    pub fn published(&mut self, job: JobId, parts: &[CommittedPart]) {
        let account = self.account(job);
        let (end, abandoned) = (account.end, account.abandoned);
        let retried = account.retries > 0;
        self.ensure(end != Some(JobState::Cancelled) || abandoned, "S11", || {
            format!("the output of {job} became visible after it was cancelled")
        });
        let spec = self.reference.job(job).map(|job| job.spec.clone());
        let last = spec.and_then(|spec| jobs::rounds(&spec).pop());
        let (step, round) = last.unwrap_or_default();
        let round = RoundId { job, step, round };
        for (index, part) in (0..).zip(parts) {
            let task = TaskId {
                round,
                kind: TaskKind::Reduce,
                index,
            };
            let number = part.attempt;
            let counts = self.accepted.get(&task).copied();
            // A commit of the time before a retry may come late: what it shows is right.
            let counts_now = counts == Some(AttemptId { task, number });
            let right = (counts_now || retried) && part.output == jobs::output(index);
            self.ensure(right, "S2", || {
                format!("{job} publishes attempt {number} of {task}; {counts:?} counts")
            });
        }
        let former = self.account(job).published.replace(parts.to_vec());
        let same = retried || former.as_deref().is_none_or(|former| former == parts);
        self.ensure(same, "S2", || format!("{job} published two outputs"));
    }

    /// A worker deletes the files of a job (S15).
    pub fn files_deleted(&mut self, job: JobId) {
        // Of one that was retried since, segments are lost as if their disk were.
        let ended = job_has_ended(&self.reference, job) || self.account(job).retries > 0;
        self.ensure(ended, "S15", || {
            format!("files of {job} are deleted, and it has not ended")
        });
    }
}
