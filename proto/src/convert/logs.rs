//! Logs of attempts.

use vivat_shared::ids::WorkerId;
use vivat_shared::logs::{AttemptLog, LogEntry};
use vivat_shared::timeline::AttemptEnd;

use super::timeline::{end_from_wire, end_to_wire};
use crate::error::{WireError, collect, required};
use crate::v1;

impl From<AttemptLog> for v1::AttemptLog {
    fn from(log: AttemptLog) -> Self {
        Self {
            bytes: log.bytes,
            truncated: log.truncated,
            blocks: log.blocks.into_iter().map(Into::into).collect(),
        }
    }
}

pub(super) fn log_from_wire(log: Option<v1::AttemptLog>) -> Result<Option<AttemptLog>, WireError> {
    let read = |log: v1::AttemptLog| {
        Ok(AttemptLog {
            bytes: log.bytes,
            truncated: log.truncated,
            blocks: collect(log.blocks)?,
        })
    };
    log.map(read).transpose()
}

impl From<LogEntry> for v1::LogEntry {
    fn from(entry: LogEntry) -> Self {
        Self {
            attempt: Some(entry.attempt.into()),
            worker: entry.worker.0,
            at_ms: entry.at_ms,
            end: end_to_wire(Some(entry.end)).into(),
            bytes: entry.bytes,
            truncated: entry.truncated,
            problem: entry.problem,
            tail: entry.tail,
            blocks: entry.blocks.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::LogEntry> for LogEntry {
    type Error = WireError;

    fn try_from(entry: v1::LogEntry) -> Result<Self, WireError> {
        // One without an end is none of ours; a newer kind of end is some end.
        let end = end_from_wire(entry.end()).unwrap_or(AttemptEnd::Failed);
        Ok(Self {
            attempt: required(entry.attempt, "attempt")?.try_into()?,
            worker: WorkerId(entry.worker),
            at_ms: entry.at_ms,
            end,
            bytes: entry.bytes,
            truncated: entry.truncated,
            problem: entry.problem,
            tail: entry.tail,
            blocks: collect(entry.blocks)?,
        })
    }
}
