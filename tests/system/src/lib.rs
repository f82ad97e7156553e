//! Real masters, workers and clients on a simulated network, in virtual time.
//!
//! Three masters with the real openraft, storage adapter, services and leader;
//! two or three workers with their real session, runner and shuffle; clients
//! with the real channel that follows the leader: each on a host of turmoil's,
//! over connections that the seed breaks, on disks that lose what was not
//! synced. For a while everything goes wrong; then all faults go off, every job
//! must come to its end, and what clients saw must have an order.
//!
//! A run is a process: the network, all hosts and all chance live in it, and
//! nothing of a run before is left. See `main.rs` for how chance and time are
//! taken over.

mod client;
mod disk;
mod evidence;
mod faults;
mod hosts;
mod jobs;
mod links;
mod network;
mod observer;
mod town;
mod world;

use std::hash::{DefaultHasher, Hasher};

pub use disk::Honesty;
pub use evidence::{Evidence, FACTS, Fact};
pub use world::{Report, parse, report, run};

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The property's id in the catalogue of invariants, or a word.
    pub id: String,
    /// What was found.
    pub detail: String,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// What was wrong first.
    pub violation: Option<Violation>,
    /// What happened.
    pub evidence: Evidence,
    /// What happened, in order, for people.
    pub trace: String,
}

impl Run {
    /// Tells two runs apart.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.trace.as_bytes());
        hasher.finish()
    }
}

/// How a failure is told: the seed, what is wrong, and the command that shows it.
#[must_use]
pub fn describe(seed: u64, violation: &Violation) -> String {
    format!(
        "seed={seed} {}: {}\n  cargo run -p vivat-system-simulation -- replay {seed}",
        violation.id, violation.detail
    )
}
