//! Timelines of jobs.

use vivat_shared::ids::WorkerId;
use vivat_shared::timeline::{AttemptEnd, AttemptSpan};

use crate::error::{WireError, required};
use crate::v1;

pub(super) fn end_to_wire(end: Option<AttemptEnd>) -> v1::AttemptEnd {
    match end {
        None => v1::AttemptEnd::Unspecified,
        Some(AttemptEnd::Accepted) => v1::AttemptEnd::Accepted,
        Some(AttemptEnd::Failed) => v1::AttemptEnd::Failed,
        Some(AttemptEnd::Killed) => v1::AttemptEnd::Killed,
        Some(AttemptEnd::Lost) => v1::AttemptEnd::Lost,
    }
}

pub(super) fn end_from_wire(end: v1::AttemptEnd) -> Option<AttemptEnd> {
    match end {
        v1::AttemptEnd::Unspecified => None,
        v1::AttemptEnd::Accepted => Some(AttemptEnd::Accepted),
        v1::AttemptEnd::Failed => Some(AttemptEnd::Failed),
        v1::AttemptEnd::Killed => Some(AttemptEnd::Killed),
        v1::AttemptEnd::Lost => Some(AttemptEnd::Lost),
    }
}

impl From<AttemptSpan> for v1::AttemptSpan {
    fn from(span: AttemptSpan) -> Self {
        Self {
            attempt: Some(span.attempt.into()),
            worker: span.worker.0,
            began_ms: span.began_ms,
            ended_ms: span.ended_ms,
            end: end_to_wire(span.end).into(),
        }
    }
}

impl TryFrom<v1::AttemptSpan> for AttemptSpan {
    type Error = WireError;

    fn try_from(span: v1::AttemptSpan) -> Result<Self, WireError> {
        let end = end_from_wire(span.end());
        Ok(Self {
            attempt: required(span.attempt, "attempt")?.try_into()?,
            worker: WorkerId(span.worker),
            began_ms: span.began_ms,
            ended_ms: span.ended_ms,
            end,
        })
    }
}
