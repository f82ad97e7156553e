//! `JobService`: what clients submit, watch and cancel.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use prost::Message as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use vivat_core::command::{Command, Rejection, Reply};
use vivat_core::view;
use vivat_proto::error::required;
use vivat_proto::v1;
use vivat_proto::v1::job_service_server::JobService;
use vivat_shared::ids::JobId;
use vivat_shared::limits::MESSAGE_BYTES_MAX;
use vivat_shared::view::WaitReason;

use super::Services;
use crate::leader::{JobUpdate, LeaderError};

/// Jobs in an answer when the caller names no number.
const JOBS_DEFAULT: usize = 1_000;
/// Jobs in an answer at most: entries wait while they are looked at.
const JOBS_MAX: usize = 10_000;
/// Attempts in one page of a timeline: some 50 bytes each.
const SPANS_MAX: usize = 10_000;
/// Attempts in one page of a list of logs: some kilobytes each.
const LOGS_MAX: usize = 256;
/// What a list of jobs may take of a message; the rest is left out.
const JOBS_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;

type Updates = Pin<Box<dyn Stream<Item = Result<v1::WatchJobResponse, Status>> + Send>>;

#[tonic::async_trait]
impl JobService for Services {
    type WatchJobStream = Updates;

    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        let request = request.into_inner();
        let spec = required(request.spec, "spec")?.try_into()?;
        let command = Command::SubmitJob {
            key: request.key,
            spec,
        };
        match self.leader()?.submit(command).await {
            Ok(Reply::Job { job, created }) => {
                if created {
                    tracing::info!(job_id = %job, "job accepted");
                }
                let job = job.0;
                Ok(Response::new(v1::SubmitJobResponse { job, created }))
            }
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(self.status(error)),
        }
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let job = JobId(request.into_inner().job);
        let leader = self.leader()?;
        let view = leader
            .read_decided(|state, liveness| view::job(state, job, liveness))
            .await
            .map_err(|error| self.status(error))?
            .ok_or_else(|| self.unknown_job(job))?;
        let job = Some(view.into());
        Ok(Response::new(v1::GetJobResponse { job }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let limit = match request.into_inner().limit {
            0 => JOBS_DEFAULT,
            limit => JOBS_MAX.min(limit as usize),
        };
        let leader = self.leader()?;
        let views = leader
            .read_decided(|state, liveness| view::newest_jobs(state, liveness, limit))
            .await
            .map_err(|error| self.status(error))?;
        let mut bytes = 0;
        let jobs = views
            .into_iter()
            .map(v1::Job::from)
            .take_while(|job| {
                bytes += job.encoded_len();
                bytes <= JOBS_BYTES_MAX
            })
            .collect();
        Ok(Response::new(v1::ListJobsResponse { jobs }))
    }

    async fn watch_job(
        &self,
        request: Request<v1::WatchJobRequest>,
    ) -> Result<Response<Updates>, Status> {
        let job = JobId(request.into_inner().job);
        let leader = self.leader()?;
        let updates = leader
            .watch_job(job)
            .await
            .map_err(|error| self.status(error))?;
        let (term, services) = (leader.term(), self.clone());
        let stream = ReceiverStream::new(updates).map(move |update| match update {
            Ok(JobUpdate {
                view,
                running_bytes,
            }) => Ok(v1::WatchJobResponse {
                job: Some(view.into()),
                term,
                leader_seat: services.seat.0,
                running_bytes,
            }),
            Err(error) => Err(services.status(error)),
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let job = JobId(request.into_inner().job);
        self.leader()?
            .propose_for_client(Command::CancelJob { job })
            .await
            .map_err(|error| self.status(error))?;
        tracing::info!(job_id = %job, "job cancelled");
        Ok(Response::new(v1::CancelJobResponse {}))
    }

    async fn explain_job(
        &self,
        request: Request<v1::ExplainJobRequest>,
    ) -> Result<Response<v1::ExplainJobResponse>, Status> {
        let job = JobId(request.into_inner().job);
        let leader = self.leader()?;
        let explanation = leader
            .read_decided(|state, liveness| {
                state.job(job)?;
                let reason = view::wait_reason(state, job, liveness);
                Some(v1::ExplainJobResponse {
                    reason: reason.as_ref().map_or("", WaitReason::word).to_owned(),
                    lines: view::explain(state, job, liveness),
                })
            })
            .await
            .map_err(|error| self.status(error))?
            .ok_or_else(|| self.unknown_job(job))?;
        Ok(Response::new(explanation))
    }

    async fn get_timeline(
        &self,
        request: Request<v1::GetTimelineRequest>,
    ) -> Result<Response<v1::GetTimelineResponse>, Status> {
        let request = request.into_inner();
        let job = JobId(request.job);
        let limit = match request.limit {
            0 => SPANS_MAX,
            limit => SPANS_MAX.min(limit as usize),
        };
        let (spans, more) = self
            .leader()?
            .read_decided(|state, _| view::timeline(state, job, request.from as usize, limit))
            .await
            .map_err(|error| self.status(error))?
            .ok_or_else(|| self.unknown_job(job))?;
        let spans = spans.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::GetTimelineResponse { spans, more }))
    }

    async fn retry_job(
        &self,
        request: Request<v1::RetryJobRequest>,
    ) -> Result<Response<v1::RetryJobResponse>, Status> {
        let v1::RetryJobRequest { job, key } = request.into_inner();
        let job = JobId(job);
        let retry = Command::RetryJob { key, job };
        match self.leader()?.propose_for_client(retry).await {
            Ok(Reply::Retried { step }) => {
                tracing::info!(job_id = %job, step, "job retried");
                let step = u32::from(step);
                Ok(Response::new(v1::RetryJobResponse { step }))
            }
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(self.status(error)),
        }
    }

    async fn list_logs(
        &self,
        request: Request<v1::ListLogsRequest>,
    ) -> Result<Response<v1::ListLogsResponse>, Status> {
        let request = request.into_inner();
        let job = JobId(request.job);
        let limit = match request.limit {
            0 => LOGS_MAX,
            limit => LOGS_MAX.min(limit as usize),
        };
        let (entries, more) = self
            .leader()?
            .read_decided(|state, _| {
                vivat_core::query::logs(state, job, request.from as usize, limit)
            })
            .await
            .map_err(|error| self.status(error))?
            .ok_or_else(|| self.unknown_job(job))?;
        let entries = entries.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListLogsResponse { entries, more }))
    }
}

impl Services {
    fn unknown_job(&self, job: JobId) -> Status {
        self.status(LeaderError::Rejected(Rejection::UnknownJob(job)))
    }
}

/// A reply that does not belong to its command: a defect of ours.
pub(super) fn unexpected(reply: &Reply) -> Status {
    Status::internal(format!("unexpected reply: {reply:?}"))
}
