//! A worker as others see it: against a fake leader that does what a test tells
//! it, and fake holders of segments that fail as told.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test ends the test, in its helpers too"
)]

mod common;
mod holder;
mod job;
mod leader;
mod session;
mod shuffle;
