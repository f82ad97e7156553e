//! How masters with empty disks become a cluster, and never become two.
//!
//! The lowest seat founds: it waits until every peer answers, mints the cluster
//! id and the node ids, writes that down as `forming`, tells every peer, writes
//! `formed`, and only then initializes Raft. Every step can be repeated, so a
//! crash anywhere is followed by the same steps with the same ids. All peers
//! have their identity before Raft has anything in it; therefore a seat with
//! an empty disk that meets an initialized peer has lost its disk, and must not
//! vote again under its old id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};
use vivat_shared::ids::{ClusterId, NodeId, Seat};

use crate::identity::{Identity, Stage};
use crate::raft::api::{Formation, PeerDescription, StartError};
use crate::raft::peers::Peers;

pub mod local;

pub use local::Local;

/// The first pause between two rounds of questions: masters that start
/// together should not wait for one another.
const POLL_MIN: Duration = Duration::from_millis(20);
/// The longest: a peer may take minutes to be scheduled.
const POLL_MAX: Duration = Duration::from_millis(500);
/// For one answer.
const ANSWER_DEADLINE: Duration = Duration::from_millis(1_000);
/// How often a long wait is told to the operator.
const REMINDER: Duration = Duration::from_secs(5);

/// Waits until this master has an identity that Raft may start with.
///
/// # Errors
///
/// [`StartError::DiskLost`] when it had one that is gone, and what else keeps
/// it from ever getting one.
pub async fn form(local: &Arc<Local>, peers: &Arc<Peers>) -> Result<Identity, StartError> {
    let founder = peers.seats().first() == Some(&local.seat());
    match local.identity() {
        Some(identity) => match identity.stage {
            Stage::Member if !local.is_initialized() => {
                Err(StartError::DiskLost { seat: local.seat() })
            }
            Stage::Member | Stage::Formed | Stage::Adopted => Ok(identity),
            Stage::Forming => found(local, peers, identity.cluster_id).await,
        },
        None if founder => {
            let cluster_id = choose_cluster(local, peers).await?;
            found(local, peers, cluster_id).await
        }
        None => wait_for_adoption(local, peers).await,
    }
}

/// The node ids of a new cluster: 1 and up, in the order of the seats.
pub fn node_ids(seats: &[Seat]) -> BTreeMap<Seat, NodeId> {
    seats.iter().copied().zip((1..).map(NodeId)).collect()
}

/// Waits for every peer, and chooses a cluster id.
///
/// Peers that are adopted already, while none is initialized, were told by a
/// former founder whose disk is gone. Nothing can have been committed without
/// them, so their cluster is taken over instead of a second one minted.
async fn choose_cluster(local: &Arc<Local>, peers: &Arc<Peers>) -> Result<ClusterId, StartError> {
    let mut pause = Pause::new();
    loop {
        let answers = describe_all(peers).await;
        check_peers(local, peers, &answers)?;
        if answers.values().all(Option::is_some) {
            let mut clusters = answers
                .values()
                .flatten()
                .filter_map(|answer| answer.membership.map(|(cluster, _)| cluster));
            let Some(first) = clusters.next() else {
                return Ok(ClusterId(rand::random()));
            };
            if let Some(second) = clusters.find(|cluster| *cluster != first) {
                return Err(StartError::WrongPeer {
                    address: "several".to_owned(),
                    found: format!("in cluster {second}"),
                    expected: format!("in cluster {first}"),
                });
            }
            return Ok(first);
        }
        let missing: Vec<_> = answers
            .iter()
            .filter_map(|(seat, answer)| answer.is_none().then_some(seat.0))
            .collect();
        pause
            .wait("waiting for peers to form a cluster", &missing)
            .await;
    }
}

async fn found(
    local: &Arc<Local>,
    peers: &Arc<Peers>,
    cluster_id: ClusterId,
) -> Result<Identity, StartError> {
    let ids = node_ids(&peers.seats());
    let mut identity = Identity {
        cluster_id,
        node_id: ids[&local.seat()],
        seat: local.seat(),
        stage: Stage::Forming,
    };
    local.save(identity).await?;
    let mut pause = Pause::new();
    let mut waiting = peers.others();
    while !waiting.is_empty() {
        let calls = waiting.iter().map(|seat| {
            let call = peers.adopt(*seat, cluster_id, ids[seat], ANSWER_DEADLINE);
            async move { (*seat, call.await) }
        });
        let outcomes = futures_util::future::join_all(calls).await;
        waiting.clear();
        for (seat, outcome) in outcomes {
            match outcome {
                Ok(()) => {}
                Err(status) if status.code() == Code::FailedPrecondition => {
                    return Err(refused(peers, seat, cluster_id, &status));
                }
                Err(_) => waiting.push(seat),
            }
        }
        if !waiting.is_empty() {
            let missing: Vec<_> = waiting.iter().map(|seat| seat.0).collect();
            pause
                .wait("waiting for peers to join the new cluster", &missing)
                .await;
        }
    }
    identity.stage = Stage::Formed;
    local.save(identity).await?;
    tracing::info!(cluster_id = %cluster_id, masters = ids.len(), "formed a cluster");
    Ok(identity)
}

fn refused(peers: &Peers, seat: Seat, cluster_id: ClusterId, status: &Status) -> StartError {
    StartError::WrongPeer {
        address: peers.address(seat).unwrap_or_default(),
        found: status.message().to_owned(),
        expected: format!("{seat}, new to cluster {cluster_id}"),
    }
}

async fn wait_for_adoption(local: &Arc<Local>, peers: &Arc<Peers>) -> Result<Identity, StartError> {
    let mut adopted = local.watch_identity();
    let mut pause = Pause::new();
    loop {
        let answers = tokio::select! {
            // The sender is in `local`, which outlives this call.
            _ = adopted.wait_for(Option::is_some) => None,
            answers = describe_all(peers) => Some(answers),
        };
        // Asked first and looked after: a founder may adopt this master and
        // initialize while the question is on its way.
        if let Some(identity) = local.identity() {
            return Ok(identity);
        }
        if let Some(answers) = answers {
            check_peers(local, peers, &answers)?;
        }
        tokio::select! {
            _ = adopted.wait_for(Option::is_some) => {}
            () = pause.wait("waiting to be adopted into a cluster", &[]) => {}
        }
    }
}

type Answers = BTreeMap<Seat, Option<PeerDescription>>;

async fn describe_all(peers: &Arc<Peers>) -> Answers {
    let calls = peers
        .others()
        .into_iter()
        .map(|seat| async move { (seat, peers.describe(seat, ANSWER_DEADLINE).await.ok()) });
    let answers = futures_util::future::join_all(calls).await;
    answers.into_iter().collect()
}

fn check_peers(local: &Local, peers: &Peers, answers: &Answers) -> Result<(), StartError> {
    for (seat, answer) in answers {
        let Some(answer) = answer else { continue };
        if answer.seat != *seat {
            return Err(StartError::WrongPeer {
                address: peers.address(*seat).unwrap_or_default(),
                found: answer.seat.to_string(),
                expected: seat.to_string(),
            });
        }
        if answer.formation == Formation::Initialized {
            return Err(StartError::DiskLost { seat: local.seat() });
        }
    }
    Ok(())
}

/// Grows from [`POLL_MIN`] to [`POLL_MAX`].
struct Pause {
    next: Duration,
    reminded: Instant,
}

impl Pause {
    fn new() -> Self {
        Self {
            next: POLL_MIN,
            reminded: Instant::now(),
        }
    }

    async fn wait(&mut self, what: &'static str, missing_seats: &[u32]) {
        if self.reminded.elapsed() >= REMINDER {
            self.reminded = Instant::now();
            tracing::info!(?missing_seats, "{what}");
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 3 / 2).min(POLL_MAX);
    }
}
