//! What a worker is given to do, and what it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cause::{FailureCause, InputRange};
use crate::dataset::{LocatedBlock, ReplicatedBlock};
use crate::ids::{AttemptId, DatasetId, SegmentId, WorkerEpoch};
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

/// The work of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// List the inputs, cut the splits.
    Plan {
        /// The datasets that the inputs name, in the order of the inputs that do.
        datasets: Vec<DatasetId>,
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
    },
    /// Reduce one partition; locations of segments come by their own stream.
    Reduce {
        /// Map tasks of the round, each of which has a segment for the partition.
        maps: u32,
        /// The dataset that the output goes to, if it goes to one.
        output: Option<DatasetId>,
    },
    /// Make the output visible.
    Commit {
        /// The accepted attempt and output of every partition, in order.
        parts: Vec<CommittedPart>,
        /// What the plan found at the output, to be replaced under `overwrite`.
        replaces: Option<OutputIdentity>,
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
    /// Bytes of segments fetched by reduces.
    pub const SHUFFLE_BYTES: &str = "shuffle.bytes";
    /// Keys that reduces saw.
    pub const REDUCE_INPUT_KEYS: &str = "reduce.input.keys";
    /// Records that reduces read.
    pub const REDUCE_INPUT_RECORDS: &str = "reduce.input.records";
    /// Records that reduces wrote.
    pub const REDUCE_OUTPUT_RECORDS: &str = "reduce.output.records";
    /// Bytes that reduces wrote.
    pub const REDUCE_OUTPUT_BYTES: &str = "reduce.output.bytes";
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
    },
    /// The output is visible.
    Committed,
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
            Self::Planned { .. } | Self::Mapped { .. } | Self::Reduced { .. } | Self::Committed => {
                true
            }
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
