//! Fetches a block from another worker and keeps it.

use tonic::{Code, Status};
use vivat_proto::error::{required, status};
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::dataset::{BlockSummary, Holder};
use vivat_store::StoreError;

use super::BlockServer;
use crate::blocks::error::{FetchError, keep_status, store_status};
use crate::blocks::fetch::Fetch;
use crate::blocks::pipeline::{Order, Pipeline};

impl BlockServer {
    /// Dropped before its end it leaves nothing behind.
    pub(super) async fn copy(&self, request: v1::CopyBlockRequest) -> Result<(), Status> {
        let identity = self.check(request.worker, &request.cluster_id)?;
        let block: BlockSummary = required(request.block, "block")?.try_into()?;
        let from: Holder = required(request.from, "from")?.into();
        let _turn = self.copies.turn().await?;
        if let Some(here) = self.blocks.store().summary(block.id) {
            return same(here, block);
        }
        let refused = |error| refusal(&from, &error);
        let whole = 0..block.bytes;
        let fetch = Fetch::open(&self.blocks, identity.cluster, &from, block, whole).await;
        let mut fetch = fetch.map_err(refused)?;
        let order = Order {
            block: block.id,
            bytes_max: block.bytes,
            next: Vec::new(),
            identity,
        };
        let mut pipeline = Pipeline::start(&self.blocks, order);
        let mut is_taken = true;
        while is_taken && let Some(piece) = fetch.next().await.map_err(refused)? {
            is_taken = pipeline.push(piece).await;
        }
        let end = if is_taken {
            pipeline.finish(block.bytes, block.crc32c).await
        } else {
            pipeline.end().await
        };
        match end.own {
            None => Ok(()),
            Some(error) => Err(keep_status(&error)),
        }
    }
}

fn same(here: BlockSummary, wanted: BlockSummary) -> Result<(), Status> {
    if here == wanted {
        return Ok(());
    }
    Err(store_status(&StoreError::Conflict {
        block: here.id,
        bytes: here.bytes,
        crc32c: here.crc32c,
    }))
}

/// Who is asked to copy has room and is well: the one to be copied from is not.
fn refusal(from: &Holder, error: &FetchError) -> Status {
    let message = format!("cannot copy from {}: {error}", from.worker);
    match error {
        FetchError::Gone => status(Code::NotFound, message, Kind::BlockGone(v1::BlockGone {})),
        FetchError::Damaged => {
            let damaged = Kind::BlockDamaged(v1::BlockDamaged {});
            status(Code::DataLoss, message, damaged)
        }
        FetchError::Busy => Status::resource_exhausted(message),
        FetchError::OtherWorker { .. }
        | FetchError::Unreachable { .. }
        | FetchError::Nonsense { .. }
        | FetchError::Disk(_)
        | FetchError::Panicked => Status::aborted(message),
    }
}
