//! Cuts a stream of bytes into blocks, at ends of records.
//!
//! A block is as long as it can be within its target: it ends with the last
//! record that ends there. A record that does not fit has a block to itself and
//! what it needs, up to a limit. Where the cuts lie depends on the bytes alone,
//! never on the pieces in which they came.
//!
//! Nothing is copied: a block is the pieces it came in. At most one block and
//! one piece are held, if blocks are taken as they become ready:
//!
//! ```
//! use vivat_shared::job::InputFormat;
//! use vivat_store::cut::{Cutter, Sizes};
//!
//! let mut cutter = Cutter::new(InputFormat::Text, Sizes::new(8, 64));
//! let mut lengths = Vec::new();
//! for piece in ["one\ntw", "o\nthree\n"] {
//!     cutter.push(piece.into())?;
//!     while let Some(block) = cutter.take_block()? {
//!         lengths.push(block.bytes());
//!     }
//! }
//! cutter.end()?;
//! while let Some(block) = cutter.take_block()? {
//!     lengths.push(block.bytes());
//! }
//! assert_eq!(lengths, [8, 6]);
//! # Ok::<(), vivat_store::cut::CutError>(())
//! ```

mod csv;
mod lines;

use std::collections::VecDeque;

use bytes::Bytes;
use vivat_shared::job::InputFormat;

use self::csv::CsvEnds;
use self::lines::LineEnds;

/// What a block should have, where nothing else is asked for.
pub const BLOCK_BYTES: u64 = 64 * 1024 * 1024;
/// What a block of a single record may have, where nothing else is asked for: it
/// stands in memory.
pub const BLOCK_BYTES_MAX: u64 = 4 * BLOCK_BYTES;
/// The first record of a CSV file, which goes with every block of it.
pub const CSV_HEADER_BYTES_MAX: u64 = 16 * 1024;

/// Why a stream cannot be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// A record is longer than a block may be.
    #[error(
        "the record at byte {offset} is longer than the {bytes_max} bytes that a block may have: \
         raise the block size, or choose the format that the data has{}", csv_hint(*.format)
    )]
    RecordTooLong {
        /// Where it begins.
        offset: u64,
        /// What a block may have.
        bytes_max: u64,
        /// What the record is one of.
        format: InputFormat,
    },
    /// The first record of a CSV file is too long to go with every block.
    #[error(
        "the header of the CSV file is longer than {bytes_max} bytes: is it CSV, \
         and is every quote closed?"
    )]
    HeaderTooLong {
        /// What it may have.
        bytes_max: u64,
    },
    /// The last record of a stream of fixed records is short.
    #[error("the record at byte {offset} has {bytes} bytes, and fixed records have {wanted}")]
    RecordCutShort {
        /// Where it begins.
        offset: u64,
        /// What it has.
        bytes: u64,
        /// What it should have.
        wanted: u32,
    },
}

fn csv_hint(format: InputFormat) -> &'static str {
    match format {
        InputFormat::Csv => " (a quote that is never closed makes one record of all that follows)",
        InputFormat::Text | InputFormat::WholeFile | InputFormat::Fixed(_) => "",
    }
}

/// How long blocks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    target: u64,
    most: u64,
}

impl Sizes {
    /// Blocks of at most `target` bytes, or of one record and at most `most`.
    #[must_use]
    pub fn new(target: u64, most: u64) -> Self {
        let target = target.max(1);
        let most = most.max(target);
        Self { target, most }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self::new(BLOCK_BYTES, BLOCK_BYTES_MAX)
    }
}

/// Whole records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutBlock {
    /// Where it begins in the stream.
    pub offset: u64,
    /// Its bytes.
    pub pieces: Vec<Bytes>,
}

impl CutBlock {
    /// How many.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// Finds ends of records in pieces that come one after the other. Places are
/// counted from the beginning of the stream.
#[derive(Debug)]
enum Ends {
    Lines(LineEnds),
    Csv(CsvEnds),
    /// Records of so many bytes.
    Fixed(u32),
    /// No end but that of the stream.
    Whole,
}

/// Cuts one stream: one file, or all of stdin.
#[derive(Debug)]
pub struct Cutter {
    format: InputFormat,
    sizes: Sizes,
    ends: Ends,
    /// What is not in a block yet.
    pieces: VecDeque<Bytes>,
    /// Where that begins, and where it ends.
    start: u64,
    received: u64,
    /// The header is yet to come, or none is expected.
    header: Option<Bytes>,
    wants_header: bool,
    has_ended: bool,
}

impl Cutter {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new(format: InputFormat, sizes: Sizes) -> Self {
        let ends = match format {
            InputFormat::Text => Ends::Lines(LineEnds::default()),
            InputFormat::Csv => Ends::Csv(CsvEnds::new()),
            InputFormat::WholeFile => Ends::Whole,
            InputFormat::Fixed(bytes) => Ends::Fixed(bytes.max(1)),
        };
        Self {
            format,
            sizes,
            ends,
            pieces: VecDeque::new(),
            start: 0,
            received: 0,
            header: None,
            wants_header: format == InputFormat::Csv,
            has_ended: false,
        }
    }

    /// The first record of a CSV stream with what is before it, as soon as it is
    /// known: in no block, to go with each.
    #[must_use]
    pub fn header(&self) -> Option<&Bytes> {
        self.header.as_ref()
    }

    /// The next bytes.
    ///
    /// # Errors
    ///
    /// [`CutError::HeaderTooLong`].
    pub fn push(&mut self, piece: Bytes) -> Result<(), CutError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.received += piece.len() as u64;
        self.pieces.push_back(piece);
        self.split_header()
    }

    /// Nothing follows.
    ///
    /// # Errors
    ///
    /// [`CutError::HeaderTooLong`].
    pub fn end(&mut self) -> Result<(), CutError> {
        self.has_ended = true;
        self.split_header()
    }

    /// A block that is certain, if there is one. None before the end asks for more
    /// bytes.
    ///
    /// # Errors
    ///
    /// [`CutError::RecordTooLong`]; [`CutError::RecordCutShort`].
    pub fn take_block(&mut self) -> Result<Option<CutBlock>, CutError> {
        let held = self.received - self.start;
        if self.wants_header || held == 0 {
            return Ok(None);
        }
        let end = match self.ends {
            Ends::Fixed(record) => self.fixed_end(record)?,
            Ends::Lines(_) | Ends::Csv(_) | Ends::Whole => self.end_of_block(),
        };
        if let Some(end) = end
            && end - self.start <= self.sizes.most
        {
            return Ok(Some(self.take(end)));
        }
        if end.is_some() || held > self.sizes.most {
            return Err(CutError::RecordTooLong {
                offset: self.start,
                bytes_max: self.sizes.most,
                format: self.format,
            });
        }
        Ok(None)
    }

    /// Where the block ends that begins the held bytes, if they tell.
    fn end_of_block(&mut self) -> Option<u64> {
        let target_end = self.start.saturating_add(self.sizes.target);
        let rest = self.has_ended.then_some(self.received);
        if self.received <= target_end {
            return rest;
        }
        let found = match &mut self.ends {
            Ends::Lines(ends) => ends.find(&self.pieces, self.start..self.received, target_end),
            Ends::Csv(ends) => ends.find(&self.pieces, self.start, target_end),
            Ends::Fixed(_) | Ends::Whole => None,
        };
        found.or(rest)
    }

    fn fixed_end(&self, record: u32) -> Result<Option<u64>, CutError> {
        let unit = u64::from(record);
        let block = (self.sizes.target / unit).max(1) * unit;
        let held = self.received - self.start;
        // Too long a record is told of before it stands in memory.
        if held >= block || block > self.sizes.most {
            return Ok(Some(self.start + block));
        }
        if !self.has_ended {
            return Ok(None);
        }
        match held % unit {
            0 => Ok(Some(self.received)),
            short => Err(CutError::RecordCutShort {
                offset: self.received - short,
                bytes: short,
                wanted: record,
            }),
        }
    }

    /// Sets the first record apart once it is there.
    fn split_header(&mut self) -> Result<(), CutError> {
        if !self.wants_header {
            return Ok(());
        }
        let end = match &mut self.ends {
            Ends::Csv(ends) => ends.find_header(&self.pieces, CSV_HEADER_BYTES_MAX),
            Ends::Lines(_) | Ends::Fixed(_) | Ends::Whole => None,
        };
        let rest = self.has_ended.then_some(self.received);
        let end = end.or(rest);
        if end.unwrap_or(self.received) > CSV_HEADER_BYTES_MAX {
            return Err(CutError::HeaderTooLong {
                bytes_max: CSV_HEADER_BYTES_MAX,
            });
        }
        if let Some(end) = end {
            self.header = Some(self.take(end).pieces.concat().into());
            self.wants_header = false;
        }
        Ok(())
    }

    /// The held bytes up to a place.
    fn take(&mut self, end: u64) -> CutBlock {
        let offset = self.start;
        let mut pieces = Vec::new();
        while self.start < end {
            let Some(mut piece) = self.pieces.pop_front() else {
                break;
            };
            let wanted = usize::try_from(end - self.start).unwrap_or(usize::MAX);
            if wanted < piece.len() {
                let later = piece.split_off(wanted);
                self.pieces.push_front(later);
            }
            self.start += piece.len() as u64;
            pieces.push(piece);
        }
        CutBlock { offset, pieces }
    }
}
