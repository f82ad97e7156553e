//! Reads the blocks of whole records that belong to a split.
//!
//! The rule for lines: a split begins after its first line end, unless it
//! begins the file, and ends with the first line end at or behind its end. Both
//! ends ask for the first line end at or behind a place, and one split's end is
//! the next one's beginning; so every line belongs to exactly one split, for
//! splits of any length, and a line longer than its split leaves the splits
//! within it empty.

use memchr::{memchr, memrchr};
use vivat_mapreduce::{Block, CsvScanner, Framing};
use vivat_shared::attempt::SplitRange;
use vivat_shared::job::InputFormat;
use vivat_shared::limits::RECORD_BYTES_MAX;

use super::Input;
use crate::error::{EngineError, InputProblem};

/// Bytes of whole CSV records handed out at a time, if there are more.
const CSV_BLOCK_BYTES: usize = 64 * 1024;
/// A record of CSV. One quote too many makes a record of all that follows, which
/// need not fill the memory before it is found out.
const CSV_RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one read, and of the buffer while lines are shorter: little enough to be in
/// a near cache still when it is taken apart, beside what the program has there.
const READ_BYTES: usize = 256 * 1024;
/// Bytes read behind a split's end to find the end of its last line.
const OVERSHOOT_BYTES: u64 = 16 * 1024;

impl<'t> Input<'t> {
    /// The blocks of a split. A CSV file's header has so many bytes, others none.
    pub fn blocks(
        &mut self,
        range: SplitRange,
        format: InputFormat,
        header_bytes: u64,
    ) -> Result<Blocks<'_, 't>, EngineError> {
        let bytes = self.reader.length();
        // What is not cut is read whole, whatever its text comes to.
        let end = match bytes {
            Some(bytes) => range.offset.saturating_add(range.bytes).min(bytes),
            None => u64::MAX,
        };
        let (framing, offset, end) = match format {
            InputFormat::Text => (Framing::Lines, range.offset.min(end), end),
            InputFormat::WholeFile => {
                let end = if range.offset == 0 {
                    bytes.unwrap_or(u64::MAX)
                } else {
                    range.offset
                };
                (Framing::Whole, range.offset, end)
            }
            InputFormat::Fixed(record) => {
                let unit = u64::from(record.max(1));
                let whole = |at: u64| at.div_ceil(unit).saturating_mul(unit);
                let (offset, end) = (whole(range.offset), whole(end));
                let end = end.min(bytes.unwrap_or(u64::MAX));
                (Framing::Fixed(record.max(1)), offset, end)
            }
            // What is before the records is read again, and passed over.
            InputFormat::Csv if range.offset < header_bytes => {
                let has_none = end < header_bytes || bytes == Some(header_bytes);
                (Framing::Csv, 0, if has_none { 0 } else { end })
            }
            InputFormat::Csv => (Framing::Csv, range.offset.min(end), end),
        };
        let begins_in_header = framing == Framing::Csv && range.offset < header_bytes;
        let of_another_split = range.offset > 0 && (framing == Framing::Whole || bytes.is_none());
        let done = offset > end || (offset == end && framing != Framing::Whole) || of_another_split;
        if let (Some(bytes), false) = (bytes, done) {
            let behind = if matches!(framing, Framing::Lines | Framing::Csv) {
                OVERSHOOT_BYTES
            } else {
                0
            };
            self.reader
                .expect(offset..end.saturating_add(behind).min(bytes));
        }
        Ok(Blocks {
            input: self,
            bytes,
            framing,
            offset: range.offset,
            end,
            read_at: offset,
            buffer: Vec::new(),
            start: 0,
            filled: 0,
            searched: 0,
            skipping: match framing {
                Framing::Lines => range.offset > 0,
                Framing::Csv => !begins_in_header,
                Framing::Fixed(_) | Framing::Whole => false,
            },
            lead: match begins_in_header {
                true => usize::try_from(header_bytes).unwrap_or(usize::MAX),
                false => 0,
            },
            scanner: CsvScanner::default(),
            done,
        })
    }
}

/// The blocks of one split, in order.
#[derive(Debug)]
pub(crate) struct Blocks<'i, 't> {
    input: &'i mut Input<'t>,
    /// Bytes of the file, if they are known before its end.
    bytes: Option<u64>,
    framing: Framing,
    /// First byte of the split.
    offset: u64,
    /// First byte behind the split.
    end: u64,
    /// Where the next read begins: `buffer[..filled]` ends there.
    read_at: u64,
    buffer: Vec<u8>,
    /// Bytes before this are handed out.
    start: usize,
    filled: usize,
    /// Bytes before this hold no line end behind `start`.
    searched: usize,
    /// The first line end is yet to be found.
    skipping: bool,
    /// Bytes of a header that are yet to be passed over.
    lead: usize,
    /// Of CSV: has read everything up to `searched`.
    scanner: CsvScanner,
    done: bool,
}

impl Blocks<'_, '_> {
    /// The next block of whole records, `None` after the last.
    pub fn next(&mut self) -> Result<Option<Block<'_>>, EngineError> {
        loop {
            if self.lead > 0 && !self.done {
                self.pass_lead()?;
            }
            if self.skipping && !self.done {
                self.skip()?;
            }
            if self.done {
                return Ok(None);
            }
            if let Some(taken) = self.whole_records() {
                return Ok(Some(self.hand_out(taken)));
            }
            let at_end = self.fill()? == 0;
            if at_end {
                self.done = true;
                return self.last();
            }
        }
    }

    /// Bytes of whole records that are ready, if any.
    fn whole_records(&mut self) -> Option<usize> {
        let ready = &self.buffer[self.start..self.filled];
        match self.framing {
            Framing::Whole => None,
            Framing::Fixed(bytes) => {
                let whole = ready.len() - ready.len() % bytes as usize;
                (whole > 0).then_some(whole)
            }
            Framing::Lines => self.whole_lines(),
            Framing::Csv => self.whole_csv(),
        }
    }

    /// As for lines, but a line end within quotes ends no record, and no more is
    /// handed out than a mapper takes at once: then nobody has to cut it again.
    fn whole_csv(&mut self) -> Option<usize> {
        let base = self.read_at - self.filled as u64;
        let end_in_buffer = usize::try_from(self.end - base.min(self.end)).unwrap_or(usize::MAX);
        // The plan cuts at line ends that end records, so this needs no quotes.
        let last = self.buffer.get(end_in_buffer.max(self.start)..self.filled);
        let last = last.and_then(|behind| memchr(b'\n', behind));
        let stop = last.map(|found| end_in_buffer.max(self.start) + found + 1);
        let limit = stop.unwrap_or(self.filled);
        while self.searched < limit {
            let from = self.searched;
            self.searched = limit.min(from + CSV_BLOCK_BYTES);
            if let Some(end) = self.scanner.last_end(&self.buffer[from..self.searched]) {
                self.done = stop == Some(from + end);
                return Some(from + end - self.start);
            }
        }
        // Someone said that no field holds a line end, and this one does: what is
        // cut here has an open quote, and whoever takes it apart will say so.
        self.done = stop.is_some();
        stop.map(|stop| stop - self.start)
    }

    fn whole_lines(&mut self) -> Option<usize> {
        let base = self.read_at - self.filled as u64;
        // The place of the last byte that may still be in the middle of our
        // last line; the first line end at or behind it ends the split.
        let end_in_buffer = usize::try_from(self.end - base.min(self.end)).unwrap_or(usize::MAX);
        if end_in_buffer < self.filled {
            let from = end_in_buffer.max(self.searched);
            if let Some(found) = memchr(b'\n', &self.buffer[from..self.filled]) {
                self.done = true;
                return Some(from + found + 1 - self.start);
            }
        }
        let found = memrchr(b'\n', &self.buffer[self.searched..self.filled]);
        let found = found.map(|found| self.searched + found + 1 - self.start);
        self.searched = self.filled;
        found
    }

    fn hand_out(&mut self, taken: usize) -> Block<'_> {
        let start = self.start;
        self.start += taken;
        Block {
            bytes: &self.buffer[start..self.start],
            offset: self.read_at - (self.filled - start) as u64,
            framing: self.framing,
        }
    }

    /// What is left at the end of the file: a line without its end, a whole
    /// file, or a cut record.
    fn last(&mut self) -> Result<Option<Block<'_>>, EngineError> {
        let left = self.filled - self.start;
        match self.framing {
            Framing::Whole => Ok(Some(self.hand_out(left))),
            Framing::Lines | Framing::Csv | Framing::Fixed(_) if left == 0 => Ok(None),
            Framing::Lines | Framing::Csv => Ok(Some(self.hand_out(left))),
            Framing::Fixed(wanted) => Err(self.input.problem(InputProblem::RecordCutShort {
                offset: self.read_at - left as u64,
                bytes: left as u64,
                wanted,
            })),
        }
    }

    /// Passes over the header.
    fn pass_lead(&mut self) -> Result<(), EngineError> {
        while self.filled < self.lead {
            if self.fill()? == 0 {
                self.done = true;
                return Ok(());
            }
        }
        self.start = self.lead;
        self.searched = self.lead;
        self.lead = 0;
        Ok(())
    }

    /// Passes over the line that began before the split, reading no further
    /// than the split's end: a line end behind it belongs to no line of ours.
    fn skip(&mut self) -> Result<(), EngineError> {
        loop {
            let base = self.read_at - self.filled as u64;
            let within = usize::try_from(self.end - base).unwrap_or(usize::MAX);
            let limit = within.min(self.filled);
            if let Some(found) = memchr(b'\n', &self.buffer[self.start..limit]) {
                self.start += found + 1;
                self.searched = self.start;
                self.skipping = false;
                return Ok(());
            }
            self.start = limit;
            self.searched = limit;
            if within <= self.filled || self.fill()? == 0 {
                self.done = true;
                return Ok(());
            }
        }
    }

    /// Reads more behind what is there; 0 at the end of what this split needs.
    fn fill(&mut self) -> Result<usize, EngineError> {
        let limit = match self.framing {
            Framing::Lines | Framing::Csv => self.bytes.unwrap_or(u64::MAX),
            Framing::Fixed(_) | Framing::Whole => self.end,
        };
        let left = limit.saturating_sub(self.read_at);
        if left == 0 {
            return Ok(0);
        }
        self.make_room()?;
        let useful = self.end.saturating_sub(self.read_at);
        let useful = useful.saturating_add(OVERSHOOT_BYTES);
        let room = (self.buffer.len() - self.filled) as u64;
        let wanted = usize::try_from(left.min(useful).min(room)).unwrap_or(usize::MAX);
        let target = &mut self.buffer[self.filled..self.filled + wanted];
        let read = self.input.reader.read_at(target, self.read_at);
        let got = read.map_err(|error| self.input.error(error))?;
        if let (0, Some(planned)) = (got, self.bytes) {
            return Err(self.input.problem(InputProblem::SizeChanged {
                planned,
                found: self.read_at,
            }));
        }
        self.filled += got;
        self.read_at += got as u64;
        Ok(got)
    }

    /// Moves what is not handed out to the front and grows the buffer when that
    /// alone fills it.
    fn make_room(&mut self) -> Result<(), EngineError> {
        let left = self.filled - self.start;
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            // Only lines are searched for.
            self.searched = self.searched.saturating_sub(self.start);
            self.filled = left;
            self.start = 0;
        }
        let bytes_max = match self.framing {
            Framing::Csv => CSV_RECORD_BYTES_MAX,
            Framing::Lines | Framing::Fixed(_) | Framing::Whole => RECORD_BYTES_MAX,
        };
        if left > bytes_max {
            return Err(self.input.problem(InputProblem::RecordTooLong {
                offset: self.read_at - left as u64,
                bytes_max,
            }));
        }
        if self.buffer.is_empty() {
            // A small split does not pay for clearing a large buffer.
            let needed = self.end.saturating_sub(self.offset);
            let needed = needed.saturating_add(OVERSHOOT_BYTES);
            let needed = usize::try_from(needed).unwrap_or(usize::MAX);
            self.buffer.resize(needed.min(READ_BYTES), 0);
        } else if left * 2 > self.buffer.len() {
            // Beyond the bound there is room for the byte that passes it, no more.
            let bytes = (self.buffer.len() * 2).min(bytes_max + 1);
            self.buffer.resize(bytes, 0);
        }
        Ok(())
    }
}
