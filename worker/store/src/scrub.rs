//! Reads what nobody asks for, at a bounded rate, so that a copy that went bad
//! is found while there is another one.
//!
//! [`Scrubber::step`] does so much and no more, and knows no clock;
//! [`ScrubDriver`] is the thread that calls it as a [`TokenBucket`] allows.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::BlockId;
use vivat_shared::limits::STREAM_CHUNK_BYTES;

use crate::error::{Damage, StoreError, is_disk_fault};
use crate::format::HEADER_BYTES;
use crate::reader::{BlockReader, size};
use crate::store::Store;

/// The longest that the driver sleeps, and what it saves up to read at once.
const PERIOD: Duration = Duration::from_millis(250);

/// What opening a block counts for, so that a hundred thousand tiny ones are not
/// all opened in one step.
const OPENING_BYTES: u64 = 4096;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubStep {
    /// Bytes of data that were read, and 4 KiB for each time a block was opened.
    pub bytes: u64,
    /// Blocks that turned out whole.
    pub whole: u64,
    /// Copies that were dropped and reported.
    pub damaged: u64,
    /// The last block was passed: the next step begins with the first again.
    pub ended_pass: bool,
}

/// In the middle of a block.
#[derive(Debug, Clone, Copy)]
struct Place {
    id: BlockId,
    generation: u64,
    offset: u64,
    crc32c: u32,
}

/// A pass over all blocks, in the order of ids. Its place lives as long as it
/// does: a restart begins anew.
#[derive(Debug)]
pub struct Scrubber {
    store: Store,
    /// The last block that was passed.
    after: Option<BlockId>,
    place: Option<Place>,
}

impl Scrubber {
    /// Before the first block.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            after: None,
            place: None,
        }
    }

    /// Reads about so many bytes: to the end of the 256 KiB in which they end.
    /// Stops at the end of the pass.
    ///
    /// # Errors
    ///
    /// The operating system's, where it says nothing about the block. The next
    /// step tries the same block again.
    pub fn step(&mut self, budget_bytes: u64) -> Result<ScrubStep, StoreError> {
        let mut step = ScrubStep::default();
        while step.bytes < budget_bytes {
            let Some(next) = self.next() else {
                self.after = None;
                step.ended_pass = true;
                break;
            };
            let left = budget_bytes - step.bytes;
            match self.read_on(next, left, &mut step.bytes) {
                Ok(true) => {
                    step.whole += 1;
                    self.pass(next.id);
                }
                Ok(false) => {}
                Err(StoreError::NotFound { .. }) => self.pass(next.id),
                Err(StoreError::Damaged { .. }) => {
                    step.damaged += 1;
                    self.pass(next.id);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(step)
    }

    fn pass(&mut self, id: BlockId) {
        self.after = Some(id);
        self.place = None;
    }

    /// The block in whose middle we are, or the next one.
    fn next(&mut self) -> Option<BlockSummary> {
        if let Some(place) = self.place {
            if let Some(summary) = self.store.summary(place.id) {
                return Some(summary);
            }
            self.pass(place.id);
        }
        self.store.list(self.after, 1).first().copied()
    }

    /// A block whose table the disk does not give is lost, too: trying it again
    /// for ever would end the pass here.
    fn open(&self, id: BlockId) -> Result<BlockReader, StoreError> {
        let generation = self.store.lock_index().get(&id).map(|it| it.generation);
        match (self.store.reader(id), generation) {
            (Err(StoreError::Io { source, .. }), Some(generation)) if is_disk_fault(&source) => {
                let damage = Damage::Unreadable { offset: 0 };
                self.store.condemn(id, generation, damage);
                Err(StoreError::Damaged { block: id, damage })
            }
            (outcome, _) => outcome,
        }
    }

    /// Whether the block is done, and whole.
    fn read_on(
        &mut self,
        next: BlockSummary,
        left: u64,
        bytes: &mut u64,
    ) -> Result<bool, StoreError> {
        *bytes += OPENING_BYTES;
        let reader = self.open(next.id)?;
        let generation = reader.generation();
        let start = Place {
            id: next.id,
            generation,
            offset: 0,
            crc32c: 0,
        };
        let mut place = self
            .place
            .filter(|place| place.generation == generation)
            .unwrap_or(start);
        let length = reader.summary().bytes;
        let end = place.offset.saturating_add(left).min(length);
        while place.offset < end {
            let piece = (length - place.offset).min(STREAM_CHUNK_BYTES as u64);
            let data = read_from_disk(&reader, place.offset, piece)?;
            place.offset += piece;
            place.crc32c = crc32c::crc32c_append(place.crc32c, &data);
            *bytes += piece;
        }
        self.place = Some(place);
        if place.offset < length {
            return Ok(false);
        }
        let (found, expected) = (place.crc32c, reader.summary().crc32c);
        if found != expected {
            return Err(reader.condemn(Damage::Whole { expected, found }));
        }
        Ok(true)
    }
}

/// Past the page cache, which would answer for the disk, and leaving nothing in
/// it that somebody else has a use for.
fn read_from_disk(
    reader: &BlockReader,
    offset: u64,
    bytes: u64,
) -> Result<bytes::Bytes, StoreError> {
    let forget = || {
        // A hint: where it is not taken, the pass proves less and harms nothing.
        fadvise(reader.file(), 0, None, Advice::DontNeed).ok();
    };
    forget();
    let data = reader.read(offset, size(bytes));
    forget();
    match data {
        Err(StoreError::Io { source, .. }) if is_disk_fault(&source) => {
            let offset = HEADER_BYTES + offset;
            Err(reader.condemn(Damage::Unreadable { offset }))
        }
        outcome => outcome,
    }
}

/// Bytes that may be read now, at a steady rate.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    bytes_per_second: u64,
    bytes_max: u64,
    bytes: u64,
    filled_at: Instant,
}

impl TokenBucket {
    /// Empty; saves up at most so many bytes.
    #[must_use]
    pub fn new(bytes_per_second: u64, bytes_max: u64, now: Instant) -> Self {
        Self {
            bytes_per_second,
            bytes_max,
            bytes: 0,
            filled_at: now,
        }
    }

    /// What may be read at that moment.
    pub fn available(&mut self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.filled_at);
        let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        let grown = self.bytes_per_second.saturating_mul(micros) / 1_000_000;
        // Less than one byte stays to be counted next time.
        if grown > 0 {
            self.bytes = self.bytes.saturating_add(grown).min(self.bytes_max);
            self.filled_at = now;
        }
        self.bytes
    }

    /// So much was read. What was too much is not forgiven, but waited for.
    pub fn spend(&mut self, bytes: u64) {
        let owed = bytes.saturating_sub(self.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        let micros = owed.saturating_mul(1_000_000) / self.bytes_per_second.max(1);
        self.filled_at += Duration::from_micros(micros);
    }
}

/// The thread that scrubs; ends when this is dropped.
#[derive(Debug)]
pub struct ScrubDriver {
    orders: Option<Sender<u64>>,
    thread: Option<JoinHandle<()>>,
}

impl ScrubDriver {
    /// Scrubs at so many bytes a second, or not while that is 0.
    ///
    /// # Errors
    ///
    /// No thread can be had.
    pub fn start(store: Store, bytes_per_second: u64) -> std::io::Result<Self> {
        let (orders, received) = channel();
        let mut scrubber = Scrubber::new(store);
        let work = move || {
            let mut rate = bytes_per_second;
            let mut bucket = bucket_of(rate);
            loop {
                match received.recv_timeout(PERIOD) {
                    Ok(order) => {
                        rate = order;
                        bucket = bucket_of(rate);
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                let budget = bucket.available(Instant::now());
                if rate > 0 && budget > 0 {
                    // What the system refuses now it may give in the next period;
                    // what is wrong with a block was reported on its way.
                    let step = scrubber.step(budget).unwrap_or_default();
                    bucket.spend(step.bytes);
                }
            }
        };
        let thread = thread::Builder::new()
            .name("scrub".to_owned())
            .spawn(work)?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Another rate from now on; 0 pauses, and the place is kept.
    pub fn set_rate(&self, bytes_per_second: u64) {
        if let Some(orders) = &self.orders {
            // The thread ends after the sender, or it has panicked.
            orders.send(bytes_per_second).ok();
        }
    }
}

fn bucket_of(bytes_per_second: u64) -> TokenBucket {
    let period_millis = u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX);
    let most = bytes_per_second.saturating_mul(2 * period_millis) / 1_000;
    TokenBucket::new(bytes_per_second, most.max(1), Instant::now())
}

impl Drop for ScrubDriver {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed; there is nobody here to tell.
            thread.join().ok();
        }
    }
}
