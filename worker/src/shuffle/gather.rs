//! Which segments a reduce still needs, whom to ask for them next, and when a
//! failure is the leader's business.
//!
//! Pure: the clock comes in as an argument, streams and calls are somebody
//! else's. A location may be announced any number of times; a result of an
//! attempt that is no longer the accepted one is taken when it is good and
//! forgotten when it is not.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use vivat_shared::attempt::SegmentLocation;
use vivat_shared::ids::WorkerEpoch;
use vivat_shared::limits::{FETCH_BATCH_MAX, FETCH_ORDER_BYTES_MAX};

use super::fetched::{Fetched, Piece};

/// Failures of one segment before the leader is told.
const TRIES_MAX: u32 = 3;
const RETRY_MIN: Duration = Duration::from_millis(50);
/// Between asking a busy holder, who lets nobody wait for long.
const RETRY_BUSY: Duration = Duration::from_millis(250);
/// Between tries, and so between reports, of what has been reported.
const RETRY_REPORTED: Duration = Duration::from_secs(2);

/// A map task and its accepted attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MapOutput {
    pub(crate) map: u32,
    pub(crate) attempt: u16,
}

/// Why a segment did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The holder does not answer.
    Unreachable,
    /// The holder does not have it, or has it damaged.
    Gone,
    /// The holder answers, and serves as many others as it can.
    Busy,
}

/// What a holder is to be asked for at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) holder: WorkerEpoch,
    pub(super) outputs: Vec<MapOutput>,
    /// About so many.
    pub(super) bytes: u64,
}

/// What the leader is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) output: MapOutput,
    pub(super) holder: WorkerEpoch,
    pub(super) gone: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct MapState {
    location: Option<SegmentLocation>,
    in_flight: bool,
    queued: bool,
    tries: u32,
}

/// One reduce's needs.
#[derive(Debug)]
pub(super) struct Gather {
    fetched: Fetched,
    maps: Vec<MapState>,
    queues: HashMap<WorkerEpoch, VecDeque<u32>>,
    retries: BinaryHeap<Reverse<(Instant, u32)>>,
}

impl Gather {
    pub(super) fn new(fetched: Fetched) -> Self {
        Self {
            maps: vec![MapState::default(); fetched.maps()],
            fetched,
            queues: HashMap::new(),
            retries: BinaryHeap::new(),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.fetched.is_complete()
    }

    pub(super) fn into_fetched(self) -> Fetched {
        self.fetched
    }

    /// A segment can be had there.
    pub(super) fn located(&mut self, location: SegmentLocation) {
        let map = location.map;
        if self.fetched.has(map) {
            return;
        }
        let Some(state) = self.maps.get_mut(map as usize) else {
            return;
        };
        if state.location == Some(location) {
            return;
        }
        state.location = Some(location);
        state.tries = 0;
        if location.size.is_empty() {
            self.fetched.put(map, location.attempt, Piece::Empty);
            return;
        }
        state.queued = false;
        self.queue(map);
    }

    /// A segment is gone; another location will follow.
    pub(super) fn lost(&mut self, output: MapOutput) {
        if let Some(state) = self.maps.get_mut(output.map as usize)
            && state
                .location
                .is_some_and(|location| location.attempt == output.attempt)
        {
            state.location = None;
            state.queued = false;
        }
    }

    /// Puts what has waited long enough back in line.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(&Reverse((at, map))) = self.retries.peek()
            && at <= now
        {
            self.retries.pop();
            self.queue(map);
        }
    }

    /// When [`Self::wake`] has something to do.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.retries.peek().map(|&Reverse((at, _))| at)
    }

    /// A holder that is not being asked now, and what to ask it for.
    pub(super) fn next_batch(&mut self, is_asked: impl Fn(WorkerEpoch) -> bool) -> Option<Batch> {
        loop {
            let holder = self
                .queues
                .iter()
                .find(|&(&holder, queue)| !queue.is_empty() && !is_asked(holder))
                .map(|(&holder, _)| holder)?;
            let batch = self.take_batch(holder);
            if !batch.outputs.is_empty() {
                return Some(batch);
            }
        }
    }

    fn take_batch(&mut self, holder: WorkerEpoch) -> Batch {
        let mut batch = Batch {
            holder,
            outputs: Vec::new(),
            bytes: 0,
        };
        let Some(queue) = self.queues.get_mut(&holder) else {
            return batch;
        };
        while batch.outputs.len() < FETCH_BATCH_MAX
            && batch.bytes < FETCH_ORDER_BYTES_MAX
            && let Some(map) = queue.pop_front()
        {
            let Some(state) = self.maps.get_mut(map as usize) else {
                continue;
            };
            // What moved meanwhile stands in another holder's queue.
            if let Some(location) = state.location
                && location.holder == holder
                && state.queued
                && !state.in_flight
                && !self.fetched.has(map)
            {
                state.queued = false;
                state.in_flight = true;
                let attempt = location.attempt;
                batch.outputs.push(MapOutput { map, attempt });
                batch.bytes += location.size.bytes();
            }
        }
        if queue.is_empty() {
            self.queues.remove(&holder);
        }
        batch
    }

    /// Whether a segment was bad before, so that it must be proved before a
    /// slot is given to the reduce again.
    pub(super) fn is_doubted(&self, output: MapOutput) -> bool {
        self.fetched.times_bad(output.map, output.attempt) > 0
    }

    /// A segment came, whole and proved.
    pub(super) fn got(&mut self, output: MapOutput, piece: Piece) {
        if let Some(state) = self.maps.get_mut(output.map as usize) {
            state.in_flight = false;
        }
        self.fetched.put(output.map, output.attempt, piece);
    }

    /// A segment came and is not what was written: once more, then it counts as
    /// gone.
    pub(super) fn got_bad(
        &mut self,
        output: MapOutput,
        holder: WorkerEpoch,
        now: Instant,
    ) -> Option<Complaint> {
        self.fetched.note_bad(output.map, output.attempt);
        if self.fetched.times_bad(output.map, output.attempt) < 2 {
            self.not_asked(output);
            return None;
        }
        self.failed(output, holder, Failure::Gone, now)
    }

    /// A segment of a batch whose turn did not come.
    pub(super) fn not_asked(&mut self, output: MapOutput) {
        if let Some(state) = self.maps.get_mut(output.map as usize) {
            state.in_flight = false;
            self.queue(output.map);
        }
    }

    /// A segment did not come: it is tried again later, and the leader is told
    /// when that has been in vain.
    pub(super) fn failed(
        &mut self,
        output: MapOutput,
        holder: WorkerEpoch,
        failure: Failure,
        now: Instant,
    ) -> Option<Complaint> {
        let state = self.maps.get_mut(output.map as usize)?;
        state.in_flight = false;
        let location = state.location?;
        // It has moved meanwhile: no word against the new holder.
        if location.attempt != output.attempt || location.holder != holder {
            self.queue(output.map);
            return None;
        }
        // A word against nobody, however often.
        if failure == Failure::Busy {
            self.retries.push(Reverse((now + RETRY_BUSY, output.map)));
            return None;
        }
        state.tries += 1;
        let gone = failure == Failure::Gone;
        if gone || state.tries >= TRIES_MAX {
            self.retries
                .push(Reverse((now + RETRY_REPORTED, output.map)));
            return Some(Complaint {
                output,
                holder: location.holder,
                gone,
            });
        }
        let pause = RETRY_MIN * 4_u32.pow(state.tries.min(TRIES_MAX) - 1);
        self.retries.push(Reverse((now + pause, output.map)));
        None
    }

    fn queue(&mut self, map: u32) {
        let Some(state) = self.maps.get_mut(map as usize) else {
            return;
        };
        if let Some(location) = state.location
            && !state.queued
            && !state.in_flight
            && !self.fetched.has(map)
        {
            state.queued = true;
            self.queues
                .entry(location.holder)
                .or_default()
                .push_back(map);
        }
    }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
