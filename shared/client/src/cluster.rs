//! The cluster's service, in domain types.

use std::collections::BTreeMap;
use std::time::Duration;

use vivat_proto::v1;
use vivat_shared::ids::{NodeId, Seat, WorkerId};
use vivat_shared::job::HostIdentity;
use vivat_shared::view::WorkerView;

use crate::error::ClientError;
use crate::jobs::timed;
use crate::leader::LeaderClient;

/// One master as the replica that answered sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterView {
    /// Its place in the configuration.
    pub seat: Seat,
    /// Its Raft member.
    pub node_id: NodeId,
    /// `leader`, `follower`, `candidate`, `learner` or `unreachable`.
    pub role: String,
    /// Where clients and workers reach it, `HOST:PORT`.
    pub client_address: String,
    /// Where other masters reach it.
    pub raft_address: String,
    /// Where probes and metrics are served; empty when they are not.
    pub http_address: String,
    /// Process id on its machine.
    pub pid: u32,
    /// Whether it answered the one that was asked.
    pub reachable: bool,
    /// Last index in its log.
    pub last_log_index: u64,
    /// Last index applied.
    pub applied_index: u64,
    /// Last index that is no longer in its log; 0 when all are. A follower that
    /// is behind it needs a snapshot.
    pub purged_index: u64,
    /// The index of `state_hash`.
    pub hash_index: u64,
    /// Chained hash at `hash_index`, 16 hexadecimal digits.
    pub state_hash: String,
    /// Chained hash by index, at recent multiples of 64.
    pub hash_points: BTreeMap<u64, u64>,
}

/// The cluster as one replica sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// 32 hexadecimal digits.
    pub cluster_id: String,
    /// The leader's seat, when one is known.
    pub leader_seat: Option<Seat>,
    /// The leader's Raft member, when one is known.
    pub leader_node_id: Option<NodeId>,
    /// Raft term.
    pub term: u64,
    /// By seat.
    pub masters: Vec<MasterView>,
    /// Registered and believed.
    pub workers_live: u32,
    /// Expired.
    pub workers_lost: u32,
    /// Get nothing new.
    pub workers_draining: u32,
    /// Not begun.
    pub jobs_queued: u32,
    /// At work.
    pub jobs_running: u32,
    /// Ended, in whatever way.
    pub jobs_finished: u32,
    /// Who answered.
    pub answered_by: Seat,
    /// Whether the one that answered leads and its services are open.
    pub serving: bool,
}

/// A worker and the machine whose paths it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// The worker.
    pub worker: WorkerView,
    /// Its machine.
    pub host: HostIdentity,
    /// What it still holds.
    pub drain: DrainView,
}

/// What a worker still holds, which somebody may need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainView {
    /// Attempts granted to it that have not ended.
    pub attempts_held: u32,
    /// Blocks that no other worker has.
    pub blocks_only_here: u64,
    /// Segments that a job still needs.
    pub segments_needed: u64,
    /// It drains, and nobody needs it any more.
    pub may_go: bool,
    /// What its blocks may take on its disk; 0 while unknown.
    pub disk_bytes: u64,
    /// What they take.
    pub disk_used_bytes: u64,
}

/// A no-op that is committed and applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoopCommit {
    /// Its place in the log.
    pub index: u64,
    /// The leader's term.
    pub term: u64,
}

impl LeaderClient {
    /// The cluster as the first master that answers sees it, leader or not.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoLeader`] when no master answers.
    pub async fn cluster_status(&self) -> Result<ClusterView, ClientError> {
        let timeout = self.options().try_timeout;
        let answer = self
            .call_any(timeout, |channel| async move {
                let request = timed(v1::GetClusterStatusRequest {}, timeout);
                let mut service = crate::cluster_service(channel);
                service.get_cluster_status(request).await
            })
            .await?
            .into_inner();
        let view = cluster_view(answer);
        self.learn(
            view.masters
                .iter()
                .map(|master| master.client_address.clone()),
        );
        Ok(view)
    }

    /// Workers that are registered, and the last that were lost.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`].
    pub async fn list_workers(&self) -> Result<Vec<NodeView>, ClientError> {
        let answer = self
            .call_leader(|channel, timeout| async move {
                let request = timed(v1::ListWorkersRequest {}, timeout);
                crate::cluster_service(channel).list_workers(request).await
            })
            .await?;
        answer.workers.into_iter().map(node_view).collect()
    }

    /// Hands leadership over, to the seat named or to the most caught-up
    /// follower, and returns the seat that leads then.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`].
    pub async fn transfer_leader(&self, to: Option<Seat>) -> Result<Seat, ClientError> {
        let to_seat = to.map(|seat| seat.0);
        let answer = self
            .call_leader(|channel, timeout| async move {
                let request = timed(v1::TransferLeaderRequest { to_seat }, timeout);
                crate::cluster_service(channel)
                    .transfer_leader(request)
                    .await
            })
            .await?;
        Ok(Seat(answer.leader_seat))
    }

    /// Gives a worker nothing new and copies away what only it has, or takes it
    /// back into service. Attempts that still run after `deadline` are handed
    /// back; without one they end in their own time.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; the refusal is `UnknownWorker`.
    pub async fn drain_worker(
        &self,
        worker: WorkerId,
        draining: bool,
        deadline: Option<Duration>,
    ) -> Result<(), ClientError> {
        // 0 would be no deadline.
        let deadline_ms = deadline.map_or(0, |deadline| {
            u64::try_from(deadline.as_millis())
                .unwrap_or(u64::MAX)
                .max(1)
        });
        self.call_leader(|channel, timeout| async move {
            let message = v1::DrainWorkerRequest {
                worker: worker.0,
                draining,
                deadline_ms,
            };
            crate::cluster_service(channel)
                .drain_worker(timed(message, timeout))
                .await
        })
        .await?;
        Ok(())
    }

    /// Sends a no-op through the log: for measuring.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`].
    pub async fn commit_noop(&self) -> Result<NoopCommit, ClientError> {
        let answer = self
            .call_leader(|channel, timeout| async move {
                let request = timed(v1::CommitNoopRequest {}, timeout);
                crate::cluster_service(channel).commit_noop(request).await
            })
            .await?;
        Ok(NoopCommit {
            index: answer.index,
            term: answer.term,
        })
    }

    /// [`LeaderClient::call`] with the budget and timeout of the options; the
    /// closure is told the timeout, to put it into its request.
    pub(crate) async fn call_leader<T, F, Fut>(&self, call: F) -> Result<T, ClientError>
    where
        F: Fn(tonic::transport::Channel, Duration) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let options = self.options();
        let answer = self
            .call(options.call_budget, options.try_timeout, |channel| {
                call(channel, options.try_timeout)
            })
            .await?;
        Ok(answer.into_inner())
    }
}

fn cluster_view(answer: v1::GetClusterStatusResponse) -> ClusterView {
    ClusterView {
        cluster_id: answer.cluster_id,
        leader_seat: answer.leader_seat.map(Seat),
        leader_node_id: answer.leader_node_id.map(NodeId),
        term: answer.term,
        masters: answer.masters.into_iter().map(master_view).collect(),
        workers_live: answer.workers_live,
        workers_lost: answer.workers_lost,
        workers_draining: answer.workers_draining,
        jobs_queued: answer.jobs_queued,
        jobs_running: answer.jobs_running,
        jobs_finished: answer.jobs_finished,
        answered_by: Seat(answer.answered_by),
        serving: answer.serving,
    }
}

fn master_view(master: v1::Master) -> MasterView {
    MasterView {
        seat: Seat(master.seat),
        node_id: NodeId(master.node_id),
        role: master.role,
        client_address: master.client_address,
        raft_address: master.raft_address,
        http_address: master.http_address,
        pid: master.pid,
        reachable: master.reachable,
        last_log_index: master.last_log_index,
        applied_index: master.applied_index,
        purged_index: master.purged_index,
        hash_index: master.hash_index,
        state_hash: master.state_hash,
        hash_points: master
            .hash_points
            .into_iter()
            .map(|point| (point.index, point.hash))
            .collect(),
    }
}

fn node_view(worker: v1::Worker) -> Result<NodeView, ClientError> {
    let host = HostIdentity(worker.host.clone());
    let drain = DrainView {
        attempts_held: worker.attempts_held,
        blocks_only_here: worker.blocks_only_here,
        segments_needed: worker.segments_needed,
        may_go: worker.may_go,
        disk_bytes: worker.disk_bytes,
        disk_used_bytes: worker.disk_used_bytes,
    };
    let worker = worker.try_into().map_err(ClientError::bad_answer)?;
    Ok(NodeView {
        worker,
        host,
        drain,
    })
}
