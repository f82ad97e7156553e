//! The channel that follows the leader; used by the command line, by workers
//! and by tests.
//!
//! [`LeaderClient::call`] is the heart: it finds the leader among the masters
//! it knows, follows a hint once, gives up a dead channel, backs off with
//! jitter, and ends by the budget it was given. Everything that is called
//! through it is idempotent by a key, an epoch or an attempt, so a call whose
//! answer was lost is simply made again.
//!
//! This crate does not know what a job means: it carries messages and turns
//! them into the domain types at its edge.

mod backoff;
mod channels;
mod cluster;
pub mod data;
mod error;
pub mod host;
mod jobs;
mod leader;
mod leadership;
mod options;
mod watch;

pub use backoff::Backoff;
pub use cluster::{ClusterView, DrainView, MasterView, NodeView, NoopCommit};
pub use error::{ClientError, Refusal};
pub use jobs::{Explanation, Submitted};
pub use leader::LeaderClient;
pub use leadership::LeaderView;
pub use options::ClientOptions;
pub use watch::{JobChange, JobWatch};

use tonic::transport::Channel;
use vivat_proto::v1::cluster_service_client::ClusterServiceClient;
use vivat_proto::v1::job_service_client::JobServiceClient;
use vivat_proto::v1::worker_service_client::WorkerServiceClient;
use vivat_shared::limits::MESSAGE_BYTES_MAX;

/// The jobs' service over a channel, with the message limit both ways.
#[must_use]
pub fn job_service(channel: Channel) -> JobServiceClient<Channel> {
    JobServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The cluster's service over a channel, with the message limit both ways.
#[must_use]
pub fn cluster_service(channel: Channel) -> ClusterServiceClient<Channel> {
    ClusterServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The workers' service over a channel, with the message limit both ways.
#[must_use]
pub fn worker_service(channel: Channel) -> WorkerServiceClient<Channel> {
    WorkerServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}
