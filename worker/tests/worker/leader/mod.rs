//! The fake leader: grants what a test puts in, records what workers say.

mod data;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use vivat_proto::convert::attempt::{assignments_to_wire, chunk_from_wire};
use vivat_proto::convert::outcome::{report_from_wire, sizes_from_wire};
use vivat_proto::error::status;
use vivat_proto::v1;
use vivat_proto::v1::data_service_server::DataServiceServer;
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use vivat_shared::attempt::{Assignment, Outcome, PlanChunk};
use vivat_shared::ids::{AttemptId, BlockId};
use vivat_shared::job::JobSpec;
use vivat_shared::size_code::SizeCode;

/// Longer than anything in these tests takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What the leader was told, and what it does about it.
#[derive(Debug, Default)]
pub struct State {
    pub registrations: Vec<v1::RegisterWorkerRequest>,
    pub restored: Vec<(AttemptId, Vec<SizeCode>)>,
    pub restore_calls: usize,
    /// Granted and not finished, by worker number.
    pub granted: BTreeMap<AttemptId, (u32, Assignment)>,
    pub specs: HashMap<u64, JobSpec>,
    pub pulls: usize,
    pub delivered: Vec<AttemptId>,
    /// What the newest pull or heartbeat listed.
    pub held: BTreeSet<AttemptId>,
    pub running: BTreeSet<AttemptId>,
    pub heartbeats: Vec<v1::HeartbeatRequest>,
    pub reports: Vec<(AttemptId, Outcome)>,
    pub chunks: Vec<PlanChunk>,
    pub locations: Vec<v1::SegmentLocation>,
    pub addresses: Vec<v1::WorkerAddress>,
    pub lost: Vec<v1::LostSegment>,
    pub fetch_failures: Vec<v1::ReportFetchFailureRequest>,
    /// Reports of blocks: pages, in the order in which they came.
    pub pages: Vec<v1::ReportBlocksRequest>,
    /// What each epoch said to have lost.
    pub lost_blocks: Vec<(u64, BTreeSet<BlockId>)>,
    /// Faults and orders.
    pub gone_datasets: BTreeSet<u64>,
    pub remove: BTreeSet<BlockId>,
    pub lost_answers_to_lose: usize,
    pub pull_answers_to_lose: usize,
    pub report_answers_to_lose: usize,
    pub lost_reports: Vec<(AttemptId, Outcome)>,
    pub refuse: BTreeSet<AttemptId>,
    pub kill: BTreeSet<AttemptId>,
    pub take_back: BTreeSet<AttemptId>,
    pub ended_jobs: BTreeSet<u64>,
    pub not_leading: bool,
    /// The low half of the cluster's id.
    pub cluster: u64,
    /// Epochs up to this one are over.
    pub stale_up_to: u64,
}

/// A running fake leader.
#[derive(Debug, Clone)]
pub struct FakeLeader {
    shared: Arc<Shared>,
    address: String,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl FakeLeader {
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

    pub fn address(&self) -> String {
        self.address.clone()
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.shared.state.lock().unwrap());
        self.shared.changed.notify_waiters();
        result
    }

    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.state.lock().unwrap())
    }

    /// Grants attempts to the first worker.
    pub fn grant(&self, spec: &JobSpec, assignments: impl IntoIterator<Item = Assignment>) {
        self.grant_to(1, spec, assignments);
    }

    pub fn grant_to(
        &self,
        worker: u32,
        spec: &JobSpec,
        assignments: impl IntoIterator<Item = Assignment>,
    ) {
        self.change(|state| {
            for assignment in assignments {
                let attempt = assignment.attempt;
                state.specs.insert(attempt.job().0, spec.clone());
                state.granted.insert(attempt, (worker, assignment));
            }
        });
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
            panic!("never happened: {what}\n{state:#?}");
        }
    }

    /// Waits for the report of an attempt.
    pub async fn outcome(&self, attempt: AttemptId) -> Outcome {
        let find = |state: &State| {
            let found = state.reports.iter().find(|(id, _)| *id == attempt);
            found.map(|(_, outcome)| outcome.clone())
        };
        let what = format!("a report of {attempt}");
        self.until(&what, |state| find(state).is_some()).await;
        self.look(find).unwrap()
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
            return Err(status(
                Code::FailedPrecondition,
                "not the leader",
                Kind::NotLeader(v1::NotLeader::default()),
            ));
        }
        if worker.is_some_and(|worker| worker.epoch <= state.stale_up_to) {
            return Err(status(
                Code::FailedPrecondition,
                "stale",
                Kind::StaleEpoch(v1::StaleEpoch {}),
            ));
        }
        let result = change(&mut state);
        drop(state);
        self.0.changed.notify_waiters();
        Ok(result)
    }
}

fn ids(wire: Vec<v1::AttemptId>) -> BTreeSet<AttemptId> {
    wire.into_iter().map(|id| id.try_into().unwrap()).collect()
}

fn wire(ids: impl IntoIterator<Item = AttemptId>) -> Vec<v1::AttemptId> {
    ids.into_iter().map(Into::into).collect()
}

/// What is granted to the worker and not held, as far as there is room.
fn missing(state: &State, request: &v1::PullAttemptsRequest) -> Vec<Assignment> {
    let held = ids(request.held.clone());
    let worker = request.worker.unwrap().worker;
    let mut want = request.want as usize;
    let mut control_free = request.control_free;
    let mut missing = Vec::new();
    for (attempt, (to, assignment)) in &state.granted {
        if *to != worker || held.contains(attempt) {
            continue;
        }
        let room = if attempt.task.kind.is_control() {
            std::mem::take(&mut control_free)
        } else {
            let room = want > 0;
            want = want.saturating_sub(1);
            room
        };
        if room {
            missing.push(assignment.clone());
        }
    }
    missing
}

#[tonic::async_trait]
impl WorkerService for Service {
    type WatchSegmentsStream = ReceiverStream<Result<v1::WatchSegmentsResponse, Status>>;

    async fn register_worker(
        &self,
        request: Request<v1::RegisterWorkerRequest>,
    ) -> Result<Response<v1::RegisterWorkerResponse>, Status> {
        let request = request.into_inner();
        let cluster = self.change(None, |state| state.cluster)?;
        let worker = self.change(None, |state| {
            let uid = request.uid.clone();
            state.registrations.push(request);
            let mut known: Vec<&String> = Vec::new();
            for registration in &state.registrations {
                if !known.contains(&&registration.uid) {
                    known.push(&registration.uid);
                }
            }
            let worker = known.iter().position(|known| **known == uid).unwrap() + 1;
            v1::WorkerEpoch {
                worker: u32::try_from(worker).unwrap(),
                epoch: state.registrations.len() as u64,
            }
        })?;
        Ok(Response::new(v1::RegisterWorkerResponse {
            worker: Some(worker),
            lease_ms: 10_000,
            heartbeat_ms: 20,
            cluster_id: format!("0123456789abcdef{cluster:016x}"),
        }))
    }

    async fn restore_segments(
        &self,
        request: Request<v1::RestoreSegmentsRequest>,
    ) -> Result<Response<v1::RestoreSegmentsResponse>, Status> {
        let request = request.into_inner();
        self.change(request.worker, |state| {
            state.restore_calls += 1;
            for held in request.held {
                let attempt = held.attempt.unwrap().try_into().unwrap();
                state.restored.push((attempt, sizes_from_wire(&held.sizes)));
            }
        })?;
        Ok(Response::new(v1::RestoreSegmentsResponse {}))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        let response = self.change(request.worker, |state| {
            state.heartbeats.push(request.clone());
            state.held = ids(request.held);
            state.running = request
                .progress
                .into_iter()
                .map(|progress| progress.attempt.unwrap().try_into().unwrap())
                .collect();
            let ended = |job: &u64| state.ended_jobs.contains(job);
            let gone = |dataset: &u64| state.gone_datasets.contains(dataset);
            v1::HeartbeatResponse {
                kill: wire(state.kill.intersection(&state.held).copied()),
                ended_jobs: request.jobs.into_iter().filter(ended).collect(),
                gone_datasets: request.datasets.into_iter().filter(gone).collect(),
            }
        })?;
        Ok(Response::new(response))
    }

    async fn pull_attempts(
        &self,
        request: Request<v1::PullAttemptsRequest>,
    ) -> Result<Response<v1::PullAttemptsResponse>, Status> {
        let request = request.into_inner();
        self.change(request.worker, |state| {
            state.pulls += 1;
            state.held = ids(request.held.clone());
        })?;
        let wait = tokio::time::sleep(Duration::from_millis(u64::from(request.wait_ms)));
        tokio::pin!(wait);
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            // The clock is ours: a pull whose epoch ends meanwhile is refused.
            let assignments = self.change_quietly(&request)?;
            let take_back = self.take_back(&request);
            if !assignments.is_empty() || !take_back.is_empty() || wait.is_elapsed() {
                return self.answer(assignments, take_back);
            }
            tokio::select! {
                () = &mut wait => {}
                () = changed => {}
            }
        }
    }

    async fn report_outcomes(
        &self,
        request: Request<v1::ReportOutcomesRequest>,
    ) -> Result<Response<v1::ReportOutcomesResponse>, Status> {
        let request = request.into_inner();
        let response = self.change(request.worker, |state| {
            let reports = request.reports.into_iter();
            let reports: Vec<_> = reports.map(|r| report_from_wire(r).unwrap()).collect();
            if state.report_answers_to_lose > 0 {
                state.report_answers_to_lose -= 1;
                state.lost_reports.extend(reports);
                return None;
            }
            let mut verdicts = Vec::new();
            for (attempt, outcome) in reports {
                state.granted.remove(&attempt);
                let accepted = !state.refuse.contains(&attempt);
                verdicts.push(v1::Verdict {
                    attempt: Some(attempt.into()),
                    accepted,
                });
                state.reports.push((attempt, outcome));
            }
            Some(v1::ReportOutcomesResponse { verdicts })
        })?;
        response
            .map(Response::new)
            .ok_or_else(|| Status::unavailable("the answer is lost"))
    }

    async fn append_plan(
        &self,
        request: Request<v1::AppendPlanRequest>,
    ) -> Result<Response<v1::AppendPlanResponse>, Status> {
        let request = request.into_inner();
        self.change(request.worker, |state| {
            let chunk = chunk_from_wire(request.files, request.splits).unwrap();
            let number = request.chunk as usize;
            if number == state.chunks.len() {
                state.chunks.push(chunk);
            } else {
                assert_eq!(state.chunks[number], chunk, "a repeated chunk is the same");
            }
        })?;
        Ok(Response::new(v1::AppendPlanResponse {}))
    }

    async fn watch_segments(
        &self,
        request: Request<v1::WatchSegmentsRequest>,
    ) -> Result<Response<Self::WatchSegmentsStream>, Status> {
        let worker = request.into_inner().worker;
        self.change(worker, |_| ())?;
        let (sender, stream) = mpsc::channel(4);
        let shared = self.0.clone();
        tokio::spawn(async move {
            let mut sent = 0;
            loop {
                let changed = shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let update = {
                    let state = shared.state.lock().unwrap();
                    let now = state.locations.len() + state.lost.len();
                    (now != std::mem::replace(&mut sent, now)).then(|| v1::WatchSegmentsResponse {
                        located: state.locations.clone(),
                        addresses: state.addresses.clone(),
                        lost: state.lost.clone(),
                        maps: 0,
                    })
                };
                if let Some(update) = update
                    && sender.send(Ok(update)).await.is_err()
                {
                    return;
                }
                tokio::select! {
                    () = sender.closed() => return,
                    () = changed => {}
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn report_fetch_failure(
        &self,
        request: Request<v1::ReportFetchFailureRequest>,
    ) -> Result<Response<v1::ReportFetchFailureResponse>, Status> {
        let request = request.into_inner();
        self.change(request.worker, |state| state.fetch_failures.push(request))?;
        Ok(Response::new(v1::ReportFetchFailureResponse {}))
    }
}

impl Service {
    fn change_quietly(&self, request: &v1::PullAttemptsRequest) -> Result<Vec<Assignment>, Status> {
        let state = self.0.state.lock().unwrap();
        if request.worker.unwrap().epoch <= state.stale_up_to {
            drop(state);
            return self.change(request.worker, |_| Vec::new());
        }
        if state.not_leading {
            drop(state);
            return self.change(request.worker, |_| Vec::new());
        }
        Ok(missing(&state, request))
    }

    fn take_back(&self, request: &v1::PullAttemptsRequest) -> Vec<AttemptId> {
        let held = ids(request.held.clone());
        let mut state = self.0.state.lock().unwrap();
        let wanted: Vec<_> = state.take_back.intersection(&held).copied().collect();
        state.take_back.retain(|attempt| !wanted.contains(attempt));
        wanted
    }

    fn answer(
        &self,
        assignments: Vec<Assignment>,
        take_back: Vec<AttemptId>,
    ) -> Result<Response<v1::PullAttemptsResponse>, Status> {
        let lost = self.change(None, |state| {
            state
                .delivered
                .extend(assignments.iter().map(|a| a.attempt));
            let lost = state.pull_answers_to_lose > 0 && !assignments.is_empty();
            state.pull_answers_to_lose -= usize::from(lost);
            lost
        })?;
        if lost {
            return Err(Status::unavailable("the answer is lost"));
        }
        let specs = self.0.state.lock().unwrap().specs.clone();
        let (assignments, rounds) = assignments_to_wire(assignments);
        Ok(Response::new(v1::PullAttemptsResponse {
            assignments,
            specs: specs
                .into_iter()
                .map(|(job, spec)| (job, spec.into()))
                .collect(),
            kill: Vec::new(),
            take_back: wire(take_back),
            rounds,
            side_datasets: HashMap::new(),
        }))
    }
}
