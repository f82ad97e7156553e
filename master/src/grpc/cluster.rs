//! `ClusterService`: status, members, workers, leadership.

use std::time::Duration;

use tonic::{Request, Response, Status};
use vivat_core::command::Command;
use vivat_core::{drain, view};
use vivat_proto::convert::view::worker_to_wire;
use vivat_proto::v1;
use vivat_proto::v1::cluster_service_server::ClusterService;
use vivat_shared::ids::{Seat, WorkerEpoch, WorkerId};
use vivat_shared::view::WorkerState;

use super::{Services, status};
use crate::http::{job_counts, worker_counts};
use crate::raft::{Member, PeerDescription, Role};

/// For the answers of the other masters.
const DESCRIBE_DEADLINE: Duration = Duration::from_millis(500);

#[tonic::async_trait]
impl ClusterService for Services {
    async fn get_cluster_status(
        &self,
        _request: Request<v1::GetClusterStatusRequest>,
    ) -> Result<Response<v1::GetClusterStatusResponse>, Status> {
        let described = self.raft.describe_peers(DESCRIBE_DEADLINE).await;
        let own = self.raft.status();
        let leading = described
            .iter()
            .find(|(member, peer)| Some(member.node_id) == own.leader && self.leads(member, peer))
            .map(|(member, _)| member);
        let masters = described
            .iter()
            .map(|(member, description)| describe(member, description.as_ref()))
            .collect();
        let ([live, draining, lost], [queued, running, ended @ ..]) = self
            .raft
            .read(|state| (worker_counts(state), job_counts(state)));
        Ok(Response::new(v1::GetClusterStatusResponse {
            cluster_id: self.cluster.to_string(),
            leader_seat: leading.map(|member| member.seat.0),
            leader_node_id: leading.map(|member| member.node_id.0),
            term: own.term,
            masters,
            workers_live: narrow(live),
            workers_lost: narrow(lost),
            workers_draining: narrow(draining),
            jobs_queued: narrow(queued),
            jobs_running: narrow(running),
            jobs_finished: narrow(ended.iter().sum()),
            answered_by: self.seat.0,
            serving: self.gate.is_open(),
            worker_sent_on_ms: self.sent_on.ago_ms(),
        }))
    }

    async fn list_workers(
        &self,
        _request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let leader = self.leader()?;
        let (silences, disks) = (leader.silences(), leader.disks());
        let workers = leader
            .read_decided(|state, _| {
                view::workers(state)
                    .into_iter()
                    .map(|mut view| {
                        let host = state
                            .worker(view.worker_id)
                            .map(|worker| worker.info.host.0.clone());
                        view.last_heartbeat_ms = silences
                            .get(&view.worker_id)
                            .map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX));
                        let left = drain::left(
                            state,
                            WorkerEpoch {
                                worker: view.worker_id,
                                epoch: view.epoch,
                            },
                        );
                        let disk = disks.get(&view.worker_id);
                        v1::Worker {
                            attempts_held: left.attempts,
                            blocks_only_here: left.blocks,
                            segments_needed: left.segments,
                            may_go: view.state == WorkerState::Draining && left.is_nothing(),
                            disk_bytes: disk.map_or(0, |disk| disk.bytes),
                            disk_used_bytes: disk.map_or(0, |disk| disk.used),
                            ..worker_to_wire(view, host.unwrap_or_default())
                        }
                    })
                    .collect()
            })
            .await
            .map_err(|error| self.status(error))?;
        Ok(Response::new(v1::ListWorkersResponse { workers }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let leader = self.leader()?;
        let to = request.into_inner().to_seat.map(Seat);
        let seat = leader
            .raft()
            .transfer_leader(to)
            .await
            .map_err(|error| status::of_transfer(&error, &self.raft))?;
        tracing::info!(seat = %seat, "leadership handed over");
        let leader_seat = seat.0;
        Ok(Response::new(v1::TransferLeaderResponse { leader_seat }))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        let request = request.into_inner();
        let command = Command::DrainWorker {
            worker: WorkerId(request.worker),
            draining: request.draining,
            deadline_ms: (request.deadline_ms > 0).then_some(request.deadline_ms),
        };
        let leader = self.leader()?;
        leader
            .propose_for_client(command)
            .await
            .map_err(|error| self.status(error))?;
        // What only it has is to be copied; or it may take copies again.
        leader.look_at_blocks();
        tracing::info!(
            worker_id = request.worker,
            draining = request.draining,
            "drain"
        );
        Ok(Response::new(v1::DrainWorkerResponse {}))
    }

    async fn commit_noop(
        &self,
        _request: Request<v1::CommitNoopRequest>,
    ) -> Result<Response<v1::CommitNoopResponse>, Status> {
        let committed = self
            .leader()?
            .commit_nothing()
            .await
            .map_err(|error| self.status(error))?;
        Ok(Response::new(v1::CommitNoopResponse {
            index: committed.index,
            term: committed.term,
        }))
    }
}

impl Services {
    /// Whether a member that Raft calls the leader can act as one: this replica
    /// with its services open, or another that answers and says so itself. One
    /// that lost its quorum or its process is no leader to a user.
    fn leads(&self, member: &Member, peer: &Option<PeerDescription>) -> bool {
        if member.seat == self.seat {
            return self.gate.is_open();
        }
        let raft = peer.as_ref().and_then(|peer| peer.raft.as_ref());
        raft.is_some_and(|raft| raft.role == Role::Leader)
    }
}

fn describe(member: &Member, peer: Option<&PeerDescription>) -> v1::Master {
    let raft = peer.and_then(|peer| peer.raft.as_ref());
    let role = match (peer, raft) {
        (None, _) => "unreachable",
        (Some(_), None) => word(Role::Stopped),
        (Some(_), Some(raft)) => word(raft.role),
    };
    let client_address = peer
        .map(|peer| peer.client_address.clone())
        .or_else(|| member.client_address.clone());
    let http_address = peer
        .and_then(|peer| peer.http_address.clone())
        .or_else(|| member.http_address.clone());
    let hash = raft
        .and_then(|raft| raft.hash_points.last())
        .copied()
        .unwrap_or_default();
    v1::Master {
        seat: member.seat.0,
        node_id: member.node_id.0,
        role: role.to_owned(),
        client_address: client_address.unwrap_or_default(),
        raft_address: member.raft_address.clone(),
        http_address: http_address.unwrap_or_default(),
        pid: peer.map_or(0, |peer| peer.pid),
        reachable: peer.is_some(),
        last_log_index: raft.map_or(0, |raft| raft.last_log_index),
        applied_index: raft.map_or(0, |raft| raft.applied_index),
        purged_index: raft.map_or(0, |raft| raft.purged_index),
        hash_index: hash.index,
        state_hash: hash_text(hash.hash),
        hash_points: raft.map_or_else(Vec::new, |raft| {
            let points = raft.hash_points.iter();
            let wire = points.map(|point| v1::HashPoint {
                index: point.index,
                hash: point.hash,
            });
            wire.collect()
        }),
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Learner => "learner",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Stopped => "stopped",
    }
}

fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
