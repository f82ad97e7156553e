//! What one reduce asks of one holder at a time, and what comes of it.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use vivat_proto::v1;
use vivat_shared::ids::{RoundId, WorkerEpoch};

use super::fetched::Piece;
use super::gather::{Batch, Failure, MapOutput};
use super::landing::Landing;

/// What came of a segment.
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

/// The way to the reduce. Not bounded: it has asked for all that arrives, and
/// what arrives is in its share of memory.
pub(super) type Arrivals = mpsc::UnboundedSender<(WorkerEpoch, Arrival)>;

/// Segments of one partition from one holder. Each ends in one arrival, however the
/// order ends, unless the worker's own disk fails.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) holder: WorkerEpoch,
    pub(super) round: RoundId,
    pub(super) partition: u32,
    pub(super) landing: Landing,
    /// About so many.
    pub(super) bytes: u64,
    left: VecDeque<MapOutput>,
    arrivals: Arrivals,
    /// Segments that came since it was sent.
    came: u32,
    failure: Failure,
}

impl Order {
    pub(super) fn new(
        (round, partition): (RoundId, u32),
        batch: Batch,
        landing: Landing,
        arrivals: Arrivals,
    ) -> Self {
        Self {
            holder: batch.holder,
            round,
            partition,
            landing,
            bytes: batch.bytes,
            left: batch.outputs.into(),
            arrivals,
            came: 0,
            failure: Failure::Unreachable,
        }
    }

    /// The message for what is left of it. Of the first segment so many bytes are
    /// here already.
    pub(super) fn request(&mut self, offset: u64) -> v1::FetchSegmentsRequest {
        self.came = 0;
        v1::FetchSegmentsRequest {
            job: self.round.job.0,
            step: u32::from(self.round.step),
            round: self.round.round,
            partition: self.partition,
            maps: self
                .left
                .iter()
                .map(|output| v1::FetchedMap {
                    map: output.map,
                    attempt: u32::from(output.attempt),
                })
                .collect(),
            offset,
        }
    }

    /// The segment that comes next, and its place in the message.
    pub(super) fn next(&self) -> Option<(MapOutput, u32)> {
        let output = self.left.front()?;
        Some((*output, self.came))
    }

    /// Whether the reduce still waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        !self.arrivals.is_closed()
    }

    /// The next segment came, good or bad.
    pub(super) fn came(&mut self, arrival: Arrival) {
        self.left.pop_front();
        self.came += 1;
        self.arrive(arrival);
    }

    /// The worker's disk failed: nothing more is said.
    pub(super) fn fail_storage(mut self, error: std::io::Error) {
        self.left.clear();
        self.arrive(Arrival::Storage(error));
    }

    /// Ends it: the next segment failed, the others were not asked for.
    pub(super) fn fail(mut self, failure: Failure) {
        self.failure = failure;
    }

    fn arrive(&self, arrival: Arrival) {
        // A receiver that is gone has been stopped: nothing is owed to it.
        let _gone = self.arrivals.send((self.holder, arrival));
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        let mut left = std::mem::take(&mut self.left).into_iter();
        if let Some(output) = left.next() {
            self.arrive(Arrival::Failed(output, self.failure));
        }
        for output in left {
            self.arrive(Arrival::NotAsked(output));
        }
    }
}
