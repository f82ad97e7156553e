//! What an attempt's commands write to their standard error: kept while it runs,
//! stored where it outlives the worker when the attempt ends.
//!
//! A log is bounded. Its first half is kept as it comes; behind that the newest text
//! is, in two files that take turns, so that the end is always there and the middle is
//! what goes. Nothing that goes wrong here makes an attempt fail.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use vivat_mapreduce::Host;
use vivat_shared::attempt::Outcome;
use vivat_shared::ids::AttemptId;
use vivat_shared::limits::{LOG_BYTES_MAX, OUTPUT_TAIL_BYTES_MAX, STREAM_CHUNK_BYTES};
use vivat_shared::logs::{AttemptLog, log_block, log_dataset};

use super::Runner;
use crate::datasets::next_hops;
use crate::held::Grant;

/// Of the beginning.
const HEAD_BYTES_MAX: u64 = LOG_BYTES_MAX / 2;
/// Of each of two files with the end, with room for the words in between.
const TURN_BYTES_MAX: u64 = LOG_BYTES_MAX / 4 - GAP_BYTES_MAX;
/// The words that stand for what is left out.
const GAP_BYTES_MAX: u64 = 128;

/// The files of a log, by what they hold.
const FILES: [&str; 3] = ["log-head", "log-even", "log-odd"];

/// Where an attempt runs: its slot's cell, and its log.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) cell: usize,
    pub(super) log: KeptLog,
}

/// The log of a running attempt.
#[derive(Debug)]
pub(super) struct KeptLog {
    attempt: AttemptId,
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes in all.
    bytes: u64,
    /// In the current one of the files with the end.
    turn_bytes: u64,
    /// Changes between them.
    turns: u64,
    /// The end, a few times as much as is wanted of it.
    tail: Vec<u8>,
    /// The file that is written now, by its place in [`FILES`].
    open: Option<(usize, File)>,
    /// A write failed: nothing more is kept but the end.
    broken: bool,
    status: String,
}

impl KeptLog {
    /// An empty log, which makes files in the directory when something is written.
    pub(super) fn new(attempt: AttemptId, directory: PathBuf) -> Self {
        Self {
            attempt,
            directory,
            state: Mutex::default(),
        }
    }

    /// The last of what was written, for the report of a failure.
    pub(super) fn tail(&self) -> String {
        let state = self.lock();
        let from = state.tail.len().saturating_sub(OUTPUT_TAIL_BYTES_MAX);
        let tail = &state.tail[from..];
        // From the beginning of a line, if one begins there.
        let begin = match from {
            0 => 0,
            _ => memchr::memchr(b'\n', tail).map_or(0, |end| end + 1),
        };
        String::from_utf8_lossy(&tail[begin..]).into_owned()
    }

    /// Bytes that were written in all.
    fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// All that was kept, and whether that is not all.
    fn text(&self) -> io::Result<(Vec<u8>, bool)> {
        let mut state = self.lock();
        state.open = None;
        let mut text = Vec::new();
        let mut kept = self.read(0, &mut text)?;
        let head_end = text.len();
        if state.bytes > HEAD_BYTES_MAX {
            if let Some(turn) = state.turns.checked_sub(1) {
                kept += self.read(turn_file(turn), &mut text)?;
            }
            kept += self.read(turn_file(state.turns), &mut text)?;
        }
        let missing = state.bytes.saturating_sub(kept);
        if missing > 0 {
            let gap = format!("\n... {missing} bytes are left out here ...\n");
            text.splice(head_end..head_end, gap.into_bytes());
        }
        Ok((text, missing > 0))
    }

    /// Appends what a file has; one that is not there has nothing.
    fn read(&self, file: usize, text: &mut Vec<u8>) -> io::Result<u64> {
        match File::open(self.directory.join(FILES[file])) {
            Ok(mut file) => Ok(file.read_to_end(text)? as u64),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn turn_file(turns: u64) -> usize {
    if turns.is_multiple_of(2) { 1 } else { 2 }
}

impl State {
    fn append(&mut self, directory: &Path, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (file, room) = if self.bytes < HEAD_BYTES_MAX {
                (0, HEAD_BYTES_MAX - self.bytes)
            } else {
                if self.turn_bytes >= TURN_BYTES_MAX {
                    self.turn_bytes = 0;
                    self.turns += 1;
                    self.open = None;
                }
                (turn_file(self.turns), TURN_BYTES_MAX - self.turn_bytes)
            };
            let room = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(room);
            let out = match &mut self.open {
                Some((open, out)) if *open == file => out,
                open => {
                    let created = File::create(directory.join(FILES[file]))?;
                    &mut open.insert((file, created)).1
                }
            };
            out.write_all(now)?;
            if file > 0 {
                self.turn_bytes += now.len() as u64;
            }
            self.bytes += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }
}

impl Host for KeptLog {
    fn attempt(&self) -> Option<AttemptId> {
        Some(self.attempt)
    }

    fn log(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.tail.extend_from_slice(bytes);
        if state.tail.len() > 4 * OUTPUT_TAIL_BYTES_MAX {
            let surplus = state.tail.len() - OUTPUT_TAIL_BYTES_MAX;
            state.tail.drain(..surplus);
        }
        if state.broken {
            state.bytes += bytes.len() as u64;
        } else if let Err(error) = state.append(&self.directory, bytes) {
            tracing::warn!(attempt = %self.attempt, error = %error, "a log is not kept");
            state.broken = true;
        }
    }

    fn status(&self, text: &str) {
        tracing::debug!(attempt = %self.attempt, status = text, "an attempt's status");
        text.clone_into(&mut self.lock().status);
    }
}

impl Drop for KeptLog {
    fn drop(&mut self) {
        if self.bytes() > 0 {
            for file in FILES {
                // What is left is overwritten by the slot's next log.
                let _missing = fs::remove_file(self.directory.join(file));
            }
        }
    }
}

impl Runner {
    /// Puts an attempt's log into its outcome.
    pub(super) fn keep_log(&self, grant: &Grant, log: &KeptLog, outcome: &mut Outcome) {
        let place = match outcome {
            Outcome::Mapped { log, .. } | Outcome::Reduced { log, .. } => log,
            Outcome::Failed(failure) => {
                if failure.output_tail.is_empty() {
                    failure.output_tail = log.tail();
                }
                &mut failure.log
            }
            Outcome::Planned { .. }
            | Outcome::Closed { .. }
            | Outcome::Committed
            | Outcome::Notified
            | Outcome::Killed
            | Outcome::HandedBack => return,
        };
        if log.bytes() == 0 {
            return;
        }
        match self.store_log(grant, log) {
            Ok(stored) => *place = Some(stored),
            Err(error) => tracing::warn!(
                attempt = %grant.attempt,
                error = %error,
                "an attempt's log cannot be stored"
            ),
        }
    }

    fn store_log(&self, grant: &Grant, log: &KeptLog) -> io::Result<AttemptLog> {
        let stopped = || io::Error::other("the attempt was stopped");
        let (text, truncated) = log.text()?;
        let bytes_max = LOG_BYTES_MAX;
        let dataset = log_dataset(grant.attempt.job());
        let hops = next_hops(&self.leader, (dataset, grant.worker.worker), bytes_max);
        let hops = self.blocks.wait(hops, &grant.stopped).ok_or_else(stopped)?;
        let mut block = self
            .blocks
            .write(log_block(grant.attempt, 0), bytes_max, hops);
        let mut text = Bytes::from(text);
        let writing = async {
            while !text.is_empty() {
                let piece = text.split_to(text.len().min(STREAM_CHUNK_BYTES));
                block.write(piece).await?;
            }
            block.finish().await
        };
        let written = self.blocks.wait(writing, &grant.stopped);
        let written = written.ok_or_else(stopped)?.map_err(io::Error::other)?;
        Ok(AttemptLog {
            bytes: log.bytes(),
            truncated,
            blocks: vec![written.block],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(directory: &Path) -> KeptLog {
        KeptLog::new("job-1.0.0.map-0.1".parse().unwrap(), directory.to_owned())
    }

    #[test]
    fn log_that_fits_is_kept_whole() {
        let directory = tempfile::tempdir().unwrap();
        let log = kept(directory.path());
        assert_eq!(log.tail(), "");
        log.log(b"one\n");
        log.log(b"two\xFF\n");
        assert_eq!(log.text().unwrap(), (b"one\ntwo\xFF\n".to_vec(), false));
        assert_eq!(log.tail(), "one\ntwo\u{FFFD}\n");
        drop(log);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn beginning_and_end_of_a_log_without_bound_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let log = kept(directory.path());
        let lines: u64 = 3 * LOG_BYTES_MAX / 1_000;
        for line in 0..lines {
            log.log(format!("{line:0>999}\n").as_bytes());
        }
        let (text, truncated) = log.text().unwrap();
        assert!(truncated);
        assert!(text.len() as u64 <= LOG_BYTES_MAX, "{}", text.len());
        assert!(text.len() as u64 >= HEAD_BYTES_MAX + TURN_BYTES_MAX);
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with(&format!("{:0>999}\n", 0)));
        assert!(text.ends_with(&format!("{:0>999}\n", lines - 1)));
        let gap = text.find("bytes are left out here").unwrap() as u64;
        assert!(gap.abs_diff(HEAD_BYTES_MAX) < 1_000, "{gap}");
        assert!(log.tail().len() <= OUTPUT_TAIL_BYTES_MAX);
        assert!(log.tail().ends_with(&format!("{}\n", lines - 1)));
    }
}
