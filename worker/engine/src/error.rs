//! Why a task failed, by what must be done about it.
//!
//! Every variant has one [`FailureCause`], which is what travels to the master;
//! the error itself keeps its sources for the worker's log.

use std::io;
use std::path::{Path, PathBuf};

use vivat_mapreduce::ProgramError;
use vivat_shared::cause::FailureCause;

use crate::disk;
use crate::input::Compression;
use crate::segment::SegmentError;

/// Why a task did not finish.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The task was told to stop.
    #[error("cancelled")]
    Cancelled,
    /// The input file could not be opened or read.
    #[error("cannot read input {display}")]
    Input {
        /// The file as the user wrote it.
        display: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The input's bytes are not what was planned or declared.
    #[error("input {display}: {problem}")]
    BadInput {
        /// The file as the user wrote it.
        display: String,
        /// What is wrong.
        problem: InputProblem,
    },
    /// Whoever has the input did not give it, for now.
    #[error("input {display} is out of reach: {detail}")]
    InputUnreachable {
        /// The file as the user wrote it.
        display: String,
        /// Who, and what was tried.
        detail: String,
    },
    /// The program returned an error.
    #[error("the program failed")]
    Program {
        /// Its error.
        #[source]
        source: ProgramError,
    },
    /// The program emitted a key or value past a limit.
    #[error("the program emitted a {what} of {bytes} bytes, the limit is {bytes_max}")]
    EmittedTooLarge {
        /// Key or value.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
        /// The input as the user wrote it; empty until it is known.
        display: String,
        /// Where in the file the records begin that it was made of; a record of
        /// more than some KiB is alone. None when that is not known.
        offset: Option<u64>,
    },
    /// The program sent a key to a partition that does not exist.
    #[error("the program chose partition {partition} of {partitions}")]
    NoSuchPartition {
        /// What it chose.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The worker's own disk failed.
    #[error("cannot use {usage} at {path}")]
    Storage {
        /// What it was for.
        usage: StorageUse,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A spilled run came back damaged.
    #[error("a spilled run at {path} cannot be read")]
    Spill {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: SegmentError,
    },
    /// A segment given to a reduce cannot be read: fetch it again.
    #[error("the segment of map task {map} cannot be read")]
    Segment {
        /// The map task that it came from.
        map: u32,
        /// What is wrong with it.
        #[source]
        source: SegmentError,
    },
    /// The output could not be written.
    #[error("cannot write the output")]
    Output {
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Bytes passed their checksum and are not what the program's types say: a
    /// defect, or segments of another program.
    #[error("a {what} does not decode")]
    Decode {
        /// Key or value.
        what: &'static str,
        /// What was expected.
        #[source]
        source: vivat_mapreduce::DecodeError,
    },
}

/// What the worker's disk was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageUse {
    /// A spilled run of a map, or a merge pass of a reduce.
    Spill,
    /// A segment file.
    Segment,
}

impl StorageUse {
    /// The word in messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Spill => "a spill",
            Self::Segment => "a segment",
        }
    }
}

impl std::fmt::Display for StorageUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// What is wrong with an input's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputProblem {
    /// Its size is not the planned one.
    SizeChanged {
        /// Bytes when it was planned.
        planned: u64,
        /// Bytes now.
        found: u64,
    },
    /// Its modification time is not the planned one.
    TimeChanged {
        /// Nanoseconds since 1970 when it was planned.
        planned_ns: i64,
        /// Nanoseconds since 1970 now.
        found_ns: i64,
    },
    /// What its server calls its version is not the planned one.
    VersionChanged,
    /// Its compressed bytes end in their middle.
    Truncated {
        /// How they are compressed.
        compression: Compression,
    },
    /// Its compressed bytes do not decode.
    Corrupt {
        /// How they are compressed.
        compression: Compression,
        /// The decoder's words.
        detail: String,
    },
    /// A record is longer than a record may be.
    RecordTooLong {
        /// Where it begins.
        offset: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// The last record of a file of fixed records is short.
    RecordCutShort {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        bytes: u64,
        /// How long it should be.
        wanted: u32,
    },
    /// The header of a CSV file passes its limit.
    HeaderTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// A record is not what the format or the program wants.
    BadRecord {
        /// Where it begins.
        offset: u64,
        /// The line, from 1, if it could be counted.
        line: Option<u64>,
        /// What is wrong with it.
        detail: String,
    },
}

impl std::fmt::Display for InputProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SizeChanged { planned, found } => {
                write!(f, "it had {planned} bytes and has {found}")
            }
            Self::TimeChanged { .. } | Self::VersionChanged => f.write_str("it was modified"),
            Self::Truncated { compression } => {
                write!(f, "its {compression} data end too early")
            }
            Self::Corrupt {
                compression,
                detail,
            } => {
                write!(f, "its {compression} data are damaged: {detail}")
            }
            Self::RecordTooLong { offset, bytes_max } => {
                write!(
                    f,
                    "the record at byte {offset} is longer than {bytes_max} bytes"
                )
            }
            Self::RecordCutShort {
                offset,
                bytes,
                wanted,
            } => {
                write!(
                    f,
                    "the record at byte {offset} has {bytes} bytes instead of {wanted}"
                )
            }
            Self::HeaderTooLong { bytes_max } => {
                write!(
                    f,
                    "its header is longer than {bytes_max} bytes: is it CSV with a header?"
                )
            }
            Self::BadRecord {
                offset,
                line: Some(line),
                detail,
            } => write!(f, "line {line}: {detail} (record at byte {offset})"),
            Self::BadRecord {
                offset,
                line: None,
                detail,
            } => write!(f, "{detail} (record at byte {offset})"),
        }
    }
}

impl EngineError {
    /// The same error with the input that is to blame, and the place in it where
    /// that is known, if the error has room for them.
    pub(crate) fn of(mut self, input: &str, place: Option<u64>) -> Self {
        if let Self::EmittedTooLarge {
            display, offset, ..
        } = &mut self
        {
            input.clone_into(display);
            *offset = offset.or(place);
        }
        self
    }

    /// The cause that the master is told.
    #[must_use]
    pub fn cause(&self) -> FailureCause {
        match self {
            // The worker answers a cancelled attempt as killed and never asks;
            // if it does, something is amiss.
            Self::Cancelled => FailureCause::Internal {
                detail: "a cancelled attempt was reported as failed".to_owned(),
            },
            Self::Input { display, source } => input_cause(display, source),
            Self::BadInput { display, problem } => problem_cause(display, problem),
            Self::InputUnreachable { display, detail } => FailureCause::InputUnreachable {
                path: display.clone(),
                detail: detail.clone(),
            },
            Self::Program {
                source:
                    ProgramError {
                        missing_command: Some(command),
                        detail,
                        ..
                    },
            } => FailureCause::CommandNotFound {
                command: command.clone(),
                detail: detail.clone(),
            },
            Self::Program { source } => FailureCause::Program {
                detail: match source.offset {
                    Some(offset) => format!("{} (record at byte {offset})", source.detail),
                    None => source.detail.clone(),
                },
            },
            // No other worker makes it smaller.
            Self::EmittedTooLarge {
                display, offset, ..
            } => FailureCause::InvalidInput {
                path: display.clone(),
                detail: match offset {
                    Some(offset) => format!("{self} (record at or behind byte {offset})"),
                    None => self.to_string(),
                },
            },
            Self::NoSuchPartition { .. } => FailureCause::Program {
                detail: self.to_string(),
            },
            Self::Storage {
                usage,
                path,
                source,
            } => storage_cause(*usage, path, source),
            Self::Spill { path, source } => match source.io() {
                Some(source) => storage_cause(StorageUse::Spill, path, source),
                None => FailureCause::Storage {
                    detail: format!("{self}: {source}"),
                },
            },
            Self::Segment { source, .. } => FailureCause::Storage {
                detail: format!("{self}: {source}"),
            },
            // The worker, who knows where it goes, names the place.
            Self::Output { source } => disk_cause("the output".to_owned(), source),
            Self::Decode { source, .. } => FailureCause::Internal {
                detail: format!("{self}: {source}"),
            },
        }
    }
}

fn input_cause(display: &str, source: &io::Error) -> FailureCause {
    let path = display.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => FailureCause::InputNotFound { path },
        io::ErrorKind::IsADirectory => FailureCause::InputIsDirectory { path },
        // Everything else, a permission first of all, is named by its words.
        _ => FailureCause::InputUnreadable {
            path,
            detail: source.to_string(),
        },
    }
}

fn problem_cause(display: &str, problem: &InputProblem) -> FailureCause {
    let path = display.to_owned();
    let detail = problem.to_string();
    match problem {
        InputProblem::SizeChanged { .. }
        | InputProblem::TimeChanged { .. }
        | InputProblem::VersionChanged => FailureCause::InputChanged { path, detail },
        InputProblem::Truncated { .. }
        | InputProblem::Corrupt { .. }
        | InputProblem::RecordTooLong { .. }
        | InputProblem::RecordCutShort { .. }
        | InputProblem::HeaderTooLong { .. }
        | InputProblem::BadRecord { .. } => FailureCause::InvalidInput { path, detail },
    }
}

fn storage_cause(usage: StorageUse, path: &Path, source: &io::Error) -> FailureCause {
    let dir = path.parent().unwrap_or(path);
    disk_cause(format!("{usage} in {}", disk::describe(dir)), source)
}

fn disk_cause(what: String, source: &io::Error) -> FailureCause {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            FailureCause::DiskFull { what }
        }
        // A foreign enum that grows: all else is the disk's own failure.
        _ => FailureCause::Storage {
            detail: format!("{what}: {source}"),
        },
    }
}
