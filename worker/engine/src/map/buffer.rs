//! The sort buffer of a program that does not merge values.
//!
//! Records lie one behind another in the order of emission; what is sorted is
//! an index of sixteen bytes each, see [`super::order`]. The place in the buffer
//! comes last in it, which keeps equal keys in their order.

use vivat_mapreduce::{Combiner, Emit, EncodedKey, Key, Program, Value, Values};
use vivat_shared::limits::KEY_BYTES_MAX;

use super::order::{self, Item};
use super::run::{Place, RunFile};
use super::spill::{Spills, combine, decode};
use super::{Gather, Gathered};
use crate::error::EngineError;
use crate::segment::VALUE_BYTES_MAX;

/// Bytes before each record: key length and value length.
const RECORD_HEADER_BYTES: usize = 8;

/// Room behind a full buffer: a record of up to so many bytes never makes it grow,
/// which would take twice its memory.
const ROOM_BYTES: usize = 64 * 1024;

/// Gathers records to be sorted.
pub(super) struct SortBuffer<'t, P: Program> {
    place: Place<'t, P>,
    spills: Spills,
    data: Vec<u8>,
    items: Vec<Item>,
    data_bytes_max: usize,
    items_max: usize,
    /// Bytes of the largest record: room is kept for another one.
    largest_bytes: usize,
    emitted: u64,
    error: Option<EngineError>,
}

impl<'t, P: Program> SortBuffer<'t, P> {
    pub fn new(place: Place<'t, P>, spills: Spills) -> Self {
        let index_bytes = spills.memory_bytes / 4;
        let data_bytes_max = (spills.memory_bytes - index_bytes).min(u32::MAX as usize / 2);
        Self {
            place,
            items_max: (index_bytes / size_of::<Item>()).max(1),
            data_bytes_max,
            largest_bytes: 0,
            spills,
            data: Vec::new(),
            items: Vec::new(),
            emitted: 0,
            error: None,
        }
    }

    /// Takes the record that lies behind `at` into the index.
    fn index(&mut self, at: usize, key_end: usize) -> Result<(), EngineError> {
        let record_bytes = self.data.len() - at;
        let key_at = at + RECORD_HEADER_BYTES;
        let (key_bytes, value_bytes) = (key_end - key_at, self.data.len() - key_end);
        let header = [
            length("key", key_bytes, KEY_BYTES_MAX)?,
            length("value", value_bytes, VALUE_BYTES_MAX)?,
        ];
        self.data[at..at + 4].copy_from_slice(&header[0].to_le_bytes());
        self.data[at + 4..key_at].copy_from_slice(&header[1].to_le_bytes());
        let key = &self.data[key_at..key_end];
        let partition = self.place.partition(EncodedKey::new(key))?;
        // The buffer is spilled at half of what this can tell.
        let at = length("buffer", at, u32::MAX as usize)?;
        self.items.push(Item::new(partition, key, at));
        self.largest_bytes = self.largest_bytes.max(record_bytes);
        Ok(())
    }

    fn is_full(&self) -> bool {
        // Of huge records room is kept for one more, unless it is the only one.
        let huge_bytes = self.largest_bytes.saturating_sub(ROOM_BYTES);
        self.items.len() >= self.items_max || self.data.len() + huge_bytes >= self.data_bytes_max
    }

    #[cold]
    fn spill(&mut self) {
        if self.error.is_none() {
            let (items, data, place) = (&mut self.items, &self.data, self.place);
            let records = items.len();
            let spilled = self
                .spills
                .spill(place, records, |run| write_run(place, items, data, run));
            self.error = spilled.err();
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.items.clear();
        self.data.clear();
        if self.data.capacity() > self.data_bytes_max.saturating_add(ROOM_BYTES) {
            self.data = Vec::new();
        }
    }

    /// Asks for all the memory at once: pages that are never touched cost
    /// nothing, and growing by doubling would cost half the budget.
    #[cold]
    fn reserve(&mut self) {
        let room_bytes = ROOM_BYTES.min(self.data_bytes_max);
        self.data.reserve_exact(self.data_bytes_max + room_bytes);
        self.items.reserve_exact(self.items_max);
    }
}

impl<P: Program> Emit<P::Key, P::Value> for SortBuffer<'_, P> {
    #[inline]
    fn emit(&mut self, key: <P::Key as Key>::View<'_>, value: <P::Value as Value>::View<'_>) {
        self.emitted += 1;
        if self.data.capacity() == 0 {
            self.reserve();
        }
        let at = self.data.len();
        self.data.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        P::Key::encode(key, &mut self.data);
        let key_end = self.data.len();
        P::Value::encode(value, &mut self.data);
        if let Err(error) = self.index(at, key_end) {
            self.error.get_or_insert(error);
            self.clear();
        } else if self.is_full() {
            self.spill();
        }
    }

    fn has_failed(&self) -> bool {
        self.error.is_some()
    }
}

impl<P: Program> Gather<P> for SortBuffer<'_, P> {
    fn check(&mut self) -> Result<(), EngineError> {
        self.error.take().map_or(Ok(()), Err)
    }

    fn finish(mut self) -> Result<Gathered, EngineError> {
        let (place, emitted) = (self.place, self.emitted);
        if self.spills.is_empty() {
            let (items, data) = (&mut self.items, &self.data);
            let written = self
                .spills
                .finish_in_memory(items.len(), |run| write_run(place, items, data, run))?;
            return Ok(Gathered::of(emitted, written));
        }
        if !self.items.is_empty() {
            self.spill();
            self.check()?;
        }
        let Self {
            spills,
            data,
            items,
            ..
        } = self;
        // The merge has all of the memory.
        drop((data, items));
        Ok(Gathered::of(emitted, spills.finish(place)?))
    }
}

fn length(what: &'static str, bytes: usize, bytes_max: usize) -> Result<u32, EngineError> {
    u32::try_from(bytes)
        .ok()
        .filter(|_| bytes <= bytes_max)
        .ok_or(EngineError::EmittedTooLarge {
            what,
            bytes,
            bytes_max,
            display: String::new(),
            offset: None,
        })
}

/// Key and value of the record at `at`.
#[inline]
fn record(data: &[u8], at: u32) -> (&[u8], &[u8]) {
    let at = at as usize;
    let field = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&data[at..at + 4]);
        u32::from_le_bytes(bytes) as usize
    };
    let key_at = at + RECORD_HEADER_BYTES;
    let value_at = key_at + field(at);
    (
        &data[key_at..value_at],
        &data[value_at..value_at + field(at + 4)],
    )
}

fn write_run<P: Program>(
    place: Place<'_, P>,
    items: &mut [Item],
    data: &[u8],
    run: &mut RunFile<'_>,
) -> Result<(), EngineError> {
    order::sort(items, &|at| record(data, at).0);
    match P::COMBINER {
        Combiner::None | Combiner::Merge => {
            for item in &*items {
                let (key, value) = record(data, item.at());
                run.push(item.partition(), key, value)?;
            }
        }
        Combiner::Combine => {
            let same = |a: &Item, b: &Item| {
                a.partition() == b.partition() && record(data, a.at()).0 == record(data, b.at()).0
            };
            for group in items.chunk_by(same) {
                let (key, _) = record(data, group[0].at());
                let mut values = SliceValues {
                    rest: group,
                    data,
                    error: None,
                    program: std::marker::PhantomData::<P>,
                };
                combine(place.program, group[0].partition(), key, &mut values, run)?;
                if let Some(error) = values.error {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

struct SliceValues<'r, P> {
    rest: &'r [Item],
    data: &'r [u8],
    error: Option<EngineError>,
    program: std::marker::PhantomData<P>,
}

impl<P: Program> Values<P::Value> for SliceValues<'_, P> {
    fn next(&mut self) -> Option<<P::Value as Value>::View<'_>> {
        let (item, rest) = self.rest.split_first()?;
        self.rest = rest;
        match decode::<P>(record(self.data, item.at()).1) {
            Ok(value) => Some(value),
            Err(error) => {
                self.error.get_or_insert(error);
                None
            }
        }
    }
}
