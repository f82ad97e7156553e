//! Merges sorted runs by a loser tree and groups records by key.
//!
//! Ties between runs go to the earlier source, so the values of a key come out
//! in the order of the sources, and within one in the order of the run.

use std::io::Read;

use vivat_shared::limits::MERGE_RUNS_MAX;

use crate::error::EngineError;
use crate::segment::{SegmentError, SegmentReader};
use crate::task::{CancelFlag, Progress};

/// Memory that one run takes in a merge, unless a record in it is huge: its
/// stored and its raw block, and their slack.
pub(crate) const RUN_BYTES: usize = 192 * 1024;
/// Memory that a merge may take at least, however small the budget: 16 runs.
pub(crate) const MERGE_BYTES_MIN: usize = 16 * RUN_BYTES;

/// How many of the first runs one merge may read: as many as the memory holds, at
/// most [`MERGE_RUNS_MAX`], but two at least. Each run says what its blocks take.
pub(crate) fn group_len(run_bytes: impl Iterator<Item = usize>, memory_bytes: usize) -> usize {
    let mut left_bytes = memory_bytes.max(MERGE_BYTES_MIN);
    let mut runs = 0;
    for bytes in run_bytes.take(MERGE_RUNS_MAX) {
        let bytes = bytes.max(RUN_BYTES);
        if runs >= 2 && bytes > left_bytes {
            break;
        }
        left_bytes = left_bytes.saturating_sub(bytes);
        runs += 1;
    }
    runs
}

/// A failed source of a merge, by its place among the sources.
#[derive(Debug)]
pub(crate) struct MergeError {
    pub source_index: usize,
    pub source: SegmentError,
}

/// What the tree compares first: most keys differ in their first eight bytes.
#[derive(Debug, Clone, Copy)]
struct Head {
    prefix: u64,
    live: bool,
}

/// The records of several runs in one order.
#[derive(Debug)]
pub(crate) struct Merge<R> {
    readers: Vec<SegmentReader<R>>,
    heads: Vec<Head>,
    /// `tree[0]` is the winner, the others the losers of their matches.
    tree: Vec<usize>,
    started: bool,
}

impl<R: Read> Merge<R> {
    pub fn new(readers: Vec<SegmentReader<R>>) -> Self {
        Self {
            heads: Vec::with_capacity(readers.len()),
            tree: Vec::new(),
            readers,
            started: false,
        }
    }

    /// Moves to the next record; false after the last.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, MergeError> {
        if !self.started {
            return self.start();
        }
        let Some(&winner) = self.tree.first() else {
            return Ok(false);
        };
        if !self.heads[winner].live {
            return Ok(false);
        }
        self.pull(winner)?;
        self.replay(winner);
        Ok(self.heads[self.tree[0]].live)
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        self.readers[self.tree[0]].key()
    }

    #[inline]
    pub fn value(&self) -> &[u8] {
        self.readers[self.tree[0]].value()
    }

    /// Stored bytes read so far from those sources that are wanted.
    pub fn stored_bytes(&self, is_wanted: impl Fn(usize) -> bool) -> u64 {
        let readers = self.readers.iter().enumerate();
        let wanted = readers.filter(|&(index, _)| is_wanted(index));
        wanted.map(|(_, reader)| reader.stored_bytes()).sum()
    }

    #[cold]
    fn start(&mut self) -> Result<bool, MergeError> {
        self.started = true;
        let count = self.readers.len();
        for index in 0..count {
            self.heads.push(Head {
                prefix: 0,
                live: true,
            });
            self.pull(index)?;
        }
        if count == 0 {
            return Ok(false);
        }
        // Play every match once, leaves upwards: leaf i is node count + i.
        let mut winners = vec![0; count];
        winners.extend(0..count);
        self.tree = vec![0; count];
        for node in (1..count).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            let (winner, loser) = if self.precedes(left, right) {
                (left, right)
            } else {
                (right, left)
            };
            winners[node] = winner;
            self.tree[node] = loser;
        }
        self.tree[0] = if count == 1 { 0 } else { winners[1] };
        Ok(self.heads[self.tree[0]].live)
    }

    #[inline]
    fn pull(&mut self, index: usize) -> Result<(), MergeError> {
        let reader = &mut self.readers[index];
        let live = reader.advance().map_err(|source| MergeError {
            source_index: index,
            source,
        })?;
        let prefix = if live { key_prefix(reader.key()) } else { 0 };
        self.heads[index] = Head { prefix, live };
        Ok(())
    }

    #[inline]
    fn replay(&mut self, leaf: usize) {
        let mut winner = leaf;
        let mut node = usize::midpoint(leaf, self.readers.len());
        while node > 0 {
            let loser = self.tree[node];
            if self.precedes(loser, winner) {
                self.tree[node] = winner;
                winner = loser;
            }
            node /= 2;
        }
        self.tree[0] = winner;
    }

    #[inline]
    fn precedes(&self, a: usize, b: usize) -> bool {
        let (head_a, head_b) = (self.heads[a], self.heads[b]);
        if !(head_a.live && head_b.live) {
            return head_a.live || (!head_b.live && a < b);
        }
        if head_a.prefix != head_b.prefix {
            return head_a.prefix < head_b.prefix;
        }
        match self.readers[a].key().cmp(self.readers[b].key()) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => a < b,
        }
    }
}

/// The first eight bytes of a key, zeros behind a shorter one: where prefixes
/// differ, keys differ the same way.
#[inline]
pub(crate) fn key_prefix(key: &[u8]) -> u64 {
    if let Some(front) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*front);
    }
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(bytes)
}

/// Records between two looks at the cancel flag.
const PULSE_RECORDS: u64 = 4096;

/// A merge whose records are taken key by key.
pub(crate) struct Groups<'t, R> {
    merge: Merge<R>,
    key: Vec<u8>,
    /// The current record of the merge is one not yet taken.
    fresh: bool,
    in_group: bool,
    records: u64,
    bytes: u64,
    keys: u64,
    reported: (u64, u64),
    progress: &'t Progress,
    cancel: &'t CancelFlag,
}

/// Why a group cannot go on.
#[derive(Debug)]
pub(crate) enum GroupError {
    Cancelled,
    Source(MergeError),
}

impl GroupError {
    /// The engine's error, where `name` tells the source's.
    pub fn into_engine(self, name: impl FnOnce(MergeError) -> EngineError) -> EngineError {
        match self {
            Self::Cancelled => EngineError::Cancelled,
            Self::Source(error) => name(error),
        }
    }
}

impl<'t, R: Read> Groups<'t, R> {
    pub fn new(
        readers: Vec<SegmentReader<R>>,
        progress: &'t Progress,
        cancel: &'t CancelFlag,
    ) -> Self {
        Self {
            merge: Merge::new(readers),
            key: Vec::new(),
            fresh: false,
            in_group: false,
            records: 0,
            bytes: 0,
            keys: 0,
            reported: (0, 0),
            progress,
            cancel,
        }
    }

    /// Moves to the next key, over values of the last that nobody took.
    #[inline]
    pub fn next_key(&mut self) -> Result<bool, GroupError> {
        while self.in_group {
            self.next_value()?;
        }
        if !self.fresh && !self.pull()? {
            return Ok(false);
        }
        self.key.clear();
        self.key.extend_from_slice(self.merge.key());
        self.fresh = true;
        self.in_group = true;
        self.keys += 1;
        Ok(true)
    }

    /// The next value of the current key.
    #[inline]
    pub fn next_value(&mut self) -> Result<Option<&[u8]>, GroupError> {
        if !self.in_group {
            return Ok(None);
        }
        if self.fresh {
            self.fresh = false;
            return Ok(Some(self.merge.value()));
        }
        if !self.pull()? {
            self.in_group = false;
            return Ok(None);
        }
        if self.merge.key() != self.key {
            self.in_group = false;
            self.fresh = true;
            return Ok(None);
        }
        Ok(Some(self.merge.value()))
    }

    /// Copies the current key, so that it can be read while values are taken.
    pub fn copy_key(&self, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(&self.key);
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    pub fn keys(&self) -> u64 {
        self.keys
    }

    pub fn stored_bytes(&self, is_wanted: impl Fn(usize) -> bool) -> u64 {
        self.merge.stored_bytes(is_wanted)
    }

    /// Tells the watcher all that was read.
    pub fn report(&mut self) {
        let (bytes, records) = self.reported;
        self.progress
            .add(self.bytes - bytes, self.records - records);
        self.reported = (self.bytes, self.records);
    }

    #[inline]
    fn pull(&mut self) -> Result<bool, GroupError> {
        if !self.merge.advance().map_err(GroupError::Source)? {
            return Ok(false);
        }
        self.records += 1;
        self.bytes += (self.merge.key().len() + self.merge.value().len()) as u64;
        if self.records.is_multiple_of(PULSE_RECORDS) {
            self.report();
            if self.cancel.is_cancelled() {
                return Err(GroupError::Cancelled);
            }
        }
        Ok(true)
    }
}
