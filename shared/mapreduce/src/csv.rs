//! CSV: where records end, and what their fields are.
//!
//! Fields are separated by commas, records by line ends (`\n`, `\r\n` or `\r`),
//! and empty lines are no records. A field that begins with a quote goes to the
//! next single one, whatever is between; two quotes in it are one. A quote anywhere
//! else is a character like any other. That is how the `csv` crate reads, and its
//! core takes the quotes off.
//!
//! Nothing here allocates for a record once its buffers have grown: the fields of a
//! record without quotes are slices of the record itself.

use csv_core::{ReadRecordResult, Reader};
use memchr::{memchr, memchr_iter, memchr3, memrchr};

use crate::program::ProgramError;
use crate::record::Record;

/// What some programs put before a text; it is no part of the first name.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between fields, or in one without quotes.
    Plain,
    /// Within quotes.
    Quoted,
    /// Behind a quote that ended the quoted part, unless another one follows.
    QuoteSeen,
}

/// Finds ends of records in a stream that comes in pieces.
#[derive(Debug, Clone)]
pub struct CsvScanner {
    state: State,
    /// The byte before the next piece.
    previous: u8,
}

impl Default for CsvScanner {
    /// At the beginning of a record.
    fn default() -> Self {
        Self {
            state: State::Plain,
            previous: b'\n',
        }
    }
}

impl CsvScanner {
    /// Reads all of a piece; the place behind the last `\n` in it that ends a record.
    #[inline]
    pub fn last_end(&mut self, piece: &[u8]) -> Option<usize> {
        self.scan(piece, false)
    }

    /// Reads a piece up to the first `\n` that ends a record; the place behind it.
    #[inline]
    pub fn first_end(&mut self, piece: &[u8]) -> Option<usize> {
        self.scan(piece, true)
    }

    fn scan(&mut self, piece: &[u8], first: bool) -> Option<usize> {
        let mut end = None;
        let mut at = 0;
        while at < piece.len() {
            match self.state {
                State::Plain => {
                    let quote = memchr(b'"', &piece[at..]).map(|found| at + found);
                    let plain = &piece[at..quote.unwrap_or(piece.len())];
                    let found = if first {
                        memchr(b'\n', plain)
                    } else {
                        memrchr(b'\n', plain)
                    };
                    end = found.map(|found| at + found + 1).or(end);
                    if let (true, Some(end)) = (first, end) {
                        self.previous = b'\n';
                        return Some(end);
                    }
                    at += plain.len();
                    if quote.is_some() {
                        let previous = at.checked_sub(1).map_or(self.previous, |at| piece[at]);
                        if matches!(previous, b',' | b'\n' | b'\r') {
                            self.state = State::Quoted;
                        }
                        at += 1;
                    }
                }
                State::Quoted => match memchr(b'"', &piece[at..]) {
                    Some(found) => {
                        self.state = State::QuoteSeen;
                        at += found + 1;
                    }
                    None => at = piece.len(),
                },
                State::QuoteSeen if piece[at] == b'"' => {
                    self.state = State::Quoted;
                    at += 1;
                }
                State::QuoteSeen => self.state = State::Plain,
            }
        }
        self.previous = piece.last().copied().unwrap_or(self.previous);
        end
    }
}

/// The first record of some bytes that begin where a record may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvSlice {
    /// Where it begins, behind empty lines.
    pub start: usize,
    /// Where its last field ends.
    pub end: usize,
    /// Behind its line end; the same as `end` if the bytes end before one.
    pub next: usize,
}

impl CsvSlice {
    /// Nothing when there are only line ends.
    #[inline]
    #[must_use]
    pub fn first(bytes: &[u8]) -> Option<Self> {
        let start = bytes
            .iter()
            .position(|byte| !matches!(byte, b'\n' | b'\r'))?;
        let mut at = start;
        loop {
            let Some(found) = memchr3(b'\n', b'\r', b'"', &bytes[at..]) else {
                return Some(Self::unended(start, bytes));
            };
            at += found;
            if bytes[at] != b'"' {
                let is_pair = bytes[at..].starts_with(b"\r\n");
                return Some(Self {
                    start,
                    end: at,
                    next: at + 1 + usize::from(is_pair),
                });
            }
            let opens = at == start || bytes[at - 1] == b',';
            at += 1;
            if opens {
                match quoted_end(bytes, at) {
                    Some(end) => at = end,
                    None => return Some(Self::unended(start, bytes)),
                }
            }
        }
    }

    fn unended(start: usize, bytes: &[u8]) -> Self {
        Self {
            start,
            end: bytes.len(),
            next: bytes.len(),
        }
    }
}

/// The place behind the quote that closes what is open at `at`.
#[inline]
fn quoted_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr(b'"', &bytes[at..])? + 1;
        if bytes.get(at) != Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}

/// Takes records apart, one at a time.
pub struct CsvRow {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl std::fmt::Debug for CsvRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvRow").finish_non_exhaustive()
    }
}

impl Default for CsvRow {
    fn default() -> Self {
        let mut reader = Reader::new();
        // It drops a mark at the beginning of what it reads, which no record is.
        let _ = reader.read_record(b"\n", &mut [], &mut [0]);
        Self {
            reader,
            text: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl CsvRow {
    /// The fields of a record, which must be as many as the columns.
    ///
    /// # Errors
    ///
    /// The record has more or fewer fields, or a quote that is never closed.
    #[inline]
    pub fn read<'r>(
        &'r mut self,
        record: Record<'r>,
        columns: usize,
    ) -> Result<CsvFields<'r>, ProgramError> {
        let bytes = record.bytes;
        let fields = if memchr(b'"', bytes).is_none() {
            self.ends.clear();
            self.ends.extend(memchr_iter(b',', bytes));
            self.ends.push(bytes.len());
            CsvFields {
                text: bytes,
                ends: &self.ends,
                gap: 1,
            }
        } else if let Some(count) = self.unquote(bytes) {
            CsvFields {
                text: &self.text,
                ends: &self.ends[..count],
                gap: 0,
            }
        } else {
            return Err(unclosed(record.offset));
        };
        if fields.len() != columns {
            return Err(ragged(record.offset, fields.len(), columns));
        }
        Ok(fields)
    }

    /// Puts the fields into the buffers; their number, unless a quote is open.
    fn unquote(&mut self, bytes: &[u8]) -> Option<usize> {
        self.text.resize(self.text.len().max(bytes.len() + 1), 0);
        self.ends.resize(self.ends.len().max(16), 0);
        let (mut written, mut count) = (0, 0);
        for mut piece in [bytes, b"\n"] {
            loop {
                let (result, read, wrote, ended) = self.reader.read_record(
                    piece,
                    &mut self.text[written..],
                    &mut self.ends[count..],
                );
                piece = &piece[read..];
                written += wrote;
                count += ended;
                match result {
                    ReadRecordResult::InputEmpty => break,
                    ReadRecordResult::Record => return Some(count),
                    ReadRecordResult::OutputEndsFull => {
                        self.ends.resize(self.ends.len() * 2, 0);
                    }
                    ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                    ReadRecordResult::End => return None,
                }
            }
        }
        *self = Self::default();
        None
    }
}

#[cold]
fn unclosed(offset: u64) -> ProgramError {
    ProgramError::at(offset, "the record has a quote that is never closed")
}

#[cold]
fn ragged(offset: u64, fields: usize, columns: usize) -> ProgramError {
    let detail = format!("the record has {fields} fields, the header has {columns}");
    ProgramError::at(offset, detail)
}

/// The fields of one record.
#[derive(Debug, Clone, Copy)]
pub struct CsvFields<'r> {
    text: &'r [u8],
    ends: &'r [usize],
    /// Bytes between two fields.
    gap: usize,
}

impl<'r> CsvFields<'r> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Never so: a record has at least one field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A field by its place, without quotes; nothing behind the last.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> &'r [u8] {
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before).map_or(0, |end| end + self.gap),
            None => 0,
        };
        self.ends
            .get(index)
            .and_then(|end| self.text.get(start..*end))
            .unwrap_or_default()
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &'r [u8]> {
        let fields = *self;
        (0..fields.len()).map(move |index| fields.get(index))
    }
}

/// The first record of a file: the names of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvHeader {
    names: Vec<Vec<u8>>,
    /// Where the records begin in the file.
    pub end: u64,
}

impl CsvHeader {
    /// Takes the header off the beginning of a file. Nothing if more of the file is
    /// needed to tell where it ends; `is_all` says that there is no more.
    ///
    /// # Errors
    ///
    /// The file has no header, or one with an open quote.
    pub fn parse(bytes: &[u8], is_all: bool) -> Result<Option<Self>, ProgramError> {
        let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let mark = bytes.len() - text.len();
        let Some(slice) = CsvSlice::first(text) else {
            let missing =
                || ProgramError::at(0, "there is no header, a record with the columns' names");
            return if is_all { Err(missing()) } else { Ok(None) };
        };
        // A `\r` at the very end may be half of a line end.
        if slice.next == text.len() && !is_all && !text.ends_with(b"\n") {
            return Ok(None);
        }
        let mut row = CsvRow::default();
        let record = Record {
            bytes: &text[slice.start..slice.end],
            offset: (mark + slice.start) as u64,
        };
        let columns = match memchr(b'"', record.bytes) {
            None => memchr_iter(b',', record.bytes).count() + 1,
            Some(_) => match row.unquote(record.bytes) {
                Some(columns) => columns,
                // What was read so far may end with a line within quotes.
                None if !is_all => return Ok(None),
                None => return Err(unclosed(record.offset)),
            },
        };
        let names = row
            .read(record, columns)?
            .iter()
            .map(<[u8]>::to_vec)
            .collect();
        Ok(Some(Self {
            names,
            end: (mark + slice.next) as u64,
        }))
    }

    /// The columns' names in order.
    #[must_use]
    pub fn names(&self) -> &[Vec<u8>] {
        &self.names
    }

    /// The place of a column.
    ///
    /// # Errors
    ///
    /// There is none of that name, or there are several.
    pub fn column(&self, name: &str) -> Result<usize, ProgramError> {
        let mut found = self
            .names
            .iter()
            .enumerate()
            .filter(|(_, other)| other.as_slice() == name.as_bytes());
        let refuse = |detail: String| Err(ProgramError::at(0, detail));
        match (found.next(), found.next()) {
            (Some((index, _)), None) => Ok(index),
            (Some(_), Some(_)) => refuse(format!("there are several columns `{name}`")),
            (None, _) => {
                let names = self.names.iter().take(SHOWN_NAMES_MAX);
                let names: Vec<_> = names.map(|name| String::from_utf8_lossy(name)).collect();
                let more = match self.names.len() > SHOWN_NAMES_MAX {
                    true => ", ...",
                    false => "",
                };
                refuse(format!(
                    "there is no column `{name}`, there are: {}{more}",
                    names.join(", ")
                ))
            }
        }
    }
}

/// Columns that a message names.
const SHOWN_NAMES_MAX: usize = 100;
