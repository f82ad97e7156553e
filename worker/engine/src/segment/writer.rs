//! Writes a segment file.
//!
//! The file has its name only when it is whole: it is written under the name
//! with `.tmp` added and renamed at the end. A writer that is dropped before
//! takes the temporary file with it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::failpoint::point;

use super::block::{BlockHeader, BlockKind, push_length};
use super::error::SegmentError;
use super::packing::{Packer, SegmentCompression};
use super::{
    BLOCK_RAW_BYTES, FOOTER_MAGIC, FORMAT_VERSION, HEADER_BYTES, HEADER_MAGIC, INDEX_ENTRY_BYTES,
};

/// Bytes that gather before they are written to the file.
const WRITE_BYTES: usize = 512 * 1024;

/// Writes the runs of a segment, partition after partition.
#[derive(Debug)]
pub struct SegmentWriter {
    file: Option<File>,
    temporary: PathBuf,
    path: PathBuf,
    partitions: u32,
    index: Vec<IndexEntry>,
    /// The partition whose run is open.
    open: Option<u32>,
    raw: Vec<u8>,
    raw_records: u32,
    packer: Packer,
    /// Raw bytes of the largest block.
    block_bytes_max: usize,
    pending: Vec<u8>,
    /// Bytes of the file that left `pending`.
    written: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IndexEntry {
    pub offset: u64,
    pub stored_bytes: u64,
    pub raw_bytes: u64,
    pub records: u64,
}

impl SegmentWriter {
    /// Starts a file of so many partitions.
    ///
    /// # Errors
    ///
    /// When the temporary file cannot be made.
    pub fn create(path: &Path, partitions: u32) -> Result<Self, SegmentError> {
        let mut temporary = OsString::from(path);
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = File::create(&temporary).map_err(SegmentError::from_io)?;
        let mut pending = Vec::with_capacity(WRITE_BYTES + 2 * BLOCK_RAW_BYTES);
        pending.extend_from_slice(&header(partitions));
        Ok(Self {
            file: Some(file),
            temporary,
            path: path.to_owned(),
            partitions,
            index: vec![IndexEntry::default(); partitions as usize],
            open: None,
            raw: Vec::with_capacity(2 * BLOCK_RAW_BYTES),
            raw_records: 0,
            packer: Packer::new(SegmentCompression::default()),
            block_bytes_max: 0,
            pending,
            written: 0,
        })
    }

    /// The same writer, packing its blocks another way than by default.
    #[must_use]
    pub fn compressed(mut self, compression: SegmentCompression) -> Self {
        self.packer = Packer::new(compression);
        self
    }

    /// Adds a record. Partitions ascend, and within one the keys.
    ///
    /// # Errors
    ///
    /// When a full block cannot be written.
    ///
    /// # Panics
    ///
    /// When `partition` is not below the number given at the start.
    #[inline]
    pub fn push(&mut self, partition: u32, key: &[u8], value: &[u8]) -> Result<(), SegmentError> {
        if self.open != Some(partition) {
            self.turn_to(partition)?;
        }
        push_length(key.len(), &mut self.raw);
        push_length(value.len(), &mut self.raw);
        self.raw.extend_from_slice(key);
        self.raw.extend_from_slice(value);
        self.raw_records += 1;
        if self.raw.len() >= BLOCK_RAW_BYTES {
            self.close_block(partition)?;
        }
        Ok(())
    }

    /// Writes what is left, the index and the footer, gives the file its name
    /// and returns the stored bytes of each partition.
    ///
    /// # Errors
    ///
    /// When the file cannot be written or renamed.
    pub fn finish(self) -> Result<Vec<u64>, SegmentError> {
        self.finish_measured().map(|(stored_bytes, _)| stored_bytes)
    }

    /// The same, and what it takes in memory to have the file open and to read any
    /// of its runs: the index, and the largest block as it is stored and as it was.
    pub(crate) fn finish_measured(mut self) -> Result<(Vec<u64>, usize), SegmentError> {
        self.close_run()?;
        let index_offset = self.written + self.pending.len() as u64;
        let mut tail = Vec::with_capacity(self.index.len() * INDEX_ENTRY_BYTES + 20);
        for entry in &self.index {
            for field in [
                entry.offset,
                entry.stored_bytes,
                entry.raw_bytes,
                entry.records,
            ] {
                tail.extend_from_slice(&field.to_le_bytes());
            }
        }
        tail.extend_from_slice(&index_offset.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header(self.partitions)), &tail);
        tail.extend_from_slice(&crc.to_le_bytes());
        tail.extend_from_slice(&FOOTER_MAGIC);
        self.pending.extend_from_slice(&tail);
        self.write_pending()?;
        point("run-rename").map_err(SegmentError::from_io)?;
        fs::rename(&self.temporary, &self.path).map_err(SegmentError::from_io)?;
        self.file = None;
        let index_bytes = self.index.len() * INDEX_ENTRY_BYTES;
        let reader_bytes = 2 * self.block_bytes_max + index_bytes;
        let stored_bytes = self.index.iter().map(|entry| entry.stored_bytes);
        Ok((stored_bytes.collect(), reader_bytes))
    }

    #[cold]
    fn turn_to(&mut self, partition: u32) -> Result<(), SegmentError> {
        debug_assert!(self.open.is_none_or(|open| open < partition));
        self.close_run()?;
        self.index[partition as usize].offset = self.written + self.pending.len() as u64;
        self.open = Some(partition);
        Ok(())
    }

    fn close_block(&mut self, partition: u32) -> Result<(), SegmentError> {
        let (kind, stored) = self.packer.pack(&self.raw);
        let header = BlockHeader {
            kind,
            partition,
            stored_bytes: length_u32(stored.len()),
            raw_bytes: length_u32(self.raw.len()),
            records: self.raw_records,
        };
        self.pending.extend_from_slice(&header.encode(stored));
        if stored.len() < WRITE_BYTES {
            self.pending.extend_from_slice(stored);
        } else {
            // A huge record is not copied once more.
            write(&mut self.file, &self.pending)?;
            write(&mut self.file, stored)?;
            self.written += (self.pending.len() + stored.len()) as u64;
            self.pending.clear();
        }
        let entry = &mut self.index[partition as usize];
        entry.raw_bytes += self.raw.len() as u64;
        entry.records += u64::from(self.raw_records);
        self.block_bytes_max = self.block_bytes_max.max(self.raw.len());
        self.raw.clear();
        self.raw.shrink_to(2 * BLOCK_RAW_BYTES);
        self.raw_records = 0;
        if self.pending.len() >= WRITE_BYTES {
            self.write_pending()?;
        }
        Ok(())
    }

    fn close_run(&mut self) -> Result<(), SegmentError> {
        let Some(partition) = self.open.take() else {
            return Ok(());
        };
        if self.raw_records > 0 {
            self.close_block(partition)?;
        }
        let entry = &mut self.index[partition as usize];
        let mut totals = [0; 16];
        totals[..8].copy_from_slice(&entry.records.to_le_bytes());
        totals[8..].copy_from_slice(&entry.raw_bytes.to_le_bytes());
        let header = BlockHeader {
            kind: BlockKind::End,
            partition,
            stored_bytes: 16,
            raw_bytes: 0,
            records: 0,
        };
        self.pending.extend_from_slice(&header.encode(&totals));
        self.pending.extend_from_slice(&totals);
        entry.stored_bytes = self.written + self.pending.len() as u64 - entry.offset;
        Ok(())
    }

    fn write_pending(&mut self) -> Result<(), SegmentError> {
        write(&mut self.file, &self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

fn write(file: &mut Option<File>, bytes: &[u8]) -> Result<(), SegmentError> {
    let Some(file) = file else { return Ok(()) };
    point("run-write")
        .and_then(|()| disk::keep_reserve(file, bytes.len() as u64))
        .and_then(|()| file.write_all(bytes))
        .map_err(SegmentError::from_io)
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nobody waits for the answer: the worker sweeps its directory of
            // what is left when it starts.
            drop(fs::remove_file(&self.temporary));
        }
    }
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a block is bounded by the limits on keys and values, below 4 GiB")
}

pub(super) fn header(partitions: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&HEADER_MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..].copy_from_slice(&partitions.to_le_bytes());
    header
}
