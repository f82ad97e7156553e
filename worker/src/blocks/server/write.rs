//! Takes a block in and passes it on.

use std::time::Duration;

use tonic::{Status, Streaming};
use vivat_proto::error::required;
use vivat_proto::v1;
use vivat_proto::v1::write_block_request::Part;
use vivat_shared::dataset::Holder;
use vivat_shared::ids::WorkerId;
use vivat_shared::limits::REPLICAS_MAX;

use super::{BlockServer, WRITE_SORTS};
use crate::blocks::error::{failed_hops, keep_status};
use crate::blocks::pipeline::{End, Order, Pipeline};

/// A sender that says nothing for so long is gone. Longer than its own other
/// sinks may keep it.
const SILENCE_MAX: Duration = Duration::from_secs(30);

impl BlockServer {
    /// However this ends without an answer (the sender is gone, or silent, or
    /// sends nonsense), the pipeline is dropped, and nothing is left of the block.
    pub(super) async fn write(
        &self,
        mut parts: Streaming<v1::WriteBlockRequest>,
    ) -> Result<v1::WriteBlockResponse, Status> {
        let Some(Part::Begin(begin)) = next(&mut parts).await? else {
            return Err(Status::invalid_argument("a block begins with `begin`"));
        };
        let order = self.order(begin)?;
        let sort = order.next.len().min(WRITE_SORTS - 1);
        let _turn = self.writes[sort].turn().await?;
        let mut pipeline = Pipeline::start(&self.blocks, order);
        loop {
            match next(&mut parts).await? {
                Some(Part::Data(data)) => {
                    if !pipeline.push(data).await {
                        return answer(pipeline.end().await);
                    }
                }
                Some(Part::Finish(finish)) => {
                    let end = pipeline.finish(finish.bytes, finish.crc32c).await;
                    return answer(end);
                }
                Some(Part::Begin(_)) => {
                    return Err(Status::invalid_argument("a block begins once"));
                }
                None => return Err(Status::cancelled("the block was broken off")),
            }
        }
    }

    fn order(&self, begin: v1::BeginBlock) -> Result<Order, Status> {
        let identity = self.check(begin.worker, &begin.cluster_id)?;
        let next: Vec<Holder> = begin.next.into_iter().map(Into::into).collect();
        let mut named: Vec<WorkerId> = next.iter().map(|hop| hop.worker).collect();
        named.push(identity.worker);
        named.sort_unstable();
        if named.len() > usize::from(REPLICAS_MAX) || named.windows(2).any(|two| two[0] == two[1]) {
            let problem = format!("a pipeline has at most {REPLICAS_MAX} hops, each once");
            return Err(Status::invalid_argument(problem));
        }
        Ok(Order {
            block: required(begin.block, "block")?.into(),
            bytes_max: begin.bytes_max,
            next,
            identity,
        })
    }
}

async fn next(parts: &mut Streaming<v1::WriteBlockRequest>) -> Result<Option<Part>, Status> {
    let message = match tokio::time::timeout(SILENCE_MAX, parts.message()).await {
        Ok(message) => message?,
        Err(_elapsed) => return Err(Status::deadline_exceeded("the sender is silent")),
    };
    let Some(message) = message else {
        return Ok(None);
    };
    Ok(Some(required(message.part, "part")?))
}

fn answer(end: End) -> Result<v1::WriteBlockResponse, Status> {
    if let (Some(error), true) = (&end.own, end.workers.is_empty()) {
        let own = keep_status(error);
        let (code, details) = (own.code(), own.details().to_vec());
        let message = failed_hops(&end.failed);
        return Err(Status::with_details(code, message, details.into()));
    }
    let failed = end.failed.into_iter();
    Ok(v1::WriteBlockResponse {
        workers: end.workers.into_iter().map(|worker| worker.0).collect(),
        failed: failed
            .map(|hop| v1::FailedHop {
                worker: hop.worker.0,
                problem: hop.problem,
            })
            .collect(),
    })
}
