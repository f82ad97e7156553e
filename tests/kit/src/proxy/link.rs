//! One connection: the caller's side, the target's side, a pump for each way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::pump::{Ended, Pump};
use super::rule::{Board, Direction, Rule, Rules};

/// What the pumps of a connection know of each other.
#[derive(Debug)]
pub(super) struct Link {
    pub board: Arc<Board>,
    /// Of the connection, from 0.
    pub number: u64,
    /// Bytes that arrived at the target.
    requested_bytes: AtomicU64,
    /// When bytes last came from either side.
    active_at: Mutex<Instant>,
}

impl Link {
    pub fn new(board: Arc<Board>, number: u64) -> Self {
        Self {
            board,
            number,
            requested_bytes: AtomicU64::new(0),
            active_at: Mutex::new(Instant::now()),
        }
    }

    pub fn requested_bytes(&self) -> u64 {
        self.requested_bytes.load(Ordering::Relaxed)
    }

    pub fn note_requested(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.requested_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn active_at(&self) -> Instant {
        *self
            .active_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note_activity(&self) {
        *self
            .active_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Serves the connection to its end.
    pub async fn run(self, mut caller: TcpStream, target: SocketAddr) {
        if self.is_to_be_reset() {
            reset(&caller);
            return;
        }
        let Ok(mut target) = TcpStream::connect(target).await else {
            reset(&caller);
            return;
        };
        // Delays are ours to make. If it fails, the connection is gone already.
        caller.set_nodelay(true).ok();
        target.set_nodelay(true).ok();
        match self.pump(&mut caller, &mut target).await {
            Ended::Finished => {}
            Ended::Reset => {
                self.is_to_be_reset();
                reset(&caller);
                reset(&target);
            }
            Ended::ResponseLost => {
                reset(&caller);
                drop(caller);
                read_to_end(target).await;
            }
        }
    }

    async fn pump(&self, caller: &mut TcpStream, target: &mut TcpStream) -> Ended {
        let (from_caller, to_caller) = caller.split();
        let (from_target, to_target) = target.split();
        let forth = Pump::new(self, Direction::ToTarget, from_caller, to_target).run();
        let back = Pump::new(self, Direction::ToCaller, from_target, to_caller).run();
        let pumps = async {
            tokio::pin!(forth, back);
            let first = tokio::select! {
                ended = &mut forth => (ended, true),
                ended = &mut back => (ended, false),
            };
            match first {
                (Ended::Finished, true) => back.await,
                (Ended::Finished, false) => forth.await,
                (ended @ (Ended::Reset | Ended::ResponseLost), _) => ended,
            }
        };
        tokio::select! {
            ended = pumps => ended,
            () = until_reset(self.board.rules(Direction::ToTarget)) => Ended::Reset,
            () = until_reset(self.board.rules(Direction::ToCaller)) => Ended::Reset,
        }
    }

    /// Whether every connection is to be reset; then this one is counted.
    fn is_to_be_reset(&self) -> bool {
        let mut is_ordered = false;
        for direction in [Direction::ToTarget, Direction::ToCaller] {
            let rules = self.board.rules(direction);
            let installed = rules.borrow();
            if installed.is(Rule::Reset) {
                installed.tally.hit_connection();
                is_ordered = true;
            }
        }
        is_ordered
    }
}

/// Waits for the order to reset every connection.
async fn until_reset(mut rules: Rules) {
    while !rules.borrow_and_update().is(Rule::Reset) {
        if rules.changed().await.is_err() {
            return; // There is no proxy any more.
        }
    }
}

/// The other side gets an RST when this one is dropped.
fn reset(stream: &TcpStream) {
    // It fails only on a connection that is gone already.
    stream.set_zero_linger().ok();
}

async fn read_to_end(mut target: TcpStream) {
    let mut buffer = vec![0; 4_096];
    while target.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
}
