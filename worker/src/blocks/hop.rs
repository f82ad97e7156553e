//! The next worker of a pipeline, and through it all that follow.
//!
//! A hop that stalls must be given up by the one before it, and not the one
//! before that by its own predecessor: so patience grows with the number of hops
//! behind, and only the neighbour of what hangs runs out of it.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};
use vivat_proto::v1;
use vivat_proto::v1::block_service_client::BlockServiceClient;
use vivat_proto::v1::write_block_request::Part;
use vivat_shared::dataset::Holder;
use vivat_shared::ids::WorkerId;

use super::error::FailedHop;
use super::pipeline::{Order, Piece, Sink};
use super::{Blocks, MESSAGE_BYTES_MAX};

/// How long a hop with none behind it may take nothing. Longer than it waits for
/// its turn to write.
const STALL_PER_HOP: Duration = Duration::from_secs(8);
/// What an answer takes on its way, per hop.
const ANSWER_PER_HOP: Duration = Duration::from_secs(5);

/// Who has a block and who has not.
pub(super) type Answered = (Vec<WorkerId>, Vec<FailedHop>);

/// See the module.
#[derive(Debug)]
pub(super) struct Hop {
    /// It, and those behind it.
    hops: Vec<Holder>,
    sink: Sink<Result<v1::WriteBlockResponse, Status>>,
    /// Why it was given up.
    given_up: Option<&'static str>,
}

/// Begins to send a block on, if it goes anywhere.
pub(super) fn start(blocks: &Blocks, order: Order) -> Option<Hop> {
    let hops = order.next;
    let first = hops.first()?.clone();
    let begin = v1::BeginBlock {
        block: Some(order.block.into()),
        worker: first.worker.0,
        cluster_id: order.identity.cluster.to_string(),
        bytes_max: order.bytes_max,
        next: hops.iter().skip(1).cloned().map(Into::into).collect(),
    };
    let sending = blocks.clone();
    let sink = Sink::start(blocks.runtime(), |pieces| async move {
        send(&sending, &first.address, begin, pieces).await
    });
    Some(Hop {
        hops,
        sink,
        given_up: None,
    })
}

impl Hop {
    pub(super) fn is_open(&self) -> bool {
        self.sink.is_open()
    }

    pub(super) async fn push(&mut self, piece: Piece) {
        let patience = STALL_PER_HOP * self.depth();
        if !self.sink.push(piece, patience).await {
            self.given_up = Some("it took nothing for too long");
        }
    }

    /// What it says of itself and of those behind it.
    pub(super) async fn end(self, finish_max: Duration) -> Answered {
        let patience = finish_max + ANSWER_PER_HOP * self.depth();
        let Self {
            hops,
            sink,
            given_up,
        } = self;
        if let Some(problem) = given_up {
            return nobody(&hops, problem);
        }
        match sink.end(patience).await {
            Some(Ok(answer)) => sorted(&hops, answer),
            Some(Err(status)) => nobody(&hops, status.message()),
            None => nobody(&hops, "it did not answer in time"),
        }
    }

    fn depth(&self) -> u32 {
        u32::try_from(self.hops.len()).unwrap_or(u32::MAX)
    }
}

async fn send(
    blocks: &Blocks,
    address: &str,
    begin: v1::BeginBlock,
    pieces: mpsc::Receiver<Piece>,
) -> Result<v1::WriteBlockResponse, Status> {
    let Some(channel) = blocks.peers().get(address) else {
        return Err(Status::invalid_argument(format!(
            "`{address}` is no address"
        )));
    };
    let request = |part| v1::WriteBlockRequest { part: Some(part) };
    let parts = ReceiverStream::new(pieces).map(|piece| match piece {
        Piece::Data(data) => Part::Data(data),
        Piece::Finish { bytes, crc32c } => Part::Finish(v1::FinishBlock { bytes, crc32c }),
    });
    let parts = stream::iter([Part::Begin(begin)]).chain(parts);
    let mut client = BlockServiceClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
    match client.write_block(Request::new(parts.map(request))).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => {
            if std::error::Error::source(&status).is_some() {
                // Made on this side, from a connection that broke.
                blocks.peers().give_up(address);
            }
            Err(status)
        }
    }
}

/// Those behind one that failed were reached through it.
fn nobody(hops: &[Holder], problem: &str) -> Answered {
    let mut failed = Vec::with_capacity(hops.len());
    let mut before: Option<WorkerId> = None;
    for hop in hops {
        failed.push(FailedHop {
            worker: hop.worker,
            problem: match before {
                None => problem.to_owned(),
                Some(first) => format!("it was to have it from {first}, which failed"),
            },
        });
        before = before.or(Some(hop.worker));
    }
    (Vec::new(), failed)
}

/// Only what is said of those who were asked counts.
fn sorted(hops: &[Holder], answer: v1::WriteBlockResponse) -> Answered {
    let mut workers = Vec::new();
    let mut failed = Vec::new();
    for hop in hops {
        let worker = hop.worker;
        if answer.workers.contains(&worker.0) {
            workers.push(worker);
            continue;
        }
        let told = answer
            .failed
            .iter()
            .find(|failed| failed.worker == worker.0);
        failed.push(FailedHop {
            worker,
            problem: told.map_or_else(
                || "nothing was said of it".to_owned(),
                |failed| failed.problem.clone(),
            ),
        });
    }
    (workers, failed)
}
