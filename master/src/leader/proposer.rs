//! Group commit of commands.
//!
//! Callers hand over commands and wait for their replies. What piled up while
//! entries were on their way goes into the next one, up to an entry's size. An
//! idle leader adds no delay: the first command leaves at once.
//!
//! A few entries are in flight at once. They leave in order, but Raft takes
//! them from several threads: who needs an order waits for the first reply.
//!
//! The queue is bounded and a full one is an answer, not a wait. Every entry is
//! fenced by the term, so what a deposed leader still holds is refused.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use vivat_core::command::{Command, Reply};
use vivat_shared::limits::ENTRY_BYTES_MAX;

use super::error::LeaderError;
use crate::raft::{Handle, ProposeError};

/// Requests that may wait; one more is refused.
pub(super) const QUEUE_REQUESTS_MAX: usize = 4_096;
/// Bytes that may wait, encoded; the queue would hold 256 MiB of the largest.
const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Entries under way at once. More would only make batches smaller: the two
/// disks and the network are busy with four.
const ENTRIES_IN_FLIGHT_MAX: usize = 4;
/// An entry's own fields around its commands: time, count, term.
const ENVELOPE_BYTES: usize = 64;
/// What commands of one entry may take together.
const COMMANDS_BYTES_MAX: usize = ENTRY_BYTES_MAX - ENVELOPE_BYTES;

type Replies = Result<Vec<Reply>, LeaderError>;

struct Request {
    commands: Vec<Command>,
    bytes: usize,
    answer: oneshot::Sender<Replies>,
    /// Given back when the request leaves the queue.
    _room: OwnedSemaphorePermit,
}

/// How much of the queue a caller may find taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// All: what the cluster itself does.
    Whole,
    /// Half: what clients ask for.
    Half,
}

/// Callers' side.
pub(super) struct Proposer {
    requests: mpsc::Sender<Request>,
    room_bytes: Arc<Semaphore>,
}

/// The loop's side.
pub(super) struct Pump {
    requests: mpsc::Receiver<Request>,
    raft: Handle,
    term: u64,
}

/// A proposer of one term and the pump that [`Pump::run`] must drive.
pub(super) fn proposer(raft: Handle, term: u64) -> (Proposer, Pump) {
    let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS_MAX);
    let pump = Pump {
        requests: receiver,
        raft,
        term,
    };
    let proposer = Proposer {
        requests: sender,
        room_bytes: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
    };
    (proposer, pump)
}

impl Proposer {
    /// Requests that wait now.
    pub(super) fn depth(&self) -> usize {
        QUEUE_REQUESTS_MAX - self.requests.capacity()
    }

    /// Proposes the commands in order and waits until they are applied. Replies
    /// stand in the order of the commands. Commands that do not fit one entry
    /// go in several: each is a transition of its own.
    ///
    /// # Errors
    ///
    /// [`LeaderError`], except `Rejected`: a refusal by `apply` is a reply.
    pub(super) async fn propose(&self, commands: Vec<Command>, share: Share) -> Replies {
        let count = commands.len();
        let mut waiting = Vec::new();
        for (commands, bytes) in cut(commands)? {
            match self.enqueue(commands, bytes, share) {
                Ok(part) => waiting.push(part),
                Err(refused) if waiting.is_empty() => return Err(refused),
                // What is refused was not proposed, but parts before it were.
                Err(_) => return Err(LeaderError::OutcomeUnknown),
            }
        }
        let mut replies = Vec::with_capacity(count);
        for part in waiting {
            // The pump drops a request unanswered only before it is proposed.
            replies.extend(part.await.unwrap_or(Err(LeaderError::NotLeader))?);
        }
        Ok(replies)
    }

    fn enqueue(
        &self,
        commands: Vec<Command>,
        bytes: usize,
        share: Share,
    ) -> Result<oneshot::Receiver<Replies>, LeaderError> {
        const FULL: LeaderError = LeaderError::Overloaded {
            what: "proposals that wait",
        };
        let (requests_max, bytes_max) = match share {
            Share::Whole => (QUEUE_REQUESTS_MAX, QUEUE_BYTES_MAX),
            Share::Half => (QUEUE_REQUESTS_MAX / 2, QUEUE_BYTES_MAX / 2),
        };
        let taken_bytes = QUEUE_BYTES_MAX - self.room_bytes.available_permits();
        if self.depth() >= requests_max || taken_bytes + bytes > bytes_max {
            return Err(FULL);
        }
        // An entry's bytes are far below the largest u32.
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room_bytes)
            .try_acquire_many_owned(permits)
            .map_err(|_| FULL)?;
        let (answer, replies) = oneshot::channel();
        let request = Request {
            commands,
            bytes,
            answer,
            _room: room,
        };
        match self.requests.try_send(request) {
            Ok(()) => Ok(replies),
            Err(mpsc::error::TrySendError::Full(_)) => Err(FULL),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(LeaderError::NotLeader),
        }
    }
}

/// The size of a command, if an entry can hold it.
///
/// # Errors
///
/// [`LeaderError::TooLarge`].
pub(super) fn size_of(command: &Command) -> Result<usize, LeaderError> {
    let bytes = postcard::experimental::serialized_size(command).unwrap_or(usize::MAX);
    if bytes > COMMANDS_BYTES_MAX {
        return Err(LeaderError::TooLarge {
            bytes,
            bytes_max: COMMANDS_BYTES_MAX,
        });
    }
    Ok(bytes)
}

/// Cuts commands into runs that fit an entry, each with its size in bytes.
fn cut(commands: Vec<Command>) -> Result<Vec<(Vec<Command>, usize)>, LeaderError> {
    let mut runs: Vec<(Vec<Command>, usize)> = Vec::new();
    for command in commands {
        let bytes = size_of(&command)?;
        match runs.last_mut() {
            Some((run, total)) if *total + bytes <= COMMANDS_BYTES_MAX => {
                run.push(command);
                *total += bytes;
            }
            Some(_) | None => runs.push((vec![command], bytes)),
        }
    }
    Ok(runs)
}

type InFlight = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Pump {
    /// Runs until every [`Proposer`] is gone or leadership closed. What waits
    /// then was not proposed, and its callers learn `NotLeader`; what is in
    /// flight is awaited, because its callers must not take it for refused.
    pub(super) async fn run(mut self, closed: CancellationToken) {
        let mut in_flight: FuturesUnordered<InFlight> = FuturesUnordered::new();
        self.pump(&mut in_flight, &closed).await;
        drop(self);
        // Bounded by the deadline that every proposal has.
        while in_flight.next().await.is_some() {}
    }

    async fn pump(
        &mut self,
        in_flight: &mut FuturesUnordered<InFlight>,
        closed: &CancellationToken,
    ) {
        // A request that did not fit the last entry begins the next.
        let mut held_over: Option<Request> = None;
        loop {
            while in_flight.len() >= ENTRIES_IN_FLIGHT_MAX {
                tokio::select! {
                    _ = in_flight.next() => {}
                    () = closed.cancelled() => return,
                }
            }
            let first = match held_over.take() {
                Some(request) => request,
                None => tokio::select! {
                    request = self.requests.recv() => match request {
                        Some(request) => request,
                        None => return,
                    },
                    Some(()) = in_flight.next() => continue,
                    () = closed.cancelled() => return,
                },
            };
            let (batch, next) = self.gather(first);
            held_over = next;
            let mut entry: InFlight = Box::pin(commit(self.raft.clone(), self.term, batch));
            // The first poll hands the entry to Raft; without it the entry
            // would wait until this loop waits.
            if futures_util::poll!(entry.as_mut()) == Poll::Pending {
                in_flight.push(entry);
            }
        }
    }

    fn gather(&mut self, first: Request) -> (Vec<Request>, Option<Request>) {
        let mut bytes = first.bytes;
        let mut batch = vec![first];
        while let Ok(request) = self.requests.try_recv() {
            if bytes + request.bytes > COMMANDS_BYTES_MAX {
                return (batch, Some(request));
            }
            bytes += request.bytes;
            batch.push(request);
        }
        (batch, None)
    }
}

async fn commit(raft: Handle, term: u64, batch: Vec<Request>) {
    let mut commands = Vec::new();
    let mut callers = Vec::with_capacity(batch.len());
    for request in batch {
        callers.push((request.commands.len(), request.answer));
        commands.extend(request.commands);
    }
    match raft.propose(Some(term), commands).await {
        Ok(committed) => {
            let mut replies = committed.replies.into_iter();
            for (count, answer) in callers {
                // A caller that went away has no use for its replies.
                let _gone = answer.send(Ok(replies.by_ref().take(count).collect()));
            }
        }
        Err(error) => {
            let error = unproposed(&error);
            for (_, answer) in callers {
                let _gone = answer.send(Err(error.clone()));
            }
        }
    }
}

/// What a failed proposal means to those who wait.
pub(super) fn unproposed(error: &ProposeError) -> LeaderError {
    match error {
        ProposeError::NotLeader { .. } => LeaderError::NotLeader,
        ProposeError::Overloaded { .. } => LeaderError::Overloaded {
            what: "proposals in flight",
        },
        &ProposeError::TooLarge { bytes, bytes_max } => LeaderError::TooLarge { bytes, bytes_max },
        ProposeError::Unknown => LeaderError::OutcomeUnknown,
        ProposeError::Fatal => LeaderError::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use vivat_shared::ids::{Epoch, JobId, WorkerEpoch, WorkerId};

    use super::*;

    #[test]
    fn commands_are_cut_into_runs_that_fit_an_entry_in_order() {
        let commands: Vec<Command> = (0..50_000)
            .map(|job| Command::CancelJob { job: JobId(job) })
            .collect();
        let runs = cut(commands.clone()).unwrap();
        assert!(runs.len() > 1);
        for (run, bytes) in &runs {
            let encoded = postcard::to_allocvec(run).unwrap().len();
            assert!(*bytes <= COMMANDS_BYTES_MAX && encoded <= ENTRY_BYTES_MAX);
        }
        let joined: Vec<Command> = runs.into_iter().flat_map(|(run, _)| run).collect();
        assert_eq!(joined, commands);
    }

    #[test]
    fn flood_of_clients_leaves_room_for_the_cluster_itself() {
        let (requests, _queue) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let proposer = Proposer {
            requests,
            room_bytes: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
        };
        let offer = |share, bytes| {
            let commands = vec![Command::CancelJob { job: JobId(1) }];
            proposer.enqueue(commands, bytes, share)
        };
        let accepted = |share, bytes| {
            let offers = std::iter::repeat_with(|| offer(share, bytes));
            offers.take_while(Result::is_ok).count()
        };
        assert_eq!(accepted(Share::Half, 1), QUEUE_REQUESTS_MAX / 2);
        assert!(matches!(
            offer(Share::Half, 1),
            Err(LeaderError::Overloaded { .. })
        ));
        assert_eq!(accepted(Share::Whole, 1), QUEUE_REQUESTS_MAX / 2);
    }

    #[tokio::test]
    async fn commands_of_which_only_some_found_room_are_not_called_unproposed() {
        let (requests, _queue) = mpsc::channel(1);
        let proposer = Proposer {
            requests,
            room_bytes: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
        };
        let command = |bytes| Command::ExpireWorker {
            worker: WorkerEpoch {
                worker: WorkerId(1),
                epoch: Epoch(1),
            },
            term: 1,
            reason: "x".repeat(bytes),
        };
        let large = COMMANDS_BYTES_MAX - ENVELOPE_BYTES;
        // Each is an entry of its own, and the queue takes one.
        let parts = vec![command(large), command(large)];
        let answer = proposer.propose(parts, Share::Whole).await;
        assert_eq!(answer, Err(LeaderError::OutcomeUnknown));
        let answer = proposer.propose(vec![command(1)], Share::Whole).await;
        assert!(matches!(answer, Err(LeaderError::Overloaded { .. })));
    }

    #[test]
    fn queue_is_bounded_in_bytes_and_gives_them_back() {
        let (requests, mut queue) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let proposer = Proposer {
            requests,
            room_bytes: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
        };
        let half = QUEUE_BYTES_MAX / 2;
        let offer = |share| proposer.enqueue(Vec::new(), half, share);
        assert!(offer(Share::Half).is_ok());
        assert!(offer(Share::Half).is_err());
        assert!(offer(Share::Whole).is_ok());
        assert!(offer(Share::Whole).is_err());
        drop((queue.try_recv(), queue.try_recv()));
        assert!(offer(Share::Half).is_ok());
    }

    #[test]
    fn command_larger_than_an_entry_is_refused_before_it_is_proposed() {
        let command = Command::ExpireWorker {
            worker: WorkerEpoch {
                worker: WorkerId(1),
                epoch: Epoch(1),
            },
            term: 1,
            reason: "x".repeat(ENTRY_BYTES_MAX),
        };
        assert!(matches!(
            cut(vec![command]),
            Err(LeaderError::TooLarge { .. })
        ));
    }
}
