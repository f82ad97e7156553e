//! The worker process: session, runner, shuffle, inputs and outputs.
//!
//! A worker registers, pulls attempts, runs them on threads of their own,
//! serves what its maps wrote, gathers what its reduces need, and reports until
//! a leader has answered. It never stops anything for want of a leader; only an
//! order or a new registration does. What is true of a job it does not know:
//! the log decides which of its outcomes count.

mod config;
mod core;
mod dir;
pub mod formats;
mod held;
mod runner;
mod session;
mod shuffle;
mod sink;
mod source;
mod worker;

pub use config::{Listen, SLOT_MEMORY_BYTES_DEFAULT, WorkerConfig};
pub use dir::DirError;
pub use source::list_inputs;
pub use worker::{StartError, Worker, WorkerHandle};
