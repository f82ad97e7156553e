//! What two threads can do: each workload written by hand.
//!
//! A file per workload, plain and fast: large reads, a table for each thread, one
//! merge at the end; no framework, no network, nothing durable. They write what
//! our programs write, so that outputs can be compared. They are the floor that
//! our times are held against, and know nothing of the product.

pub mod federated;
pub mod grep;
pub mod group_by;
pub mod inverted_index;
mod lines;
pub mod sort;
mod table;
pub mod url_count;
pub mod word_count;

use std::io;
use std::path::PathBuf;

/// What a program is given.
#[derive(Debug, Clone)]
pub struct Task {
    /// Read in this order.
    pub inputs: Vec<PathBuf>,
    /// One file.
    pub output: PathBuf,
}

/// A workload by hand.
pub type Program = fn(&Task) -> io::Result<()>;

/// As many as the machine that the goals are for has cores.
const THREADS: usize = 2;
