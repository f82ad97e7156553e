//! What is on the disk, and whether it is what it should be.

use tonic::Status;
use vivat_proto::v1;
use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::BlockId;
use vivat_shared::limits::BLOCKS_LISTED_MAX;
use vivat_store::{Store, StoreError};

use super::BlockServer;
use super::read::refusal;

impl BlockServer {
    pub(super) fn list(
        &self,
        request: &v1::ListHeldBlocksRequest,
    ) -> Result<v1::ListHeldBlocksResponse, Status> {
        self.check(request.worker, &request.cluster_id)?;
        let limit = match request.limit {
            0 => BLOCKS_LISTED_MAX,
            limit => usize::try_from(limit)
                .map_or(BLOCKS_LISTED_MAX, |limit| limit.min(BLOCKS_LISTED_MAX)),
        };
        let after = request.after.map(Into::into);
        let mut blocks = self.blocks.store().list(after, limit + 1);
        let more = blocks.len() > limit;
        blocks.truncate(limit);
        Ok(v1::ListHeldBlocksResponse {
            blocks: blocks.into_iter().map(Into::into).collect(),
            more,
        })
    }

    /// One after the other: who asks bounds how long, and what he gave up on is
    /// not gone on with.
    pub(super) async fn verify(
        &self,
        request: v1::VerifyBlocksRequest,
    ) -> Result<v1::VerifyBlocksResponse, Status> {
        self.check(request.worker, &request.cluster_id)?;
        if request.blocks.len() > BLOCKS_LISTED_MAX {
            let problem = format!("at most {BLOCKS_LISTED_MAX} blocks at once");
            return Err(Status::invalid_argument(problem));
        }
        let _turn = self.verifications.turn().await?;
        let mut blocks = Vec::with_capacity(request.blocks.len());
        for block in request.blocks {
            let id: BlockId = block.into();
            let store = self.blocks.store().clone();
            let verified = self.blocks.threads().run(move || verify(&store, id)).await;
            let (summary, problem) = match verified {
                Ok(Ok(summary)) => (Some(summary.into()), String::new()),
                Ok(Err(error)) => {
                    let told = refusal(&self.blocks, id, &error);
                    (None, told.message().to_owned())
                }
                Err(_panicked) => return Err(Status::internal("verifying panicked")),
            };
            blocks.push(v1::VerifiedBlock {
                block: Some(block),
                summary,
                problem,
            });
        }
        Ok(v1::VerifyBlocksResponse { blocks })
    }
}

/// Reads all of it.
fn verify(store: &Store, id: BlockId) -> Result<BlockSummary, StoreError> {
    let reader = store.reader(id)?;
    let summary = reader.summary();
    for piece in reader.stream(0..summary.bytes)? {
        piece?;
    }
    Ok(summary)
}
