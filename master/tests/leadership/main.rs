//! Leadership, services and process: three masters in this process, on free
//! ports, with played workers that speak gRPC.
//!
//! No test sleeps to let something happen: each waits for a condition, with a
//! deadline, and says what it saw when that passed.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where and stops"
)]

mod cluster;
mod failover;
mod fatal;
mod jobs;
mod leases;
mod process;
mod pulls;
mod segments;
mod worker;
