//! How a call can end badly, sorted by what the caller must do.

use std::time::Duration;

use tonic::{Code, Status};
use vivat_proto::error::detail_of;
use vivat_proto::v1::NotLeader;
use vivat_proto::v1::error_detail::Kind;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No master answered as the leader within the budget: a retry may help.
    #[error("no leader answered for {:.1} s (asked {})", waited.as_secs_f64(), tried.join(", "))]
    NoLeader {
        /// The masters that were asked, `HOST:PORT`.
        tried: Vec<String>,
        /// How long.
        waited: Duration,
        /// What the last one asked said.
        #[source]
        last: Option<Box<Status>>,
    },
    /// The leader refused: final, or temporary and for the whole budget.
    /// [`ClientError::detail`] says why by its type.
    #[error("{}", .0.message())]
    Refused(Box<Status>),
    /// An answer that this version cannot read.
    #[error("cannot read the answer: {problem}")]
    BadAnswer {
        /// What is wrong with it.
        problem: String,
    },
}

/// Sorts of refusal, by what the caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Ask for something else.
    Invalid,
    /// It is not there.
    NotFound,
    /// Something is in the way.
    Conflict,
    /// Ask as somebody else.
    NotAllowed,
    /// Ask again later.
    Temporary,
    /// Report it.
    Failed,
}

impl ClientError {
    /// The typed detail of a refusal.
    #[must_use]
    pub fn detail(&self) -> Option<Kind> {
        match self {
            Self::Refused(status) => detail_of(status),
            Self::NoLeader { .. } | Self::BadAnswer { .. } => None,
        }
    }

    /// What sort of refusal it is, for one that carries no typed detail.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::NoLeader { .. } => Refusal::Temporary,
            Self::BadAnswer { .. } => Refusal::Failed,
            Self::Refused(status) => match status.code() {
                Code::InvalidArgument | Code::OutOfRange => Refusal::Invalid,
                Code::NotFound => Refusal::NotFound,
                Code::AlreadyExists | Code::FailedPrecondition => Refusal::Conflict,
                Code::PermissionDenied | Code::Unauthenticated => Refusal::NotAllowed,
                Code::ResourceExhausted
                | Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Aborted => Refusal::Temporary,
                Code::Ok
                | Code::Cancelled
                | Code::Unknown
                | Code::Unimplemented
                | Code::Internal
                | Code::DataLoss => Refusal::Failed,
            },
        }
    }

    /// An answer without a part that it must have.
    pub(crate) fn bad_answer(problem: impl ToString) -> Self {
        Self::BadAnswer {
            problem: problem.to_string(),
        }
    }
}

/// What a status of one try means for the next.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// That master does not lead; it may know who does.
    NotLeader(NotLeader),
    /// No answer, or none that can be relied on: the channel is given up and
    /// the call made again.
    Transport,
    /// The leader answered that it cannot say or is full: the call is made again.
    Again,
    /// An answer.
    Final,
}

/// Judges a status by its type, never by its text.
pub(crate) fn judge(status: &Status) -> Verdict {
    if let Some(kind) = detail_of(status) {
        return match kind {
            Kind::NotLeader(not_leader) => Verdict::NotLeader(not_leader),
            Kind::OutcomeUnknown(_) => Verdict::Again,
            Kind::StaleEpoch(_)
            | Kind::KeyConflict(_)
            | Kind::UnknownJob(_)
            | Kind::TooLate(_)
            | Kind::NotRetryable(_)
            | Kind::JobEnded(_)
            | Kind::InvalidSpec(_)
            | Kind::Limit(_)
            | Kind::UnknownWorker(_)
            | Kind::SegmentGone(_)
            | Kind::SegmentDamaged(_)
            | Kind::DatasetExists(_)
            | Kind::UnknownDataset(_)
            | Kind::DatasetInUse(_)
            | Kind::InvalidBlocks(_)
            | Kind::NoRoom(_)
            | Kind::BlockGone(_)
            | Kind::BlockDamaged(_)
            | Kind::OtherWorker(_)
            | Kind::UnknownValue(_)
            | Kind::VersionConflict(_) => Verdict::Final,
        };
    }
    // A status that this side made from a broken connection has a source; one
    // that a server sent has none.
    if std::error::Error::source(status).is_some() {
        return Verdict::Transport;
    }
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => Verdict::Transport,
        // The leader is full, or lost a race: nothing happened.
        Code::Aborted | Code::ResourceExhausted => Verdict::Again,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => Verdict::Final,
    }
}
