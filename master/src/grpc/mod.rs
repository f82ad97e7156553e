//! The gRPC edge of a master: jobs, data, cluster and workers on one listener.
//!
//! Messages become domain types here and nowhere deeper, and errors become
//! codes and typed details. Nothing is decided at this edge: a service asks the
//! gate for the leader, hands it the request and translates the answer.

mod cluster;
mod data;
mod jobs;
mod status;
mod values;
mod workers;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Server;
use tonic_health::server::{HealthReporter, health_reporter};
use vivat_ground::Listener;
use vivat_proto::FILE_DESCRIPTOR_SET;
use vivat_proto::v1::cluster_service_server::ClusterServiceServer;
use vivat_proto::v1::data_service_server::DataServiceServer;
use vivat_proto::v1::job_service_server::JobServiceServer;
use vivat_proto::v1::value_service_server::ValueServiceServer;
use vivat_proto::v1::worker_service_server::WorkerServiceServer;
use vivat_shared::ids::{ClusterId, Seat};
use vivat_shared::limits::MESSAGE_BYTES_MAX;

use crate::http::metrics::Metrics;
use crate::leader::{Gate, Leader, LeaderError};
use crate::raft::Handle;

/// Requests of one connection that are served at once; more wait in its flow
/// control. A worker has one pull, one report and its streams.
const REQUESTS_PER_CONNECTION_MAX: usize = 1_024;
/// HTTP/2 streams of one connection, waiting ones included.
const STREAMS_PER_CONNECTION_MAX: u32 = 4_096;
/// How often health is looked at between openings and closings.
const HEALTH_LOOK: Duration = Duration::from_secs(1);
/// A peer that vanished without a word is noticed within twice this.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// What every service needs; cheap to clone.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) raft: Handle,
    pub(crate) gate: Gate,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) cluster: ClusterId,
    pub(crate) seat: Seat,
    pub(crate) sent_on: Arc<SentOn>,
}

/// When a worker last came to this master and had to be sent on.
///
/// A leader that hears no worker asks the others for this: workers that come to
/// them and not to it cannot reach it.
#[derive(Debug, Default)]
pub(crate) struct SentOn {
    at: Mutex<Option<Instant>>,
}

impl SentOn {
    fn note(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn ago_ms(&self) -> Option<u64> {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Services {
    /// The leader of this process, if its services are open.
    fn leader(&self) -> Result<Arc<Leader>, Status> {
        self.gate.current().map_err(|error| self.status(error))
    }

    /// The same for a worker's call: those that come to the wrong place are
    /// counted.
    fn leader_for_worker(&self) -> Result<Arc<Leader>, Status> {
        self.leader().inspect_err(|_| {
            self.metrics.workers_sent_on.inc();
            self.sent_on.note();
        })
    }

    fn status(&self, error: LeaderError) -> Status {
        status::of(error, &self.raft)
    }
}

/// Serves until shutdown; then lets what is under way end.
///
/// # Errors
///
/// The listener's or the transport's.
pub(crate) async fn serve(
    services: Services,
    listener: Listener,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let incoming = listener.incoming().map_err(ServeError::Listener)?;
    let (reporter, health) = health_reporter();
    let reporting = tokio::spawn(report_health(reporter, services.gate.clone()));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(ServeError::Reflection)?;
    let jobs = JobServiceServer::new(services.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let cluster = ClusterServiceServer::new(services.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let data = DataServiceServer::new(services.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let values = ValueServiceServer::new(services.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let workers = WorkerServiceServer::new(services)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION_MAX)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .add_service(health)
        .add_service(reflection)
        .add_service(jobs)
        .add_service(cluster)
        .add_service(workers)
        .add_service(data)
        .add_service(values)
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled())
        .await;
    reporting.abort();
    served.map_err(ServeError::Transport)
}

/// Why the services stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The listener cannot be used.
    #[error("cannot use the listener of the services")]
    Listener(#[source] std::io::Error),
    /// The descriptors in the binary do not decode.
    #[error("cannot serve reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// Accepting failed.
    #[error("the services' transport failed")]
    Transport(#[source] tonic::transport::Error),
}

/// Health by service name: the process as such serves from its start, jobs and
/// workers only where leadership is open.
async fn report_health(reporter: HealthReporter, mut gate: Gate) {
    reporter
        .set_serving::<ClusterServiceServer<Services>>()
        .await;
    loop {
        if gate.is_open() {
            reporter.set_serving::<JobServiceServer<Services>>().await;
            reporter
                .set_serving::<WorkerServiceServer<Services>>()
                .await;
        } else {
            reporter
                .set_not_serving::<JobServiceServer<Services>>()
                .await;
            reporter
                .set_not_serving::<WorkerServiceServer<Services>>()
                .await;
        }
        // Also by time: an open gate is shut while the quorum's word is old.
        if let Ok(false) = tokio::time::timeout(HEALTH_LOOK, gate.changed()).await {
            return;
        }
    }
}
