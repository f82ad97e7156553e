//! What a process stands on: the network, threads for work that blocks, and the
//! wall clock.
//!
//! The default is the real ones. A simulation brings its own, so that masters,
//! workers and clients run as they are on a network that it breaks, in a time
//! that it sets, on one thread. Time that passes needs no place here: it is
//! tokio's everywhere, which a test can already take over.

mod clock;
mod listener;
mod threads;
mod transport;

pub use clock::WallClock;
pub use listener::{Connection, Incoming, Listener};
pub use threads::Threads;
pub use transport::{Connecting, Network, Stream, Transport};

/// See the crate. Handed down by value from where a process is put together.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// Connections.
    pub transport: Transport,
    /// Where work that blocks is done.
    pub threads: Threads,
    /// What time others would say that it is.
    pub clock: WallClock,
}
