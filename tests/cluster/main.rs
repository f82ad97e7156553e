//! The product as its users run it: real processes on loopback, real signals.
//!
//! Every test of a fault asserts four things: the fault happened, nothing was
//! done twice that need not be, the output equals the oracle's byte for byte,
//! and the cluster serves another job afterwards.

mod config;
mod errors;
mod failover;
mod harness;
mod main_job;
mod process_life;
mod worker_loss;
