//! A sample of the keys, and the cut points that it gives.
//!
//! Every 64 bytes of every file one byte is drawn; the record that it lies in is
//! a candidate, with a rank that is a hash of the place. Those of the lowest ranks
//! are the sample: it depends on the input alone, and a long record counts by its
//! length, so that parts are even in bytes. What a map emits and what a sample
//! holds is bounded however large the input is.

use std::collections::{BTreeMap, BinaryHeap};
use std::io::Read;

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Block, CloseContext, Closed, Emit, Framing, MapContext, Mapper, Output, Parts, Program,
    ProgramError, Ranges, Record, ReduceContext, Reducer, Values,
};
use vivat_shared::limits::REDUCERS_MAX;

use super::key::{self, KeyRule, Keys};
use super::oracle;
use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "sort-sample",
    summary: "samples the keys of a sort and cuts them into ranges",
    parameters: &[
        key::COLUMN,
        key::DELIMITER,
        key::CSV_COLUMN,
        key::KEY_START,
        key::KEY_BYTES,
        key::NUMERIC,
        key::REVERSE,
        key::RECORD_BYTES,
        ParameterSpec {
            name: "parts",
            kind: ParameterKind::Integer {
                min: 1,
                max: REDUCERS_MAX as i64,
            },
            default: None,
            help: "parts of the sort",
        },
    ],
    formats: &[Format::Text, Format::Csv, Format::Fixed],
    example: "vivat run sort-sample data/input/*.txt --reducers 1 -p parts=4",
    build,
    oracle: oracle::sample,
};

/// Bytes of input for one draw.
pub(super) const CELL_BYTES: u64 = 64;
/// Bytes that are kept of a key in the sample: a cut needs no more.
pub(super) const KEY_BYTES_KEPT: usize = 1024;
/// Sampled keys for each part, so that parts differ by some per cent.
const KEYS_PER_PART: usize = 128;
const KEYS_MIN: usize = 1024;
const KEYS_MAX: usize = 64 * 1024;
/// Of its fair share a split may exceed so much, and so many keys in any case.
const SHARE_FACTOR: usize = 16;
const SHARE_MIN: usize = 256;

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    let parts = u32::try_from(parameters.integer("parts"))
        .unwrap_or(1)
        .max(1);
    Ok(Box::new(Runner::new(SortSample {
        rule: KeyRule::of(parameters)?,
        parts,
        keys_max: keys_max(parts),
    })))
}

/// Keys in the sample for a sort into so many parts.
pub(super) fn keys_max(parts: u32) -> usize {
    (parts as usize * KEYS_PER_PART).clamp(KEYS_MIN, KEYS_MAX)
}

struct SortSample {
    rule: KeyRule,
    parts: u32,
    keys_max: usize,
}

impl Program for SortSample {
    /// The rank.
    type Key = u64;
    /// The key, cut to [`KEY_BYTES_KEPT`].
    type Value = Vec<u8>;
    type Mapper<'t> = Draw<'t>;
    type Reducer<'t> = Keep;
    const CLOSES: bool = true;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Draw<'t>, ProgramError> {
        let share = self.keys_max * SHARE_FACTOR / context.splits.max(1) as usize;
        Ok(Draw {
            keys: Keys::new(&self.rule, context.header)?,
            seed: mixed(u64::from(context.file_index)),
            lowest: BinaryHeap::new(),
            keys_max: share.max(SHARE_MIN).min(self.keys_max),
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Keep, ProgramError> {
        Ok(Keep {
            left: self.keys_max,
        })
    }

    fn close(&self, _: &CloseContext<'_>, parts: &mut Parts<'_>) -> Result<Closed, ProgramError> {
        let mut bytes = Vec::new();
        while let Some(mut part) = parts.next()? {
            part.read_to_end(&mut bytes).map_err(ProgramError::part)?;
        }
        let mut keys = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let (key, tail) = tail
                .split_at_checked(length)
                .ok_or_else(|| ProgramError::new("the sample of the keys is cut short"))?;
            keys.push(key);
            rest = tail;
        }
        keys.sort_unstable();
        let parts = self.parts as usize;
        let cuts = (1..parts).filter_map(|part| keys.get(part * keys.len() / parts).copied());
        #[expect(clippy::cast_precision_loss, reason = "it is at most some thousands")]
        let sampled = keys.len() as f64;
        Ok(Closed {
            broadcast: Ranges::encode(cuts),
            metrics: BTreeMap::from([("sampled_keys".to_owned(), sampled)]),
            again: false,
        })
    }
}

/// Steele, Lea and Flood's mixer, as in the generators.
pub(super) fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

struct Draw<'t> {
    keys: Keys<'t>,
    seed: u64,
    /// The highest rank on top.
    lowest: BinaryHeap<(u64, Vec<u8>)>,
    keys_max: usize,
}

impl Draw<'_> {
    /// The rank of a cell, and the place in it that is drawn.
    #[inline]
    fn draw(&self, cell: u64) -> (u64, u64) {
        let rank = mixed(self.seed ^ cell);
        (rank, cell * CELL_BYTES + rank % CELL_BYTES)
    }

    #[inline]
    fn is_wanted(&self, rank: u64) -> bool {
        self.lowest.len() < self.keys_max
            || self
                .lowest
                .peek()
                .is_some_and(|(highest, _)| rank < *highest)
    }

    fn take(&mut self, rank: u64, record: Record<'_>) -> Result<(), ProgramError> {
        let key = self.keys.of(record)?.key;
        let key = key[..key.len().min(KEY_BYTES_KEPT)].to_vec();
        self.lowest.push((rank, key));
        if self.lowest.len() > self.keys_max {
            self.lowest.pop();
        }
        Ok(())
    }

    /// Takes what is drawn of `bytes` at `offset`; `find` has the record around
    /// a place within them.
    fn sample<'b>(
        &mut self,
        (offset, bytes): (u64, &'b [u8]),
        find: impl Fn(usize) -> &'b [u8],
    ) -> Result<(), ProgramError> {
        let end = offset + bytes.len() as u64;
        for cell in offset / CELL_BYTES..end.div_ceil(CELL_BYTES) {
            let (rank, place) = self.draw(cell);
            if (offset..end).contains(&place) && self.is_wanted(rank) {
                let at = usize::try_from(place - offset).unwrap_or(0);
                let bytes = find(at);
                self.take(rank, Record { bytes, offset })?;
            }
        }
        Ok(())
    }
}

impl Mapper<u64, Vec<u8>> for Draw<'_> {
    fn map<E: Emit<u64, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        _: &mut E,
    ) -> Result<(), ProgramError> {
        self.sample((record.offset, record.bytes), |_| record.bytes)
    }

    fn map_block<E: Emit<u64, Vec<u8>>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        self.keys.rule.check_framing(block.framing)?;
        let bytes = block.bytes;
        match block.framing {
            Framing::Lines => {
                self.sample((block.offset, bytes), |at| line_around(bytes, at))?;
                let ends = memchr::memchr_iter(b'\n', bytes).count() as u64;
                let unended = !bytes.is_empty() && !bytes.ends_with(b"\n");
                Ok(ends + u64::from(unended))
            }
            Framing::Fixed(unit) => {
                let unit = unit.max(1) as usize;
                self.sample((block.offset, bytes), |at| {
                    let start = at - at % unit;
                    &bytes[start..bytes.len().min(start + unit)]
                })?;
                Ok(bytes.len().div_ceil(unit) as u64)
            }
            Framing::Whole | Framing::Csv => {
                let mut records = 0;
                for record in block.records() {
                    self.map(record, emit)?;
                    records += 1;
                }
                Ok(records)
            }
        }
    }

    fn finish<E: Emit<u64, Vec<u8>>>(self, emit: &mut E) -> Result<(), ProgramError> {
        for (rank, key) in self.lowest {
            emit.emit(rank, &key);
        }
        Ok(())
    }
}

/// The line that the byte at `at` belongs to, its own end included.
fn line_around(bytes: &[u8], at: usize) -> &[u8] {
    let start = memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |end| end + 1);
    let line = &bytes[start..];
    let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Writes the keys of the lowest ranks, each behind its length.
struct Keep {
    left: usize,
}

impl Reducer<u64, Vec<u8>> for Keep {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        _: u64,
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while self.left > 0
            && let Some(key) = values.next()
        {
            self.left -= 1;
            let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
            out.raw(&length.to_le_bytes());
            out.record(key);
        }
        Ok(())
    }
}
