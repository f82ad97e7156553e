//! Notices when the database has lost what it had.
//!
//! sled takes a damaged byte for the end of its log: it opens, and what came
//! later is gone, acknowledged or not. So every write leaves its number in the
//! database, with what must be there after it; and a small file beside the
//! database, the guard, has a number that was reached. A database that is
//! behind its guard, or has less than its own newest note says, is damaged.
//!
//! The guard is written before a vote is acknowledged, because a forgotten vote
//! can elect two leaders; for entries it is at most `GUARD_EVERY` behind,
//! because an fsync more for each append is too much. What was reached since
//! stands in a second file, overwritten after each sync and never synced itself:
//! the death of the process does not touch it. Only where the power goes, and
//! the newest second of the database is damaged as well, does damage pass for an
//! end that was never acknowledged.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::{StorageError, durable_file};
use super::meta;
use crate::failpoints::{GUARD, Point, pass};

const FILE: &str = "guard";
/// The number as of the last sync. A hint: it may be old, or torn.
const REACHED_FILE: &str = "reached";
/// How far the guard may be behind.
const GUARD_EVERY: Duration = Duration::from_secs(1);
const ENCODED_BYTES: usize = 8 + 8 + 8 + 4;

/// What the database must have, as of its newest write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Counts writes.
    pub number: u64,
    /// Records before it exist, or are purged. Lowered before a truncation.
    pub next: u64,
    /// Records before it are purged.
    pub purged_next: u64,
    /// CRC-32C of the vote; 0 without one.
    pub vote_checksum: u32,
}

impl Progress {
    /// Checksum of a vote.
    pub fn checksum(vote: &[u8]) -> u32 {
        crc32c::crc32c(vote)
    }

    /// For the database.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENCODED_BYTES);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.next.to_le_bytes());
        bytes.extend_from_slice(&self.purged_next.to_le_bytes());
        bytes.extend_from_slice(&self.vote_checksum.to_le_bytes());
        bytes
    }

    /// From the database.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != ENCODED_BYTES {
            return None;
        }
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            number: word(0)?,
            next: word(8)?,
            purged_next: word(16)?,
            vote_checksum: u32::from_le_bytes(bytes.get(24..)?.try_into().ok()?),
        })
    }

    /// What is missing, if anything is.
    pub fn find_loss(
        &self,
        guarded: u64,
        next: u64,
        purged: Option<u64>,
        vote: Option<&Bytes>,
    ) -> Option<String> {
        if self.number < guarded {
            return Some(format!(
                "it ends at write {}, and write {guarded} was reached",
                self.number
            ));
        }
        if next < self.next {
            return Some(format!("it ends before record {}", self.next));
        }
        if purged.map_or(0, |upto| upto + 1) != self.purged_next {
            return Some(format!("its purge mark is not {}", self.purged_next));
        }
        if vote.map_or(0, |vote| Self::checksum(vote)) != self.vote_checksum {
            return Some("its vote is another one".to_owned());
        }
        None
    }
}

/// The file beside the database.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    reached_path: PathBuf,
    reached: Option<File>,
    saved: Option<(u64, Instant)>,
}

impl Guard {
    /// A guard in the database's directory.
    pub fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
            reached_path: directory.join(REACHED_FILE),
            reached: None,
            saved: None,
        }
    }

    /// The number that was reached; `None` when there is no guard.
    pub fn load(directory: &Path) -> Result<Option<u64>, StorageError> {
        let path = directory.join(FILE);
        let Some(bytes) = durable_file::read(&path)? else {
            return Ok(None);
        };
        let number = decode_number(&bytes).ok_or(StorageError::Damaged {
            what: "the guard of the raft log",
            path,
            problem: "it does not decode".to_owned(),
        })?;
        // A power cut may have torn it, or brought an old one back.
        let reached = durable_file::read(&directory.join(REACHED_FILE))?;
        let reached = reached.and_then(|bytes| decode_number(&bytes));
        Ok(Some(number.max(reached.unwrap_or_default())))
    }

    /// Keeps a number that was just synced, as long as the power stays.
    pub fn note(&mut self, progress: &Progress) -> Result<(), StorageError> {
        let file = match self.reached.take() {
            Some(file) => file,
            None => OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&self.reached_path)
                .map_err(durable_file::io("open", &self.reached_path))?,
        };
        let value = meta::encode(&progress.number.to_le_bytes());
        file.write_all_at(&value, 0)
            .map_err(durable_file::io("write", &self.reached_path))?;
        self.reached = Some(file);
        pass(Point::ReachedWritten)
    }

    /// Keeps a number, durably.
    pub fn save(&mut self, progress: &Progress) -> Result<(), StorageError> {
        if self
            .saved
            .is_some_and(|(number, _)| number == progress.number)
        {
            return Ok(());
        }
        let value = meta::encode(&progress.number.to_le_bytes());
        durable_file::replace(&self.path, &[&value], GUARD)?;
        self.saved = Some((progress.number, Instant::now()));
        Ok(())
    }

    /// Whether the number on the disk is too old.
    pub fn is_due(&self) -> bool {
        self.saved.is_none_or(|(_, at)| at.elapsed() >= GUARD_EVERY)
    }
}

fn decode_number(bytes: &[u8]) -> Option<u64> {
    let value = meta::decode(bytes)?;
    value.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRESS: Progress = Progress {
        number: 7,
        next: 20,
        purged_next: 5,
        vote_checksum: 0,
    };

    #[test]
    fn progress_reads_back() {
        assert_eq!(Progress::decode(&PROGRESS.encode()), Some(PROGRESS));
        assert_eq!(Progress::decode(b"short"), None);
    }

    #[test]
    fn each_kind_of_loss_is_found() {
        assert_eq!(PROGRESS.find_loss(7, 20, Some(4), None), None);
        assert_eq!(PROGRESS.find_loss(3, 30, Some(4), None), None);
        assert!(PROGRESS.find_loss(8, 20, Some(4), None).is_some());
        assert!(PROGRESS.find_loss(7, 19, Some(4), None).is_some());
        assert!(PROGRESS.find_loss(7, 20, None, None).is_some());
        let vote = Bytes::from_static(b"vote");
        assert!(PROGRESS.find_loss(7, 20, Some(4), Some(&vote)).is_some());
    }
}
