//! Opens segment files: the index for whoever serves runs, and a full check
//! for a worker that comes back to its disk.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::block::{u32_at, u64_at};
use super::error::{Damage, SegmentError};
use super::reader::SegmentReader;
use super::writer::{IndexEntry, header};
use super::{
    FOOTER_BYTES, FOOTER_MAGIC, FORMAT_VERSION, HEADER_BYTES, HEADER_MAGIC, INDEX_ENTRY_BYTES,
};
use vivat_shared::limits::REDUCERS_MAX;

/// A segment file whose index is read and proved.
#[derive(Debug)]
pub struct SegmentFile {
    file: Arc<File>,
    index: Vec<IndexEntry>,
}

impl SegmentFile {
    /// Opens a file and proves its header and index, not its runs.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is damaged or of an unknown version.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        let file = File::open(path).map_err(SegmentError::from_io)?;
        let bytes = file.metadata().map_err(SegmentError::from_io)?.len();
        let damaged = |offset, damage| SegmentError::Damaged { offset, damage };
        if bytes < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(damaged(bytes, Damage::Truncated));
        }
        let mut head = [0; HEADER_BYTES];
        file.read_exact_at(&mut head, 0)
            .map_err(SegmentError::from_io)?;
        if head[..8] != HEADER_MAGIC {
            return Err(damaged(0, Damage::Magic));
        }
        let found = u32_at(&head, 8);
        if found != FORMAT_VERSION {
            return Err(SegmentError::UnknownVersion {
                found,
                known: FORMAT_VERSION,
            });
        }
        let partitions = u32_at(&head, 12);
        let index_bytes = partitions as usize * INDEX_ENTRY_BYTES;
        let tail_bytes = (index_bytes + FOOTER_BYTES) as u64;
        if partitions > REDUCERS_MAX || bytes < HEADER_BYTES as u64 + tail_bytes {
            return Err(damaged(
                12,
                Damage::Field {
                    field: "partitions",
                },
            ));
        }
        let tail_offset = bytes - tail_bytes;
        let mut tail = vec![0; index_bytes + FOOTER_BYTES];
        file.read_exact_at(&mut tail, tail_offset)
            .map_err(SegmentError::from_io)?;
        check_tail(&tail, tail_offset, partitions)?;
        let index = tail[..index_bytes]
            .chunks_exact(INDEX_ENTRY_BYTES)
            .map(|entry| IndexEntry {
                offset: u64_at(entry, 0),
                stored_bytes: u64_at(entry, 8),
                raw_bytes: u64_at(entry, 16),
                records: u64_at(entry, 24),
            })
            .collect::<Vec<_>>();
        if !index.iter().all(|entry| lies_before(entry, tail_offset)) {
            let field = "run offset";
            return Err(damaged(tail_offset, Damage::Field { field }));
        }
        Ok(Self {
            file: Arc::new(file),
            index,
        })
    }

    /// Number of partitions, empty ones included.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.index.len()).expect("checked against REDUCERS_MAX when it was opened")
    }

    /// Offset and length of a partition's run in the file; `None` when the
    /// partition holds nothing or does not exist.
    #[must_use]
    pub fn partition_range(&self, partition: u32) -> Option<(u64, u64)> {
        self.index
            .get(partition as usize)
            .filter(|entry| entry.stored_bytes > 0)
            .map(|entry| (entry.offset, entry.stored_bytes))
    }

    /// Stored bytes of each partition.
    #[must_use]
    pub fn stored_bytes(&self) -> Vec<u64> {
        self.index.iter().map(|entry| entry.stored_bytes).collect()
    }

    /// The stored bytes of a partition's run, to be sent or decoded.
    #[must_use]
    pub fn run(&self, partition: u32) -> Option<FileRange> {
        let (offset, bytes) = self.partition_range(partition)?;
        Some(FileRange::new(self.file.clone(), offset, bytes))
    }
}

fn lies_before(entry: &IndexEntry, end: u64) -> bool {
    let run_end = entry.offset.checked_add(entry.stored_bytes);
    run_end.is_some_and(|run_end| run_end <= end)
}

fn check_tail(tail: &[u8], tail_offset: u64, partitions: u32) -> Result<(), SegmentError> {
    let damaged = |damage| SegmentError::Damaged {
        offset: tail_offset,
        damage,
    };
    let magic_at = tail.len() - 8;
    let crc_at = magic_at - 4;
    if tail[magic_at..] != FOOTER_MAGIC {
        return Err(damaged(Damage::Magic));
    }
    let expected = u32_at(tail, crc_at);
    let found = crc32c::crc32c_append(crc32c::crc32c(&header(partitions)), &tail[..crc_at]);
    if found != expected {
        return Err(damaged(Damage::Checksum { found, expected }));
    }
    if u64_at(tail, crc_at - 8) != tail_offset {
        return Err(damaged(Damage::Field {
            field: "index offset",
        }));
    }
    Ok(())
}

/// Reads all of a segment file and proves every block of every run; returns
/// the stored bytes of each partition.
///
/// # Errors
///
/// When anything in it cannot be read or is damaged.
pub fn verify(path: &Path) -> Result<Vec<u64>, SegmentError> {
    let file = SegmentFile::open(path)?;
    for partition in 0..file.partitions() {
        if let Some(run) = file.run(partition) {
            SegmentReader::of_partition(run, partition).prove()?;
        }
    }
    Ok(file.stored_bytes())
}

/// A range of a file as a stream, with a position of its own: any number of
/// them share one open file.
#[derive(Debug, Clone)]
pub struct FileRange {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl FileRange {
    /// `bytes` bytes of `file` from `offset`.
    #[must_use]
    pub fn new(file: Arc<File>, offset: u64, bytes: u64) -> Self {
        Self {
            file,
            at: offset,
            end: offset.saturating_add(bytes),
        }
    }

    /// Opens a file for one range of it.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open(path: &Path, offset: u64, bytes: u64) -> io::Result<Self> {
        Ok(Self::new(Arc::new(File::open(path)?), offset, bytes))
    }
}

impl Read for FileRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let got = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}
