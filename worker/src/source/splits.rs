//! From files to splits, in chunks that fit a log entry.
//!
//! Chunks are made as they are sent, so a plan of millions of splits never
//! stands in memory as a whole.

use vivat_engine::{
    Compression, InputOpener, LocalFiles, csv_cuts, csv_cuts_behind, csv_header_line,
};
use vivat_shared::attempt::{InputOrigin, PlanChunk, SplitRange};
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputFormat;
use vivat_shared::limits::{PLAN_CHUNK_BYTES_MAX, SPLITS_MAX};
use vivat_shared::plan;

use crate::datasets::PlannedFile;

/// The lengths of a chunk's two lists, as encoded.
const CHUNK_OVERHEAD_BYTES: usize = 20;

/// Splits that a block of a dataset may be large for: with more of them it is looked
/// for where records end within blocks.
const SPLITS_PER_BLOCK_MAX: u64 = 4;

/// A file of a CSV job as it is to be cut: where records end, which takes a look at
/// all its quotes. Blocks of a dataset that was put as CSV end there already; of what
/// is at a URL it would take all its bytes, so that stays whole.
///
/// Under `multiline=false` no field holds a line end, so any place will do.
///
/// A file that is far away gets its header along when it is cut: later splits do not
/// lie where it is. Without an opener the splits of a dataset are those that its
/// blocks suggest.
///
/// # Errors
///
/// The file cannot be read, or has no header.
pub(crate) fn csv_file(
    mut planned: PlannedFile,
    (split_bytes, multiline): (u64, bool),
    opener: Option<&dyn InputOpener>,
    stopped: &dyn Fn() -> bool,
) -> Result<PlannedFile, FailureCause> {
    let file = &planned.file;
    if planned.is_whole || Compression::of(file).is_some() {
        planned.is_whole = true;
        return Ok(planned);
    }
    let block_ends = std::mem::take(&mut planned.cuts);
    let is_far = !matches!(file.origin, InputOrigin::FileSystem { .. });
    let cuts = match (&file.origin, opener) {
        _ if !multiline => Ok(steps(file.bytes, &block_ends, split_bytes)),
        (InputOrigin::FileSystem { .. }, _) => csv_cuts(file, &LocalFiles, split_bytes, stopped),
        (InputOrigin::Remote { .. }, _) => Ok(Vec::new()),
        (InputOrigin::Dataset { .. }, None) => Ok(block_ends),
        (InputOrigin::Dataset { .. }, Some(opener)) => {
            let block_bytes = file.bytes / (block_ends.len() as u64 + 1);
            let are_small = block_bytes <= split_bytes.saturating_mul(SPLITS_PER_BLOCK_MAX);
            match planned.blocks.end_csv && are_small {
                true => csv_cuts_behind(file, opener, &block_ends, stopped),
                false => csv_cuts(file, opener, split_bytes, stopped),
            }
        }
    };
    let cuts = cuts.map_err(|error| error.cause())?;
    if let (true, false, Some(opener)) = (is_far, cuts.is_empty(), opener) {
        let header = csv_header_line(file, opener);
        planned.file.header = header.map_err(|error| error.cause())?;
    }
    planned.cuts = cuts;
    Ok(planned)
}

/// Places a split's length apart, beginning again at the end of every block.
fn steps(bytes: u64, block_ends: &[u64], split_bytes: u64) -> Vec<u64> {
    let step = usize::try_from(split_bytes.max(1)).unwrap_or(usize::MAX);
    let mut start = 0;
    let mut cuts = Vec::new();
    for end in block_ends.iter().copied().chain([bytes]) {
        cuts.extend((start..end).step_by(step).filter(|cut| *cut > 0));
        start = end;
    }
    cuts
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
            blocks: _,
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
            + origin_bytes(&file.origin)
            + varint_bytes(file.header.len() as u64)
            + file.header.len();
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
