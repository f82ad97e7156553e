//! The worker process: session, runner, shuffle, blocks, inputs and outputs.
//!
//! A worker registers, pulls attempts, runs them on threads of their own,
//! serves what its maps wrote, gathers what its reduces need, and reports until
//! a leader has answered. It never stops anything for want of a leader; only an
//! order or a new registration does. What is true of a job it does not know:
//! the log decides which of its outcomes count.

pub mod blocks;
mod config;
mod core;
mod datasets;
mod dir;
pub mod formats;
mod held;
mod load;
mod remote;
mod runner;
mod session;
mod shuffle;
mod sink;
mod source;
mod worker;

pub use config::{
    BLOCK_REPORT_INTERVAL_DEFAULT, Listen, SCRUB_BYTES_PER_SECOND_DEFAULT,
    SLOT_MEMORY_BYTES_DEFAULT, WorkerConfig,
};
pub use dir::DirError;
pub use remote::display_url;
pub use sink::objects::{ObjectResult, ReadError};
pub use source::{Cutting, Preview, Standing, UrlFile, UrlReader, list_inputs, preview, standing};
pub use vivat_engine::SegmentCompression;
pub use worker::{StartError, Worker, WorkerHandle};
