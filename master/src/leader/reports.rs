//! Outcomes that workers report, and what they are told of them.
//!
//! A report is repeated until it is answered. So the answer to one whose first
//! answer was lost must be the same: `apply` refuses the repetition, and the
//! state tells that it was this attempt that won.

use vivat_core::command::{Command, Rejection, Reply};
use vivat_shared::attempt::{AttemptFailure, ClosedBroadcast, Outcome};
use vivat_shared::cause::FailureCause;
use vivat_shared::dataset::ReplicatedBlock;
use vivat_shared::ids::{AttemptId, TaskKind, WorkerEpoch};

use super::Leader;
use super::error::LeaderError;
use super::proposer;
use super::pulls::has_the_outcome;

/// What a worker is told of one report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The attempt.
    pub attempt: AttemptId,
    /// False: it was not granted (any more); its files may go.
    pub accepted: bool,
}

impl Leader {
    /// Proposes outcomes and answers one verdict each, in order.
    ///
    /// # Errors
    ///
    /// [`LeaderError`]; after `OutcomeUnknown` the same reports are to be
    /// repeated.
    pub async fn report(
        &self,
        worker: WorkerEpoch,
        reports: Vec<(AttemptId, Outcome)>,
    ) -> Result<Vec<Verdict>, LeaderError> {
        self.hear(worker)?;
        let mut verdicts = Vec::with_capacity(reports.len());
        let mut attempts = Vec::with_capacity(reports.len());
        let mut commands = Vec::with_capacity(reports.len());
        for (attempt, outcome) in reports {
            if self.is_sealed(worker, attempt) {
                let accepted = true;
                verdicts.push(Verdict { attempt, accepted });
                continue;
            }
            attempts.push(attempt);
            commands.push(within_an_entry(attempt, worker, outcome));
        }
        for command in &commands {
            if let Command::FinishAttempt { outcome, .. } = command {
                for block in first_blocks(outcome) {
                    self.data.note_recorded(block.summary.id.dataset);
                }
            }
        }
        let replies = if commands.is_empty() {
            Vec::new()
        } else {
            self.propose(commands).await?
        };
        self.sessions().note_reported(worker, &attempts);
        for (attempt, reply) in attempts.into_iter().zip(replies) {
            let accepted = match reply {
                Reply::Done => true,
                Reply::Rejected(Rejection::StaleEpoch { .. } | Rejection::UnknownWorker(_)) => {
                    return Err(LeaderError::StaleEpoch { worker });
                }
                Reply::Rejected(_)
                | Reply::Job { .. }
                | Reply::Retried { .. }
                | Reply::Registered(_)
                | Reply::Dataset { .. }
                | Reply::Version(_)
                | Reply::Assigned(_) => self
                    .raft
                    .read(|state| has_the_outcome(state, worker, attempt)),
            };
            verdicts.push(Verdict { attempt, accepted });
        }
        Ok(verdicts)
    }

    /// Proposes a piece of a plan, and with the last one what the plan comes to.
    ///
    /// # Errors
    ///
    /// [`LeaderError`], with the rejection of the piece among them. What becomes of
    /// the plan is told when it is reported.
    pub async fn append_plan(
        &self,
        (attempt, worker): (AttemptId, WorkerEpoch),
        piece: Command,
        seal: Option<Outcome>,
    ) -> Result<(), LeaderError> {
        self.hear(worker)?;
        if self.is_sealed(worker, attempt) {
            return Ok(());
        }
        let seal = seal.map(|outcome| within_an_entry(attempt, worker, outcome));
        let commands = std::iter::once(piece).chain(seal).collect();
        let mut replies = self.propose(commands).await?;
        replies.truncate(1);
        super::only(replies).map(drop)
    }

    /// Whether the attempt is a plan that came to something already.
    fn is_sealed(&self, worker: WorkerEpoch, attempt: AttemptId) -> bool {
        attempt.task.kind == TaskKind::Plan
            && self
                .raft
                .read(|state| has_the_outcome(state, worker, attempt))
    }
}

/// The first blocks that an outcome brings into the directory, of each dataset.
fn first_blocks(outcome: &Outcome) -> impl Iterator<Item = &ReplicatedBlock> {
    let (written, log) = match outcome {
        Outcome::Reduced { blocks, log, .. } => (blocks.first(), log.as_ref()),
        Outcome::Closed {
            broadcast: ClosedBroadcast::Stored(blocks),
            ..
        } => (blocks.first(), None),
        Outcome::Mapped { log, .. } => (None, log.as_ref()),
        Outcome::Failed(failure) => (None, failure.log.as_ref()),
        Outcome::Planned { .. }
        | Outcome::Closed { .. }
        | Outcome::Committed
        | Outcome::Notified
        | Outcome::Killed
        | Outcome::HandedBack => (None, None),
    };
    let logged = log.and_then(|log| log.blocks.first());
    written.into_iter().chain(logged)
}

/// The command of a report. An outcome that no entry can hold is a failure of
/// its attempt: refused, it would be repeated for ever, and with it every report
/// that goes in the same call.
fn within_an_entry(attempt: AttemptId, worker: WorkerEpoch, outcome: Outcome) -> Command {
    let command = |outcome| Command::FinishAttempt {
        attempt,
        worker,
        outcome,
    };
    let reported = command(outcome);
    match proposer::size_of(&reported) {
        Ok(_) => reported,
        Err(error) => command(Outcome::Failed(AttemptFailure {
            log: None,
            cause: FailureCause::Internal {
                detail: format!("the report of its outcome is too large: {error}"),
            },
            input: None,
            output_tail: String::new(),
        })),
    }
}
