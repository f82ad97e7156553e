//! Blocks of datasets among real workers on loopback: pipelines, reads, copies and
//! reports, and what is left when hops, disks and clients fail (S6, S7, S9, F15, F16).

#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test ends the test, in its helpers too"
)]

mod copies;
mod inputs;
#[expect(dead_code, reason = "made for attempts, which none of these has")]
#[path = "../worker/leader/mod.rs"]
mod leader;
mod outputs;
mod pipelines;
mod proxy;
mod reads;
mod reports;
mod rig;
