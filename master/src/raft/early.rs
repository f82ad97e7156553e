//! Stands for election early when the leader's process is known to be gone.
//!
//! A follower that hears nothing waits for the leader's lease to run out, and
//! then for a random time more, because silence does not tell a dead leader from
//! a slow one. A process that has ended says more: its kernel closes its
//! connections at once and refuses new ones, which no slow process and no broken
//! network does. A follower that sees both waits for the lease alone.
//!
//! Nothing else is skipped. The lease ran out here, or openraft does not even
//! ask; it ran out at a majority, or they refuse the pre-vote; so a leader that
//! lives loses nothing by a mistake here. Instead of the random time, followers
//! stand one after the other by their ids. Where the refusal does not arrive,
//! from a machine that died or behind a firewall, the ordinary timeout counts.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use vivat_shared::ids::{NodeId, Seat};

use super::api::Leadership;
use super::handle::Inner;

/// Times that each follower stands before it leaves the rest to the timeout.
const ROUNDS: u32 = 3;

/// Tells that a leader's stream of entries has ended.
#[derive(Debug, Clone, Default)]
pub struct StreamEnds(Arc<Notify>);

impl StreamEnds {
    /// Whoever drops it tells.
    pub fn guard(&self) -> EndGuard {
        EndGuard(Arc::clone(&self.0))
    }
}

/// Held by a stream.
#[derive(Debug)]
pub struct EndGuard(Arc<Notify>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Follows the streams, for ever.
pub async fn run(inner: Arc<Inner>, ends: StreamEnds) {
    loop {
        ends.0.notified().await;
        let ended_at = Instant::now();
        let before = *inner.leadership.borrow();
        let Some(leader) = before.leader.filter(|_| !before.is_leader) else {
            continue;
        };
        if is_gone(&inner, leader, ended_at).await {
            stand(&inner, before, ended_at).await;
        }
    }
}

/// Whether the leader's process has ended, as its kernel says; asked again
/// within the lease while the answer is neither yes nor no.
async fn is_gone(inner: &Inner, leader: NodeId, ended_at: Instant) -> bool {
    let metrics = inner.metrics();
    let members = metrics.membership_config.membership();
    let Some(seat) = members.get_node(&leader.0).map(|node| Seat(node.seat)) else {
        return false;
    };
    let step = step(inner);
    while ended_at.elapsed() < inner.timing.lease() {
        match inner.peers.call_anew(seat, step * 2).await {
            // It lives, and will open its stream again.
            Ok(()) => return false,
            Err(status) if is_refused(&status) => return true,
            Err(_) => tokio::time::sleep(step).await,
        }
    }
    false
}

fn is_refused(error: &dyn Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Stands as soon as the lease must have run out everywhere, unless somebody
/// has stood before.
async fn stand(inner: &Inner, before: Leadership, ended_at: Instant) {
    let own = inner.identity.node_id.0;
    let metrics = inner.metrics();
    let others = metrics.membership_config.membership().voter_ids();
    let mut standing: Vec<u64> = others
        .filter(|id| before.leader != Some(NodeId(*id)))
        .collect();
    standing.sort_unstable();
    let Some(rank) = standing.iter().position(|id| *id == own) else {
        return;
    };
    let step = step(inner);
    let turns = u32::try_from(standing.len()).unwrap_or(u32::MAX);
    let first = u32::try_from(rank).unwrap_or(u32::MAX);
    let mut leadership = inner.leadership.subscribe();
    // What the leader sent last may have been heard a little later elsewhere.
    let lease_over = ended_at + inner.timing.lease() + step / 4;
    for round in 0..ROUNDS {
        let turn = lease_over + step.saturating_mul(first + turns * round);
        let changed = leadership.wait_for(|now| *now != before);
        if tokio::time::timeout_at(turn, changed).await.is_ok() {
            return;
        }
        if round == 0 {
            tracing::info!(term = before.term, "the leader's process is gone; standing");
        }
        if inner.raft.trigger().elect(true).await.is_err() {
            return;
        }
    }
}

/// Between two that stand: a vote's way there and back with its disk write,
/// several times over.
fn step(inner: &Inner) -> Duration {
    Duration::from_millis(inner.timing.heartbeat_ms) / 2
}
