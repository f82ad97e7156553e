//! `WorkerService`: registration, leases, pulls, reports, plans, locations.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use vivat_core::command::{Command, HeldSegments, Reply, WorkerInfo};
use vivat_proto::convert::attempt::{assignments_to_wire, chunk_from_wire};
use vivat_proto::convert::outcome::{report_from_wire, sizes_from_wire};
use vivat_proto::error::{WireError, required};
use vivat_proto::v1;
use vivat_proto::v1::worker_service_server::WorkerService;
use vivat_shared::attempt::{AttemptFailure, FetchFailure, Outcome};
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{AttemptId, DatasetId, JobId, WorkerEpoch};
use vivat_shared::job::HostIdentity;

use super::Services;
use super::jobs::unexpected;
use crate::leader::data::DiskFigures;
use crate::leader::{Delivery, Progress, PullRequest, SegmentsUpdate};

/// Held segments of one command: with 4,096 partitions each they are cut again
/// by size, before that by this number.
const HELD_PER_COMMAND: usize = 8;

type Locations = Pin<Box<dyn Stream<Item = Result<v1::WatchSegmentsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl WorkerService for Services {
    type WatchSegmentsStream = Locations;

    async fn register_worker(
        &self,
        request: Request<v1::RegisterWorkerRequest>,
    ) -> Result<Response<v1::RegisterWorkerResponse>, Status> {
        let leader = self.leader_for_worker()?;
        let request = request.into_inner();
        let command = Command::RegisterWorker {
            crashed: attempts(request.crashed)?,
            info: WorkerInfo {
                uid: request.uid,
                address: request.address,
                pid: request.pid,
                slots: request.slots,
                host: HostIdentity(request.host),
                labels: request.labels.into_iter().collect(),
            },
        };
        let worker = match leader.propose_one(command).await {
            Ok(Reply::Registered(worker)) => worker,
            Ok(other) => return Err(unexpected(&other)),
            Err(error) => return Err(self.status(error)),
        };
        leader.welcome(worker);
        tracing::info!(
            worker_id = %worker.worker,
            worker_epoch = worker.epoch.0,
            "worker registered"
        );
        Ok(Response::new(v1::RegisterWorkerResponse {
            worker: Some(worker.into()),
            lease_ms: millis(leader.settings().lease),
            heartbeat_ms: millis(leader.settings().heartbeat),
            cluster_id: self.cluster.to_string(),
        }))
    }

    async fn restore_segments(
        &self,
        request: Request<v1::RestoreSegmentsRequest>,
    ) -> Result<Response<v1::RestoreSegmentsResponse>, Status> {
        let leader = self.leader_for_worker()?;
        let request = request.into_inner();
        let worker = worker_of(request.worker)?;
        leader.hear(worker).map_err(|error| self.status(error))?;
        let held = request
            .held
            .into_iter()
            .map(|held| {
                Ok(HeldSegments {
                    attempt: required(held.attempt, "attempt")?.try_into()?,
                    segments: sizes_from_wire(&held.sizes),
                })
            })
            .collect::<Result<Vec<_>, WireError>>()?;
        let commands = held
            .chunks(HELD_PER_COMMAND)
            .map(|held| Command::RestoreSegments {
                worker,
                held: held.to_vec(),
            })
            .collect();
        let replies = leader
            .propose(commands)
            .await
            .map_err(|error| self.status(error))?;
        for reply in replies {
            if let Reply::Rejected(rejection) = reply {
                return Err(self.status(rejection.into()));
            }
        }
        Ok(Response::new(v1::RestoreSegmentsResponse {}))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let leader = self.leader_for_worker()?;
        let request = request.into_inner();
        let worker = worker_of(request.worker)?;
        let held = attempts(request.held)?;
        let progress = request
            .progress
            .into_iter()
            .map(|progress| {
                let attempt = required(progress.attempt, "attempt")?.try_into()?;
                Ok((
                    attempt,
                    Progress {
                        bytes_done: progress.bytes_done,
                        records_done: progress.records_done,
                    },
                ))
            })
            .collect::<Result<BTreeMap<AttemptId, Progress>, WireError>>()?;
        let kill = leader
            .heartbeat(worker, &held, &progress)
            .map_err(|error| self.status(error))?;
        let ended = leader.ended(request.jobs.into_iter().map(JobId));
        if request.disk_bytes > 0 {
            leader.note_disk(
                worker.worker,
                DiskFigures {
                    bytes: request.disk_bytes,
                    used: request.disk_used_bytes,
                },
            );
        }
        let gone = leader.gone(request.datasets.into_iter().map(DatasetId));
        Ok(Response::new(v1::HeartbeatResponse {
            kill: to_wire(kill),
            ended_jobs: ended.into_iter().map(|job| job.0).collect(),
            gone_datasets: gone.into_iter().map(|dataset| dataset.0).collect(),
        }))
    }

    async fn pull_attempts(
        &self,
        request: Request<v1::PullAttemptsRequest>,
    ) -> Result<Response<v1::PullAttemptsResponse>, Status> {
        let leader = self.leader_for_worker()?;
        let request = request.into_inner();
        let worker = worker_of(request.worker)?;
        let pull = PullRequest {
            held: attempts(request.held)?,
            want: request.want,
            control_free: request.control_free,
            wait: Duration::from_millis(u64::from(request.wait_ms)),
        };
        let Delivery {
            assignments,
            specs,
            kill,
            take_back,
            side_datasets,
        } = leader
            .pull(worker, pull)
            .await
            .map_err(|error| self.status(error))?;
        let specs = specs.into_iter();
        let (assignments, rounds) = assignments_to_wire(assignments);
        Ok(Response::new(v1::PullAttemptsResponse {
            assignments,
            specs: specs.map(|(job, spec)| (job.0, spec.into())).collect(),
            kill: to_wire(kill),
            take_back: to_wire(take_back),
            rounds,
            side_datasets: side_datasets.into_iter().map(side_to_wire).collect(),
        }))
    }

    async fn report_outcomes(
        &self,
        request: Request<v1::ReportOutcomesRequest>,
    ) -> Result<Response<v1::ReportOutcomesResponse>, Status> {
        let leader = self.leader_for_worker()?;
        let request = request.into_inner();
        let worker = worker_of(request.worker)?;
        let mut reports = Vec::with_capacity(request.reports.len());
        let mut verdicts = Vec::with_capacity(request.reports.len());
        for report in request.reports {
            match read_report(worker, report) {
                Ok(report) => reports.push(report),
                Err(refused) => verdicts.push(refused),
            }
        }
        let judged = leader
            .report(worker, reports)
            .await
            .map_err(|error| self.status(error))?;
        verdicts.extend(judged.into_iter().map(|verdict| v1::Verdict {
            attempt: Some(verdict.attempt.into()),
            accepted: verdict.accepted,
        }));
        Ok(Response::new(v1::ReportOutcomesResponse { verdicts }))
    }

    async fn append_plan(
        &self,
        request: Request<v1::AppendPlanRequest>,
    ) -> Result<Response<v1::AppendPlanResponse>, Status> {
        let leader = self.leader_for_worker()?;
        let request = request.into_inner();
        let worker = worker_of(request.worker)?;
        let attempt = required(request.attempt, "attempt")?.try_into()?;
        let seal = request.seal.map(report_from_wire).transpose()?;
        let seal = seal.filter(|(of, _)| *of == attempt);
        let command = Command::AppendPlan {
            attempt,
            worker,
            chunk: request.chunk,
            content: chunk_from_wire(request.files, request.splits)?,
        };
        leader
            .append_plan((attempt, worker), command, seal.map(|(_, outcome)| outcome))
            .await
            .map_err(|error| self.status(error))?;
        Ok(Response::new(v1::AppendPlanResponse {}))
    }

    async fn watch_segments(
        &self,
        request: Request<v1::WatchSegmentsRequest>,
    ) -> Result<Response<Locations>, Status> {
        let leader = self.leader_for_worker()?;
        let request = request.into_inner();
        let worker = worker_of(request.worker)?;
        let reducer = required(request.reducer, "reducer")?.try_into()?;
        let updates = leader
            .watch_segments(worker, reducer)
            .map_err(|error| self.status(error))?;
        let services = self.clone();
        let stream = ReceiverStream::new(updates).map(move |update| match update {
            Ok(update) => Ok(locations_to_wire(update)),
            Err(error) => Err(services.status(error)),
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn report_fetch_failure(
        &self,
        request: Request<v1::ReportFetchFailureRequest>,
    ) -> Result<Response<v1::ReportFetchFailureResponse>, Status> {
        let leader = self.leader_for_worker()?;
        let request = request.into_inner();
        let worker = worker_of(request.worker)?;
        leader.hear(worker).map_err(|error| self.status(error))?;
        let command = Command::ReportFetchFailure {
            worker,
            failure: FetchFailure::try_from(request)?,
        };
        leader
            .propose_one(command)
            .await
            .map_err(|error| self.status(error))?;
        Ok(Response::new(v1::ReportFetchFailureResponse {}))
    }
}

/// Each report is judged alone: refused, a call would be repeated for ever, and
/// with it every good report in it. One that cannot be read is a failure of its
/// attempt; one of nothing is answered as it came, so that it comes no more.
fn read_report(
    worker: WorkerEpoch,
    report: v1::Report,
) -> Result<(AttemptId, Outcome), v1::Verdict> {
    let named = report.attempt;
    let error = match report_from_wire(report) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    tracing::error!(
        worker_id = %worker.worker,
        attempt = ?named,
        error = %error,
        "report cannot be read"
    );
    let attempt = named.and_then(|named| AttemptId::try_from(named).ok());
    let attempt = attempt.ok_or(v1::Verdict {
        attempt: named,
        accepted: false,
    })?;
    let failure = AttemptFailure {
        log: None,
        cause: FailureCause::Internal {
            detail: format!("the report of its outcome cannot be read: {error}"),
        },
        input: None,
        output_tail: String::new(),
    };
    Ok((attempt, Outcome::Failed(failure)))
}

pub(super) fn worker_of(worker: Option<v1::WorkerEpoch>) -> Result<WorkerEpoch, WireError> {
    Ok(required(worker, "worker")?.into())
}

fn attempts(attempts: Vec<v1::AttemptId>) -> Result<Vec<AttemptId>, WireError> {
    attempts.into_iter().map(TryInto::try_into).collect()
}

fn to_wire(attempts: Vec<AttemptId>) -> Vec<v1::AttemptId> {
    attempts.into_iter().map(Into::into).collect()
}

fn side_to_wire((job, datasets): (JobId, Vec<Option<DatasetId>>)) -> (u64, v1::SideDatasets) {
    let number = |dataset: Option<DatasetId>| dataset.map_or(0, |dataset| dataset.0);
    let datasets = datasets.into_iter().map(number).collect();
    (job.0, v1::SideDatasets { datasets })
}

fn locations_to_wire(update: SegmentsUpdate) -> v1::WatchSegmentsResponse {
    v1::WatchSegmentsResponse {
        located: update.located.into_iter().map(Into::into).collect(),
        addresses: update
            .addresses
            .into_iter()
            .map(|(worker, address)| v1::WorkerAddress {
                worker: worker.worker.0,
                epoch: worker.epoch.0,
                address,
            })
            .collect(),
        lost: update
            .lost
            .into_iter()
            .map(|(map, attempt)| v1::LostSegment {
                map,
                attempt: u32::from(attempt),
            })
            .collect(),
        maps: update.maps,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
