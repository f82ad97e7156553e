//! All that this worker fetches from another one: one stream, over which the
//! orders of all reduces go one behind another.
//!
//! A stream that breaks is opened again, and each segment taken up at the byte
//! where it broke, for as long as every try brings some. Bytes ordered and not yet
//! here are bounded; a stream on which nothing is wanted is closed after a while.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use vivat_proto::error::detail_of;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::segment_service_client::SegmentServiceClient;
use vivat_shared::ids::WorkerEpoch;
use vivat_shared::limits::{
    FETCH_AHEAD_BYTES_MAX, FETCH_STREAMS_MAX, FETCH_TURN_BYTES, MESSAGE_BYTES_MAX,
};

use super::gather::Failure;
use super::holders::Holders;
use super::landing::{Incoming, is_proved};
use super::order::{Arrival, Order};

/// A holder that says nothing for so long is not answering.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A stream over which nothing is wanted is kept for so long: a job's maps do not
/// all end at the same moment.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// The lines to all holders that something is wanted of.
#[derive(Debug)]
pub(super) struct Lines {
    holders: Holders,
    turns: Semaphore,
    open: Mutex<HashMap<WorkerEpoch, mpsc::UnboundedSender<Order>>>,
    stop: CancellationToken,
}

impl Lines {
    pub(super) fn new(holders: Holders) -> Arc<Self> {
        Arc::new(Self {
            holders,
            turns: Semaphore::new(FETCH_STREAMS_MAX),
            open: Mutex::default(),
            stop: CancellationToken::new(),
        })
    }

    /// Gives the order to the line to its holder. When there is none, one is made
    /// and returned: whoever called lets it run.
    pub(super) fn order(self: &Arc<Self>, order: Order, address: &str) -> Option<Line> {
        if address.is_empty() {
            // Nobody has told it yet; a line would keep what it was made with.
            order.fail(Failure::Unreachable);
            return None;
        }
        // Nothing panics under this lock.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let holder = order.holder;
        let order = match open.get(&holder) {
            None => order,
            Some(line) => match line.send(order) {
                Ok(()) => return None,
                // It has just ended.
                Err(mpsc::error::SendError(order)) => order,
            },
        };
        open.retain(|_, line| !line.is_closed());
        let (orders, waiting) = mpsc::unbounded_channel();
        // The receiver is here.
        let _there = orders.send(order);
        open.insert(holder, orders);
        Some(Line {
            lines: self.clone(),
            holder,
            address: address.to_owned(),
            waiting,
            asked: VecDeque::new(),
            incoming: None,
            stream: None,
            tally: Tally::default(),
        })
    }

    /// Closes those over which nothing is wanted; the others end with their reduces.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

/// The line to one holder.
#[derive(Debug)]
pub(super) struct Line {
    lines: Arc<Lines>,
    holder: WorkerEpoch,
    address: String,
    waiting: mpsc::UnboundedReceiver<Order>,
    /// Sent over the stream that is open, or to be sent over the next one.
    asked: VecDeque<Order>,
    /// The first segment of the first of them, when some of it is here.
    incoming: Option<Incoming>,
    stream: Option<Stream>,
    tally: Tally,
}

#[derive(Debug)]
struct Stream {
    orders: mpsc::UnboundedSender<v1::FetchSegmentsRequest>,
    answers: tonic::Streaming<v1::FetchSegmentsResponse>,
    /// The number of the first order that is not answered.
    number: u64,
}

/// What a line has done so far.
#[derive(Debug, Default)]
struct Tally {
    streams: u64,
    orders: u64,
    segments: u64,
    bytes: u64,
    /// Messages: whether a try brought anything.
    messages: u64,
}

/// Why a stream ended before it had answered all.
#[derive(Debug)]
enum Break {
    Storage(std::io::Error),
    Status(Box<Status>),
    /// More bytes, or others, than were announced.
    Nonsense,
    /// Nobody wants what comes now.
    Unwanted,
}

impl From<Status> for Break {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl Line {
    /// Carries orders until there have been none for a while.
    pub(super) async fn run(mut self) {
        let lines = self.lines.clone();
        while let Some(order) = self.next_order().await {
            self.asked.push_back(order);
            // The semaphore is never closed.
            let turn = lines.turns.acquire().await;
            tokio::select! {
                () = self.take_turn() => {}
                () = lines.stop.cancelled() => break,
            }
            drop(turn);
        }
        let Tally {
            streams,
            orders,
            segments,
            bytes,
            ..
        } = self.tally;
        let holder = self.holder;
        tracing::debug!(%holder, streams, orders, segments, bytes, "line closed");
    }

    async fn next_order(&mut self) -> Option<Order> {
        let waited = tokio::select! {
            waited = tokio::time::timeout(IDLE_MAX, self.waiting.recv()) => waited,
            () = self.lines.stop.cancelled() => Ok(None),
        };
        match waited {
            Ok(Some(order)) => Some(order),
            Ok(None) | Err(_) => {
                // What slips in now is carried; whoever comes later makes a new line.
                self.waiting.close();
                self.waiting.try_recv().ok()
            }
        }
    }

    /// Works until nothing is asked.
    async fn take_turn(&mut self) {
        let mut left_bytes = FETCH_TURN_BYTES;
        loop {
            self.forget_unwanted();
            if self.asked.is_empty() {
                return;
            }
            let (is_new, before) = (self.stream.is_none(), self.tally.messages);
            let Err(broken) = self.carry(&mut left_bytes).await else {
                return;
            };
            self.stream = None;
            // A stream that was idle may have gone long ago.
            let again = !is_new || self.tally.messages > before;
            self.broke(broken, again);
        }
    }

    /// Asks for what is not answered, and takes the answers.
    async fn carry(&mut self, left_bytes: &mut u64) -> Result<(), Break> {
        if self.stream.is_none() {
            self.stream = Some(self.open().await?);
            let offset = self.incoming.as_ref().map_or(0, |it| it.got_bytes);
            for (index, order) in self.asked.iter_mut().enumerate() {
                let offset = if index == 0 { offset } else { 0 };
                self.tally.orders += 1;
                send(self.stream.as_ref(), order.request(offset))?;
            }
        } else if let Some(order) = self.asked.front_mut() {
            self.tally.orders += 1;
            send(self.stream.as_ref(), order.request(0))?;
        }
        while !self.asked.is_empty() {
            let ahead: u64 = self.asked.iter().map(|order| order.bytes).sum();
            let may_ask = ahead < FETCH_AHEAD_BYTES_MAX && *left_bytes > 0;
            let Some(stream) = &mut self.stream else {
                return Err(Break::Nonsense);
            };
            tokio::select! {
                biased;
                Some(mut order) = self.waiting.recv(), if may_ask => {
                    *left_bytes = left_bytes.saturating_sub(order.bytes);
                    self.tally.orders += 1;
                    send(Some(stream), order.request(0))?;
                    self.asked.push_back(order);
                }
                message = within(stream.answers.message()) => {
                    let ended = || Status::unavailable("the stream ended early");
                    let message = message?.ok_or_else(ended)?;
                    self.take(message).await?;
                }
            }
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<Stream, Break> {
        let channel = self.lines.holders.get(&self.address);
        let channel = channel.ok_or_else(|| Status::unavailable("it has no address"))?;
        let mut client =
            SegmentServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (orders, ordered) = mpsc::unbounded_channel();
        let request = Request::new(UnboundedReceiverStream::new(ordered));
        let answers = within(client.fetch_segments(request)).await?.into_inner();
        self.tally.streams += 1;
        Ok(Stream {
            orders,
            answers,
            number: 0,
        })
    }

    async fn take(&mut self, message: v1::FetchSegmentsResponse) -> Result<(), Break> {
        let (Some(stream), Some(order)) = (&mut self.stream, self.asked.front_mut()) else {
            return Err(Break::Nonsense);
        };
        if !order.is_wanted() {
            return Err(Break::Unwanted);
        }
        let Some((output, position)) = order.next() else {
            return Err(Break::Nonsense);
        };
        if (message.order, message.position) != (stream.number, position) {
            return Err(Break::Nonsense);
        }
        let announced = message.segment_bytes;
        let mut incoming = match self.incoming.take() {
            Some(incoming) => incoming,
            None => {
                let expected_bytes = announced.ok_or(Break::Nonsense)?;
                let begun = order.landing.begin(output, expected_bytes).await;
                begun.map_err(Break::Storage)?
            }
        };
        let bytes = message.data.len() as u64;
        let as_announced = announced.is_none_or(|bytes| bytes == incoming.expected_bytes);
        if !as_announced || bytes > incoming.left_bytes() {
            order.landing.give_up(&incoming);
            return Err(Break::Nonsense);
        }
        incoming.add(&message.data).await.map_err(Break::Storage)?;
        self.tally.messages += 1;
        self.tally.bytes += bytes;
        if incoming.left_bytes() > 0 {
            self.incoming = Some(incoming);
            return Ok(());
        }
        self.tally.segments += 1;
        let piece = incoming.finish().await.map_err(Break::Storage)?;
        if is_proved(&piece, order.partition).await {
            order.came(Arrival::Got(output, piece));
        } else {
            let (map, attempt) = (output.map, output.attempt);
            tracing::warn!(map, attempt, holder = %self.holder, "segment came damaged");
            order.landing.give_back(&piece);
            order.came(Arrival::Bad(output));
        }
        if order.next().is_none() {
            stream.number += 1;
            self.asked.pop_front();
        }
        Ok(())
    }

    /// Says to whom it matters that the stream broke. What is left in `asked` is
    /// asked for again.
    fn broke(&mut self, broken: Break, again: bool) {
        let failure = match broken {
            Break::Unwanted => return,
            Break::Storage(error) => {
                self.give_up_incoming();
                if let Some(order) = self.asked.pop_front() {
                    order.fail_storage(error);
                }
                return;
            }
            Break::Status(status) => match failure_of(&status) {
                Failure::Unreachable | Failure::Busy if again => return,
                failure => failure,
            },
            Break::Nonsense => Failure::Unreachable,
        };
        self.give_up_incoming();
        let failed = match failure {
            // Only the first knows of it.
            Failure::Gone => 1.min(self.asked.len()),
            Failure::Unreachable | Failure::Busy => self.asked.len(),
        };
        for order in self.asked.drain(..failed) {
            order.fail(failure);
        }
        if failure == Failure::Unreachable {
            self.lines.holders.give_up(&self.address);
        }
    }

    fn forget_unwanted(&mut self) {
        if self.asked.front().is_some_and(|order| !order.is_wanted()) {
            self.give_up_incoming();
        }
        self.asked.retain(Order::is_wanted);
    }

    fn give_up_incoming(&mut self) {
        if let (Some(incoming), Some(order)) = (self.incoming.take(), self.asked.front()) {
            order.landing.give_up(&incoming);
        }
    }
}

fn send(stream: Option<&Stream>, request: v1::FetchSegmentsRequest) -> Result<(), Break> {
    let sent = stream.is_some_and(|stream| stream.orders.send(request).is_ok());
    if sent {
        return Ok(());
    }
    Err(Status::unavailable("the stream is closed").into())
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
#[path = "line_tests.rs"]
mod tests;
