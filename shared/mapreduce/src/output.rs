//! Where a reducer writes.
//!
//! Bytes gather in a buffer and leave it in large pieces, so the one dynamic
//! call is per piece. A failed write is kept and told to the engine after the
//! call to the reducer; what is written after it goes nowhere.

use std::fmt;
use std::io::{self, Write};

/// Bytes that gather before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// The output of one reduce task.
pub struct Output<'w> {
    buffer: Vec<u8>,
    sink: &'w mut dyn Write,
    records: u64,
    error: Option<io::Error>,
}

impl fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("buffered", &self.buffer.len())
            .field("records", &self.records)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<'w> Output<'w> {
    /// An output that passes large pieces on to `sink`.
    #[must_use]
    pub fn new(sink: &'w mut dyn Write) -> Self {
        Self {
            buffer: Vec::with_capacity(BUFFER_BYTES + 4096),
            sink,
            records: 0,
            error: None,
        }
    }

    /// Writes `key`, a tab, `value` and a line end: one record.
    pub fn pair(&mut self, key: &[u8], value: impl fmt::Display) {
        self.raw(key);
        self.buffer.push(b'\t');
        write!(self.buffer, "{value}").unwrap_or_else(|error| self.fail(error));
        self.end_record();
    }

    /// Writes `line` and a line end: one record.
    pub fn line(&mut self, line: &[u8]) {
        self.raw(line);
        self.end_record();
    }

    /// Writes `bytes` as they are: one record.
    pub fn record(&mut self, bytes: &[u8]) {
        self.raw(bytes);
        self.records += 1;
    }

    /// Writes a line end and counts one record made of what went before.
    pub fn end_record(&mut self) {
        self.buffer.push(b'\n');
        self.records += 1;
    }

    /// Writes bytes as they are and counts nothing.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.drain();
        }
        if bytes.len() > BUFFER_BYTES {
            self.send(bytes);
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Records so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Writes what is buffered and tells of the first write that failed.
    ///
    /// # Errors
    ///
    /// The first error of the sink since the last check.
    pub fn check(&mut self) -> io::Result<()> {
        self.drain();
        self.error.take().map_or(Ok(()), Err)
    }

    /// Whether a write failed, so that going on is of no use.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    fn drain(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            self.send(&buffer);
        }
        buffer.clear();
        self.buffer = buffer;
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.error.is_none()
            && let Err(error) = self.sink.write_all(bytes)
        {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.error.get_or_insert(error);
    }
}
