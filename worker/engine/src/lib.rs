//! The engine inside a worker: map, spill, merge, reduce, segments.
//!
//! It runs one task at a time on the thread that calls it, reads and writes
//! files, and knows neither the network nor a runtime. A [`Program`] becomes an
//! [`Executable`] through [`Runner`]: one dynamic call per task, none per record.
//!
//! A map task reads its split, gathers records in memory inside a byte budget,
//! spills sorted runs when the budget is spent and writes one segment file that
//! holds a sorted run per partition. A reduce task merges one run per map task
//! and streams the values of each key to the reducer.
//!
//! [`Program`]: vivat_mapreduce::Program

mod close;
pub mod disk;
mod error;
pub mod failpoint;
mod input;
pub mod local;
mod map;
mod merge;
mod reduce;
mod runner;
pub mod segment;
mod task;

pub use close::{ClosePart, CloseReport, CloseTask, OpenPart};
pub use error::{EngineError, InputProblem, StorageUse};
pub use input::{
    CSV_HEADER_BYTES_MAX, Compression, InputError, InputOpener, InputReader, LocalFiles, csv_cuts,
    csv_cuts_behind, csv_header_line, csv_line_of,
};
pub use runner::Runner;
pub use segment::{
    SegmentCompression, SegmentError, SegmentFile, SegmentReader, SegmentWriter, verify,
};
pub use task::{
    CancelFlag, Executable, MapReport, MapTask, Progress, ReduceReport, ReduceTask, SegmentData,
    SegmentSource,
};
