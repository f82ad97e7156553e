//! Records of input, as slices of the read buffer.
//!
//! A mapper is handed a [`Block`] of whole records at a time. Most take them one
//! by one; one that gains from looking at many lines at once (a search that
//! skips over lines without a match) overrides `Mapper::map_block`.

use memchr::memchr;

use crate::csv::CsvSlice;

/// One record of input.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its bytes, without the line end.
    pub bytes: &'a [u8],
    /// Where it begins in its file.
    pub offset: u64,
}

/// How records lie in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Lines, each with its `\n` but perhaps the last of the file. A `\r`
    /// before the `\n` belongs to the line end.
    Lines,
    /// Records of so many bytes, at least 1.
    Fixed(u32),
    /// The block is the record.
    Whole,
    /// Records of CSV, see [`CsvRow`](crate::CsvRow); the header is none of them.
    Csv,
}

/// Some whole records, as they lie in their file.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// The records with their line ends.
    pub bytes: &'a [u8],
    /// Where the first begins in its file.
    pub offset: u64,
    /// How to tell them apart.
    pub framing: Framing,
}

impl<'a> Block<'a> {
    /// The records in order.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records {
            rest: self.bytes,
            offset: self.offset,
            framing: self.framing,
            done: self.framing != Framing::Whole && self.bytes.is_empty(),
        }
    }
}

/// The records of a block in order.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    offset: u64,
    framing: Framing,
    done: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        if self.done {
            return None;
        }
        let (bytes, taken) = match self.framing {
            Framing::Csv => {
                let Some(slice) = CsvSlice::first(self.rest) else {
                    self.done = true;
                    return None;
                };
                // Empty lines before it are no part of it.
                self.offset += slice.start as u64;
                let bytes = &self.rest[slice.start..slice.end];
                self.rest = &self.rest[slice.start..];
                (bytes, slice.next - slice.start)
            }
            Framing::Lines => match memchr(b'\n', self.rest) {
                Some(end) => {
                    let line = &self.rest[..end];
                    (line.strip_suffix(b"\r").unwrap_or(line), end + 1)
                }
                None => (self.rest, self.rest.len()),
            },
            Framing::Fixed(bytes) => {
                let taken = self.rest.len().min(bytes as usize);
                (&self.rest[..taken], taken)
            }
            Framing::Whole => (self.rest, self.rest.len()),
        };
        let record = Record {
            bytes,
            offset: self.offset,
        };
        self.rest = &self.rest[taken..];
        self.offset += taken as u64;
        self.done = self.rest.is_empty();
        Some(record)
    }
}
