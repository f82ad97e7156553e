//! From files to splits, in chunks that fit a log entry.
//!
//! Chunks are made as they are sent, so a plan of millions of splits never
//! stands in memory as a whole.

use vivat_engine::{Compression, LocalFiles, csv_cuts};
use vivat_shared::attempt::{InputOrigin, PlanChunk, SplitRange};
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputFormat;
use vivat_shared::limits::{PLAN_CHUNK_BYTES_MAX, SPLITS_MAX};
use vivat_shared::plan;

use crate::datasets::PlannedFile;

/// The lengths of a chunk's two lists, as encoded.
const CHUNK_OVERHEAD_BYTES: usize = 20;

/// A file of a CSV job as it is to be cut: where records end, which takes a look at
/// all its quotes. Of what is far away that would be all its bytes, so it stays
/// whole; so does a file of a dataset, whose later blocks come without the header.
///
/// Under `multiline=false` no field holds a line end, so any place will do.
///
/// # Errors
///
/// The file cannot be read, or has no header.
pub(crate) fn csv_file(
    mut planned: PlannedFile,
    (split_bytes, multiline): (u64, bool),
    stopped: &dyn Fn() -> bool,
) -> Result<PlannedFile, FailureCause> {
    match planned.file.origin {
        InputOrigin::Dataset { .. } => planned.is_whole = true,
        InputOrigin::FileSystem { .. } | InputOrigin::Remote { .. }
            if !multiline && !planned.is_whole && Compression::of(&planned.file).is_none() =>
        {
            let bytes = planned.file.bytes;
            let step = usize::try_from(split_bytes.max(1)).unwrap_or(usize::MAX);
            planned.cuts = (0..bytes).step_by(step).skip(1).collect();
        }
        InputOrigin::FileSystem { .. } => {
            let cuts = csv_cuts(&planned.file, &LocalFiles, split_bytes, stopped);
            planned.cuts = cuts.map_err(|error| error.cause())?;
        }
        InputOrigin::Remote { .. } => planned.is_whole = true,
    }
    Ok(planned)
}

/// Cuts files into splits and hands out full chunks.
#[derive(Debug)]
pub(crate) struct PlanWriter {
    format: InputFormat,
    split_bytes: u64,
    chunk: PlanChunk,
    chunk_bytes: usize,
    sums: PlanSums,
}

/// What the sealing entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PlanSums {
    pub(crate) chunks: u32,
    pub(crate) files: u32,
    pub(crate) splits: u32,
    pub(crate) crc32c: u32,
}

impl PlanWriter {
    pub(crate) fn new(format: InputFormat, split_bytes: u64) -> Self {
        Self {
            format,
            split_bytes: split_bytes.max(1),
            chunk: PlanChunk::default(),
            chunk_bytes: CHUNK_OVERHEAD_BYTES,
            sums: PlanSums::default(),
        }
    }

    /// Adds a file with its splits; `send` gets each chunk that becomes full,
    /// with its number. An empty file is one empty split: a program may have a
    /// word to say of every file (`grep count=true`).
    ///
    /// The file's cuts are places behind which its bytes lie elsewhere: splits end
    /// there if a record can.
    pub(crate) fn add<E: From<FailureCause>>(
        &mut self,
        planned: PlannedFile,
        send: &mut impl FnMut(u32, PlanChunk) -> Result<(), E>,
    ) -> Result<(), E> {
        let PlannedFile {
            file,
            cuts,
            is_whole,
        } = planned;
        let is_whole = is_whole || Compression::of(&file).is_some();
        let step = match is_whole {
            true => file.bytes.max(1),
            false => self.step_bytes(file.bytes),
        };
        let (index, bytes) = (self.sums.files, file.bytes);
        let encoded = text_bytes(&file.path)
            + text_bytes(&file.display)
            + varint_bytes(bytes)
            + origin_bytes(&file.origin);
        self.make_room(encoded, send)?;
        self.chunk.files.push(file);
        self.sums.files += 1;
        let mut offset = 0;
        let (format, cuts) = (self.format, cuts.into_iter());
        let mut cuts = cuts
            .filter(|cut| !is_whole && may_end(format, *cut))
            .peekable();
        loop {
            while cuts.next_if(|cut| *cut <= offset).is_some() {}
            let end = cuts.peek().copied().unwrap_or(bytes).min(bytes);
            let split = SplitRange {
                file: index,
                offset,
                bytes: step.min(end - offset),
            };
            if self.sums.splits == SPLITS_MAX {
                return Err(FailureCause::PlanTooLarge {
                    detail: format!("more than {SPLITS_MAX} splits"),
                }
                .into());
            }
            let encoded = varint_bytes(u64::from(split.file))
                + varint_bytes(split.offset)
                + varint_bytes(split.bytes);
            self.make_room(encoded, send)?;
            offset += split.bytes;
            self.chunk.splits.push(split);
            self.sums.splits += 1;
            if offset >= bytes {
                return Ok(());
            }
        }
    }

    /// Hands out the last chunk and returns what the plan came to.
    pub(crate) fn finish<E>(
        mut self,
        send: &mut impl FnMut(u32, PlanChunk) -> Result<(), E>,
    ) -> Result<PlanSums, E> {
        if !self.chunk.files.is_empty() || !self.chunk.splits.is_empty() {
            self.flush(send)?;
        }
        Ok(self.sums)
    }

    /// Bytes of a split of a file. What cannot be cut is one split: a whole
    /// file by its meaning, and CSV, which ends nowhere but at its cuts.
    fn step_bytes(&self, file_bytes: u64) -> u64 {
        match self.format {
            InputFormat::Text => self.split_bytes,
            InputFormat::Csv | InputFormat::WholeFile => file_bytes.max(1),
            InputFormat::Fixed(record) => {
                let record = u64::from(record).max(1);
                (self.split_bytes / record).max(1) * record
            }
        }
    }

    fn make_room<E>(
        &mut self,
        encoded_bytes: usize,
        send: &mut impl FnMut(u32, PlanChunk) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.chunk_bytes + encoded_bytes > PLAN_CHUNK_BYTES_MAX {
            self.flush(send)?;
        }
        self.chunk_bytes += encoded_bytes;
        Ok(())
    }

    fn flush<E>(
        &mut self,
        send: &mut impl FnMut(u32, PlanChunk) -> Result<(), E>,
    ) -> Result<(), E> {
        let chunk = std::mem::take(&mut self.chunk);
        self.chunk_bytes = CHUNK_OVERHEAD_BYTES;
        plan::checksum(&mut self.sums.crc32c, &chunk);
        let number = self.sums.chunks;
        self.sums.chunks += 1;
        send(number, chunk)
    }
}

/// Whether a split may end at a place where no record does, or where one does.
fn may_end(format: InputFormat, at: u64) -> bool {
    match format {
        // Those of CSV were looked for, see [`csv_file`].
        InputFormat::Text | InputFormat::Csv => true,
        InputFormat::WholeFile => false,
        InputFormat::Fixed(record) => at.is_multiple_of(u64::from(record).max(1)),
    }
}

fn origin_bytes(origin: &InputOrigin) -> usize {
    let number = varint_bytes(u64::MAX);
    let content = match origin {
        InputOrigin::FileSystem { .. } => number,
        InputOrigin::Dataset { .. } => 2 * number,
        InputOrigin::Remote { version } => text_bytes(version),
    };
    1 + content
}

fn text_bytes(text: &str) -> usize {
    text.len() + varint_bytes(text.len() as u64)
}

/// Bytes of a number in the plan's encoding: seven bits each.
fn varint_bytes(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()).div_ceil(7).max(1) as usize
}
