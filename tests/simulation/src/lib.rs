//! The control plane under faults, in virtual time, by seed.
//!
//! The real core (`apply`, the scheduler, the duties, the views) is driven by
//! modelled masters, workers and clients over a modelled log and network. A seed
//! is a run, to the byte: all chance comes from one generator, and nothing
//! happens but by an event of the agenda. For a while everything goes wrong;
//! then all faults go off, and every job must come to its end.
//!
//! What is modelled is the soft state around the core, after
//! `vivat_master::leader` and `vivat_worker`. What this cannot find is therefore
//! a defect of theirs; the tests of those crates and of whole clusters do.

mod client;
mod event;
mod evidence;
mod faults;
mod ground;
mod jobs;
mod leader;
mod master;
mod oracle;
mod prng;
mod raft;
mod upload;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use evidence::Evidence;
pub use oracle::Violation;
pub use world::Run;

/// Runs a seed. A panic of the core is a violation like others.
#[must_use]
pub fn run(seed: u64, traced: bool) -> Run {
    let result = catch_unwind(AssertUnwindSafe(|| world::World::run(seed, traced)));
    result.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        Run {
            violation: Some(Violation::new("panic", message)),
            evidence: Evidence::default(),
            trace: String::new(),
            entries: 0,
            took_ms: 0,
        }
    })
}

/// How a failure is told: the seed, what is wrong, and the command that shows it.
#[must_use]
pub fn describe(seed: u64, violation: &Violation) -> String {
    format!(
        "seed={seed} {}: {}\n  cargo run -p vivat-simulation -- replay {seed}",
        violation.id, violation.detail
    )
}
