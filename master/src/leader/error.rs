//! Why the leader did not do what it was asked.
//!
//! Sorted by what the caller must do: look for another leader, back off, ask
//! again under the same key, or mend the request. The gRPC edge turns each into
//! a code and a typed detail; nothing here knows of either.

use vivat_core::command::Rejection;
use vivat_shared::ids::WorkerEpoch;

/// Why a request to the leader failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaderError {
    /// This replica does not lead, or its services are closed.
    #[error("this master does not lead")]
    NotLeader,
    /// Too much is under way: nothing was proposed.
    #[error("the leader has too much under way: {what}")]
    Overloaded {
        /// Which bound was reached.
        what: &'static str,
    },
    /// It was proposed, and nobody knows whether it will be applied (S5).
    #[error("the outcome of the write is unknown")]
    OutcomeUnknown,
    /// The command alone is larger than an entry may be.
    #[error("{bytes} bytes are more than one entry's {bytes_max}")]
    TooLarge {
        /// Encoded size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The worker must register anew.
    #[error("{worker} is not current")]
    StaleEpoch {
        /// As named by the caller.
        worker: WorkerEpoch,
    },
    /// `apply` refused the command.
    #[error(transparent)]
    Rejected(Rejection),
    /// The Raft core has stopped; the process is about to.
    #[error("this master's Raft core has stopped")]
    Stopped,
}

impl From<Rejection> for LeaderError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::StaleTerm { .. } => Self::NotLeader,
            Rejection::StaleEpoch { worker, .. } => Self::StaleEpoch { worker },
            other @ (Rejection::StaleAttempt { .. }
            | Rejection::UnknownJob(_)
            | Rejection::UnknownWorker(_)
            | Rejection::JobEnded(_)
            | Rejection::JobNotEnded(_)
            | Rejection::TooLate(_)
            | Rejection::NotRetryable { .. }
            | Rejection::NotDue(_)
            | Rejection::KeyConflict { .. }
            | Rejection::InvalidSpec(_)
            | Rejection::NotGrantable(_)
            | Rejection::InvalidPlan { .. }
            | Rejection::Limit { .. }
            | Rejection::DatasetExists { .. }
            | Rejection::UnknownDataset(_)
            | Rejection::UnknownDatasetName(_)
            | Rejection::DatasetInUse { .. }
            | Rejection::InvalidBlocks { .. }
            | Rejection::UnknownValue(_)
            | Rejection::VersionConflict { .. }
            | Rejection::NotDrained(_)
            | Rejection::OtherCluster { .. }) => Self::Rejected(other),
        }
    }
}
