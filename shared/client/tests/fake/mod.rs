//! A master that is played: real gRPC on loopback, scripted answers.
#![expect(
    clippy::unwrap_used,
    reason = "a fake that cannot start or lock has no test to go on with"
)]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt, stream};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use vivat_proto::error::status;
use vivat_proto::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::job_service_server::{JobService, JobServiceServer};
use vivat_proto::v1::*;
use vivat_shared::job::{
    InputFormat, InputPattern, JobSpec, OutputLocation, Policy, StepSpec, Visibility,
};

/// What a master does when asked something that only a leader may answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Answers, with this number in the answer.
    Lead(u64),
    /// Says that it does not lead.
    NotLeader { endpoint: String, term: u64 },
    /// Never answers.
    Hang,
    /// Says `OutcomeUnknown` to the first call, then leads.
    UnknownThenLead(u64),
    /// Says that it is full to the first call, then leads.
    BusyThenLead(u64),
    /// Says that it is full.
    Busy,
    /// Refuses: the key belongs to another specification.
    Conflict,
    /// Leads in term 2 and says that the job succeeded.
    Finish,
}

impl Answer {
    pub fn hint(endpoint: &str, term: u64) -> Self {
        Self::NotLeader {
            endpoint: endpoint.to_owned(),
            term,
        }
    }
}

#[derive(Debug)]
struct Script {
    answer: Answer,
    asked: u32,
    keys: Vec<String>,
}

#[derive(Clone)]
struct Service {
    script: Arc<Mutex<Script>>,
}

/// A running fake, on a runtime of its own: what ends with it takes its
/// connections along, as a process would.
pub struct FakeMaster {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    runtime: Option<Runtime>,
}

impl Drop for FakeMaster {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not be dropped where others await; and its port
            // is free only when it is gone.
            std::thread::spawn(move || drop(runtime)).join().unwrap();
        }
    }
}

impl FakeMaster {
    pub fn start(answer: Answer) -> Self {
        Self::start_on(0, answer)
    }

    pub fn start_on(port: u16, answer: Answer) -> Self {
        let script = Arc::new(Mutex::new(Script {
            answer,
            asked: 0,
            keys: Vec::new(),
        }));
        let service = Service {
            script: Arc::clone(&script),
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], port).into()).unwrap();
        let address = incoming.local_addr().unwrap();
        let router = Server::builder()
            .add_service(JobServiceServer::new(service.clone()))
            .add_service(ClusterServiceServer::new(service));
        runtime.spawn(async move {
            router.serve_with_incoming(incoming).await.unwrap();
        });
        drop(entered);
        Self {
            address,
            script,
            runtime: Some(runtime),
        }
    }

    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn answer(&self, answer: Answer) {
        self.script.lock().unwrap().answer = answer;
    }

    pub fn asked(&self) -> u32 {
        self.script.lock().unwrap().asked
    }

    pub fn keys(&self) -> Vec<String> {
        self.script.lock().unwrap().keys.clone()
    }
}

impl Service {
    async fn lead(&self, key: Option<&str>) -> Result<u64, Status> {
        let answer = {
            let mut script = self.script.lock().unwrap();
            script.asked += 1;
            if let Some(key) = key {
                script.keys.push(key.to_owned());
            }
            let answer = script.answer.clone();
            if let Answer::UnknownThenLead(number) | Answer::BusyThenLead(number) = answer {
                script.answer = Answer::Lead(number);
            }
            answer
        };
        match answer {
            Answer::Lead(number) => Ok(number),
            Answer::Finish => Ok(u64::MAX),
            Answer::NotLeader { endpoint, term } => Err(status(
                Code::FailedPrecondition,
                "not the leader",
                Kind::NotLeader(NotLeader {
                    term,
                    leader_id: 0,
                    leader_endpoint: endpoint,
                }),
            )),
            Answer::Hang => std::future::pending().await,
            Answer::UnknownThenLead(_) => Err(status(
                Code::Unavailable,
                "the outcome is unknown",
                Kind::OutcomeUnknown(OutcomeUnknown {}),
            )),
            Answer::BusyThenLead(_) | Answer::Busy => {
                Err(Status::resource_exhausted("too many proposals"))
            }
            Answer::Conflict => Err(status(
                Code::AlreadyExists,
                "the key belongs to another job",
                Kind::KeyConflict(JobConflict {
                    key: "mine".to_owned(),
                    job: 1,
                }),
            )),
        }
    }

    /// One view, then an open stream that breaks off once the script changes.
    fn changes(&self, number: u64) -> Changes {
        let finished = number == u64::MAX;
        let first = WatchJobResponse {
            job: Some(job(finished)),
            term: if finished { 2 } else { 1 },
            leader_seat: 0,
            running_bytes: 0,
        };
        let script = Arc::clone(&self.script);
        let end = stream::once(async move {
            while matches!(script.lock().unwrap().answer, Answer::Lead(_)) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            Err(Status::unavailable("leadership closed"))
        });
        Box::pin(stream::iter([Ok(first)]).chain(end))
    }
}

type Changes = Pin<Box<dyn Stream<Item = Result<WatchJobResponse, Status>> + Send>>;

fn job(finished: bool) -> Job {
    let state = if finished {
        JobState::Succeeded
    } else {
        JobState::Running
    };
    Job {
        job: 3,
        state: state.into(),
        map: Some(TaskCounts::default()),
        reduce: Some(TaskCounts::default()),
        attempts: Some(AttemptCounts::default()),
        ..Job::default()
    }
}

/// A specification that converts.
pub fn spec() -> JobSpec {
    JobSpec {
        name: "words".to_owned(),
        comment: String::new(),
        inputs: vec![InputPattern {
            path: "/in".to_owned(),
            display: "in".to_owned(),
            visibility: Visibility::Everyone,
        }],
        format: InputFormat::Text,
        split_bytes: 1,
        steps: vec![StepSpec::once("word-count", 1)],
        output: OutputLocation::Directory {
            path: "/out".to_owned(),
            display: "out".to_owned(),
            visibility: Visibility::Everyone,
        },
        overwrite: false,
        priority: 50,
        policy: Policy::Locality,
        attempts_max: 4,
        timeout_ms: None,
        speculation: true,
        skipped_max: 0,
        side_files: Vec::new(),
        notify: None,
        source: String::new(),
        size_hint_bytes: None,
    }
}

/// A port on which nothing listens.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tonic::async_trait]
impl JobService for Service {
    type WatchJobStream = Changes;

    async fn submit_job(
        &self,
        request: Request<SubmitJobRequest>,
    ) -> Result<Response<SubmitJobResponse>, Status> {
        let job = self.lead(Some(&request.into_inner().key)).await?;
        Ok(Response::new(SubmitJobResponse { job, created: true }))
    }

    async fn get_job(
        &self,
        _request: Request<GetJobRequest>,
    ) -> Result<Response<GetJobResponse>, Status> {
        self.lead(None).await?;
        let job = Some(job(false));
        Ok(Response::new(GetJobResponse { job }))
    }

    async fn list_jobs(
        &self,
        _request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        self.lead(None).await?;
        Ok(Response::new(ListJobsResponse::default()))
    }

    async fn watch_job(
        &self,
        _request: Request<WatchJobRequest>,
    ) -> Result<Response<Changes>, Status> {
        let number = self.lead(None).await?;
        Ok(Response::new(self.changes(number)))
    }

    async fn cancel_job(
        &self,
        _request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        self.lead(None).await?;
        Ok(Response::new(CancelJobResponse {}))
    }

    async fn explain_job(
        &self,
        _request: Request<ExplainJobRequest>,
    ) -> Result<Response<ExplainJobResponse>, Status> {
        self.lead(None).await?;
        Ok(Response::new(ExplainJobResponse::default()))
    }

    async fn get_timeline(
        &self,
        _request: Request<GetTimelineRequest>,
    ) -> Result<Response<GetTimelineResponse>, Status> {
        self.lead(None).await?;
        Ok(Response::new(GetTimelineResponse::default()))
    }

    async fn retry_job(
        &self,
        request: Request<RetryJobRequest>,
    ) -> Result<Response<RetryJobResponse>, Status> {
        self.lead(Some(&request.into_inner().key)).await?;
        Ok(Response::new(RetryJobResponse::default()))
    }

    async fn list_logs(
        &self,
        _request: Request<ListLogsRequest>,
    ) -> Result<Response<ListLogsResponse>, Status> {
        self.lead(None).await?;
        Ok(Response::new(ListLogsResponse::default()))
    }
}

#[tonic::async_trait]
impl ClusterService for Service {
    async fn get_cluster_status(
        &self,
        _request: Request<GetClusterStatusRequest>,
    ) -> Result<Response<GetClusterStatusResponse>, Status> {
        Ok(Response::new(GetClusterStatusResponse {
            masters: vec![Master {
                client_address: "10.0.0.9:7070".to_owned(),
                ..Master::default()
            }],
            ..GetClusterStatusResponse::default()
        }))
    }

    async fn list_workers(
        &self,
        _request: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        self.lead(None).await?;
        Ok(Response::new(ListWorkersResponse::default()))
    }

    async fn transfer_leader(
        &self,
        _request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        self.lead(None).await?;
        Ok(Response::new(TransferLeaderResponse { leader_seat: 1 }))
    }

    async fn commit_noop(
        &self,
        _request: Request<CommitNoopRequest>,
    ) -> Result<Response<CommitNoopResponse>, Status> {
        let index = self.lead(None).await?;
        Ok(Response::new(CommitNoopResponse { index, term: 1 }))
    }

    async fn drain_worker(
        &self,
        _request: Request<DrainWorkerRequest>,
    ) -> Result<Response<DrainWorkerResponse>, Status> {
        self.lead(None).await?;
        Ok(Response::new(DrainWorkerResponse {}))
    }
}
