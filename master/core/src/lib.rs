//! The pure heart of the control plane.
//!
//! `apply` turns committed commands into state, replies and events. It is
//! total (rejection is a value), deterministic (no clock, no randomness, no
//! hash-map iteration, no configuration) and the only place where a fact about
//! a job, task, attempt or worker comes to be. The scheduler and the duties are
//! pure functions of that state and of what the leader sees. This crate cannot
//! do I/O, sleep, log or roll dice: its manifest is the proof.

pub mod age;
pub mod apply;
pub mod command;
pub mod drain;
pub mod duties;
pub mod invariants;
pub mod limits;
pub mod placement;
pub mod query;
pub mod scheduler;
pub mod snapshot;
pub mod state;
pub mod view;

pub use age::AgeClock;
pub use apply::apply;
pub use duties::{Duties, job_has_ended};
pub use query::{
    Reconciliation, assignment, job_spec, location, locations, reconcile, side_datasets,
};
pub use scheduler::{AttemptLiveness, LivenessView, WorkerLiveness, backups, schedule};
pub use snapshot::SnapshotError;
pub use state::{HashPoint, State};
