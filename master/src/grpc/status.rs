//! Turns what the leader answers into codes and typed details.
//!
//! The one place where an error of this process becomes a `tonic::Status`.
//! Whoever calls acts on the detail, never on the message.

use tonic::{Code, Status};
use vivat_core::command::Rejection;
use vivat_proto::error::status;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::ids::NodeId;

use crate::leader::LeaderError;
use crate::raft::{Handle, TransferError};

/// The status of a failed request to the leader of this process.
pub(super) fn of(error: LeaderError, raft: &Handle) -> Status {
    let message = error.to_string();
    match error {
        LeaderError::NotLeader => not_leader(raft),
        // No detail: a full queue is over in a moment, unlike a limit.
        LeaderError::Overloaded { .. } => Status::resource_exhausted(message),
        LeaderError::OutcomeUnknown => {
            let kind = Kind::OutcomeUnknown(v1::OutcomeUnknown {});
            status(Code::Unavailable, message, kind)
        }
        LeaderError::TooLarge { .. } => {
            let limit = message.clone();
            let kind = Kind::Limit(v1::LimitReached { limit });
            status(Code::ResourceExhausted, message, kind)
        }
        LeaderError::StaleEpoch { .. } => {
            let kind = Kind::StaleEpoch(v1::StaleEpoch {});
            status(Code::FailedPrecondition, message, kind)
        }
        LeaderError::Rejected(rejection) => rejected(rejection),
        LeaderError::Stopped => Status::unavailable(message),
    }
}

fn rejected(rejection: Rejection) -> Status {
    let message = rejection.to_string();
    let with = |code, kind| status(code, message.clone(), kind);
    match rejection {
        Rejection::UnknownJob(job) => with(
            Code::NotFound,
            Kind::UnknownJob(v1::UnknownJob { job: job.0 }),
        ),
        Rejection::UnknownWorker(worker) => {
            let worker = worker.0;
            with(
                Code::NotFound,
                Kind::UnknownWorker(v1::UnknownWorker { worker }),
            )
        }
        Rejection::JobEnded(job) => with(
            Code::FailedPrecondition,
            Kind::JobEnded(v1::JobEnded { job: job.0 }),
        ),
        Rejection::TooLate(job) => with(
            Code::FailedPrecondition,
            Kind::TooLate(v1::TooLate { job: job.0 }),
        ),
        Rejection::NotRetryable { job, problem } => {
            let job = job.0;
            let detail = v1::NotRetryable { job, problem };
            with(Code::FailedPrecondition, Kind::NotRetryable(detail))
        }
        Rejection::KeyConflict { key, job } => {
            let conflict = v1::JobConflict { key, job: job.0 };
            with(Code::AlreadyExists, Kind::KeyConflict(conflict))
        }
        Rejection::InvalidSpec(error) => {
            let invalid = v1::InvalidSpec {
                field: error.field,
                problem: error.problem,
            };
            with(Code::InvalidArgument, Kind::InvalidSpec(invalid))
        }
        Rejection::Limit { limit } => with(
            Code::ResourceExhausted,
            Kind::Limit(v1::LimitReached { limit }),
        ),
        Rejection::StaleEpoch { .. } => with(
            Code::FailedPrecondition,
            Kind::StaleEpoch(v1::StaleEpoch {}),
        ),
        Rejection::DatasetExists { .. }
        | Rejection::UnknownDataset(_)
        | Rejection::UnknownDatasetName(_)
        | Rejection::DatasetInUse { .. }
        | Rejection::InvalidBlocks { .. }
        | Rejection::UnknownValue(_)
        | Rejection::VersionConflict { .. } => rejected_data(&message, rejection),
        Rejection::StaleAttempt { .. } | Rejection::NotGrantable(_) => Status::not_found(message),
        Rejection::InvalidPlan { .. } => Status::invalid_argument(message),
        Rejection::JobNotEnded(_)
        | Rejection::NotDue(_)
        | Rejection::NotDrained(_)
        | Rejection::StaleTerm { .. }
        | Rejection::OtherCluster { .. } => Status::failed_precondition(message),
    }
}

/// What a client asked of datasets and values cannot be.
fn rejected_data(message: &str, rejection: Rejection) -> Status {
    let (code, kind) = match rejection {
        Rejection::DatasetExists { name } => {
            let exists = v1::DatasetExists { name };
            (Code::AlreadyExists, Kind::DatasetExists(exists))
        }
        Rejection::UnknownDataset(dataset) => {
            let unknown = v1::UnknownDataset {
                name: String::new(),
                dataset: dataset.0,
            };
            (Code::NotFound, Kind::UnknownDataset(unknown))
        }
        Rejection::UnknownDatasetName(name) => {
            let unknown = v1::UnknownDataset { name, dataset: 0 };
            (Code::NotFound, Kind::UnknownDataset(unknown))
        }
        Rejection::DatasetInUse { name, job } => {
            let used = v1::DatasetInUse { name, job: job.0 };
            (Code::FailedPrecondition, Kind::DatasetInUse(used))
        }
        Rejection::InvalidBlocks { dataset, problem } => {
            let dataset = dataset.0;
            let invalid = v1::InvalidBlocks { dataset, problem };
            (Code::FailedPrecondition, Kind::InvalidBlocks(invalid))
        }
        Rejection::UnknownValue(name) => {
            let unknown = v1::UnknownValue { name };
            (Code::NotFound, Kind::UnknownValue(unknown))
        }
        Rejection::VersionConflict { name, version } => {
            let conflict = v1::VersionConflict { name, version };
            (Code::FailedPrecondition, Kind::VersionConflict(conflict))
        }
        other @ (Rejection::StaleTerm { .. }
        | Rejection::StaleEpoch { .. }
        | Rejection::StaleAttempt { .. }
        | Rejection::UnknownJob(_)
        | Rejection::UnknownWorker(_)
        | Rejection::JobEnded(_)
        | Rejection::JobNotEnded(_)
        | Rejection::NotDrained(_)
        | Rejection::TooLate(_)
        | Rejection::NotRetryable { .. }
        | Rejection::NotDue(_)
        | Rejection::KeyConflict { .. }
        | Rejection::InvalidSpec(_)
        | Rejection::NotGrantable(_)
        | Rejection::InvalidPlan { .. }
        | Rejection::Limit { .. }
        | Rejection::OtherCluster { .. }) => return rejected(other),
    };
    status(code, message, kind)
}

/// "Not leader", with where to go if that is known.
pub(super) fn not_leader(raft: &Handle) -> Status {
    let leadership = *raft.leadership().borrow();
    // A leader that has not opened yet, or has closed, sends nobody to itself:
    // the caller is to back off and ask again.
    let leader = leadership.leader.filter(|_| !leadership.is_leader);
    let detail = v1::NotLeader {
        term: leadership.term,
        leader_id: leadership.leader.map_or(0, |leader| leader.0),
        leader_endpoint: leader
            .and_then(|leader| endpoint(raft, leadership.term, leader))
            .unwrap_or_default(),
    };
    let message = format!("not the leader of term {}", leadership.term);
    status(Code::FailedPrecondition, message, Kind::NotLeader(detail))
}

/// Where a leader's services listen: by its own word in the log if its barrier
/// is applied here, else by what it said of itself when it was last asked.
fn endpoint(raft: &Handle, term: u64, leader: NodeId) -> Option<String> {
    let recorded = raft.read(|state| {
        state
            .leader()
            .filter(|record| state.term() == term && record.node_id == leader)
            .map(|record| record.client_address.clone())
    });
    recorded.or_else(|| {
        raft.members()
            .into_iter()
            .find(|member| member.node_id == leader)?
            .client_address
    })
}

/// The status of a hand-over that did not happen.
pub(super) fn of_transfer(error: &TransferError, raft: &Handle) -> Status {
    match error {
        TransferError::NotLeader { .. } => not_leader(raft),
        TransferError::NoTarget { .. } => Status::invalid_argument(error.to_string()),
        TransferError::TimedOut { .. } | TransferError::Fatal => {
            Status::unavailable(error.to_string())
        }
    }
}
