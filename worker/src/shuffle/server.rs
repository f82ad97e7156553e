//! Serves segments to other workers and answers the leader's probes.
//!
//! What is asked for are numbers; the paths are made here. Files are read on
//! blocking threads, a bounded number of them, which a slow reader holds up and
//! a vanished one sets free.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use vivat_engine::failpoint::point;
use vivat_engine::segment::{Damage, FileRange};
use vivat_engine::{SegmentError, SegmentFile, verify};
use vivat_ground::Threads;
use vivat_proto::error::{narrow, required, status};
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::segment_service_server::SegmentService;
use vivat_shared::ids::{AttemptId, JobId, RoundId, TaskId, TaskKind, WorkerEpoch};
use vivat_shared::limits::{FETCH_BATCH_MAX, SERVED_STREAMS_MAX, STREAM_CHUNK_BYTES};

use crate::dir::WorkerDir;
use crate::session::blocking;

/// How long an order waits for its turn; well below the silence after which the
/// other side would take this worker for dead.
const TURN_WAIT: Duration = Duration::from_secs(2);
/// Messages read ahead of a slow reader.
const READ_AHEAD: usize = 4;

/// The service.
#[derive(Debug)]
pub(crate) struct SegmentServer {
    dir: Arc<WorkerDir>,
    registered: watch::Receiver<Option<WorkerEpoch>>,
    streams: Arc<Semaphore>,
}

/// What is asked for at a time, in our own types.
#[derive(Debug)]
struct Order {
    number: u64,
    partition: u32,
    maps: Vec<AttemptId>,
    offset: u64,
}

type Answer = Result<v1::FetchSegmentsResponse, Status>;

impl SegmentServer {
    pub(crate) fn new(
        dir: Arc<WorkerDir>,
        registered: watch::Receiver<Option<WorkerEpoch>>,
    ) -> Self {
        Self {
            dir,
            registered,
            streams: Arc::new(Semaphore::new(SERVED_STREAMS_MAX)),
        }
    }

    /// One whose streams are all taken.
    #[cfg(test)]
    pub(super) fn busy(dir: Arc<WorkerDir>) -> Self {
        let (_registered, watched) = watch::channel(None);
        Self {
            streams: Arc::new(Semaphore::new(0)),
            ..Self::new(dir, watched)
        }
    }
}

#[tonic::async_trait]
impl SegmentService for SegmentServer {
    type FetchSegmentsStream = ReceiverStream<Answer>;

    async fn fetch_segments(
        &self,
        request: Request<Streaming<v1::FetchSegmentsRequest>>,
    ) -> Result<Response<Self::FetchSegmentsStream>, Status> {
        let mut orders = request.into_inner();
        let (answers, stream) = mpsc::channel(READ_AHEAD);
        let (dir, turns) = (self.dir.clone(), self.streams.clone());
        tokio::spawn(async move {
            let mut number = 0;
            // One who vanished orders nothing more.
            while let Ok(Some(request)) = orders.message().await {
                if let Err(refusal) = answer(&dir, &turns, (number, request), &answers).await {
                    // A reader that is gone does not hear it.
                    let _gone = answers.send(Err(refusal)).await;
                    break;
                }
                number += 1;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn probe_segments(
        &self,
        request: Request<v1::ProbeSegmentsRequest>,
    ) -> Result<Response<v1::ProbeSegmentsResponse>, Status> {
        let request = request.into_inner();
        let holder: WorkerEpoch = required(request.holder, "holder")?.into();
        let map: AttemptId = required(request.map, "map")?.try_into()?;
        let here = *self.registered.borrow();
        if here.is_some_and(|here| here.worker != holder.worker) {
            return Ok(Response::new(v1::ProbeSegmentsResponse {
                healthy: false,
                problem: format!("{} is not at this address", holder.worker),
            }));
        }
        let path = self.dir.segment_path(map);
        let problem = match blocking(self.dir.threads(), move || verify(&path)).await {
            Some(Ok(_)) => String::new(),
            Some(Err(error)) => error.to_string(),
            None => return Err(Status::internal("the probe panicked")),
        };
        Ok(Response::new(v1::ProbeSegmentsResponse {
            healthy: problem.is_empty(),
            problem,
        }))
    }
}

fn order((number, request): (u64, v1::FetchSegmentsRequest)) -> Result<Order, Status> {
    if request.maps.len() > FETCH_BATCH_MAX {
        let problem = format!("at most {FETCH_BATCH_MAX} segments at once");
        return Err(Status::invalid_argument(problem));
    }
    let round = RoundId {
        job: JobId(request.job),
        step: narrow(request.step, "step")?,
        round: request.round,
    };
    let mut maps = Vec::with_capacity(request.maps.len());
    for fetched in request.maps {
        maps.push(AttemptId {
            task: TaskId {
                round,
                kind: TaskKind::Map,
                index: fetched.map,
            },
            number: narrow(fetched.attempt, "attempt")?,
        });
    }
    Ok(Order {
        number,
        partition: request.partition,
        maps,
        offset: request.offset,
    })
}

/// Answers one order when it is its turn. A reader that is gone is no error.
async fn answer(
    dir: &Arc<WorkerDir>,
    turns: &Semaphore,
    request: (u64, v1::FetchSegmentsRequest),
    answers: &mpsc::Sender<Answer>,
) -> Result<(), Status> {
    let order = order(request)?;
    let _turn = match tokio::time::timeout(TURN_WAIT, turns.acquire()).await {
        Ok(turn) => turn.map_err(|_| Status::unavailable("this worker is stopping"))?,
        Err(_elapsed) => return Err(Status::resource_exhausted("all streams are taken")),
    };
    if dir.threads() == Threads::Callers {
        return answer_at_once(dir, &order, answers).await;
    }
    let (dir, answers) = (dir.clone(), answers.clone());
    let served = tokio::task::spawn_blocking(move || {
        let mut send = |answer| answers.blocking_send(answer).is_ok();
        serve(&dir, &order, &mut send)
    });
    match served.await {
        Ok(served) => served.map_err(|refusal| *refusal),
        Err(_panicked) => Err(Status::internal("reading segments panicked")),
    }
}

/// Reads all of the order before any of it is sent: who has one thread cannot read
/// while it waits for a slow reader.
async fn answer_at_once(
    dir: &WorkerDir,
    order: &Order,
    answers: &mpsc::Sender<Answer>,
) -> Result<(), Status> {
    let mut all = Vec::new();
    let read = serve(dir, order, &mut |answer| {
        all.push(answer);
        true
    });
    for answer in all {
        if answers.send(answer).await.is_err() {
            return Ok(());
        }
    }
    read.map_err(|refusal| *refusal)
}

/// Streams the order. An error ends the stream, for all that follows.
fn serve(
    dir: &WorkerDir,
    order: &Order,
    send: &mut dyn FnMut(Answer) -> bool,
) -> Result<(), Box<Status>> {
    point("segment-serve").map_err(|error| Status::internal(error.to_string()))?;
    let mut skip_bytes = order.offset;
    for (position, &map) in (0_u32..).zip(&order.maps) {
        let refuse = |error| refusal(map, &error);
        let path = dir.segment_path(map);
        let file = SegmentFile::open(&path).map_err(refuse)?;
        let (offset, segment_bytes) = file.partition_range(order.partition).unwrap_or((0, 0));
        let mut left_bytes = segment_bytes.saturating_sub(skip_bytes);
        let mut run = FileRange::open(&path, offset + skip_bytes, left_bytes)
            .map_err(|source| refuse(SegmentError::Io { source }))?;
        skip_bytes = 0;
        let mut announced = Some(segment_bytes);
        loop {
            let bytes = left_bytes.min(STREAM_CHUNK_BYTES as u64);
            left_bytes -= bytes;
            let data = read(&mut run, bytes).map_err(refuse)?;
            let answer = v1::FetchSegmentsResponse {
                position,
                segment_bytes: announced.take(),
                data,
                order: order.number,
            };
            if !send(Ok(answer)) {
                return Ok(());
            }
            if left_bytes == 0 {
                break;
            }
        }
    }
    Ok(())
}

fn read(run: &mut impl Read, bytes: u64) -> Result<Bytes, SegmentError> {
    let mut data = Vec::new();
    let got = run
        .take(bytes)
        .read_to_end(&mut data)
        .map_err(|source| SegmentError::Io { source })?;
    if (got as u64) < bytes {
        return Err(SegmentError::Damaged {
            offset: got as u64,
            damage: Damage::Truncated,
        });
    }
    Ok(data.into())
}

fn refusal(map: AttemptId, error: &SegmentError) -> Box<Status> {
    tracing::warn!(%map, error = %error, "cannot serve a segment");
    Box::new(match error {
        SegmentError::Io { source } if source.kind() == std::io::ErrorKind::NotFound => status(
            Code::NotFound,
            format!("{map} is not here"),
            Kind::SegmentGone(v1::SegmentGone {}),
        ),
        SegmentError::Io { source } => Status::internal(source.to_string()),
        SegmentError::Damaged { .. } | SegmentError::UnknownVersion { .. } => status(
            Code::DataLoss,
            format!("{map}: {error}"),
            Kind::SegmentDamaged(v1::SegmentDamaged {}),
        ),
    })
}
