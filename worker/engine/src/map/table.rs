//! The hash table of a program that merges values.
//!
//! A key's bytes lie in an arena, its entry in the table; a record whose key is
//! there costs a hash, a comparison and the program's merge. A key of up to
//! sixteen bytes is known by its length and two words that hold all its bytes:
//! it is found without a look into the arena. Partitions are chosen when a run
//! is written, once per key, not once per record.

use std::ops::Range;

use hashbrown::HashTable;
use vivat_mapreduce::{Emit, EncodedKey, Key, Program, TextKey, Value};
use vivat_shared::limits::KEY_BYTES_MAX;

use super::run::{Place, RunFile};
use super::spill::Spills;
use super::{Gather, Gathered};
use crate::error::EngineError;
use crate::merge::key_prefix;
use crate::segment::VALUE_BYTES_MAX;

/// Keys up to this many bytes are held whole by two words and their length.
const SHORT_BYTES: usize = 16;
/// Short keys that are looked up one behind the other, with nothing in between: a
/// processor then waits for the memory of several at a time. It is the same as to look
/// each up at once, and takes a third of the time from a table that is in no near cache.
const PENDING_MAX: usize = 128;

/// What a key is looked up by. For a short key `words` hold all its bytes, zeros
/// behind them, for a longer one its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Probe {
    words: [u64; 2],
    bytes: usize,
}

impl Probe {
    #[inline]
    fn of(key: &[u8]) -> Self {
        let bytes = key.len();
        let words = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
            (Some(first), Some(last)) if bytes <= SHORT_BYTES => {
                // Some of the last eight bytes are the first ones again, or all.
                let first = u128::from(u64::from_le_bytes(*first));
                halves(first | u128::from(u64::from_le_bytes(*last)) << (8 * (bytes - 8)))
            }
            (Some(_), Some(_)) => [EncodedKey::new(key).hash(), 0],
            _ => [few(key), 0],
        };
        Self { words, bytes }
    }

    /// The same of the first bytes, at least one, of a text that goes on behind a short
    /// key: without a branch on how short it is, which nobody could foretell.
    #[inline]
    fn of_front(front: &[u8; SHORT_BYTES], bytes: usize) -> Self {
        let mask = u128::MAX >> (8 * (SHORT_BYTES - bytes));
        Self {
            words: halves(u128::from_le_bytes(*front) & mask),
            bytes,
        }
    }

    /// The bytes of a short key, zeros behind them.
    fn key(&self) -> [u8; SHORT_BYTES] {
        let [low, high] = self.words.map(u128::from);
        (low | high << 64).to_le_bytes()
    }

    /// Both halves of a product of the words: fast, and good enough for a table
    /// that lives for one task. The odd constants are digits of pi.
    #[inline]
    fn hash(&self) -> u64 {
        let a = self.words[0] ^ 0x243F_6A88_85A3_08D3;
        let b = self.words[1] ^ 0x1319_8A2E_0370_7345 ^ (self.bytes as u64).rotate_left(56);
        let [low, high] = halves(u128::from(a) * u128::from(b));
        low ^ high
    }
}

/// The lower half and the upper one.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves are wanted")]
fn halves(word: u128) -> [u64; 2] {
    [word as u64, (word >> 64) as u64]
}

/// Up to seven bytes in a word, zeros behind them.
#[inline]
fn few(key: &[u8]) -> u64 {
    let bytes = key.len();
    match (key.first_chunk::<4>(), key.last_chunk::<4>(), key) {
        (Some(first), Some(last), _) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            u64::from(first) | u64::from(last) << (8 * (bytes - 4))
        }
        (_, _, [first, .., last]) => {
            let middle = u64::from(key[bytes / 2]) << (8 * (bytes / 2));
            u64::from(*first) | middle | u64::from(*last) << (8 * (bytes - 1))
        }
        (_, _, [only]) => u64::from(*only),
        (_, _, []) => 0,
    }
}

struct Entry<V> {
    words: [u64; 2],
    key_at: u32,
    key_bytes: u32,
    value: V,
}

impl<V> Entry<V> {
    #[inline]
    fn key<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let start = self.key_at as usize;
        &arena[start..start + self.key_bytes as usize]
    }

    #[inline]
    fn probe(&self) -> Probe {
        Probe {
            words: self.words,
            bytes: self.key_bytes as usize,
        }
    }
}

/// Gathers records by merging the values of equal keys.
pub(super) struct MergeTable<'t, P: Program> {
    place: Place<'t, P>,
    spills: Spills,
    entries: HashTable<Entry<P::Value>>,
    /// Emitted after all that is in the table.
    pending: Vec<(Probe, P::Value)>,
    arena: Vec<u8>,
    /// Bytes that values hold outside their entries.
    heap_bytes: usize,
    /// Where keys are encoded that are not their own encoding.
    encoded: Vec<u8>,
    emitted: u64,
    error: Option<EngineError>,
}

impl<'t, P: Program> MergeTable<'t, P> {
    pub fn new(place: Place<'t, P>, spills: Spills) -> Self {
        Self {
            place,
            spills,
            entries: HashTable::new(),
            pending: Vec::with_capacity(PENDING_MAX),
            arena: Vec::new(),
            heap_bytes: 0,
            encoded: Vec::new(),
            emitted: 0,
            error: None,
        }
    }

    #[inline]
    fn add(&mut self, key: &[u8], value: <P::Value as Value>::View<'_>) {
        let probe = Probe::of(key);
        let arena = &self.arena;
        let found = self.entries.find_mut(probe.hash(), |entry| {
            entry.probe() == probe && (key.len() <= SHORT_BYTES || entry.key(arena) == key)
        });
        match found {
            Some(entry) => {
                let before = entry.value.heap_bytes();
                self.place.program.merge(&mut entry.value, value);
                let after = entry.value.heap_bytes();
                self.heap_bytes = (self.heap_bytes + after).saturating_sub(before);
                if after > before {
                    self.keep_within_budget();
                }
            }
            None => self.insert(probe, key, value),
        }
    }

    /// Looks up what is pending, in the order of emission.
    #[inline(never)]
    fn settle(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        for (probe, value) in &pending {
            let found = self
                .entries
                .find_mut(probe.hash(), |entry| entry.probe() == *probe);
            match found {
                Some(entry) => {
                    let before = entry.value.heap_bytes();
                    self.place.program.merge(&mut entry.value, value.view());
                    let after = entry.value.heap_bytes();
                    self.heap_bytes = (self.heap_bytes + after).saturating_sub(before);
                    if after > before {
                        self.keep_within_budget();
                    }
                }
                None => {
                    let key = probe.key();
                    self.insert(*probe, &key[..probe.bytes], value.view());
                }
            }
        }
        pending.clear();
        self.pending = pending;
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, probe: Probe, key: &[u8], value: <P::Value as Value>::View<'_>) {
        if key.len() > KEY_BYTES_MAX {
            self.error.get_or_insert(EngineError::EmittedTooLarge {
                what: "key",
                bytes: key.len(),
                bytes_max: KEY_BYTES_MAX,
                display: String::new(),
                offset: None,
            });
            return;
        }
        if !self.entries.is_empty() && !self.has_room(key.len()) {
            self.spill();
        }
        let (Ok(key_at), Ok(key_bytes)) =
            (u32::try_from(self.arena.len()), u32::try_from(key.len()))
        else {
            // `has_room` spills long before; after a spill the arena is empty.
            return;
        };
        self.arena.extend_from_slice(key);
        let value = P::Value::own(value);
        self.heap_bytes += value.heap_bytes();
        let entry = Entry {
            words: probe.words,
            key_at,
            key_bytes,
            value,
        };
        self.entries
            .insert_unique(probe.hash(), entry, |entry| entry.probe().hash());
    }

    /// Whether another key fits: counts the table twice, because writing a run
    /// sorts a copy of the entries, and more when the table is about to grow.
    fn has_room(&self, key_bytes: usize) -> bool {
        let table = self.entries.allocation_size();
        let table = if self.entries.len() == self.entries.capacity() {
            table * 4
        } else {
            table * 2
        };
        let arena_after = self.arena.len() + key_bytes;
        let arena = if arena_after > self.arena.capacity() {
            arena_after * 2
        } else {
            self.arena.capacity()
        };
        u32::try_from(arena_after).is_ok()
            && table + arena + self.heap_bytes <= self.spills.memory_bytes
    }

    /// Values grew: spills when they no longer fit.
    fn keep_within_budget(&mut self) {
        if !self.has_room(0) {
            self.spill();
        }
    }

    fn spill(&mut self) {
        if self.error.is_none() {
            let (entries, arena, place) = (&mut self.entries, &self.arena, self.place);
            let records = entries.len();
            let spilled = self
                .spills
                .spill(place, records, |run| write_run(place, entries, arena, run));
            self.error = spilled.err();
        }
        // After an error nothing is kept: the task is over at the next check.
        self.entries.clear();
        self.arena.clear();
        self.heap_bytes = 0;
        if self.arena.capacity() > self.spills.memory_bytes / 2 {
            self.arena = Vec::new();
        }
    }
}

impl<P: Program> Emit<P::Key, P::Value> for MergeTable<'_, P> {
    #[inline]
    fn emit(&mut self, key: <P::Key as Key>::View<'_>, value: <P::Value as Value>::View<'_>) {
        self.emitted += 1;
        if !self.pending.is_empty() {
            self.settle();
        }
        if let Some(bytes) = P::Key::encoded(key) {
            self.add(bytes, value);
        } else {
            let mut encoded = std::mem::take(&mut self.encoded);
            encoded.clear();
            P::Key::encode(key, &mut encoded);
            self.add(&encoded, value);
            self.encoded = encoded;
        }
    }

    #[inline]
    fn emit_slice(&mut self, text: &[u8], slice: Range<usize>, value: <P::Value as Value>::View<'_>)
    where
        P::Key: TextKey,
    {
        let bytes = slice.len();
        let key = P::Key::of_text(&text[slice.clone()]);
        match (text[slice.start..].first_chunk(), P::Key::encoded(key)) {
            (Some(front), Some(key))
                if (1..=SHORT_BYTES).contains(&bytes) && key.len() == bytes =>
            {
                self.emitted += 1;
                let probe = Probe::of_front(front, bytes);
                self.pending.push((probe, P::Value::own(value)));
                if self.pending.len() == PENDING_MAX {
                    self.settle();
                }
            }
            _ => self.emit(key, value),
        }
    }
}

impl<P: Program> Gather<P> for MergeTable<'_, P> {
    fn check(&mut self) -> Result<(), EngineError> {
        self.error.take().map_or(Ok(()), Err)
    }

    fn finish(mut self) -> Result<Gathered, EngineError> {
        self.settle();
        self.check()?;
        let (place, emitted) = (self.place, self.emitted);
        if self.spills.is_empty() {
            let (entries, arena) = (&mut self.entries, &self.arena);
            let written = self
                .spills
                .finish_in_memory(entries.len(), |run| write_run(place, entries, arena, run))?;
            return Ok(Gathered::of(emitted, written));
        }
        if !self.entries.is_empty() {
            self.spill();
            self.check()?;
        }
        let Self {
            spills,
            entries,
            arena,
            ..
        } = self;
        // The merge has all of the memory.
        drop((entries, arena));
        Ok(Gathered::of(emitted, spills.finish(place)?))
    }
}

struct Sorted<V> {
    prefix: u64,
    partition: u32,
    entry: Entry<V>,
}

fn write_run<P: Program>(
    place: Place<'_, P>,
    entries: &mut HashTable<Entry<P::Value>>,
    arena: &[u8],
    run: &mut RunFile<'_>,
) -> Result<(), EngineError> {
    let mut sorted = Vec::with_capacity(entries.len());
    for entry in entries.drain() {
        let key = entry.key(arena);
        sorted.push(Sorted {
            prefix: key_prefix(key),
            partition: place.partition(EncodedKey::new(key))?,
            entry,
        });
    }
    sorted.sort_unstable_by(|a, b| {
        (a.partition, a.prefix)
            .cmp(&(b.partition, b.prefix))
            .then_with(|| a.entry.key(arena).cmp(b.entry.key(arena)))
    });
    let mut value = Vec::new();
    for item in &sorted {
        value.clear();
        P::Value::encode(item.entry.value.view(), &mut value);
        if value.len() > VALUE_BYTES_MAX {
            return Err(EngineError::EmittedTooLarge {
                what: "value",
                bytes: value.len(),
                bytes_max: VALUE_BYTES_MAX,
                display: String::new(),
                offset: None,
            });
        }
        run.push(item.partition, item.entry.key(arena), &value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_the_same_words_whatever_stands_behind_it() {
        let text: Vec<u8> = (1..=64).collect();
        for start in 0..20 {
            for bytes in 1..=SHORT_BYTES {
                let key = &text[start..start + bytes];
                let front = text[start..].first_chunk().unwrap();
                let (alone, within) = (Probe::of(key), Probe::of_front(front, bytes));
                assert!(alone == within, "{bytes} bytes at {start}");
                assert_eq!(&alone.key()[..bytes], key);
                let mut padded = [0; SHORT_BYTES];
                padded[..bytes].copy_from_slice(key);
                assert!(alone == Probe::of_front(&padded, bytes));
            }
        }
    }
}
