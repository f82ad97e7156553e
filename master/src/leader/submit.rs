//! Submissions.
//!
//! A job's first need is a plan, and on an idle cluster a worker waits that could make
//! it. So the grant goes in the entry of the submission, for the id that the job will
//! have if nobody else submits at the same moment. `apply` verifies it like any other:
//! refused, the scheduler grants the plan a commit later.

use vivat_core::State;
use vivat_core::command::{Command, Grant, Reply};
use vivat_shared::ids::{JobId, RoundId, TaskId, TaskKind, WorkerEpoch};

use super::Leader;
use super::error::LeaderError;
use super::proposer::Share;

/// Room taken off the view while a grant is on its way, whatever becomes of the call.
struct Promised<'l> {
    leader: &'l Leader,
    grant: Grant,
}

impl Drop for Promised<'_> {
    fn drop(&mut self) {
        // Deliver first, as after any grant.
        self.leader.poke(self.grant.worker);
        self.leader.sessions().granted(&[self.grant]);
        self.leader.wake_scheduler.notify_one();
    }
}

impl Leader {
    /// Proposes a submission.
    ///
    /// # Errors
    ///
    /// [`LeaderError`], with rejections among them.
    pub async fn submit(&self, submission: Command) -> Result<Reply, LeaderError> {
        let Some(grant) = self.plan_ahead() else {
            return self.propose_for_client(submission).await;
        };
        self.sessions().granting(&[grant]);
        let promised = Promised {
            leader: self,
            grant,
        };
        let assign = Command::AssignAttempts {
            term: self.term,
            grants: vec![grant],
        };
        self.metrics.commands.inc_by(2);
        let commands = vec![submission, assign];
        let mut replies = self.proposer.propose(commands, Share::Half).await?;
        drop(promised);
        replies.truncate(1);
        super::only(replies)
    }

    /// The plan of the next job, for a worker that waits with a free control slot.
    fn plan_ahead(&self) -> Option<Grant> {
        let view = self.sessions().liveness();
        let waits = |(_, seen): &(_, &vivat_core::WorkerLiveness)| seen.control_free;
        let (worker, seen) = view.workers.iter().find(waits)?;
        let round = RoundId {
            job: JobId(self.raft.read(State::last_job) + 1),
            step: 0,
            round: 0,
        };
        Some(Grant {
            task: TaskId {
                round,
                kind: TaskKind::Plan,
                index: 0,
            },
            worker: WorkerEpoch {
                worker: *worker,
                epoch: seen.epoch,
            },
            backup: false,
        })
    }
}
