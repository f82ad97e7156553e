//! One batch of segments from one holder: a stream, taken up again at the byte
//! where it broke for as long as each try brings some.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use vivat_engine::disk::keep_reserve_in;
use vivat_engine::segment::FileRange;
use vivat_engine::{SegmentError, SegmentReader};
use vivat_ground::Threads;
use vivat_proto::error::detail_of;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::segment_service_client::SegmentServiceClient;
use vivat_shared::ids::{RoundId, WorkerEpoch};
use vivat_shared::limits::MESSAGE_BYTES_MAX;

use super::fetched::Piece;
use super::gather::{Failure, MapOutput};
use super::memory::Share;
use crate::session::blocking;

/// A holder that says nothing for so long is not answering.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A segment of at most so many bytes is checked where it arrives: that takes
/// less than handing it to another thread.
const CHECKED_INLINE_BYTES_MAX: usize = 64 * 1024;

/// What came out of a batch, one message each, in order.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Whole and proved.
    Got(MapOutput, Piece),
    /// Not what was written.
    Bad(MapOutput),
    /// Did not come.
    Failed(MapOutput, Failure),
    /// Its turn did not come.
    NotAsked(MapOutput),
    /// The worker's own disk failed: the reduce cannot go on here.
    Storage(std::io::Error),
}

/// Where fetched bytes go.
#[derive(Debug, Clone)]
pub(super) struct Landing {
    /// A directory of the attempt's own, made when first needed.
    pub(super) scratch: PathBuf,
    /// The reduce's share of memory; what does not fit goes to files.
    pub(super) memory: Arc<Share>,
}

/// A batch to be fetched.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) holder: WorkerEpoch,
    pub(super) round: RoundId,
    pub(super) partition: u32,
    pub(super) outputs: Vec<MapOutput>,
    pub(super) landing: Landing,
    pub(super) arrivals: mpsc::Sender<(WorkerEpoch, Arrival)>,
}

/// A segment on its way in.
struct Incoming {
    expected_bytes: u64,
    got_bytes: u64,
    place: Place,
}

enum Place {
    Memory(Vec<u8>),
    File { path: PathBuf, file: File },
}

/// Why a stream ended before the batch did.
enum Break {
    Storage(std::io::Error),
    Status(Box<Status>),
    /// More bytes, or others, than were announced.
    Nonsense,
    /// Nobody wants the arrivals any more.
    Unwanted,
}

impl From<Status> for Break {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Position in a batch, and the segment that is arriving there.
struct Progress {
    position: usize,
    incoming: Option<Incoming>,
    /// Bytes and segments so far: whether a try brought anything.
    brought: u64,
}

impl Flight {
    /// Fetches the batch; every output of it ends in one arrival, unless the
    /// worker's own disk fails. False when the holder could not be reached.
    pub(super) async fn fly(self, channel: Channel) -> bool {
        let mut progress = Progress {
            position: 0,
            incoming: None,
            brought: 0,
        };
        loop {
            let before = progress.brought;
            let Err(broken) = self.stream(&channel, &mut progress).await else {
                return true;
            };
            let failure = match broken {
                Break::Unwanted => return true,
                Break::Storage(error) => {
                    self.arrive(Arrival::Storage(error)).await;
                    return true;
                }
                Break::Status(status) => match failure_of(&status) {
                    Failure::Unreachable | Failure::Busy if progress.brought > before => continue,
                    failure => failure,
                },
                Break::Nonsense => Failure::Unreachable,
            };
            if let Some(incoming) = progress.incoming.take() {
                self.landing.give_up(&incoming);
            }
            self.fail_from(progress.position, failure).await;
            return failure != Failure::Unreachable;
        }
    }

    /// Ends the batch without having asked.
    pub(super) async fn fail(self, failure: Failure) {
        self.fail_from(0, failure).await;
    }

    async fn fail_from(&self, position: usize, failure: Failure) {
        let mut rest = self.outputs.iter().skip(position).copied();
        if let Some(output) = rest.next() {
            self.arrive(Arrival::Failed(output, failure)).await;
        }
        for output in rest {
            self.arrive(Arrival::NotAsked(output)).await;
        }
    }

    async fn arrive(&self, arrival: Arrival) {
        // A receiver that is gone has been stopped: nothing is owed to it.
        let _gone = self.arrivals.send((self.holder, arrival)).await;
    }

    async fn stream(&self, channel: &Channel, progress: &mut Progress) -> Result<(), Break> {
        let offset = progress
            .incoming
            .as_ref()
            .map_or(0, |incoming| incoming.got_bytes);
        let first = progress.position;
        let request = v1::FetchSegmentsRequest {
            job: self.round.job.0,
            step: u32::from(self.round.step),
            round: self.round.round,
            partition: self.partition,
            maps: self.outputs[first..]
                .iter()
                .map(|output| v1::FetchedMap {
                    map: output.map,
                    attempt: u32::from(output.attempt),
                })
                .collect(),
            offset,
        };
        let mut client =
            SegmentServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answer = within(client.fetch_segments(Request::new(request))).await?;
        let mut stream = answer.into_inner();
        while progress.position < self.outputs.len() {
            let message = within(stream.message()).await?;
            let Some(message) = message else {
                return Err(Status::unavailable("the stream ended early").into());
            };
            self.take(message, first, progress).await?;
        }
        Ok(())
    }

    async fn take(
        &self,
        message: v1::FetchSegmentsResponse,
        first: usize,
        progress: &mut Progress,
    ) -> Result<(), Break> {
        if first + message.position as usize != progress.position {
            return Err(Break::Nonsense);
        }
        if progress.incoming.is_none() {
            let Some(expected_bytes) = message.segment_bytes else {
                return Err(Break::Nonsense);
            };
            let output = self.outputs[progress.position];
            let incoming = self.landing.begin(output, expected_bytes).await;
            progress.incoming = Some(incoming.map_err(Break::Storage)?);
        }
        let Some(incoming) = &mut progress.incoming else {
            return Err(Break::Nonsense);
        };
        if message
            .segment_bytes
            .is_some_and(|bytes| bytes != incoming.expected_bytes)
        {
            return Err(Break::Nonsense);
        }
        incoming.add(&message.data).await?;
        progress.brought += 1 + message.data.len() as u64;
        if incoming.got_bytes < incoming.expected_bytes {
            return Ok(());
        }
        let output = self.outputs[progress.position];
        progress.position += 1;
        let Some(whole) = progress.incoming.take() else {
            return Err(Break::Nonsense);
        };
        let piece = whole.finish().await.map_err(Break::Storage)?;
        let arrival = if self.is_proved(&piece).await {
            Arrival::Got(output, piece)
        } else {
            tracing::warn!(
                map = output.map,
                attempt = output.attempt,
                "segment came damaged"
            );
            self.landing.give_back(&piece);
            Arrival::Bad(output)
        };
        let arrival = (self.holder, arrival);
        self.arrivals
            .send(arrival)
            .await
            .map_err(|_| Break::Unwanted)
    }

    async fn is_proved(&self, piece: &Piece) -> bool {
        let partition = self.partition;
        if let Piece::Memory(data) = piece
            && data.len() <= CHECKED_INLINE_BYTES_MAX
        {
            return check(piece, partition).is_ok();
        }
        let piece = piece.clone();
        blocking(Threads::Own, move || check(&piece, partition).is_ok())
            .await
            .unwrap_or(false)
    }
}

/// Reads a whole run and proves its stored bytes; the reduce unpacks them.
pub(super) fn check(piece: &Piece, partition: u32) -> Result<(), SegmentError> {
    match piece {
        // The location said that there is something.
        Piece::Empty => check_run(std::io::empty(), partition),
        Piece::Memory(data) => check_run(&data[..], partition),
        Piece::Local {
            path,
            offset,
            bytes,
        } => check_file(path, *offset, *bytes, partition),
        Piece::Scratch { path, bytes } => check_file(path, 0, *bytes, partition),
    }
}

fn check_file(path: &Path, offset: u64, bytes: u64, partition: u32) -> Result<(), SegmentError> {
    let range =
        FileRange::open(path, offset, bytes).map_err(|source| SegmentError::Io { source })?;
    check_run(std::io::BufReader::new(range), partition)
}

fn check_run(run: impl std::io::Read, partition: u32) -> Result<(), SegmentError> {
    SegmentReader::of_partition(run, partition).prove()
}

impl Landing {
    async fn begin(&self, output: MapOutput, expected_bytes: u64) -> std::io::Result<Incoming> {
        let place = if self.memory.take(expected_bytes) {
            Place::Memory(Vec::new())
        } else {
            tokio::fs::create_dir_all(&self.scratch).await?;
            keep_reserve_in(&self.scratch, expected_bytes)?;
            let name = format!("map-{}.{}", output.map, output.attempt);
            let path = self.scratch.join(name);
            let file = File::create(&path).await?;
            Place::File { path, file }
        };
        Ok(Incoming {
            expected_bytes,
            got_bytes: 0,
            place,
        })
    }

    /// The memory of a segment that is thrown away.
    fn give_back(&self, piece: &Piece) {
        if let Piece::Memory(data) = piece {
            self.memory.give_back(data.len() as u64);
        }
    }

    /// The same for one that did not come whole.
    fn give_up(&self, incoming: &Incoming) {
        if let Place::Memory(_) = incoming.place {
            self.memory.give_back(incoming.expected_bytes);
        }
    }
}

impl Incoming {
    async fn add(&mut self, data: &[u8]) -> Result<(), Break> {
        self.got_bytes += data.len() as u64;
        if self.got_bytes > self.expected_bytes {
            return Err(Break::Nonsense);
        }
        match &mut self.place {
            Place::Memory(bytes) => bytes.extend_from_slice(data),
            Place::File { file, .. } => file.write_all(data).await.map_err(Break::Storage)?,
        }
        Ok(())
    }

    async fn finish(self) -> std::io::Result<Piece> {
        Ok(match self.place {
            Place::Memory(bytes) => Piece::Memory(bytes.into()),
            Place::File { path, mut file } => {
                file.flush().await?;
                Piece::Scratch {
                    path,
                    bytes: self.expected_bytes,
                }
            }
        })
    }
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(SILENCE_MAX, call).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Status::deadline_exceeded("the holder is silent")),
    }
}

fn failure_of(status: &Status) -> Failure {
    if status.code() == Code::ResourceExhausted {
        return Failure::Busy;
    }
    match detail_of(status) {
        Some(Kind::SegmentGone(_) | Kind::SegmentDamaged(_)) => Failure::Gone,
        Some(_) | None => Failure::Unreachable,
    }
}

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
