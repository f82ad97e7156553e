//! Asks a worker whether it still has a map attempt's segments, whole.
//!
//! A worker that does not answer is unhealthy only after two tries, one second
//! apart: the first may have met a restart or a full accept queue.

use std::time::Duration;

use tonic::transport::Endpoint;
use vivat_ground::Transport;
use vivat_proto::v1;
use vivat_proto::v1::segment_service_client::SegmentServiceClient;
use vivat_shared::ids::{AttemptId, WorkerEpoch};
use vivat_shared::limits::MESSAGE_BYTES_MAX;

/// Of one try, connecting included.
const DEADLINE: Duration = Duration::from_secs(2);
/// Tries before silence counts as unhealthy.
const TRIES: u32 = 2;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// The segments are there and their checksums are right.
    Healthy,
    /// The holder answered that they are not.
    Damaged {
        /// Its words.
        problem: String,
    },
    /// It did not answer.
    Unreachable,
}

/// Probes a holder, with all tries.
pub(super) async fn segments(
    transport: &Transport,
    address: &str,
    holder: WorkerEpoch,
    map: AttemptId,
) -> Finding {
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match tokio::time::timeout(DEADLINE, ask(transport, address, holder, map)).await {
            Ok(Ok(v1::ProbeSegmentsResponse { healthy: true, .. })) => return Finding::Healthy,
            Ok(Ok(v1::ProbeSegmentsResponse { problem, .. })) => {
                return Finding::Damaged { problem };
            }
            Ok(Err(error)) => {
                tracing::debug!(worker_id = %holder.worker, error = %error, "probe failed");
            }
            Err(_elapsed) => {
                tracing::debug!(worker_id = %holder.worker, "probe not answered");
            }
        }
    }
    Finding::Unreachable
}

async fn ask(
    transport: &Transport,
    address: &str,
    holder: WorkerEpoch,
    map: AttemptId,
) -> Result<v1::ProbeSegmentsResponse, Box<dyn std::error::Error + Send + Sync>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(DEADLINE)
        .tcp_nodelay(true);
    let mut client = SegmentServiceClient::new(transport.channel(&endpoint))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let request = v1::ProbeSegmentsRequest {
        holder: Some(holder.into()),
        map: Some(map.into()),
    };
    Ok(client.probe_segments(request).await?.into_inner())
}
