//! What the rest of the process holds of Raft. Cheap to clone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{
    ClientWriteError, Fatal, ForwardToLeader, LinearizableReadError, RaftError,
};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use openraft::{Instant, RaftMetrics, ReadPolicy, ServerState};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use vivat_core::State;
use vivat_core::command::{Command, Proposal};
use vivat_ground::Ground;
use vivat_shared::ids::{NodeId, Seat};
use vivat_shared::limits::ENTRY_BYTES_MAX;

use super::age::Age;
use super::api::{
    AppliedEvents, Committed, FatalReason, Leadership, Member, PeerDescription, PeerRaft,
    ProposeError, RaftStatus, Role, TransferError,
};
use super::machine::Shared;
use super::pace::Longest;
use super::peers::Peers;
use super::server::OurRaft;
use super::settings::{RaftLimits, Timing};
use super::types::{Payload, TypeConfig, committed_leader};
use crate::bootstrap::Local;
use crate::identity::Identity;

/// Reads whose confirmation is under way at once: each costs a round of
/// heartbeats.
pub(super) const READS_IN_FLIGHT_MAX: u32 = 256;

/// See the module.
#[derive(Clone)]
pub struct Handle {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub identity: Identity,
    pub raft: OurRaft,
    pub shared: Arc<Shared>,
    pub peers: Arc<Peers>,
    pub local: Arc<Local>,
    pub runtime: tokio::runtime::Handle,
    pub in_flight: Arc<Semaphore>,
    pub reads: Arc<Semaphore>,
    pub leadership: watch::Sender<Leadership>,
    pub fatal: watch::Sender<Option<FatalReason>>,
    pub stopping: AtomicBool,
    pub timing: Timing,
    pub limits: RaftLimits,
    pub age: Age,
    /// The term whose leadership this replica has offered to another, or 0.
    pub given_away: AtomicU64,
    pub ground: Ground,
}

impl Inner {
    pub fn metrics(&self) -> RaftMetrics<TypeConfig> {
        // Cloned at once: holding the guard can freeze the node.
        self.raft.metrics().borrow_watched().clone()
    }

    /// Ends the replica; the first reason stays.
    pub fn report_fatal(&self, reason: FatalReason) {
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        self.fatal.send_if_modified(|current| {
            if current.is_some() {
                return false;
            }
            tracing::error!(reason = %reason, "raft must stop");
            *current = Some(reason);
            true
        });
    }

    fn not_leader(&self, forward: &ForwardToLeader<TypeConfig>) -> ProposeError {
        ProposeError::NotLeader {
            term: self.leadership.borrow().term,
            leader: forward.leader_id.map(NodeId),
        }
    }

    pub fn describe(&self) -> PeerRaft {
        let metrics = self.metrics();
        PeerRaft {
            role: role(&metrics),
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.map_or(0, |id| id.index),
            applied_index: metrics.last_applied.map_or(0, |id| id.index),
            snapshot_index: metrics.snapshot.map_or(0, |id| id.index),
            purged_index: metrics.purged.map_or(0, |id| id.index),
            hash_points: self.shared.hash_points(),
        }
    }
}

pub(super) fn role(metrics: &RaftMetrics<TypeConfig>) -> Role {
    if metrics.running_state.is_err() {
        return Role::Stopped;
    }
    match metrics.state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

impl Handle {
    /// Proposes one batch and waits until it is applied here.
    ///
    /// With a `term`, nothing is written unless this replica leads in it.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`]; after [`ProposeError::Unknown`] the batch may be
    /// applied all the same.
    pub async fn propose(
        &self,
        term: Option<u64>,
        commands: Vec<Command>,
    ) -> Result<Committed, ProposeError> {
        let permit = Arc::clone(&self.inner.in_flight)
            .try_acquire_owned()
            .map_err(|_| ProposeError::Overloaded {
                in_flight: self.inner.limits.in_flight_max,
            })?;
        let leads = term.unwrap_or_else(|| self.inner.leadership.borrow().term);
        let payload = Payload::encode(&Proposal {
            proposed_at_ms: self.inner.ground.clock.now_ms(),
            term: leads,
            age_ms: self.age_ms(leads),
            commands,
        });
        if payload.0.len() > ENTRY_BYTES_MAX {
            return Err(ProposeError::TooLarge {
                bytes: payload.0.len(),
                bytes_max: ENTRY_BYTES_MAX,
            });
        }
        // In a task of its own: the permit counts what is in flight, also when
        // the caller has given up, until Raft has let go of it.
        let writing = write(Arc::clone(&self.inner), term, payload, permit);
        let writing = self.inner.runtime.spawn(writing);
        match tokio::time::timeout(self.inner.timing.propose_deadline(), writing).await {
            Ok(Ok(outcome)) => outcome,
            // The runtime ended; what was sent may be in the log.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// The cluster's age, as the leader of a term counts it: what deadlines and
    /// waits in the state are measured by.
    #[must_use]
    pub fn age_ms(&self, term: u64) -> u64 {
        self.inner.age.read(term, self.read(State::age_ms))
    }

    /// Looks at the state between two entries. `look` must be short: entries
    /// wait for it.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.inner.shared.state())
    }

    /// The longest that anything took which must not take long.
    #[must_use]
    pub fn longest(&self) -> Longest {
        self.inner.shared.pace().longest()
    }

    /// What later entries make true, in order. A receiver that lags rebuilds
    /// from the state.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<AppliedEvents>> {
        self.inner.shared.events()
    }

    /// Who leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    /// How long ago a majority last confirmed this leader; `None` when it does
    /// not lead, was not confirmed yet, or has offered its place to another,
    /// who may be elected within this one's lease. Beyond the longest election
    /// timeout it cannot serve.
    #[must_use]
    pub fn quorum_acked_ago(&self) -> Option<Duration> {
        let metrics = self.inner.metrics();
        if self.inner.given_away.load(Ordering::Acquire) == metrics.current_term {
            return None;
        }
        // A single voter is its own quorum, and openraft never asks itself.
        let voters = metrics.membership_config.membership().voter_ids().count();
        if voters == 1 && metrics.state == ServerState::Leader {
            return Some(Duration::ZERO);
        }
        metrics.last_quorum_acked.map(|at| at.elapsed())
    }

    /// What this replica stands on.
    #[must_use]
    pub fn ground(&self) -> &Ground {
        &self.inner.ground
    }

    /// The lease of a leader: the longest election timeout.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.inner.timing.lease()
    }

    /// Makes sure that what is read afterwards contains everything that was
    /// acknowledged before (read index).
    ///
    /// # Errors
    ///
    /// As [`Self::propose`]; nothing is written in any case.
    pub async fn ensure_linearizable(&self) -> Result<(), ProposeError> {
        let permit = Arc::clone(&self.inner.reads)
            .try_acquire_owned()
            .map_err(|_| ProposeError::Overloaded {
                in_flight: READS_IN_FLIGHT_MAX,
            })?;
        let inner = Arc::clone(&self.inner);
        let reading = self.inner.runtime.spawn(async move {
            let _permit = permit;
            let outcome = inner.raft.ensure_linearizable(ReadPolicy::ReadIndex).await;
            match outcome {
                Ok(_) => Ok(()),
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                    Err(inner.not_leader(&forward))
                }
                Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                    Err(inner.not_leader(&ForwardToLeader::empty()))
                }
                Err(RaftError::Fatal(_)) => Err(ProposeError::Fatal),
            }
        });
        match tokio::time::timeout(self.inner.timing.propose_deadline(), reading).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(ProposeError::Fatal),
            Err(_) => Err(self.inner.not_leader(&ForwardToLeader::empty())),
        }
    }

    /// Hands leadership over: to a seat, or to the voter that has most of the
    /// log. Returns who leads then.
    ///
    /// # Errors
    ///
    /// See [`TransferError`]. Until the deadline passes proposals are refused.
    pub async fn transfer_leader(&self, to: Option<Seat>) -> Result<Seat, TransferError> {
        let metrics = self.inner.metrics();
        let Some(replication) = &metrics.replication else {
            let leadership = *self.inner.leadership.borrow();
            return Err(TransferError::NotLeader {
                term: leadership.term,
                leader: leadership.leader,
            });
        };
        let own = self.inner.identity.node_id;
        let target = self
            .members()
            .into_iter()
            .filter(|member| member.voter && member.node_id != own)
            .filter(|member| to.is_none_or(|seat| member.seat == seat))
            .max_by_key(|member| replication.get(&member.node_id.0).copied().flatten())
            .ok_or(TransferError::NoTarget { seat: to })?;
        let mut leadership = self.leadership();
        // Before anybody can stand. For good: openraft proposes nothing more in
        // this term, whether or not the target takes over.
        self.inner
            .given_away
            .fetch_max(metrics.current_term, Ordering::AcqRel);
        self.inner
            .raft
            .trigger()
            .transfer_leader(target.node_id.0)
            .await
            .map_err(|_| TransferError::Fatal)?;
        let taken = leadership.wait_for(|now| now.leader.is_some_and(|leader| leader != own));
        let deadline = self.inner.timing.lease() * 2;
        let leader = match tokio::time::timeout(deadline, taken).await {
            Ok(Ok(now)) => now.leader,
            Ok(Err(_)) => return Err(TransferError::Fatal),
            Err(_) => return Err(TransferError::TimedOut { seat: target.seat }),
        };
        let seat = self
            .members()
            .into_iter()
            .find(|member| Some(member.node_id) == leader)
            .map(|member| member.seat);
        Ok(seat.unwrap_or(target.seat))
    }

    /// The masters, as the membership has them, with the addresses that they
    /// last gave.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let membership = self.inner.metrics().membership_config;
        let voters: Vec<u64> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(node_id, node)| {
            let seat = Seat(node.seat);
            let (client_address, http_address) = self.addresses(seat);
            Member {
                seat,
                node_id: NodeId(*node_id),
                raft_address: self
                    .inner
                    .peers
                    .address(seat)
                    .unwrap_or_else(|| node.raft_address.clone()),
                client_address,
                http_address,
                voter: voters.contains(node_id),
            }
        });
        members.collect()
    }

    fn addresses(&self, seat: Seat) -> (Option<String>, Option<String>) {
        let local = &self.inner.local;
        if seat == local.seat() {
            let http = local.http_address().map(str::to_owned);
            return (Some(local.client_address().to_owned()), http);
        }
        match self.inner.peers.last(seat) {
            Some(last) => (Some(last.client_address), last.http_address),
            None => (None, None),
        }
    }

    /// This replica in numbers.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let metrics = self.inner.metrics();
        let point = self.read(State::hash_point);
        RaftStatus {
            role: role(&metrics),
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.map_or(0, |id| id.index),
            applied_index: metrics.last_applied.map_or(0, |id| id.index),
            snapshot_index: metrics.snapshot.map_or(0, |id| id.index),
            purged_index: metrics.purged.map_or(0, |id| id.index),
            state_hash: point.hash,
            hash_index: point.index,
            node_id: self.inner.identity.node_id,
            seat: self.inner.identity.seat,
            cluster_id: self.inner.identity.cluster_id,
        }
    }

    /// What every member says of itself; `None` where no answer came in time.
    pub async fn describe_peers(
        &self,
        deadline: Duration,
    ) -> Vec<(Member, Option<PeerDescription>)> {
        let own = self.inner.local.seat();
        let calls = self.members().into_iter().map(|member| async move {
            let description = if member.seat == own {
                Some(self.inner.local.describe())
            } else {
                self.inner.peers.describe(member.seat, deadline).await.ok()
            };
            (member, description)
        });
        futures_util::future::join_all(calls).await
    }

    /// Stops Raft without handing over; the node must then be dropped.
    pub async fn shutdown(&self) {
        self.inner.stopping.store(true, Ordering::Release);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(error = %error, "raft core did not end by itself");
        }
    }

    /// The reason why the process must end, once there is one.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<FatalReason>> {
        self.inner.fatal.subscribe()
    }

    /// Waits for the reason why the process must end; for ever while there is
    /// none.
    pub async fn wait_fatal(&self) -> FatalReason {
        let mut fatal = self.fatal();
        // The sender is in `self`.
        match fatal.wait_for(Option::is_some).await {
            Ok(reason) => match reason.clone() {
                Some(reason) => reason,
                None => std::future::pending().await,
            },
            Err(_) => std::future::pending().await,
        }
    }
}

async fn write(
    inner: Arc<Inner>,
    term: Option<u64>,
    payload: Payload,
    _permit: OwnedSemaphorePermit,
) -> Result<Committed, ProposeError> {
    let (responder, outcome) =
        ProgressResponder::<TypeConfig, ClientWriteResult<TypeConfig>>::complete_only();
    let mut request = inner.raft.write(payload).responder(responder);
    if let Some(term) = term {
        request = request.with_leader(committed_leader(term));
    }
    if let Err(error) = request.await {
        return Err(fatal_error(&error));
    }
    match outcome.await {
        Ok(Ok(response)) => Ok(Committed {
            index: response.log_id.index,
            term: response.log_id.leader_id.term,
            replies: response.data.replies,
        }),
        Ok(Err(ClientWriteError::ForwardToLeader(forward))) => Err(inner.not_leader(&forward)),
        Ok(Err(ClientWriteError::LogEntryDiscarded(_))) => Err(ProposeError::Unknown),
        // Only membership changes have these.
        Ok(Err(
            ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_),
        )) => Err(ProposeError::Unknown),
        // The core is gone, and with it the answer.
        Err(_) => Err(ProposeError::Unknown),
    }
}

fn fatal_error(error: &Fatal<TypeConfig>) -> ProposeError {
    tracing::debug!(error = %error, "proposal met a stopped core");
    ProposeError::Fatal
}
