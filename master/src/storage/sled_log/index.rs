//! What the log holds, as its callers see it: ahead of the disk.
//!
//! A write is readable when its call returns, but the disk belongs to the
//! writer's thread. So the newest records are kept here, all those that are
//! not on the disk yet and as many more as a bound allows; replication reads
//! them from here. Everything older is on the disk and never changes, until a
//! truncation, which counts up `generation`.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::super::Record;

/// What is kept of records that are on the disk too.
const TAIL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Index {
    first: u64,
    /// Length of each record.
    sizes: VecDeque<u32>,
    /// The newest records.
    tail: VecDeque<Bytes>,
    tail_bytes: usize,
    /// Records before it are on the disk as they are here.
    written_next: u64,
    generation: u64,
}

/// What a read needs: the part that is on the disk, and the rest.
pub struct Split {
    /// To be read from the disk.
    pub disk: Range<u64>,
    /// Behind it.
    pub tail: Vec<Record>,
    /// Changes whenever a disk read may have seen something else.
    pub stamp: (u64, u64),
}

impl Index {
    /// An index of what was found on the disk.
    pub fn recovered(first: u64, sizes: VecDeque<u32>) -> Self {
        let next = first + sizes.len() as u64;
        Self {
            first,
            sizes,
            written_next: next,
            ..Self::default()
        }
    }

    /// The indexes that exist.
    pub fn range(&self) -> Range<u64> {
        self.first..self.next()
    }

    /// Counts truncations.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn next(&self) -> u64 {
        self.first + self.sizes.len() as u64
    }

    fn tail_first(&self) -> u64 {
        self.next() - self.tail.len() as u64
    }

    /// Adds a record; false if it would leave a hole.
    #[must_use]
    pub fn push(&mut self, record: &Record) -> bool {
        if self.sizes.is_empty() {
            self.first = record.index;
            self.written_next = record.index;
        } else if record.index != self.next() {
            return false;
        }
        let bytes = record.bytes.len();
        self.sizes
            .push_back(u32::try_from(bytes).expect("entries are bounded at 64 KiB"));
        self.tail.push_back(record.bytes.clone());
        self.tail_bytes += bytes;
        true
    }

    /// Removes the records from `from` on.
    pub fn truncate(&mut self, from: u64) {
        while self.next() > from.max(self.first) {
            self.sizes.pop_back();
            if let Some(bytes) = self.tail.pop_back() {
                self.tail_bytes -= bytes.len();
            }
        }
        self.generation += 1;
        self.written_next = self.written_next.min(self.next());
    }

    /// Removes the records up to and with `upto`.
    pub fn purge(&mut self, upto: u64) {
        while self.first <= upto && !self.sizes.is_empty() {
            if self.tail_first() == self.first
                && let Some(bytes) = self.tail.pop_front()
            {
                self.tail_bytes -= bytes.len();
            }
            self.sizes.pop_front();
            self.first += 1;
        }
        if self.sizes.is_empty() {
            self.first = self.first.max(upto + 1);
        }
        self.written_next = self.written_next.max(self.first);
    }

    /// Notes that the records before `next` are on the disk, unless there was
    /// a truncation since they were handed to the writer.
    pub fn written(&mut self, next: u64, generation: u64) {
        if generation == self.generation {
            self.written_next = self.written_next.max(next.min(self.next()));
        }
        while self.tail_bytes > TAIL_BYTES_MAX && self.tail_first() < self.written_next {
            if let Some(bytes) = self.tail.pop_front() {
                self.tail_bytes -= bytes.len();
            }
        }
    }

    /// Splits a range into what is on the disk only and what is here.
    pub fn split(&self, range: Range<u64>) -> Split {
        let start = range.start.max(self.first);
        let end = range.end.min(self.next()).max(start);
        let middle = self.tail_first().clamp(start, end);
        let tail = (middle..end)
            .map(|index| Record {
                index,
                bytes: self.tail[position(index - self.tail_first())].clone(),
            })
            .collect();
        Split {
            disk: start..middle,
            tail,
            stamp: (self.generation, self.first),
        }
    }

    /// See [`super::super::LogStore::keep_from`].
    pub fn keep_from(&self, entries_max: u64, bytes_max: u64, entries_min: u64) -> u64 {
        let (mut entries, mut bytes) = (0, 0);
        for size in self.sizes.iter().rev() {
            let more = bytes + u64::from(*size);
            if entries >= entries_min && (entries >= entries_max || more > bytes_max) {
                break;
            }
            entries += 1;
            bytes = more;
        }
        self.next() - entries
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset into a queue in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(index: u64, length: usize) -> Record {
        Record {
            index,
            bytes: Bytes::from(vec![0; length]),
        }
    }

    #[test]
    fn record_rewritten_after_a_truncation_is_not_read_from_the_disk() {
        let mut index = Index::default();
        for at in 1..=3 {
            assert!(index.push(&record(at, 4)));
        }
        let handed_over = index.generation();
        index.truncate(2);
        assert!(index.push(&record(2, 5_000_000)));
        assert!(index.push(&record(3, 5_000_000)));
        // The writer reports the first three: the old ones.
        index.written(4, handed_over);
        assert_eq!(index.split(2..4).disk, 2..2);
        assert_eq!(index.split(2..4).tail.len(), 2);
    }

    #[test]
    fn purge_behind_the_end_leaves_an_empty_log_that_goes_on_there() {
        let mut index = Index::default();
        assert!(index.push(&record(1, 1)));
        index.purge(10);
        assert_eq!(index.range(), 11..11);
        assert!(index.push(&record(11, 1)));
        assert!(!index.push(&record(13, 1)));
    }

    #[test]
    fn margin_counts_entries_and_bytes_and_never_goes_below_the_minimum() {
        let mut index = Index::default();
        for at in 0..100 {
            assert!(index.push(&record(at, 10)));
        }
        assert_eq!(index.keep_from(20, 10_000, 5), 80);
        assert_eq!(index.keep_from(20, 100, 5), 90);
        assert_eq!(index.keep_from(20, 10, 5), 95);
        assert_eq!(index.keep_from(1_000, 10_000, 5), 0);
    }
}
