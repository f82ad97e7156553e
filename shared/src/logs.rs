//! What attempts wrote to their standard error: the full text in the store, the
//! tail of a failure in the log.
//!
//! The blocks of a job's logs belong to one dataset that nobody sees: its id follows
//! from the job's, so that an attempt knows where to write before anything of it is
//! recorded. It goes when the job is forgotten.

use serde::{Deserialize, Serialize};

use crate::dataset::{LocatedBlock, ReplicatedBlock};
use crate::ids::{AttemptId, BlockId, DatasetId, JobId, TaskKind, WorkerId};
use crate::timeline::AttemptEnd;

/// Marks the datasets of logs: ids that are minted are far below it.
const LOGS: u64 = 1 << 62;

/// The dataset of a job's logs.
#[must_use]
pub fn log_dataset(job: JobId) -> DatasetId {
    DatasetId(LOGS | job.0)
}

/// The job whose logs a dataset has, if it is one of logs.
#[must_use]
pub fn job_of_log_dataset(dataset: DatasetId) -> Option<JobId> {
    (dataset.0 & LOGS != 0).then_some(JobId(dataset.0 & !LOGS))
}

/// The id of a block of an attempt's log; `number` below
/// [`crate::limits::LOG_BLOCKS_MAX`]. Different attempts write under different ids.
///
/// The parts of an attempt's id are bounded by [`crate::limits::STEPS_MAX`],
/// [`crate::limits::ROUNDS_MAX`] and [`crate::limits::SPLITS_MAX`]; with 64 steps, 16,384 rounds,
/// eight kinds, 2^22 tasks, 2^16 numbers and eight blocks they fill 64 bits.
#[must_use]
pub fn log_block(attempt: AttemptId, number: u16) -> BlockId {
    let kind = match attempt.task.kind {
        TaskKind::Plan => 0,
        TaskKind::Map => 1,
        TaskKind::Reduce => 2,
        TaskKind::Close => 3,
        TaskKind::Commit => 4,
        TaskKind::Notify => 5,
    };
    let fields = [
        (u64::from(attempt.task.round.step), 6),
        (u64::from(attempt.task.round.round), 14),
        (kind, 3),
        (u64::from(attempt.task.index), 22),
        (u64::from(attempt.number), 16),
        (u64::from(number), 3),
    ];
    let pack = |packed: u64, (value, bits): (u64, u32)| {
        let mask = (1 << bits) - 1;
        (packed << bits) | (value & mask)
    };
    BlockId {
        dataset: log_dataset(attempt.job()),
        index: fields.into_iter().fold(0, pack),
    }
}

/// What an attempt wrote to its standard error, as its outcome carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptLog {
    /// Bytes that were written in all, those not kept included.
    pub bytes: u64,
    /// Whether some of it is not in the blocks.
    pub truncated: bool,
    /// The text in order, each block [`log_block`] of the attempt, acknowledged by
    /// its replicas; at most [`crate::limits::LOG_BLOCKS_MAX`] of
    /// [`crate::limits::LOG_BYTES_MAX`] in all.
    pub blocks: Vec<ReplicatedBlock>,
}

/// One attempt of a job that left a log, or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The attempt.
    pub attempt: AttemptId,
    /// Who ran it.
    pub worker: WorkerId,
    /// When its outcome was taken, in milliseconds since 1970, by a leader's clock.
    pub at_ms: u64,
    /// How it ended.
    pub end: AttemptEnd,
    /// Bytes that it wrote in all.
    pub bytes: u64,
    /// Whether some of it is not in the blocks.
    pub truncated: bool,
    /// Why it failed, in a line; empty unless it did.
    pub problem: String,
    /// The end of a failure's output, at most [`crate::limits::OUTPUT_TAIL_BYTES_MAX`].
    pub tail: String,
    /// The full text, in order, and where it can be read now.
    pub blocks: Vec<LocatedBlock>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RoundId, TaskId};
    use crate::limits;

    fn attempt(step: u16, round: u32, kind: TaskKind, index: u32, number: u16) -> AttemptId {
        let round = RoundId {
            job: JobId(7),
            step,
            round,
        };
        let task = TaskId { round, kind, index };
        AttemptId { task, number }
    }

    #[test]
    fn logs_of_a_job_are_found_by_its_number() {
        let dataset = log_dataset(JobId(7));
        assert_eq!(job_of_log_dataset(dataset), Some(JobId(7)));
        assert_eq!(job_of_log_dataset(DatasetId(7)), None);
    }

    #[test]
    fn every_attempt_within_the_limits_has_blocks_of_its_own() {
        let last_step = u16::try_from(limits::STEPS_MAX - 1).unwrap();
        let last_block = u16::try_from(limits::LOG_BLOCKS_MAX - 1).unwrap();
        let far = attempt(
            last_step,
            limits::ROUNDS_MAX - 1,
            TaskKind::Map,
            limits::SPLITS_MAX - 1,
            u16::MAX,
        );
        let blocks = [
            log_block(attempt(0, 0, TaskKind::Map, 0, 1), 0),
            log_block(attempt(0, 0, TaskKind::Map, 0, 1), last_block),
            log_block(attempt(0, 0, TaskKind::Map, 0, 2), 0),
            log_block(attempt(0, 0, TaskKind::Map, 1, 1), 0),
            log_block(attempt(0, 0, TaskKind::Reduce, 0, 1), 0),
            log_block(attempt(0, 1, TaskKind::Plan, 0, 1), 0),
            log_block(attempt(1, 0, TaskKind::Plan, 0, 1), 0),
            log_block(far, last_block),
        ];
        assert!(blocks.is_sorted_by(|a, b| a.index < b.index), "{blocks:?}");
        // Nothing of the largest was cut off.
        assert_eq!(blocks[7].index >> 58, u64::from(last_step));
    }
}
