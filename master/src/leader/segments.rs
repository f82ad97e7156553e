//! Streams of segment locations for reducers.
//!
//! A stream subscribes to events first and reads the state then, so nothing
//! falls between: all that is known goes out at once, in chunks, and what comes
//! to be follows. What is told twice is told the same way twice. When events
//! were skipped, everything is told again, with what was lost meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use vivat_core::State;
use vivat_core::command::Event;
use vivat_shared::attempt::{SegmentLocation, Work};
use vivat_shared::ids::{AttemptId, TaskKind, WorkerEpoch};

use super::Leader;
use super::error::LeaderError;
use crate::raft::AppliedEvents;

/// Locations in one message: about 100 KB.
const LOCATIONS_MAX: usize = 4_000;
/// For a slow reader to take the last message.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Messages that wait for a slow reader.
const MESSAGES_MAX: usize = 4;
/// Entries whose events are told together.
const ENTRIES_MAX: usize = 256;

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentsUpdate {
    /// Map tasks whose segments can be fetched.
    pub located: Vec<SegmentLocation>,
    /// Addresses of holders named for the first time on this stream.
    pub addresses: Vec<(WorkerEpoch, String)>,
    /// Map task and attempt whose segments are gone.
    pub lost: Vec<(u32, u16)>,
    /// Map tasks of the round.
    pub maps: u32,
}

/// What a caller reads from.
pub type SegmentsStream = mpsc::Receiver<Result<SegmentsUpdate, LeaderError>>;

impl Leader {
    /// Streams where the segments for a reduce attempt are, until it ends. The
    /// last item is an error when leadership closed.
    ///
    /// # Errors
    ///
    /// [`LeaderError::StaleEpoch`]; `Rejected(StaleAttempt)` when it is no
    /// reduce attempt that is granted to this worker; `Overloaded`.
    pub fn watch_segments(
        self: &Arc<Self>,
        worker: WorkerEpoch,
        reducer: AttemptId,
    ) -> Result<SegmentsStream, LeaderError> {
        self.hear(worker)?;
        let permit = Arc::clone(&self.segment_streams)
            .try_acquire_owned()
            .map_err(|_| LeaderError::Overloaded {
                what: "streams of segment locations",
            })?;
        let events = self.raft.events();
        let stale = vivat_core::command::Rejection::StaleAttempt { attempt: reducer };
        let maps = self
            .raft
            .read(|state| maps_of(state, worker, reducer))
            .ok_or(LeaderError::Rejected(stale))?;
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        let stream = Stream {
            leader: Arc::clone(self),
            worker,
            reducer,
            maps,
            told: vec![0; maps as usize],
            addresses_told: BTreeSet::new(),
            sender,
            _permit: permit,
        };
        self.tasks.spawn(stream.run(events));
        Ok(receiver)
    }
}

fn maps_of(state: &State, worker: WorkerEpoch, reducer: AttemptId) -> Option<u32> {
    let active = state.job(reducer.job())?.active()?;
    if reducer.task.kind != TaskKind::Reduce || !active.is_live(reducer, worker) {
        return None;
    }
    match vivat_core::assignment(state, reducer)?.work {
        Work::Reduce { maps, .. } => Some(maps),
        Work::Plan { .. }
        | Work::Map { .. }
        | Work::Close { .. }
        | Work::Commit { .. }
        | Work::Notify { .. } => None,
    }
}

struct Stream {
    leader: Arc<Leader>,
    worker: WorkerEpoch,
    reducer: AttemptId,
    maps: u32,
    /// The attempt told for each map task; 0 before any. Two bytes a task.
    told: Vec<u16>,
    addresses_told: BTreeSet<WorkerEpoch>,
    sender: mpsc::Sender<Result<SegmentsUpdate, LeaderError>>,
    _permit: OwnedSemaphorePermit,
}

/// What a batch of events means for one stream.
#[derive(Default)]
struct Batch {
    maps: BTreeSet<AttemptId>,
    skipped: bool,
    ended: bool,
}

/// Why a stream ends.
enum End {
    /// The reduce attempt is over, or nobody reads.
    Quiet,
    /// Leadership closed.
    Closed,
}

impl Stream {
    async fn run(mut self, mut events: broadcast::Receiver<Arc<AppliedEvents>>) {
        match self.serve(&mut events).await {
            End::Quiet => {}
            End::Closed => {
                let last = self.sender.send(Err(LeaderError::NotLeader));
                // A reader that does not take it learns from the stream's end.
                let _slow = tokio::time::timeout(LAST_WORD, last).await;
            }
        }
    }

    async fn serve(&mut self, events: &mut broadcast::Receiver<Arc<AppliedEvents>>) -> End {
        if let Err(end) = self.tell_all().await {
            return end;
        }
        loop {
            let first = tokio::select! {
                () = self.leader.closed.cancelled() => return End::Closed,
                () = self.sender.closed() => return End::Quiet,
                first = events.recv() => first,
            };
            let batch = match first {
                Ok(applied) => self.gather(&applied, events),
                Err(RecvError::Lagged(_)) => Batch {
                    skipped: true,
                    ..Batch::default()
                },
                Err(RecvError::Closed) => return End::Closed,
            };
            let told = if batch.skipped {
                // Its end may be among what was skipped.
                if !self.is_granted() {
                    return End::Quiet;
                }
                self.tell_all().await
            } else if batch.maps.is_empty() {
                Ok(())
            } else {
                self.tell(&batch.maps).await
            };
            if let Err(end) = told {
                return end;
            }
            if batch.ended {
                return End::Quiet;
            }
        }
    }

    fn is_granted(&self) -> bool {
        let raft = &self.leader.raft;
        raft.read(|state| maps_of(state, self.worker, self.reducer).is_some())
    }

    fn gather(
        &self,
        first: &AppliedEvents,
        events: &mut broadcast::Receiver<Arc<AppliedEvents>>,
    ) -> Batch {
        let mut batch = Batch::default();
        self.note(&first.events, &mut batch);
        for _ in 1..ENTRIES_MAX {
            match events.try_recv() {
                Ok(applied) => self.note(&applied.events, &mut batch),
                Err(TryRecvError::Lagged(_)) => batch.skipped = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        batch
    }

    fn note(&self, events: &[Event], batch: &mut Batch) {
        for event in events {
            match *event {
                Event::SegmentsLocated { map, .. } | Event::SegmentsLost { map } => {
                    if map.task.round == self.reducer.task.round {
                        batch.maps.insert(map);
                    }
                }
                Event::AttemptRevoked { attempt, .. } | Event::AttemptFinished { attempt, .. } => {
                    batch.ended |= attempt == self.reducer;
                }
                Event::WorkerExpired { worker, .. } => batch.ended |= worker == self.worker,
                Event::JobEnded { job } => batch.ended |= job == self.reducer.job(),
                Event::TermOpened { .. }
                | Event::JobChanged { .. }
                | Event::JobRetried { .. }
                | Event::WorkerRegistered { .. }
                | Event::AttemptGranted { .. }
                | Event::TaskIdle { .. }
                | Event::SegmentSuspected { .. }
                | Event::DatasetChanged { .. } => {}
            }
        }
    }

    /// Tells every location, and what was told before and is gone.
    async fn tell_all(&mut self) -> Result<(), End> {
        let (round, partition) = (self.reducer.task.round, self.reducer.task.index);
        let located = self
            .leader
            .raft
            .read(|state| vivat_core::locations(state, round, partition));
        let now: BTreeMap<u32, u16> = located
            .iter()
            .map(|location| (location.map, location.attempt))
            .collect();
        let lost = (0..)
            .zip(&self.told)
            .filter(|&(map, &attempt)| attempt != 0 && !now.contains_key(&map))
            .map(|(map, &attempt)| (map, attempt))
            .collect();
        self.send(located, lost).await
    }

    /// Tells what became of these map attempts.
    async fn tell(&mut self, maps: &BTreeSet<AttemptId>) -> Result<(), End> {
        let partition = self.reducer.task.index;
        let mut located = Vec::new();
        let mut lost = Vec::new();
        self.leader.raft.read(|state| {
            for &map in maps {
                match vivat_core::location(state, map, partition) {
                    Some(location) => located.push(location),
                    None => lost.push((map.task.index, map.number)),
                }
            }
        });
        self.send(located, lost).await
    }

    async fn send(
        &mut self,
        located: Vec<SegmentLocation>,
        mut lost: Vec<(u32, u16)>,
    ) -> Result<(), End> {
        for &(map, attempt) in &lost {
            if let Some(told) = self.told.get_mut(map as usize)
                && *told == attempt
            {
                *told = 0;
            }
        }
        let mut chunks = located.chunks(LOCATIONS_MAX);
        loop {
            let chunk = chunks.next().unwrap_or(&[]);
            for location in chunk {
                if let Some(told) = self.told.get_mut(location.map as usize) {
                    *told = location.attempt;
                }
            }
            let update = SegmentsUpdate {
                addresses: self.new_addresses(chunk),
                located: chunk.to_vec(),
                lost: std::mem::take(&mut lost),
                maps: self.maps,
            };
            tokio::select! {
                () = self.leader.closed.cancelled() => return Err(End::Closed),
                sent = self.sender.send(Ok(update)) => sent.map_err(|_| End::Quiet)?,
            }
            if chunks.len() == 0 {
                return Ok(());
            }
        }
    }

    fn new_addresses(&mut self, chunk: &[SegmentLocation]) -> Vec<(WorkerEpoch, String)> {
        let fresh: BTreeSet<WorkerEpoch> = chunk
            .iter()
            .map(|location| location.holder)
            .filter(|holder| !self.addresses_told.contains(holder))
            .collect();
        if fresh.is_empty() {
            return Vec::new();
        }
        let addresses: Vec<_> = self.leader.raft.read(|state| {
            fresh
                .into_iter()
                .filter_map(|holder| Some((holder, super::address_of(state, holder)?)))
                .collect()
        });
        self.addresses_told
            .extend(addresses.iter().map(|(holder, _)| *holder));
        addresses
    }
}
