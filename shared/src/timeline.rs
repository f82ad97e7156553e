//! Which worker ran which attempt, and when.

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, WorkerId};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptEnd {
    /// Its outcome is its task's.
    Accepted,
    /// It returned an error.
    Failed,
    /// It was stopped: another attempt of its task was faster, or its job ended.
    Killed,
    /// Its worker vanished.
    Lost,
}

impl AttemptEnd {
    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Lost => "lost",
        }
    }
}

/// One attempt of a job. Times are milliseconds of the cluster's age since the
/// job's submission: from the entry that granted it to the one that ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptSpan {
    /// Which.
    pub attempt: AttemptId,
    /// Who had it.
    pub worker: WorkerId,
    /// When it was granted.
    pub began_ms: u32,
    /// When its outcome was taken; none while it is granted.
    pub ended_ms: Option<u32>,
    /// How it ended; none while it is granted.
    pub end: Option<AttemptEnd>,
}
