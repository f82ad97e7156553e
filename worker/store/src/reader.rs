//! Reads a block: no byte goes out before its 64 KiB agreed with their checksum.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use vivat_shared::dataset::BlockSummary;
use vivat_shared::limits::STREAM_CHUNK_BYTES;

use crate::error::{Damage, StoreError};
use crate::format::{
    self, CHUNK_BYTES, FOOTER_BYTES, FOOTER_SIZE, Footer, HEADER_BYTES, HEADER_SIZE,
};
use crate::store::Store;

/// An open block. The file stays readable when the block is deleted.
#[derive(Debug)]
pub struct BlockReader {
    store: Store,
    file: File,
    summary: BlockSummary,
    generation: u64,
    sums: Vec<u32>,
}

impl BlockReader {
    /// Checks everything but the data. Damage is for the caller to act upon.
    pub(crate) fn open(
        store: Store,
        summary: BlockSummary,
        generation: u64,
    ) -> Result<Self, StoreError> {
        let id = summary.id;
        let path = store.inner.layout.block(id);
        let damaged = |damage| StoreError::Damaged { block: id, damage };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(Damage::Missing));
            }
            outcome => outcome.map_err(StoreError::io("open", &path))?,
        };
        let metadata = file.metadata().map_err(StoreError::io("look at", &path))?;
        let found = metadata.len();
        if found < HEADER_BYTES + FOOTER_BYTES {
            return Err(damaged(Damage::Length { found }));
        }
        let read = |buffer: &mut [u8], offset| match file.read_exact_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(damaged(Damage::Length { found: offset }))
            }
            outcome => outcome.map_err(StoreError::io("read", &path)),
        };
        let mut header = [0; HEADER_SIZE];
        read(&mut header, 0)?;
        format::check_header(id, &header).map_err(damaged)?;
        let mut end = [0; FOOTER_SIZE];
        read(&mut end, found - FOOTER_BYTES)?;
        let footer = Footer::decode(id, &end, found).map_err(damaged)?;
        if (footer.bytes, footer.crc32c) != (summary.bytes, summary.crc32c) {
            return Err(damaged(Damage::Whole {
                expected: summary.crc32c,
                found: footer.crc32c,
            }));
        }
        let mut table = vec![0; size(footer.table_bytes())];
        read(&mut table, footer.table_offset())?;
        let sums = format::decode_table(&footer, &table).map_err(damaged)?;
        Ok(Self {
            store,
            file,
            summary,
            generation,
            sums,
        })
    }

    /// What the block is.
    #[must_use]
    pub fn summary(&self) -> BlockSummary {
        self.summary
    }

    /// These bytes, verified. They stand in memory at once, with the rest of
    /// their first and last 64 KiB.
    ///
    /// # Errors
    ///
    /// [`StoreError::Range`]; [`StoreError::Damaged`], and the copy is moved aside;
    /// the operating system's, and the copy stays.
    pub fn read(&self, offset: u64, wanted: usize) -> Result<Bytes, StoreError> {
        let end = offset.checked_add(wanted as u64);
        let Some(end) = end.filter(|end| *end <= self.summary.bytes) else {
            return Err(StoreError::Range {
                block: self.summary.id,
                bytes: self.summary.bytes,
                offset,
                wanted: wanted as u64,
            });
        };
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let first = offset / CHUNK_BYTES * CHUNK_BYTES;
        let last = end.next_multiple_of(CHUNK_BYTES).min(self.summary.bytes);
        let data = self.read_chunks(first..last)?;
        let start = size(offset - first);
        Ok(data.slice(start..start + wanted))
    }

    /// The bytes of a range in pieces for messages, each verified; the pieces of a
    /// whole block against its checksum too, before the last one goes out.
    ///
    /// # Errors
    ///
    /// [`StoreError::Range`].
    pub fn stream(&self, range: Range<u64>) -> Result<BlockStream<'_>, StoreError> {
        if range.start > range.end || range.end > self.summary.bytes {
            return Err(StoreError::Range {
                block: self.summary.id,
                bytes: self.summary.bytes,
                offset: range.start,
                wanted: range.end.saturating_sub(range.start),
            });
        }
        // A hint: the system reads further ahead, which from a cold disk is faster.
        fadvise(&self.file, 0, None, Advice::Sequential).ok();
        Ok(BlockStream {
            reader: self,
            whole: (range == (0..self.summary.bytes)).then_some(0),
            range,
        })
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The copy is lost.
    pub(crate) fn condemn(&self, damage: Damage) -> StoreError {
        let block = self.summary.id;
        // If it is not here any more, nobody else can read it: all the better.
        self.store.condemn(block, self.generation, damage);
        StoreError::Damaged { block, damage }
    }

    /// A range that begins and ends with chunks.
    fn read_chunks(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        let mut data = vec![0; size(range.end - range.start)];
        let at = HEADER_BYTES + range.start;
        if let Err(error) = self.file.read_exact_at(&mut data, at) {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                let found = self.file.metadata().map_or(at, |metadata| metadata.len());
                return Err(self.condemn(Damage::Length { found }));
            }
            let path = self.store.inner.layout.block(self.summary.id);
            return Err(StoreError::io("read", &path)(error));
        }
        let sums = self.sums.iter().skip(size(range.start / CHUNK_BYTES));
        let chunks = data.chunks(size(CHUNK_BYTES));
        for ((chunk, expected), number) in chunks.zip(sums).zip(0..) {
            let found = crc32c::crc32c(chunk);
            if found != *expected {
                return Err(self.condemn(Damage::Chunk {
                    offset: range.start + number * CHUNK_BYTES,
                    expected: *expected,
                    found,
                }));
            }
        }
        Ok(data.into())
    }
}

/// A part of a block, in pieces. Ends with the first error.
#[derive(Debug)]
pub struct BlockStream<'r> {
    reader: &'r BlockReader,
    /// What is yet to come.
    range: Range<u64>,
    /// The checksum so far, if the range is the whole block.
    whole: Option<u32>,
}

impl BlockStream<'_> {
    fn piece(&mut self) -> Result<Bytes, StoreError> {
        // Ends of pieces lie between chunks, so that none is read twice.
        let unit = STREAM_CHUNK_BYTES as u64;
        let end = (self.range.start + 1)
            .next_multiple_of(unit)
            .min(self.range.end);
        let piece = self
            .reader
            .read(self.range.start, size(end - self.range.start))?;
        self.range.start = end;
        if let Some(sum) = &mut self.whole {
            *sum = crc32c::crc32c_append(*sum, &piece);
            let (found, expected) = (*sum, self.reader.summary.crc32c);
            if self.range.is_empty() && found != expected {
                return Err(self.reader.condemn(Damage::Whole { expected, found }));
            }
        }
        Ok(piece)
    }
}

impl Iterator for BlockStream<'_> {
    type Item = Result<Bytes, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        let piece = self.piece();
        if piece.is_err() {
            self.range.start = self.range.end;
        }
        Some(piece)
    }
}

/// Bytes that stand in memory at once, or are about to.
pub(crate) fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
