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
use tonic::{Code, Request, Response, Status};
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

/// How long one waits for a stream; well below the silence after which the
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

/// What a stream is asked for, in our own types.
#[derive(Debug)]
struct Order {
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
        request: Request<v1::FetchSegmentsRequest>,
    ) -> Result<Response<Self::FetchSegmentsStream>, Status> {
        let order = order(request.into_inner())?;
        let turn = self.streams.clone().acquire_owned();
        let served = match tokio::time::timeout(TURN_WAIT, turn).await {
            Ok(served) => served.map_err(|_| Status::unavailable("this worker is stopping"))?,
            Err(_elapsed) => return Err(Status::resource_exhausted("all streams are taken")),
        };
        let dir = self.dir.clone();
        if dir.threads() == Threads::Callers {
            return Ok(Response::new(serve_at_once(&dir, &order)));
        }
        let (answers, stream) = mpsc::channel(READ_AHEAD);
        tokio::task::spawn_blocking(move || {
            let mut send = |answer| answers.blocking_send(answer).is_ok();
            if let Err(refusal) = serve(&dir, &order, &mut send) {
                // A reader that is gone does not hear it.
                let _gone = send(Err(*refusal));
            }
            drop(served);
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

fn order(request: v1::FetchSegmentsRequest) -> Result<Order, Status> {
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
        partition: request.partition,
        maps,
        offset: request.offset,
    })
}

/// Reads all of the order before any of it is sent: who has one thread cannot
/// wait for a slow reader.
fn serve_at_once(dir: &WorkerDir, order: &Order) -> ReceiverStream<Answer> {
    let mut all = Vec::new();
    let read = serve(dir, order, &mut |answer| {
        all.push(answer);
        true
    });
    all.extend(read.err().map(|refusal| Err(*refusal)));
    let (answers, stream) = mpsc::channel(all.len().max(1));
    for answer in all {
        // There is room for all of them, and the reader is below.
        let _sent = answers.try_send(answer);
    }
    ReceiverStream::new(stream)
}

/// Streams the order. An error ends the stream, for all segments that follow.
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
