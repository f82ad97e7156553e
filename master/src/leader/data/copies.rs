//! Copies of blocks that have fewer holders than wanted.
//!
//! The target fetches the block from a holder, checks it and makes it last; then
//! the directory learns of it. What goes wrong is found again at the next look.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Endpoint;
use vivat_core::command::DataCommand;
use vivat_core::placement::{self, CopyOrder};
use vivat_ground::Transport;
use vivat_proto::v1;
use vivat_proto::v1::block_service_client::BlockServiceClient;
use vivat_shared::dataset::Holder;
use vivat_shared::limits::MESSAGE_BYTES_MAX;

use super::super::Leader;
use super::holder;

/// Copies under way at once: they share the workers' disks and network with jobs.
const COPIES_MAX: usize = 8;
/// Of these, to one worker.
const COPIES_TO_ONE_MAX: usize = 2;
/// To reach the worker that is to copy.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// For one block, 64 MiB at 1 MiB a second.
const COPY_DEADLINE: Duration = Duration::from_secs(60);
/// After a copy that failed, before the blocks are looked at again.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a copy was not made; for the log alone.
type CopyError = Box<dyn std::error::Error + Send + Sync>;

impl Leader {
    /// Begins what copies there is room for.
    pub(super) fn make_copies(self: &Arc<Self>) {
        let mut seen = self.data.seen();
        if !std::mem::take(&mut seen.dirty) {
            return;
        }
        let room = COPIES_MAX.saturating_sub(seen.copying.len());
        if room == 0 {
            // The end of a copy looks again.
            seen.dirty = true;
            return;
        }
        let view = seen.view();
        let bounds = placement::CopyBounds {
            orders_max: room,
            to_one_max: COPIES_TO_ONE_MAX,
        };
        let orders = self
            .raft
            .read(|state| placement::replication(state, &view, &seen.copying, bounds));
        for order in orders {
            seen.copying.insert(order.block.id, order.to);
            let leader = Arc::clone(self);
            self.tasks.spawn(async move {
                tokio::select! {
                    () = leader.closed.cancelled() => {}
                    () = leader.copy(order) => {}
                }
                let mut seen = leader.data.seen();
                seen.copying.remove(&order.block.id);
                seen.dirty = true;
                drop(seen);
                leader.data.wake.notify_one();
            });
        }
    }

    async fn copy(&self, order: CopyOrder) {
        let CopyOrder { block, from, to } = order;
        let ends = self.raft.read(|state| {
            let epoch = state.current_epoch(to)?;
            Some((holder(state, from)?, holder(state, to)?, epoch))
        });
        let Some((from, to, epoch)) = ends else {
            return;
        };
        let worker = vivat_shared::ids::WorkerEpoch {
            worker: to.worker,
            epoch,
        };
        let request = v1::CopyBlockRequest {
            block: Some(block.into()),
            worker: to.worker.0,
            cluster_id: self
                .raft
                .read(|state| state.cluster())
                .map_or_else(String::new, |cluster| cluster.to_string()),
            from: Some(from.clone().into()),
        };
        let asked = ask(&self.raft.ground().transport, &to, request);
        let answered = match tokio::time::timeout(COPY_DEADLINE, asked).await {
            Ok(answered) => answered,
            Err(elapsed) => Err(elapsed.into()),
        };
        if let Err(error) = answered {
            tracing::warn!(
                block = %block.id,
                from = %from.worker,
                to = %to.worker,
                error = %error,
                "a copy was not made"
            );
            tokio::time::sleep(PAUSE).await;
            return;
        }
        tracing::info!(block = %block.id, from = %from.worker, to = %to.worker, "copied");
        self.data.note_recorded(block.id.dataset);
        let command = DataCommand::AddReplicas {
            worker,
            blocks: vec![block],
        };
        if let Err(error) = self.propose_one(command.into()).await {
            // The target reports it, sooner or later.
            tracing::debug!(block = %block.id, error = %error, "copy not recorded");
        }
    }
}

async fn ask(
    transport: &Transport,
    to: &Holder,
    request: v1::CopyBlockRequest,
) -> Result<(), CopyError> {
    let endpoint = Endpoint::from_shared(format!("http://{}", to.address))?
        .connect_timeout(CONNECT_DEADLINE)
        .tcp_nodelay(true);
    let mut client = BlockServiceClient::new(transport.channel(&endpoint))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    client.copy_block(request).await?;
    Ok(())
}
