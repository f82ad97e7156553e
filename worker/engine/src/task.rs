//! Tasks as the worker hands them in, and what comes back.
//!
//! The worker owns every path, number and flag here; the engine reads them,
//! moves the progress and looks at the cancel flag.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vivat_mapreduce::{Host, SideFiles, StopSignal};
use vivat_shared::attempt::{Counters, InputFile, PartOutput, SkippedRecord, SplitRange};
use vivat_shared::job::InputFormat;

use crate::close::{CloseReport, CloseTask};
use crate::error::EngineError;
use crate::input::InputOpener;
use crate::segment::{FileRange, SegmentCompression, reader_bytes};

/// A program that the worker can run without knowing its types: one dynamic
/// call per task.
pub trait Executable: Send + Sync {
    /// Runs one map task: reads the split, writes the segment file.
    ///
    /// # Errors
    ///
    /// See [`EngineError`]; no segment file is left behind then.
    fn map(&self, task: &mut MapTask<'_>) -> Result<MapReport, EngineError>;

    /// Runs one reduce task: merges the sources, writes the output.
    ///
    /// # Errors
    ///
    /// See [`EngineError`]; the output is then of no use.
    fn reduce(&self, task: &mut ReduceTask<'_>) -> Result<ReduceReport, EngineError>;

    /// Ends a round: hands the program what all reduces wrote.
    ///
    /// # Errors
    ///
    /// See [`EngineError`]; a program that does not close fails the task.
    fn close(&self, task: &mut CloseTask<'_>) -> Result<CloseReport, EngineError>;

    /// Whether the program closes rounds.
    fn closes(&self) -> bool;
}

/// How far a task is. The engine adds, whoever watches reads.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    records: AtomicU64,
}

impl Progress {
    /// Bytes of input done.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Records of input done.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// What was done since is done again.
    pub(crate) fn put_back(&self, (bytes, records): (u64, u64)) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.records.store(records, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64, records: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }
}

/// Tells a running task to stop; it notices within some thousand records.
#[derive(Debug, Default)]
pub struct CancelFlag(AtomicBool);

impl CancelFlag {
    /// Asks the task to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the task was asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> Result<(), EngineError> {
        if self.is_cancelled() {
            Err(EngineError::Cancelled)
        } else {
            Ok(())
        }
    }
}

impl StopSignal for CancelFlag {
    fn is_stopped(&self) -> bool {
        self.is_cancelled()
    }
}

/// One map task.
#[derive(Debug)]
pub struct MapTask<'t> {
    /// The file, with the size and time that the plan saw.
    pub file: &'t InputFile,
    /// Opens it.
    pub input: &'t dyn InputOpener,
    /// The slice; its `file` is the file's index in the round.
    pub range: SplitRange,
    /// How bytes become records.
    pub format: InputFormat,
    /// Number of the split in the round, from 0: files in order, splits of a
    /// file in order of their offsets.
    pub split: u32,
    /// Splits of the round in all.
    pub splits: u32,
    /// Partitions, at least 1.
    pub partitions: u32,
    /// Where the segment file goes. It is written beside it under the name
    /// with `.tmp` added, then renamed; without output it has empty runs only.
    pub segment_path: &'t Path,
    /// An existing directory for spills, the attempt's own; what the engine
    /// makes there it deletes.
    pub scratch: &'t Path,
    /// Bytes that gathered records and the merge of their runs may take. Read
    /// buffers (about 1 MiB) come on top, and the largest record a few times.
    pub memory_bytes: usize,
    /// How the segment and the spills are compressed.
    pub compression: SegmentCompression,
    /// Bad records that may be skipped; 0: the first one fails the task.
    pub skipped_max: u64,
    /// The step's parameters.
    pub parameters: &'t BTreeMap<String, String>,
    /// What the last round that closed handed on; empty when none did.
    pub broadcast: &'t [u8],
    /// Files that the job brought along.
    pub side_files: &'t SideFiles,
    /// Whoever runs it.
    pub host: &'t dyn Host,
    /// How far it is.
    pub progress: &'t Progress,
    /// Whether to stop.
    pub cancel: &'t CancelFlag,
}

/// What a map task made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapReport {
    /// Stored bytes of each partition.
    pub stored_bytes: Vec<u64>,
    /// Some of the records that were skipped; a counter has how many.
    pub skipped: Vec<SkippedRecord>,
    /// Built-in counters and the program's own.
    pub counters: Counters,
}

/// The stored bytes of one partition of one map task's segment.
#[derive(Debug)]
pub struct SegmentSource {
    /// The map task's index, for errors: sources come in this order.
    pub map: u32,
    /// Where the bytes are.
    pub data: SegmentData,
}

/// Where the stored bytes of a partition are.
pub enum SegmentData {
    /// In a file, which is opened when its turn comes: a segment file's
    /// [`partition_range`](crate::SegmentFile::partition_range), or all of a
    /// file that holds fetched bytes.
    File {
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
        /// Length in bytes.
        bytes: u64,
    },
    /// In memory.
    Memory(Arc<[u8]>),
    /// Wherever the reader takes them from.
    Stream(Box<dyn Read + Send>),
}

impl fmt::Debug for SegmentData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                offset,
                bytes,
            } => write!(f, "File({}, {offset}+{bytes})", path.display()),
            Self::Memory(bytes) => write!(f, "Memory({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl SegmentData {
    /// What reading it takes in memory, as far as that can be told beforehand.
    pub(crate) fn reader_bytes(&self) -> usize {
        match self {
            Self::File {
                path,
                offset,
                bytes,
            } => File::open(path).map_or(0, |file| {
                reader_bytes(*bytes, |at, buffer| {
                    file.read_exact_at(buffer, offset.saturating_add(at))
                        .is_ok()
                })
            }),
            Self::Memory(run) => reader_bytes(run.len() as u64, |at, buffer| {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let bytes = run.get(at..).and_then(|rest| rest.get(..buffer.len()));
                bytes.map(|bytes| buffer.copy_from_slice(bytes)).is_some()
            }),
            Self::Stream(_) => 0,
        }
    }

    pub(crate) fn open(self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::File {
                path,
                offset,
                bytes,
            } => Box::new(FileRange::open(&path, offset, bytes)?),
            Self::Memory(bytes) => Box::new(io::Cursor::new(bytes)),
            Self::Stream(reader) => reader,
        })
    }
}

/// One reduce task.
pub struct ReduceTask<'t> {
    /// The partition, from 0.
    pub partition: u32,
    /// Partitions, at least 1.
    pub partitions: u32,
    /// Segments in the order of their map tasks; empty ones are left out. The
    /// engine takes them out as it opens them.
    pub sources: Vec<SegmentSource>,
    /// Where the output goes, in large pieces.
    pub output: &'t mut (dyn Write + 't),
    /// An existing directory for merge passes, the attempt's own.
    pub scratch: &'t Path,
    /// Bytes that merging may take; decides how many sources are merged at
    /// once, at most 256.
    pub memory_bytes: usize,
    /// How merge passes are compressed.
    pub compression: SegmentCompression,
    /// The step's parameters.
    pub parameters: &'t BTreeMap<String, String>,
    /// What the last round that closed handed on; empty when none did.
    pub broadcast: &'t [u8],
    /// Files that the job brought along.
    pub side_files: &'t SideFiles,
    /// Whoever runs it.
    pub host: &'t dyn Host,
    /// How far it is, in bytes and records as they were emitted.
    pub progress: &'t Progress,
    /// Whether to stop.
    pub cancel: &'t CancelFlag,
}

impl fmt::Debug for ReduceTask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReduceTask")
            .field("partition", &self.partition)
            .field("partitions", &self.partitions)
            .field("sources", &self.sources)
            .field("scratch", &self.scratch)
            .field("memory_bytes", &self.memory_bytes)
            .finish_non_exhaustive()
    }
}

/// What a reduce task made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReduceReport {
    /// What was written, with its checksum.
    pub output: PartOutput,
    /// Built-in counters and the program's own.
    pub counters: Counters,
}
