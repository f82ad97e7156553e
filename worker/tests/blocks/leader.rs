//! A leader that knows of blocks only: it registers workers, asks nothing of them
//! and records what they say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use vivat_proto::error::status;
use vivat_proto::v1;
use vivat_proto::v1::data_service_server::{DataService, DataServiceServer};
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use vivat_shared::ids::BlockId;

use crate::rig::{CLUSTER, DEADLINE};

/// What it was told, and what it does about it.
#[derive(Debug, Default)]
pub struct State {
    pub registrations: Vec<String>,
    pub heartbeats: Vec<v1::HeartbeatRequest>,
    pub pulls: usize,
    /// Pages, in the order in which they came.
    pub pages: Vec<v1::ReportBlocksRequest>,
    pub lost: Vec<(u64, BTreeSet<BlockId>)>,
    /// Orders and faults.
    pub gone_datasets: BTreeSet<u64>,
    pub remove: BTreeSet<BlockId>,
    pub lost_answers_to_lose: usize,
    pub not_leading: bool,
    /// Epochs up to this one are over.
    pub stale_up_to: u64,
}

/// A running one.
#[derive(Debug, Clone)]
pub struct Leader {
    shared: Arc<Shared>,
    pub address: String,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Leader {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let serving = Server::builder()
            .add_service(WorkerServiceServer::new(Service(shared.clone())))
            .add_service(DataServiceServer::new(Service(shared.clone())))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(serving);
        Self { shared, address }
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.shared.state.lock().unwrap());
        self.shared.changed.notify_waiters();
        result
    }

    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.state.lock().unwrap())
    }

    /// Waits until the state is as wanted.
    pub async fn until(&self, what: &str, reached: impl Fn(&State) -> bool) {
        let wait = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.look(&reached) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(DEADLINE, wait).await.is_err() {
            let state = self.shared.state.lock().unwrap();
            panic!("never happened: {what}\n{:#?}", state.lost);
        }
    }
}

#[derive(Debug)]
struct Service(Arc<Shared>);

impl Service {
    fn change<T>(
        &self,
        worker: Option<v1::WorkerEpoch>,
        change: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Status> {
        let mut state = self.0.state.lock().unwrap();
        if state.not_leading {
            let not_leader = Kind::NotLeader(v1::NotLeader::default());
            return Err(status(
                Code::FailedPrecondition,
                "not the leader",
                not_leader,
            ));
        }
        if worker.is_some_and(|worker| worker.epoch <= state.stale_up_to) {
            let stale = Kind::StaleEpoch(v1::StaleEpoch {});
            return Err(status(Code::FailedPrecondition, "stale", stale));
        }
        let result = change(&mut state);
        drop(state);
        self.0.changed.notify_waiters();
        Ok(result)
    }
}

fn unused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("nobody asks for it here"))
}

#[tonic::async_trait]
impl WorkerService for Service {
    type WatchSegmentsStream = ReceiverStream<Result<v1::WatchSegmentsResponse, Status>>;

    async fn register_worker(
        &self,
        request: Request<v1::RegisterWorkerRequest>,
    ) -> Result<Response<v1::RegisterWorkerResponse>, Status> {
        let uid = request.into_inner().uid;
        let worker = self.change(None, |state| {
            state.registrations.push(uid.clone());
            let mut known: Vec<&String> = Vec::new();
            for uid in &state.registrations {
                if !known.contains(&uid) {
                    known.push(uid);
                }
            }
            let number = known.iter().position(|known| **known == uid).unwrap() + 1;
            v1::WorkerEpoch {
                worker: u32::try_from(number).unwrap(),
                epoch: state.registrations.len() as u64,
            }
        })?;
        Ok(Response::new(v1::RegisterWorkerResponse {
            worker: Some(worker),
            lease_ms: 10_000,
            heartbeat_ms: 20,
            cluster_id: CLUSTER.to_owned(),
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        let gone_datasets = self.change(request.worker, |state| {
            let asked = request.datasets.iter().copied();
            let gone = asked.filter(|dataset| state.gone_datasets.contains(dataset));
            let gone = gone.collect();
            state.heartbeats.push(request.clone());
            gone
        })?;
        Ok(Response::new(v1::HeartbeatResponse {
            kill: Vec::new(),
            ended_jobs: Vec::new(),
            gone_datasets,
        }))
    }

    async fn pull_attempts(
        &self,
        request: Request<v1::PullAttemptsRequest>,
    ) -> Result<Response<v1::PullAttemptsResponse>, Status> {
        let request = request.into_inner();
        self.change(request.worker, |state| state.pulls += 1)?;
        tokio::time::sleep(Duration::from_millis(u64::from(request.wait_ms))).await;
        self.change(request.worker, |_| ())?;
        Ok(Response::new(v1::PullAttemptsResponse::default()))
    }

    async fn restore_segments(
        &self,
        _request: Request<v1::RestoreSegmentsRequest>,
    ) -> Result<Response<v1::RestoreSegmentsResponse>, Status> {
        Ok(Response::new(v1::RestoreSegmentsResponse {}))
    }

    async fn report_outcomes(
        &self,
        _request: Request<v1::ReportOutcomesRequest>,
    ) -> Result<Response<v1::ReportOutcomesResponse>, Status> {
        unused()
    }

    async fn append_plan(
        &self,
        _request: Request<v1::AppendPlanRequest>,
    ) -> Result<Response<v1::AppendPlanResponse>, Status> {
        unused()
    }

    async fn watch_segments(
        &self,
        _request: Request<v1::WatchSegmentsRequest>,
    ) -> Result<Response<Self::WatchSegmentsStream>, Status> {
        unused()
    }

    async fn report_fetch_failure(
        &self,
        _request: Request<v1::ReportFetchFailureRequest>,
    ) -> Result<Response<v1::ReportFetchFailureResponse>, Status> {
        unused()
    }
}

#[tonic::async_trait]
impl DataService for Service {
    async fn report_blocks(
        &self,
        request: Request<v1::ReportBlocksRequest>,
    ) -> Result<Response<v1::ReportBlocksResponse>, Status> {
        let request = request.into_inner();
        let answer = self.change(request.worker, |state| {
            let mut answer = v1::ReportBlocksResponse::default();
            for summary in &request.blocks {
                let id = summary.block.unwrap();
                if state.remove.contains(&id.into()) {
                    answer.remove.push(id);
                } else {
                    answer.unknown.push(id);
                }
            }
            state.pages.push(request.clone());
            answer
        })?;
        Ok(Response::new(answer))
    }

    async fn report_lost_blocks(
        &self,
        request: Request<v1::ReportLostBlocksRequest>,
    ) -> Result<Response<v1::ReportLostBlocksResponse>, Status> {
        let request = request.into_inner();
        let is_lost = self.change(request.worker, |state| {
            if state.lost_answers_to_lose > 0 {
                state.lost_answers_to_lose -= 1;
                return true;
            }
            let blocks = request.blocks.iter().copied().map(Into::into).collect();
            state.lost.push((request.worker.unwrap().epoch, blocks));
            false
        })?;
        if is_lost {
            return Err(Status::unavailable("the answer is lost"));
        }
        Ok(Response::new(v1::ReportLostBlocksResponse {}))
    }

    async fn open_dataset(
        &self,
        _request: Request<v1::OpenDatasetRequest>,
    ) -> Result<Response<v1::OpenDatasetResponse>, Status> {
        unused()
    }

    async fn place_blocks(
        &self,
        _request: Request<v1::PlaceBlocksRequest>,
    ) -> Result<Response<v1::PlaceBlocksResponse>, Status> {
        unused()
    }

    async fn append_blocks(
        &self,
        _request: Request<v1::AppendBlocksRequest>,
    ) -> Result<Response<v1::AppendBlocksResponse>, Status> {
        unused()
    }

    async fn seal_dataset(
        &self,
        _request: Request<v1::SealDatasetRequest>,
    ) -> Result<Response<v1::SealDatasetResponse>, Status> {
        unused()
    }

    async fn abandon_dataset(
        &self,
        _request: Request<v1::AbandonDatasetRequest>,
    ) -> Result<Response<v1::AbandonDatasetResponse>, Status> {
        unused()
    }

    async fn get_dataset(
        &self,
        _request: Request<v1::GetDatasetRequest>,
    ) -> Result<Response<v1::GetDatasetResponse>, Status> {
        unused()
    }

    async fn list_datasets(
        &self,
        _request: Request<v1::ListDatasetsRequest>,
    ) -> Result<Response<v1::ListDatasetsResponse>, Status> {
        unused()
    }

    async fn list_blocks(
        &self,
        _request: Request<v1::ListBlocksRequest>,
    ) -> Result<Response<v1::ListBlocksResponse>, Status> {
        unused()
    }

    async fn remove_dataset(
        &self,
        _request: Request<v1::RemoveDatasetRequest>,
    ) -> Result<Response<v1::RemoveDatasetResponse>, Status> {
        unused()
    }
}
