//! What is owed to whoever is to be told of a job's end.
//!
//! ```text
//!            grant                 Notified
//!   Owed ------------> granted ---------------> Delivered
//!    ^                    |
//!    +--------------------+----> GivenUp
//!      failed, lost: after a pause   tries or time used up
//! ```

use serde::{Deserialize, Serialize};
use vivat_shared::ids::{AttemptId, JobId, RoundId, TaskId, TaskKind, WorkerEpoch};
use vivat_shared::limits::NOTIFY_TRIES_MAX;
use vivat_shared::notify::NotifyState;

use super::tasks::Running;
use crate::limits::{NOTICE_AGE_MAX_MS, NOTICE_PAUSE_MAX_MS, NOTICE_PAUSE_MIN_MS};

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeStage {
    /// Somebody must be told.
    Owed,
    /// Somebody was.
    Delivered,
    /// Nobody will be.
    GivenUp,
}

/// The telling of one end of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Which of the job's ends, from 0.
    pub ending: u32,
    /// How far it is.
    pub stage: NoticeStage,
    /// Tries that ended.
    pub tries: u32,
    /// What the last of them met.
    pub problem: String,
    /// Numbers granted so far.
    pub granted: u16,
    /// The try that is under way.
    pub running: Option<Running>,
    /// The cluster's age before which nobody tries again.
    pub due_age_ms: u64,
    /// The cluster's age at which it is given up.
    pub until_age_ms: u64,
}

impl Notice {
    pub(crate) fn new(ending: u32, age_ms: u64) -> Self {
        Self {
            ending,
            stage: NoticeStage::Owed,
            tries: 0,
            problem: String::new(),
            granted: 0,
            running: None,
            due_age_ms: age_ms,
            until_age_ms: age_ms.saturating_add(NOTICE_AGE_MAX_MS),
        }
    }

    /// The task that its tries are of.
    #[must_use]
    pub fn task(&self, job: JobId) -> TaskId {
        TaskId {
            round: RoundId {
                job,
                step: 0,
                round: 0,
            },
            kind: TaskKind::Notify,
            index: self.ending,
        }
    }

    /// The try that is under way.
    #[must_use]
    pub fn live(&self, job: JobId) -> Option<(AttemptId, WorkerEpoch)> {
        let running = self.running?;
        let task = self.task(job);
        let number = running.number;
        Some((AttemptId { task, number }, running.worker))
    }

    /// Whether somebody must still be told.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.stage == NoticeStage::Owed
    }

    /// Whether a try may begin.
    #[must_use]
    pub fn is_due(&self, age_ms: u64) -> bool {
        self.is_owed() && self.running.is_none() && self.due_age_ms <= age_ms
    }

    pub(crate) fn grant(&mut self, worker: WorkerEpoch) -> Option<u16> {
        let number = self.granted.checked_add(1)?;
        self.granted = number;
        self.running = Some(Running { number, worker });
        Some(number)
    }

    /// A try came to nothing: the next one after a pause, which doubles, or none.
    pub(crate) fn miss(&mut self, problem: String, age_ms: u64) {
        self.running = None;
        self.tries += 1;
        self.problem = problem;
        let doublings = self.tries.saturating_sub(1).min(20);
        let pause_ms = NOTICE_PAUSE_MIN_MS << doublings;
        self.due_age_ms = age_ms.saturating_add(pause_ms.min(NOTICE_PAUSE_MAX_MS));
        if self.tries >= NOTIFY_TRIES_MAX || self.granted == u16::MAX {
            self.stage = NoticeStage::GivenUp;
        }
    }

    /// For people.
    #[must_use]
    pub fn view(&self) -> NotifyState {
        let (tries, problem) = (self.tries, self.problem.clone());
        match self.stage {
            NoticeStage::Owed => NotifyState::Pending { tries, problem },
            NoticeStage::Delivered => NotifyState::Delivered { tries },
            NoticeStage::GivenUp => NotifyState::GivenUp { tries, problem },
        }
    }
}
