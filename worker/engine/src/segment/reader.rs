//! Reads the bare bytes of one run, wherever they come from.
//!
//! Nothing is believed before its checksum: a block's records are looked at
//! only when header and stored bytes are proved, and no more memory is taken
//! than bytes have arrived.

use std::io::{self, Read};
use std::ops::Range;

use super::block::{BLOCK_HEADER_BYTES, BlockHeader, BlockKind, check, take_length, u64_at};
use super::error::{Damage, SegmentError};
use super::packing::Unpacker;

/// Streams the records of one run in order.
#[derive(Debug)]
pub struct SegmentReader<R> {
    input: R,
    offset: u64,
    partition: Option<u32>,
    stored: Vec<u8>,
    block: Vec<u8>,
    block_bytes: usize,
    block_records: u32,
    at: usize,
    key: Range<usize>,
    value: Range<usize>,
    records: u64,
    raw_bytes: u64,
    ended: bool,
    unpacker: Unpacker,
}

impl<R: Read> SegmentReader<R> {
    /// A reader of exactly the bytes of one run.
    pub fn new(input: R) -> Self {
        Self {
            input,
            offset: 0,
            partition: None,
            stored: Vec::new(),
            block: Vec::new(),
            block_bytes: 0,
            block_records: 0,
            at: 0,
            key: 0..0,
            value: 0..0,
            records: 0,
            raw_bytes: 0,
            ended: false,
            unpacker: Unpacker::default(),
        }
    }

    /// A reader that refuses the run of any other partition.
    pub fn of_partition(input: R, partition: u32) -> Self {
        let mut reader = Self::new(input);
        reader.partition = Some(partition);
        reader
    }

    /// Moves to the next record; false after the last. A run without its end
    /// is damaged, and so are no bytes at all.
    ///
    /// # Errors
    ///
    /// When the input fails or is not a whole run.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, SegmentError> {
        while self.block_records == 0 {
            if self.ended {
                return Ok(false);
            }
            self.next_block()?;
        }
        self.block_records -= 1;
        let block = &self.block[..self.block_bytes];
        let lengths = take_length(block, &mut self.at)
            .and_then(|key| Some((key, take_length(block, &mut self.at)?)));
        let ends = lengths.and_then(|(key, value)| {
            let key_end = self.at.checked_add(key)?;
            let value_end = key_end.checked_add(value)?;
            (value_end <= block.len()).then_some((key_end, value_end))
        });
        let Some((key_end, value_end)) = ends else {
            return Err(self.damaged(Damage::Field { field: "record" }));
        };
        self.key = self.at..key_end;
        self.value = key_end..value_end;
        self.at = value_end;
        if self.block_records == 0 && self.at != self.block_bytes {
            return Err(self.damaged(Damage::Field {
                field: "record count",
            }));
        }
        Ok(true)
    }

    /// The key of the current record.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.block[self.key.clone()]
    }

    /// The value of the current record.
    #[inline]
    pub fn value(&self) -> &[u8] {
        &self.block[self.value.clone()]
    }

    /// The partition that the run names, once its first block is read.
    #[must_use]
    pub fn partition(&self) -> Option<u32> {
        self.partition
    }

    /// Stored bytes read so far.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.offset
    }

    /// Reads the whole run and proves it by checksums and totals alone, without
    /// unpacking a block: enough for whoever keeps or passes on stored bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::advance`].
    pub fn prove(mut self) -> Result<(), SegmentError> {
        while !self.ended {
            let header = self.next_stored()?;
            match header.kind {
                BlockKind::Plain | BlockKind::Lz4 | BlockKind::Zstd => self.count(&header),
                BlockKind::End => self.end()?,
            }
        }
        Ok(())
    }

    #[cold]
    fn next_block(&mut self) -> Result<(), SegmentError> {
        let header = self.next_stored()?;
        self.unpack(&header)
    }

    /// Takes in the next header and its stored bytes, proved.
    fn next_stored(&mut self) -> Result<BlockHeader, SegmentError> {
        let start = self.offset;
        let mut header_bytes = [0; BLOCK_HEADER_BYTES];
        self.input
            .read_exact(&mut header_bytes)
            .map_err(|error| truncated(error, start))?;
        let header = BlockHeader::decode(&header_bytes, start)?;
        let wanted = u64::from(header.stored_bytes);
        self.stored.clear();
        let got = self
            .input
            .by_ref()
            .take(wanted)
            .read_to_end(&mut self.stored)
            .map_err(SegmentError::from_io)?;
        if (got as u64) < wanted {
            return Err(self.damaged(Damage::Truncated));
        }
        check(&header_bytes, &self.stored, start)?;
        let expected = *self.partition.get_or_insert(header.partition);
        if header.partition != expected {
            return Err(self.damaged(Damage::Partition {
                found: header.partition,
                expected,
            }));
        }
        self.offset += BLOCK_HEADER_BYTES as u64 + wanted;
        Ok(header)
    }

    fn unpack(&mut self, header: &BlockHeader) -> Result<(), SegmentError> {
        match header.kind {
            BlockKind::Plain => std::mem::swap(&mut self.block, &mut self.stored),
            BlockKind::Lz4 => {
                let raw = room(&mut self.block, header.raw_bytes as usize);
                if !Unpacker::lz4(&self.stored, raw) {
                    return Err(self.damaged(Damage::Field { field: "lz4 block" }));
                }
            }
            BlockKind::Zstd => {
                let raw = room(&mut self.block, header.raw_bytes as usize);
                if !self.unpacker.zstd(&self.stored, raw) {
                    return Err(self.damaged(Damage::Field {
                        field: "zstd block",
                    }));
                }
            }
            BlockKind::End => return self.end(),
        }
        self.block_bytes = header.raw_bytes as usize;
        self.block_records = header.records;
        self.at = 0;
        self.count(header);
        Ok(())
    }

    fn count(&mut self, header: &BlockHeader) {
        self.records += u64::from(header.records);
        self.raw_bytes += u64::from(header.raw_bytes);
    }

    fn end(&mut self) -> Result<(), SegmentError> {
        let totals = (u64_at(&self.stored, 0), u64_at(&self.stored, 8));
        if totals != (self.records, self.raw_bytes) {
            return Err(self.damaged(Damage::Field { field: "totals" }));
        }
        let mut one = [0];
        loop {
            match self.input.read(&mut one) {
                Ok(0) => break,
                Ok(_) => return Err(self.damaged(Damage::Trailing)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SegmentError::from_io(error)),
            }
        }
        self.ended = true;
        Ok(())
    }

    fn damaged(&self, damage: Damage) -> SegmentError {
        SegmentError::Damaged {
            offset: self.offset,
            damage,
        }
    }
}

fn room(block: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if block.len() < bytes {
        block.resize(bytes, 0);
    }
    &mut block[..bytes]
}

fn truncated(error: io::Error, offset: u64) -> SegmentError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        SegmentError::Damaged {
            offset,
            damage: Damage::Truncated,
        }
    } else {
        SegmentError::from_io(error)
    }
}
