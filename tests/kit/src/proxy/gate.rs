//! Accepts connections, or lets them hang.
//!
//! The kernel completes a handshake before anyone accepts, so a listener that
//! merely does nothing still lets callers connect. To be a black hole its queue
//! must be full: the queue is cut to its least length and filled with a
//! connection of our own, a plug. Then the kernel drops every SYN.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::link::Link;
use super::rule::{Board, Direction, Rule, Rules};

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;
/// Length of the listener's queue while it accepts.
const QUEUE_OPEN: i32 = 1_024;
/// The least, which holds one connection.
const QUEUE_CLOSED: i32 = 0;
/// A connection to ourselves that takes longer meets a full queue.
const PLUG_TIME: Duration = Duration::from_millis(50);
/// Connections of our own that fill the queue, at most.
const PLUGS_MAX: usize = 8;

/// The listening side of a proxy.
pub(super) struct Gate {
    listener: TcpListener,
    address: SocketAddr,
    target: SocketAddr,
    board: Arc<Board>,
    to_target: Rules,
    to_caller: Rules,
    /// Where our own connections come from, until they are accepted.
    plugs: HashSet<SocketAddr>,
}

impl Gate {
    pub fn new(
        listener: TcpListener,
        address: SocketAddr,
        target: SocketAddr,
        board: Arc<Board>,
    ) -> Self {
        Self {
            listener,
            address,
            target,
            to_target: board.rules(Direction::ToTarget),
            to_caller: board.rules(Direction::ToCaller),
            board,
            plugs: HashSet::new(),
        }
    }

    /// Until it is aborted; its connections end with it.
    pub async fn run(mut self, connections: Arc<AtomicU64>) {
        let mut links = JoinSet::new();
        loop {
            if self.is_black_hole() {
                let plugs = self.close().await;
                self.changed().await;
                drop(plugs);
                self.open();
                continue;
            }
            let has_room = links.len() < CONNECTIONS_MAX;
            tokio::select! {
                accepted = self.listener.accept(), if has_room => {
                    // A connection that was reset while it waited is no news.
                    let Ok((caller, from)) = accepted else { continue };
                    if !self.plugs.remove(&from) {
                        let number = connections.fetch_add(1, Ordering::Relaxed);
                        links.spawn(Link::new(self.board.clone(), number).run(caller, self.target));
                    }
                }
                () = changed(&mut self.to_target, &mut self.to_caller) => {}
                Some(_) = links.join_next() => {}
            }
        }
    }

    fn is_black_hole(&mut self) -> bool {
        let to_target = self.to_target.borrow_and_update().is(Rule::Drop);
        let to_caller = self.to_caller.borrow_and_update().is(Rule::Drop);
        to_target || to_caller
    }

    async fn changed(&mut self) {
        changed(&mut self.to_target, &mut self.to_caller).await;
    }

    async fn close(&mut self) -> Vec<TcpStream> {
        self.set_queue(QUEUE_CLOSED);
        let mut plugs = Vec::new();
        while plugs.len() < PLUGS_MAX {
            let Ok(Ok(plug)) = timeout(PLUG_TIME, TcpStream::connect(self.address)).await else {
                break;
            };
            if let Ok(from) = plug.local_addr() {
                self.plugs.insert(from);
            }
            plugs.push(plug);
        }
        plugs
    }

    fn open(&self) {
        self.set_queue(QUEUE_OPEN);
    }

    fn set_queue(&self, length: i32) {
        // On a socket that listens already, Linux only adjusts the queue.
        rustix::net::listen(&self.listener, length).expect("the socket listens already");
    }
}

async fn changed(to_target: &mut Rules, to_caller: &mut Rules) {
    // Without a board there is no proxy, and this task is about to be aborted.
    tokio::select! {
        Ok(()) = to_target.changed() => {}
        Ok(()) = to_caller.changed() => {}
        else => std::future::pending().await,
    }
}
