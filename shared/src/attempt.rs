//! What a worker is given to do, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cause::{FailureCause, InputRange};
use crate::dataset::{LocatedBlock, ReplicatedBlock};
use crate::ids::{AttemptId, DatasetId, SegmentId, WorkerEpoch};
use crate::logs::AttemptLog;
use crate::notify::{JobEvent, Notify};
use crate::size_code::SizeCode;

/// A file that the plan found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Absolute path.
    pub path: String,
    /// As the user would write it.
    pub display: String,
    /// Size in bytes when it was planned.
    pub bytes: u64,
    /// What it was when it was planned.
    pub origin: InputOrigin,
    /// The header line of a CSV file that is cut into several splits and that a
    /// split's reader does not find at the file's own beginning: files of datasets
    /// and at URLs. Without the line's end; at most
    /// [`crate::limits::CSV_HEADER_BYTES_MAX`]; empty when it is not needed.
    pub header: Vec<u8>,
}

/// Where a file's bytes are, and what tells that they are still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputOrigin {
    /// In the file system, at [`InputFile::path`].
    FileSystem {
        /// Modification time in nanoseconds since 1970.
        modified_ns: i64,
    },
    /// In a dataset, which never changes; the path is `vivat://NAME/FILE`.
    Dataset {
        /// Which.
        dataset: DatasetId,
        /// Where the file begins in the dataset's bytes.
        start: u64,
    },
    /// At a URL, which the path is.
    Remote {
        /// The entity tag, or else the modification time as text; empty when the
        /// server told neither.
        version: String,
    },
}

/// A slice of one input file. Where the slice begins and ends within records
/// is the reader's business: a split begins after its first record boundary
/// and ends past its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitRange {
    /// Index in the round's list of files.
    pub file: u32,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// One granted attempt, with all that is needed to run it beside the job's
/// specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Which attempt.
    pub attempt: AttemptId,
    /// What to do.
    pub work: Work,
}

/// What the tasks of a round read beside their input: what the close of the round
/// before handed on; in a step's first round, that of the last closed round of the
/// steps before it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Broadcast {
    /// Nothing was handed on.
    #[default]
    None,
    /// At most [`crate::limits::BROADCAST_INLINE_BYTES_MAX`]; shared, because all
    /// tasks of a round have the same.
    Inline(Arc<[u8]>),
    /// Larger, up to [`crate::limits::BROADCAST_BYTES_MAX`].
    Stored {
        /// Bytes of all blocks.
        bytes: u64,
        /// In order.
        blocks: Vec<LocatedBlock>,
    },
}

/// The work of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// List the inputs, cut the splits.
    Plan {
        /// The datasets that the inputs name, in the order of the inputs that do.
        datasets: Vec<DatasetId>,
        /// The dataset that the step before wrote, if that is what this one reads,
        /// as lines, and nothing else.
        previous: Option<DatasetId>,
    },
    /// Map one split.
    Map {
        /// The file it lies in.
        file: InputFile,
        /// The slice.
        split: SplitRange,
        /// Splits of the round in all.
        splits: u32,
        /// The blocks that the slice lies in, if the file is one of a dataset.
        blocks: Vec<LocatedBlock>,
        /// Where the first of them begins in the dataset's bytes.
        blocks_start: u64,
        /// What the round reads beside its input.
        broadcast: Broadcast,
    },
    /// Reduce one partition; locations of segments come by their own stream.
    Reduce {
        /// Map tasks of the round, each of which has a segment for the partition.
        maps: u32,
        /// The dataset that the output goes to, if it goes to one.
        output: Option<DatasetId>,
        /// What the round reads beside its input.
        broadcast: Broadcast,
    },
    /// End a round: read what its reduces wrote, say what the next one reads.
    Close {
        /// Of every partition in order, its blocks in order; at most
        /// [`crate::limits::CLOSE_BLOCKS_MAX`] in all.
        parts: Vec<Vec<LocatedBlock>>,
        /// What every partition's output is, in the same order.
        outputs: Vec<PartOutput>,
        /// The round that ends, from 0.
        round: u32,
        /// The most rounds that the step may have.
        rounds_max: u32,
        /// What the round read beside its input.
        broadcast: Broadcast,
        /// Where a broadcast goes that is too large to be inline: its blocks are
        /// [`crate::dataset::output_block`] of this dataset, of the partition
        /// that comes after the last (`parts.len()`), of this attempt.
        output: DatasetId,
    },
    /// Make the output visible.
    Commit {
        /// The accepted attempt and output of every partition, in order.
        parts: Vec<CommittedPart>,
        /// Of every partition its blocks in order, which are copied to the output:
        /// the rounds of a step that closes write datasets. Empty: the accepted
        /// attempts wrote their parts where the output goes.
        blocks: Vec<Vec<LocatedBlock>>,
        /// What the plan found at the output, to be replaced under `overwrite`.
        replaces: Option<OutputIdentity>,
    },
    /// Tell somebody that the job ended.
    Notify {
        /// Whom.
        notify: Notify,
        /// Of what.
        event: JobEvent,
    },
}

/// An accepted reduce output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedPart {
    /// The attempt whose file counts.
    pub attempt: u16,
    /// What it wrote.
    pub output: PartOutput,
}

/// What a reduce attempt wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartOutput {
    /// Size in bytes.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
}

/// What makes an output directory that one and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputIdentity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// One bounded piece of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlanChunk {
    /// Files, appended to those of earlier chunks.
    pub files: Vec<InputFile>,
    /// Splits, appended to those of earlier chunks.
    pub splits: Vec<SplitRange>,
}

/// Sums of an attempt, by name. Built-in names are in [`counters`].
pub type Counters = BTreeMap<String, u64>;

/// Names of the built-in counters.
pub mod counters {
    /// Bytes of input that maps read.
    pub const MAP_INPUT_BYTES: &str = "map.input.bytes";
    /// Of these, from blocks on the worker's own disk.
    pub const MAP_INPUT_LOCAL_BYTES: &str = "map.input.local.bytes";
    /// Of these, from blocks on other workers.
    pub const MAP_INPUT_REMOTE_BYTES: &str = "map.input.remote.bytes";
    /// Records that maps read.
    pub const MAP_INPUT_RECORDS: &str = "map.input.records";
    /// Records that maps emitted, before merging.
    pub const MAP_OUTPUT_RECORDS: &str = "map.output.records";
    /// Bytes of segments written, compressed.
    pub const MAP_OUTPUT_BYTES: &str = "map.output.bytes";
    /// Sorted runs written because the buffer was full.
    pub const MAP_SPILLS: &str = "map.spills";
    /// Records in those runs.
    pub const MAP_SPILLED_RECORDS: &str = "map.spilled.records";
    /// Bytes of those runs and of merge passes, compressed.
    pub const MAP_SPILLED_BYTES: &str = "map.spilled.bytes";
    /// Merges of spilled runs into another, because they were too many for one.
    pub const MAP_MERGE_PASSES: &str = "map.merge.passes";
    /// Microseconds that maps took.
    pub const MAP_ELAPSED_US: &str = "map.elapsed.us";
    /// Of these, those that their threads ran.
    pub const MAP_CPU_US: &str = "map.cpu.us";
    /// Bytes of segments fetched by reduces.
    pub const SHUFFLE_BYTES: &str = "shuffle.bytes";
    /// Of these, read from the file of the map attempt, on the same worker.
    pub const SHUFFLE_LOCAL_BYTES: &str = "shuffle.local.bytes";
    /// Of these, from other workers.
    pub const SHUFFLE_REMOTE_BYTES: &str = "shuffle.remote.bytes";
    /// Of those from other workers, written to disk for want of memory.
    pub const SHUFFLE_SPILLED_BYTES: &str = "shuffle.spilled.bytes";
    /// Microseconds from the beginning of fetching until all was there; most of it
    /// passes while maps run.
    pub const SHUFFLE_ELAPSED_US: &str = "shuffle.elapsed.us";
    /// Merges of segments into a run on disk, because they were too many for one.
    pub const REDUCE_MERGE_PASSES: &str = "reduce.merge.passes";
    /// Records written by them.
    pub const REDUCE_SPILLED_RECORDS: &str = "reduce.spilled.records";
    /// Bytes written by them, compressed.
    pub const REDUCE_SPILLED_BYTES: &str = "reduce.spilled.bytes";
    /// Microseconds that reduces took, without fetching.
    pub const REDUCE_ELAPSED_US: &str = "reduce.elapsed.us";
    /// Of these, those that their threads ran.
    pub const REDUCE_CPU_US: &str = "reduce.cpu.us";
    /// Keys that reduces saw.
    pub const REDUCE_INPUT_KEYS: &str = "reduce.input.keys";
    /// Records that reduces read.
    pub const REDUCE_INPUT_RECORDS: &str = "reduce.input.records";
    /// Records that reduces wrote.
    pub const REDUCE_OUTPUT_RECORDS: &str = "reduce.output.records";
    /// Bytes that reduces wrote.
    pub const REDUCE_OUTPUT_BYTES: &str = "reduce.output.bytes";
    /// Bad records that maps and reduces stepped over.
    pub const MAP_RECORDS_SKIPPED: &str = "map.records.skipped";
}

/// A figure that a round is judged by. Kept as the bits of an `f64`, so that
/// replicas agree on it whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric(u64);

impl Metric {
    /// The figure.
    #[must_use]
    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl From<f64> for Metric {
    fn from(value: f64) -> Self {
        Self(value.to_bits())
    }
}

/// Figures of a round by name; at most [`crate::limits::METRICS_MAX`].
pub type Metrics = BTreeMap<String, Metric>;

/// What a close hands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClosedBroadcast {
    /// At most [`crate::limits::BROADCAST_INLINE_BYTES_MAX`]; empty: nothing.
    Inline(Vec<u8>),
    /// Blocks in order, each acknowledged by its replicas, see [`Work::Close`].
    Stored(Vec<ReplicatedBlock>),
}

/// A record that was stepped over because the program fails on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedRecord {
    /// The file, as the user wrote it; at most
    /// [`crate::limits::SKIPPED_TEXT_BYTES_MAX`].
    pub display: String,
    /// Where the record begins in it.
    pub offset: u64,
    /// Its first bytes, at most [`crate::limits::SKIPPED_BYTES_MAX`].
    pub bytes: Vec<u8>,
    /// What the program said; at most [`crate::limits::SKIPPED_TEXT_BYTES_MAX`].
    pub problem: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The plan is whole: its sealing entry.
    Planned {
        /// Chunks that belong to it.
        chunks: u32,
        /// Files in them.
        files: u32,
        /// Splits in them.
        splits: u32,
        /// CRC-32C over the chunks in order, see [`crate::plan::checksum`].
        crc32c: u32,
        /// What stands at the output now, if anything and if `overwrite` allows it.
        replaces: Option<OutputIdentity>,
    },
    /// The segments are on the worker's disk.
    Mapped {
        /// Stored size of the segment of each partition.
        segments: Vec<SizeCode>,
        /// Sums.
        counters: Counters,
        /// Some of the records that were skipped, at most
        /// [`crate::limits::SKIPPED_RECORDS_MAX`]; a counter has how many.
        skipped: Vec<SkippedRecord>,
        /// What it wrote to its standard error, if anything.
        log: Option<AttemptLog>,
    },
    /// The part is written.
    Reduced {
        /// What was written.
        output: PartOutput,
        /// Its blocks in order, if the output goes to a dataset; at most
        /// [`crate::limits::OUTPUT_BLOCKS_MAX`].
        blocks: Vec<ReplicatedBlock>,
        /// Sums.
        counters: Counters,
        /// Like those of a map.
        skipped: Vec<SkippedRecord>,
        /// What it wrote to its standard error, if anything.
        log: Option<AttemptLog>,
    },
    /// The round is judged.
    Closed {
        /// What the next round reads beside its input.
        broadcast: ClosedBroadcast,
        /// What is told of the round.
        metrics: Metrics,
        /// Whether the step wants another round.
        again: bool,
    },
    /// The output is visible.
    Committed,
    /// Somebody was told.
    Notified,
    /// The attempt failed: costs a retry.
    Failed(AttemptFailure),
    /// Stopped while it ran: nothing came of it.
    Killed,
    /// Returned before it began, because the leader asked for it or because its
    /// worker is about to end. Nothing was done, so nothing was lost.
    HandedBack,
}

impl Outcome {
    /// Whether it is what its task is for, and not an end without a result.
    #[must_use]
    pub fn is_result(&self) -> bool {
        match self {
            Self::Planned { .. }
            | Self::Mapped { .. }
            | Self::Reduced { .. }
            | Self::Closed { .. }
            | Self::Committed
            | Self::Notified => true,
            Self::Failed(_) | Self::Killed | Self::HandedBack => false,
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFailure {
    /// The typed cause.
    pub cause: FailureCause,
    /// What it was reading.
    pub input: Option<InputRange>,
    /// The end of its output, at most [`crate::limits::OUTPUT_TAIL_BYTES_MAX`].
    pub output_tail: String,
    /// All of its output, if it could be stored.
    pub log: Option<AttemptLog>,
}

/// A reducer's word that a segment cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchFailure {
    /// The reduce attempt that wants it.
    pub reducer: AttemptId,
    /// The segment.
    pub segment: SegmentId,
    /// Who should have it.
    pub holder: WorkerEpoch,
    /// The holder itself said that it does not have it, or has it damaged.
    pub gone: bool,
}

/// Where the segments of one map task are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentLocation {
    /// The map task's index.
    pub map: u32,
    /// The accepted attempt.
    pub attempt: u16,
    /// The worker that has it.
    pub holder: WorkerEpoch,
    /// Size of the segment of the partition asked for.
    pub size: SizeCode,
}
