//! The replicated log: replicas over real sockets and real disks, in one
//! process.

#![expect(
    clippy::unwrap_used,
    reason = "the harness is part of the tests; a failed step fails the test"
)]

mod cluster;
mod formation;
mod replicas;
mod storage;
