//! Yields leadership when workers reach other masters and not this one.
//!
//! A leader that its peers hear and its workers do not would stay leader for
//! ever, and expire one worker after the other. So when it has heard no worker
//! for half a lease although some are registered, it asks the others whether
//! workers came to them, and hands over to one who says so. When nobody saw a
//! worker the workers are gone, and it stays.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Endpoint;
use vivat_ground::Transport;
use vivat_proto::v1;
use vivat_proto::v1::cluster_service_client::ClusterServiceClient;
use vivat_shared::ids::Seat;
use vivat_shared::limits::MESSAGE_BYTES_MAX;

use super::Leader;

/// How often the silence is looked at.
const TICK: Duration = Duration::from_millis(500);
/// For another master's answer: it asks all masters in turn, with a deadline.
const ASK_DEADLINE: Duration = Duration::from_secs(1);

/// Watches until leadership closes.
pub(super) async fn run(leader: Arc<Leader>) {
    loop {
        tokio::select! {
            () = leader.closed.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let silence = leader.settings.lease / 2;
        if !leader.sessions().is_silent(Instant::now(), silence) {
            continue;
        }
        tokio::select! {
            () = leader.closed.cancelled() => return,
            () = leader.look_for_a_better_leader(silence) => {}
        }
    }
}

impl Leader {
    async fn look_for_a_better_leader(&self, silence: Duration) {
        let own = self.raft.status().seat;
        for member in self.raft.members() {
            let Some(address) = member.client_address.filter(|_| member.seat != own) else {
                continue;
            };
            if !saw_a_worker(&self.raft.ground().transport, &address, silence).await {
                continue;
            }
            tracing::warn!(
                term = self.term,
                seat = %member.seat,
                silence_ms = silence.as_millis(),
                "no worker reaches this leader, but they reach another master; handing over"
            );
            self.yield_to(member.seat).await;
            return;
        }
    }

    async fn yield_to(&self, seat: Seat) {
        if let Err(error) = self.raft.transfer_leader(Some(seat)).await {
            tracing::warn!(term = self.term, error = %error, "leadership not handed over");
        }
    }
}

/// Whether a worker came to that master lately.
async fn saw_a_worker(transport: &Transport, address: &str, lately: Duration) -> bool {
    let answer = tokio::time::timeout(ASK_DEADLINE, ask(transport, address)).await;
    match answer {
        Ok(Ok(status)) => status
            .worker_sent_on_ms
            .is_some_and(|ago_ms| Duration::from_millis(ago_ms) < lately),
        Ok(Err(error)) => {
            tracing::debug!(address, error = %error, "a master did not say who came to it");
            false
        }
        Err(_elapsed) => false,
    }
}

async fn ask(
    transport: &Transport,
    address: &str,
) -> Result<v1::GetClusterStatusResponse, Box<dyn std::error::Error + Send + Sync>> {
    let endpoint =
        Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(ASK_DEADLINE);
    let mut client = ClusterServiceClient::new(transport.channel(&endpoint))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let request = v1::GetClusterStatusRequest {};
    Ok(client.get_cluster_status(request).await?.into_inner())
}
