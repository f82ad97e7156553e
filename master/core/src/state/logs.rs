//! Which attempts of a job failed or left a log: what `job logs` reads when their
//! workers are gone.
//!
//! The first ones are kept, within bounds: they tell most about what went wrong, and
//! ended jobs keep theirs. The full texts are blocks of a dataset of the job's own.

use serde::{Deserialize, Serialize};
use vivat_shared::ids::{AttemptId, WorkerId};
use vivat_shared::limits::{LOGS_OF_FAILURES_MAX, LOGS_OF_OTHERS_MAX};
use vivat_shared::timeline::AttemptEnd;

use crate::limits::LOG_TAILS_BYTES_MAX;

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// Which.
    pub attempt: AttemptId,
    /// Who ran it.
    pub worker: WorkerId,
    /// When its outcome was taken, in milliseconds since 1970.
    pub at_ms: u64,
    /// How it ended.
    pub end: AttemptEnd,
    /// Bytes that it wrote.
    pub bytes: u64,
    /// Whether some of it is not in the blocks.
    pub truncated: bool,
    /// Blocks of the job's logs that are its, numbered from 0.
    pub blocks: u16,
    /// Why it failed; empty unless it did.
    pub problem: String,
    /// The end of a failure's output, as far as there was room for it.
    pub tail: String,
}

/// Those of one job, in the order in which they ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Logs {
    rows: Vec<LogRow>,
    failures: u32,
    tail_bytes: u32,
    /// Whether there is a dataset of their texts.
    pub(crate) stored: bool,
}

impl Logs {
    /// In order.
    #[must_use]
    pub fn rows(&self) -> &[LogRow] {
        &self.rows
    }

    /// Whether one more of a kind would be kept.
    #[must_use]
    pub fn has_room(&self, end: AttemptEnd) -> bool {
        let failures = self.failures as usize;
        if end == AttemptEnd::Failed {
            failures < LOGS_OF_FAILURES_MAX
        } else {
            self.rows.len() - failures < LOGS_OF_OTHERS_MAX
        }
    }

    /// Adds one for which there is room.
    pub(crate) fn push(&mut self, mut row: LogRow) {
        let room = LOG_TAILS_BYTES_MAX.saturating_sub(self.tail_bytes as usize);
        let start = row.tail.len().saturating_sub(room);
        row.tail = row.tail.split_off(row.tail.ceil_char_boundary(start));
        self.tail_bytes += u32::try_from(row.tail.len()).unwrap_or(0);
        self.failures += u32::from(row.end == AttemptEnd::Failed);
        self.rows.push(row);
    }

    /// Whether it is within its bounds, and counts what it has.
    pub(crate) fn is_consistent(&self) -> bool {
        let failed = |row: &&LogRow| row.end == AttemptEnd::Failed;
        let tails: usize = self.rows.iter().map(|row| row.tail.len()).sum();
        let failures = self.rows.iter().filter(failed).count();
        tails == self.tail_bytes as usize
            && tails <= LOG_TAILS_BYTES_MAX
            && failures == self.failures as usize
            && failures <= LOGS_OF_FAILURES_MAX
            && self.rows.len() - failures <= LOGS_OF_OTHERS_MAX
            && (self.stored || self.rows.iter().all(|row| row.blocks == 0))
    }
}
