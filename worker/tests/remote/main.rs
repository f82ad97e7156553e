//! Inputs and outputs elsewhere: a worker against a real S3-compatible server
//! (moto, from PyPI) behind a proxy that breaks connections, and against web
//! servers of many habits.
//!
//! The store's address and credentials reach a worker by its environment, so a
//! test runs its body in a process of its own. Without python3 or PyPI the tests
//! of the store say `SKIPPED` and pass.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test ends the test, in its helpers too"
)]

#[expect(dead_code, reason = "made for another test")]
#[path = "../worker/common.rs"]
mod common;
#[path = "../worker/leader/mod.rs"]
mod leader;

mod bench;
mod objects;
mod proxy;
mod store;
mod web;
