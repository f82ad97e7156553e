//! Failure causes: one kind each, typed to the end.

use vivat_shared::cause::{FailureCause, InputRange, JobFailure};
use vivat_shared::ids::{AttemptId, WorkerId};

use crate::error::{WireError, required};
use crate::v1;
use crate::v1::failure_cause::Kind;

impl From<FailureCause> for v1::FailureCause {
    fn from(cause: FailureCause) -> Self {
        let empty = Self::default();
        let of = |kind: Kind, subject: String, detail: String| Self {
            kind: kind.into(),
            subject,
            detail,
            ..empty.clone()
        };
        let none = String::new;
        match cause {
            FailureCause::InputNotFound { path } => of(Kind::InputNotFound, path, none()),
            FailureCause::InputIsDirectory { path } => of(Kind::InputIsDirectory, path, none()),
            FailureCause::InputUnreadable { path, detail } => {
                of(Kind::InputUnreadable, path, detail)
            }
            FailureCause::InputChanged { path, detail } => of(Kind::InputChanged, path, detail),
            FailureCause::InvalidInput { path, detail } => of(Kind::InvalidInput, path, detail),
            FailureCause::PlanTooLarge { detail } => of(Kind::PlanTooLarge, none(), detail),
            FailureCause::ProgramNotFound { program } => of(Kind::ProgramNotFound, program, none()),
            FailureCause::InvalidParameter {
                program,
                parameter,
                detail,
            } => Self {
                parameter,
                ..of(Kind::InvalidParameter, program, detail)
            },
            FailureCause::OutputExists { path } => of(Kind::OutputExists, path, none()),
            FailureCause::OutputUnwritable { path, detail } => {
                of(Kind::OutputUnwritable, path, detail)
            }
            FailureCause::Program { detail } => of(Kind::Program, none(), detail),
            FailureCause::Panicked { message } => of(Kind::Panicked, none(), message),
            FailureCause::WorkerCrashed => of(Kind::WorkerCrashed, none(), none()),
            FailureCause::DiskFull { what } => of(Kind::DiskFull, what, none()),
            FailureCause::Storage { detail } => of(Kind::Storage, none(), detail),
            FailureCause::LostTooOften { losses } => Self {
                number: u64::from(losses),
                ..of(Kind::LostTooOften, none(), none())
            },
            FailureCause::JobTimeout { limit_ms } => Self {
                number: limit_ms,
                ..of(Kind::JobTimeout, none(), none())
            },
            FailureCause::TooManySkipped {
                skipped,
                skipped_max,
            } => Self {
                number: skipped,
                limit: skipped_max,
                ..of(Kind::TooManySkipped, none(), none())
            },
            FailureCause::Internal { detail } => of(Kind::Internal, none(), detail),
            FailureCause::InputUnreachable { path, detail } => {
                of(Kind::InputUnreachable, path, detail)
            }
            FailureCause::CommandNotFound { command, detail } => {
                of(Kind::CommandNotFound, command, detail)
            }
        }
    }
}

impl TryFrom<v1::FailureCause> for FailureCause {
    type Error = WireError;

    fn try_from(cause: v1::FailureCause) -> Result<Self, WireError> {
        let unknown = WireError::UnknownValue {
            field: "kind",
            value: cause.kind,
        };
        let kind = Kind::try_from(cause.kind).map_err(|_| unknown.clone())?;
        let v1::FailureCause {
            subject,
            parameter,
            detail,
            number,
            limit,
            ..
        } = cause;
        Ok(match kind {
            Kind::Unspecified => return Err(unknown),
            Kind::InputNotFound => Self::InputNotFound { path: subject },
            Kind::InputIsDirectory => Self::InputIsDirectory { path: subject },
            Kind::InputUnreadable => Self::InputUnreadable {
                path: subject,
                detail,
            },
            Kind::InputChanged => Self::InputChanged {
                path: subject,
                detail,
            },
            Kind::InvalidInput => Self::InvalidInput {
                path: subject,
                detail,
            },
            Kind::PlanTooLarge => Self::PlanTooLarge { detail },
            Kind::ProgramNotFound => Self::ProgramNotFound { program: subject },
            Kind::InvalidParameter => Self::InvalidParameter {
                program: subject,
                parameter,
                detail,
            },
            Kind::OutputExists => Self::OutputExists { path: subject },
            Kind::OutputUnwritable => Self::OutputUnwritable {
                path: subject,
                detail,
            },
            Kind::Program => Self::Program { detail },
            Kind::Panicked => Self::Panicked { message: detail },
            Kind::WorkerCrashed => Self::WorkerCrashed,
            Kind::DiskFull => Self::DiskFull { what: subject },
            Kind::Storage => Self::Storage { detail },
            Kind::LostTooOften => Self::LostTooOften {
                losses: u32::try_from(number).map_err(|_| WireError::OutOfBounds {
                    field: "number",
                    value: number,
                })?,
            },
            Kind::JobTimeout => Self::JobTimeout { limit_ms: number },
            Kind::TooManySkipped => Self::TooManySkipped {
                skipped: number,
                skipped_max: limit,
            },
            Kind::Internal => Self::Internal { detail },
            Kind::InputUnreachable => Self::InputUnreachable {
                path: subject,
                detail,
            },
            Kind::CommandNotFound => Self::CommandNotFound {
                command: subject,
                detail,
            },
        })
    }
}

impl From<InputRange> for v1::InputRange {
    fn from(range: InputRange) -> Self {
        Self {
            path: range.path,
            offset: range.offset,
            bytes: range.bytes,
        }
    }
}

impl From<v1::InputRange> for InputRange {
    fn from(range: v1::InputRange) -> Self {
        Self {
            path: range.path,
            offset: range.offset,
            bytes: range.bytes,
        }
    }
}

impl From<JobFailure> for v1::JobFailure {
    fn from(failure: JobFailure) -> Self {
        Self {
            cause: Some(failure.cause.into()),
            attempt: failure.attempt.map(Into::into),
            worker: failure.worker.map(|worker| worker.0),
            input: failure.input.map(Into::into),
            failures: failure.failures,
            output_tail: failure.output_tail,
        }
    }
}

impl TryFrom<v1::JobFailure> for JobFailure {
    type Error = WireError;

    fn try_from(failure: v1::JobFailure) -> Result<Self, WireError> {
        Ok(Self {
            cause: required(failure.cause, "cause")?.try_into()?,
            attempt: failure.attempt.map(AttemptId::try_from).transpose()?,
            worker: failure.worker.map(WorkerId),
            input: failure.input.map(Into::into),
            failures: failure.failures,
            output_tail: failure.output_tail,
        })
    }
}

#[cfg(test)]
mod tests {
    use vivat_shared::ids::{JobId, RoundId, TaskId, TaskKind};

    use super::*;

    fn every_cause() -> Vec<FailureCause> {
        let path = || "in put/ä\n.txt".to_owned();
        let detail = || "why".to_owned();
        vec![
            FailureCause::InputNotFound { path: path() },
            FailureCause::InputIsDirectory { path: path() },
            FailureCause::InputUnreadable {
                path: path(),
                detail: detail(),
            },
            FailureCause::InputUnreachable {
                path: path(),
                detail: detail(),
            },
            FailureCause::CommandNotFound {
                command: path(),
                detail: detail(),
            },
            FailureCause::InputChanged {
                path: path(),
                detail: detail(),
            },
            FailureCause::InvalidInput {
                path: path(),
                detail: detail(),
            },
            FailureCause::PlanTooLarge { detail: detail() },
            FailureCause::ProgramNotFound {
                program: "x".to_owned(),
            },
            FailureCause::InvalidParameter {
                program: "x".to_owned(),
                parameter: "y".to_owned(),
                detail: detail(),
            },
            FailureCause::OutputExists { path: path() },
            FailureCause::OutputUnwritable {
                path: path(),
                detail: detail(),
            },
            FailureCause::Program { detail: detail() },
            FailureCause::Panicked { message: detail() },
            FailureCause::WorkerCrashed,
            FailureCause::DiskFull {
                what: "spill".to_owned(),
            },
            FailureCause::Storage { detail: detail() },
            FailureCause::LostTooOften { losses: 20 },
            FailureCause::JobTimeout { limit_ms: u64::MAX },
            FailureCause::TooManySkipped {
                skipped: 11,
                skipped_max: 10,
            },
            FailureCause::Internal { detail: detail() },
        ]
    }

    #[test]
    fn every_cause_comes_back_from_the_wire_as_it_was() {
        for cause in every_cause() {
            let failure = JobFailure {
                cause,
                attempt: Some(AttemptId {
                    task: TaskId {
                        round: RoundId {
                            job: JobId(u64::MAX),
                            step: 3,
                            round: 9,
                        },
                        kind: TaskKind::Commit,
                        index: u32::MAX,
                    },
                    number: u16::MAX,
                }),
                worker: Some(WorkerId(7)),
                input: Some(InputRange {
                    path: "p".to_owned(),
                    offset: 1,
                    bytes: 2,
                }),
                failures: 4,
                output_tail: "tail".to_owned(),
            };
            assert_eq!(
                v1::JobFailure::from(failure.clone()).try_into(),
                Ok(failure)
            );
        }
    }

    #[test]
    fn cause_of_a_newer_peer_is_refused_and_named() {
        let cause = v1::FailureCause {
            kind: 999,
            ..Default::default()
        };
        assert_eq!(
            FailureCause::try_from(cause),
            Err(WireError::UnknownValue {
                field: "kind",
                value: 999
            })
        );
    }
}
