//! A remote file as the engine reads it: a thread that waits, and a task that
//! reads ahead.
//!
//! The task streams one range. When the stream breaks it goes on where it broke,
//! until nothing has come for a number of tries. Every answer must be about the
//! version that the plan saw, so what the engine gets is of one version, even if
//! the object is replaced while it is read.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use vivat_client::Backoff;
use vivat_engine::{InputError, InputProblem, InputReader};

use super::error::RemoteError;
use super::object::{Found, Pieces, RemoteObject};
use super::waiting::Waiting;

/// Bytes that wait in memory for the engine.
const READ_AHEAD_BYTES: usize = 4 * 1024 * 1024;
/// Asked for when a record goes on behind what was expected.
const READ_ON_BYTES: u64 = 1024 * 1024;
/// Tries in a row without progress before the input is out of reach: with their
/// pauses about ten seconds, and twenty more for every call that hangs.
const TRIES_MAX: u32 = 8;
/// What counts as progress: a server that gives a byte a time is no help.
const PROGRESS_BYTES: u64 = 64 * 1024;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// An open remote file.
#[derive(Debug)]
pub(crate) struct RemoteFile {
    object: Arc<Versioned>,
    waiting: Waiting,
    expected: Range<u64>,
    flow: Option<Flow>,
}

/// An object that must be what the plan saw.
#[derive(Debug)]
struct Versioned {
    object: RemoteObject,
    planned: Found,
}

/// A range on its way.
#[derive(Debug)]
struct Flow {
    /// Of the first byte that was not handed out.
    position: u64,
    end: u64,
    pieces: mpsc::UnboundedReceiver<Result<Piece, InputError>>,
    rest: Bytes,
    task: JoinHandle<()>,
}

/// Bytes with their share of the memory for reading ahead.
type Piece = (Bytes, OwnedSemaphorePermit);

impl Drop for Flow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RemoteFile {
    pub(crate) fn new(object: RemoteObject, planned: Found, waiting: Waiting) -> Self {
        Self {
            expected: 0..planned.bytes,
            object: Arc::new(Versioned { object, planned }),
            waiting,
            flow: None,
        }
    }

    /// Begins to read at a place.
    fn begin(&self, offset: u64) -> Flow {
        let bytes = self.object.planned.bytes;
        let end = if self.expected.contains(&offset) {
            self.expected.end
        } else {
            offset.saturating_add(READ_ON_BYTES)
        };
        let end = end.min(bytes);
        let (tell, pieces) = mpsc::unbounded_channel();
        let (object, stopped) = (self.object.clone(), self.waiting.stopped.clone());
        let task = self.waiting.runtime.spawn(async move {
            tokio::select! {
                ended = stream(&object, offset..end, &tell) => if let Err(error) = ended {
                    // Nobody waits any more: then nobody wants to know.
                    let _unheard = tell.send(Err(error));
                },
                () = stopped.cancelled() => {
                    let _unheard = tell.send(Err(InputError::Stopped));
                }
            }
        });
        Flow {
            position: offset,
            end,
            pieces,
            rest: Bytes::new(),
            task,
        }
    }
}

impl InputReader for RemoteFile {
    fn length(&self) -> Option<u64> {
        Some(self.object.planned.bytes)
    }

    /// Every answer is compared when it comes.
    fn check(&mut self) -> Result<(), InputError> {
        Ok(())
    }

    fn expect(&mut self, range: Range<u64>) {
        self.expected = range;
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, InputError> {
        if Handle::try_current().is_ok() {
            // A thread that drives tasks can't wait for one.
            return Err(InputError::Io(std::io::ErrorKind::Unsupported.into()));
        }
        let goes_on = |flow: &Flow| flow.position == offset && offset < flow.end;
        let mut flow = match self.flow.take() {
            Some(flow) if goes_on(&flow) => flow,
            Some(_) | None => self.begin(offset),
        };
        let mut filled = 0;
        while filled < buffer.len() && flow.position < flow.end {
            if flow.rest.is_empty() {
                match flow.pieces.blocking_recv() {
                    Some(piece) => flow.rest = piece?.0,
                    None => return Err(InputError::Stopped),
                }
            }
            let taken = flow.rest.len().min(buffer.len() - filled);
            flow.rest.copy_to_slice(&mut buffer[filled..filled + taken]);
            filled += taken;
            flow.position += taken as u64;
        }
        self.flow = Some(flow);
        Ok(filled)
    }
}

/// Tells all bytes of a range, in order.
async fn stream(
    object: &Versioned,
    range: Range<u64>,
    tell: &mpsc::UnboundedSender<Result<Piece, InputError>>,
) -> Result<(), InputError> {
    let room = Arc::new(Semaphore::new(READ_AHEAD_BYTES));
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    let is_all = range == (0..object.planned.bytes);
    let (mut position, mut tries) = (range.start, 0);
    while position < range.end {
        let before = position;
        let detail = match object.open(position..range.end, is_all).await {
            Ok(mut pieces) => loop {
                match pieces.next().await {
                    Some(Ok(mut bytes)) => {
                        let left = usize::try_from(range.end - position).unwrap_or(usize::MAX);
                        bytes.truncate(left);
                        position += bytes.len() as u64;
                        for bytes in parts(bytes) {
                            tell_piece(bytes, &room, tell).await?;
                        }
                        if position == range.end {
                            return Ok(());
                        }
                    }
                    Some(Err(RemoteError::Temporary { detail })) => break detail,
                    Some(Err(error)) => return Err(error.into()),
                    None => break "the server ended too early".to_owned(),
                }
            },
            Err(Open::Remote(RemoteError::Temporary { detail })) => detail,
            Err(Open::Remote(error)) => return Err(error.into()),
            Err(Open::Changed(problem)) => return Err(InputError::Problem(problem)),
        };
        if position - before >= PROGRESS_BYTES {
            tries = 0;
            backoff.reset();
        }
        tries += 1;
        if tries == TRIES_MAX {
            return Err(InputError::Unreachable {
                detail: format!("{detail}, at byte {position}, {TRIES_MAX} times"),
            });
        }
        // A range beyond the end of what is there now looks like a defect.
        if let Ok((found, _)) = object.object.look().await
            && let Err(Open::Changed(problem)) = object.checked(&found)
        {
            return Err(InputError::Problem(problem));
        }
        tracing::debug!(position, tries, detail, "reading a remote input again");
        tokio::time::sleep(backoff.pause()).await;
    }
    Ok(())
}

/// Pieces that fit the memory for reading ahead.
fn parts(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let part = bytes.split_to(bytes.len().min(READ_AHEAD_BYTES));
        (!part.is_empty()).then_some(part)
    })
}

async fn tell_piece(
    bytes: Bytes,
    room: &Arc<Semaphore>,
    tell: &mpsc::UnboundedSender<Result<Piece, InputError>>,
) -> Result<(), InputError> {
    let share = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let share = room.clone().acquire_many_owned(share).await;
    // Nobody closes it, and who receives may have gone: it ends the same way.
    let share = share.map_err(|_closed| InputError::Stopped)?;
    tell.send(Ok((bytes, share)))
        .map_err(|_gone| InputError::Stopped)
}

/// Why no stream was opened.
enum Open {
    Remote(RemoteError),
    Changed(InputProblem),
}

impl Versioned {
    /// A stream that begins with the first byte of a range, if its bytes are
    /// those that the plan saw. A server that gives only all of it gives it
    /// again, and its front is passed over; nobody else is asked for that.
    async fn open(&self, range: Range<u64>, is_all: bool) -> Result<Pieces, Open> {
        if range != (0..self.planned.bytes) {
            let part = self.object.get(Some(range.clone())).await;
            match part {
                Ok((found, pieces)) => return self.checked(&found).map(|()| pieces),
                Err(RemoteError::Unsupported) if is_all => {}
                Err(error) => return Err(Open::Remote(error)),
            }
        }
        let (found, pieces) = self.object.get(None).await.map_err(Open::Remote)?;
        self.checked(&found)?;
        Ok(skip(pieces, range.start))
    }

    fn checked(&self, found: &Found) -> Result<(), Open> {
        if found.bytes != self.planned.bytes {
            return Err(Open::Changed(InputProblem::SizeChanged {
                planned: self.planned.bytes,
                found: found.bytes,
            }));
        }
        if found.version != self.planned.version {
            return Err(Open::Changed(InputProblem::VersionChanged));
        }
        Ok(())
    }
}

/// Passes over the first bytes of a stream.
fn skip(pieces: Pieces, bytes: u64) -> Pieces {
    let mut left = bytes;
    pieces
        .filter_map(move |piece| {
            let piece = piece.map(|mut bytes| {
                let passed = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                bytes.advance(passed);
                left -= passed as u64;
                bytes
            });
            let wanted = !matches!(&piece, Ok(bytes) if bytes.is_empty());
            std::future::ready(wanted.then_some(piece))
        })
        .boxed()
}
