//! A TCP proxy that breaks the connection between two processes.
//!
//! It stands between a caller and a target, and does to the bytes of each
//! direction what a [`Rule`] says; rules change while connections live. What
//! cannot be done to packets from user space is done to what they carry, and the
//! difference is told where it matters (see [`Rule::Drop`]).
//!
//! Setting a rule gives [`Evidence`], which counts what the rule did. A test
//! asks it, because a fault that hit nothing proves nothing.
//!
//! A dropped proxy ends all its tasks and closes its connections.

mod evidence;
mod gate;
mod link;
mod pump;
mod rule;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use evidence::{Evidence, NotHappened};
pub use rule::{Direction, Rule};

use rule::{Board, Deed};

/// Stands between callers and one target. Needs a tokio runtime.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    board: Arc<Board>,
    connections: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens at an address, port 0 for any, and passes everything on.
    /// Connections that come while the target does not listen are reset.
    ///
    /// # Errors
    ///
    /// The address cannot be listened at.
    pub async fn start(listen: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let board = Arc::new(Board::new());
        let connections = Arc::new(AtomicU64::new(0));
        let gate = gate::Gate::new(listener, address, target, board.clone());
        let task = tokio::spawn(gate.run(connections.clone()));
        Ok(Self {
            address,
            board,
            connections,
            task,
        })
    }

    /// Where callers connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the rule of a direction, for connections that live and for
    /// those to come. The evidence is of this rule alone, from now until the
    /// next, and stays readable after that.
    pub fn set(&self, direction: Direction, rule: Rule) -> Evidence {
        self.board.set(direction, Deed::Rule(rule))
    }

    /// The same rule for both directions; evidence to the target, then to the
    /// caller.
    pub fn set_both(&self, rule: Rule) -> (Evidence, Evidence) {
        let to_target = self.set(Direction::ToTarget, rule);
        (to_target, self.set(Direction::ToCaller, rule))
    }

    /// Passes everything on again, in both directions.
    pub fn heal(&self) {
        self.set_both(Rule::Pass);
    }

    /// Loses one answer: on the first connection that carries at least so many
    /// bytes to the target from now on, what comes back is held; when both sides
    /// have been quiet for 50 ms, the caller's side is reset and the answer is
    /// gone. The target's side stays open and is read to its end, so the target
    /// sees no fault and does what it was asked. Then the direction to the
    /// caller passes again.
    ///
    /// A limit above 17 bytes keeps an HTTP/2 ping from counting as a request.
    pub fn lose_next_response(&self, request_bytes_min: u64) -> Evidence {
        let deed = Deed::LoseResponse { request_bytes_min };
        self.board.set(Direction::ToCaller, deed)
    }

    /// Connections that were accepted since the start.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
