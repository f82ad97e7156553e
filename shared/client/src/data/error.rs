//! How bringing blocks to workers, or back, can end badly.

use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use vivat_proto::error::detail_of;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::{BlockId, DatasetId, WorkerId};

use crate::error::ClientError;

/// Why bytes did not come to where they should.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The leader refused, or there is none.
    #[error(transparent)]
    Leader(#[from] ClientError),
    /// No worker that is there gives the block: those asked are named with what
    /// they said. Temporary when a worker that has it may come back.
    #[error(
        "block {position} of dataset `{dataset}` ({block}) cannot be read: {}",
        asked_text(asked, lost_holders)
    )]
    Unreadable {
        /// Name of the dataset.
        dataset: String,
        /// Which of its blocks, in order.
        position: u32,
        /// Its id.
        block: BlockId,
        /// Who was asked, and what each said.
        asked: Vec<HolderProblem>,
        /// Workers that had it and are lost: their disks may come back.
        lost_holders: Vec<WorkerId>,
    },
    /// No worker took the block, for as long as it was tried.
    #[error(
        "no worker took block {position} of {dataset} within {:.0} s{}",
        waited.as_secs_f64(), told_text(asked)
    )]
    NoTaker {
        /// The dataset that is being written.
        dataset: DatasetId,
        /// Which of its blocks.
        position: u32,
        /// How long it was tried.
        waited: Duration,
        /// Who was asked, and what each said.
        asked: Vec<HolderProblem>,
    },
    /// The dataset is not what its directory says.
    #[error("dataset `{dataset}` is not what the directory says: {problem}")]
    Inconsistent {
        /// Its name.
        dataset: String,
        /// What does not fit.
        problem: String,
    },
    /// The sending was given up by whoever asked for it.
    #[error("given up")]
    GivenUp,
}

impl DataError {
    /// Whether the same may go well later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Leader(error) => error.refusal() == crate::error::Refusal::Temporary,
            Self::Unreadable {
                asked,
                lost_holders,
                ..
            } => {
                let may_answer = |asked: &HolderProblem| asked.problem.is_temporary();
                !lost_holders.is_empty() || asked.iter().any(may_answer)
            }
            Self::NoTaker { .. } => true,
            Self::Inconsistent { .. } | Self::GivenUp => false,
        }
    }
}

/// A worker and why it was of no help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolderProblem {
    /// Who.
    pub worker: WorkerId,
    /// Why.
    pub problem: BlockProblem,
}

impl fmt::Display for HolderProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.worker, self.problem)
    }
}

/// Why a worker did not give or take a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockProblem {
    /// No answer, or one that broke off.
    #[error("did not answer ({said})")]
    Unreachable {
        /// What the connection said.
        said: String,
    },
    /// It has no room for another stream now.
    #[error("is busy ({said})")]
    Busy {
        /// Its words.
        said: String,
    },
    /// Its address is another worker's by now.
    #[error("is no longer at its address")]
    OtherWorker,
    /// It has no such block.
    #[error("does not have it")]
    Gone,
    /// Its copy is damaged.
    #[error("has a damaged copy ({said})")]
    Damaged {
        /// Its words.
        said: String,
    },
    /// It has other bytes under that name.
    #[error(
        "has another block under that name ({} bytes, checksum {:08x})", found.bytes, found.crc32c
    )]
    Differs {
        /// What it has.
        found: BlockSummary,
    },
    /// Bytes changed on the way.
    #[error("sent bytes that are not those of their checksum")]
    Corrupt,
    /// Its disk is full.
    #[error("has no room ({said})")]
    NoRoom {
        /// Its words.
        said: String,
    },
    /// Something else.
    #[error("refused ({said})")]
    Refused {
        /// Its words.
        said: String,
    },
}

impl BlockProblem {
    /// What a worker's status means.
    pub(crate) fn of(status: &Status) -> Self {
        let said = status.message().to_owned();
        if let Some(kind) = detail_of(status) {
            match kind {
                Kind::BlockGone(_) => return Self::Gone,
                Kind::BlockDamaged(_) => return Self::Damaged { said },
                Kind::OtherWorker(_) => return Self::OtherWorker,
                Kind::NoRoom(_) => return Self::NoRoom { said },
                // No worker's word on a block; its code tells.
                Kind::NotLeader(_)
                | Kind::StaleEpoch(_)
                | Kind::KeyConflict(_)
                | Kind::UnknownJob(_)
                | Kind::TooLate(_)
                | Kind::NotRetryable(_)
                | Kind::JobEnded(_)
                | Kind::InvalidSpec(_)
                | Kind::Limit(_)
                | Kind::UnknownWorker(_)
                | Kind::OutcomeUnknown(_)
                | Kind::SegmentGone(_)
                | Kind::SegmentDamaged(_)
                | Kind::DatasetExists(_)
                | Kind::UnknownDataset(_)
                | Kind::DatasetInUse(_)
                | Kind::InvalidBlocks(_)
                | Kind::UnknownValue(_)
                | Kind::VersionConflict(_) => {}
            }
        }
        // What this side made of a broken connection has a source.
        if std::error::Error::source(status).is_some() {
            return Self::Unreachable {
                said: innermost(status),
            };
        }
        match status.code() {
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown => {
                Self::Unreachable { said }
            }
            Code::ResourceExhausted | Code::Aborted => Self::Busy { said },
            Code::DataLoss => Self::Damaged { said },
            Code::NotFound => Self::Gone,
            Code::Ok
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unauthenticated => Self::Refused { said },
        }
    }

    /// Whether the same worker may say something else soon.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Busy { .. } | Self::Corrupt | Self::NoRoom { .. } => {
                true
            }
            Self::OtherWorker
            | Self::Gone
            | Self::Damaged { .. }
            | Self::Differs { .. }
            | Self::Refused { .. } => false,
        }
    }

    /// Whether the connection is to blame, and a new one is to be made.
    pub(crate) fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::OtherWorker => true,
            Self::Busy { .. }
            | Self::Gone
            | Self::Damaged { .. }
            | Self::Differs { .. }
            | Self::Corrupt
            | Self::NoRoom { .. }
            | Self::Refused { .. } => false,
        }
    }
}

/// The last of an error's sources: `connection refused` says more than
/// `transport error`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

fn asked_text(asked: &[HolderProblem], lost: &[WorkerId]) -> String {
    let mut parts: Vec<String> = asked.iter().map(ToString::to_string).collect();
    parts.extend(lost.iter().map(|worker| format!("{worker} is lost")));
    if parts.is_empty() {
        return "no worker has it".to_owned();
    }
    parts.join(", ")
}

fn told_text(asked: &[HolderProblem]) -> String {
    if asked.is_empty() {
        return String::new();
    }
    format!(": {}", asked_text(asked, &[]))
}
