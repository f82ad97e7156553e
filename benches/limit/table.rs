//! Counts by short texts. Texts of up to sixteen bytes are numbers, so that to
//! look one up is to compare two registers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, Write};

/// A text that is kept as a number has at most so many bytes.
pub const SHORT_MAX: usize = 16;

/// Multiplies and folds: enough for texts that nobody chose to collide.
#[derive(Debug, Default, Clone, Copy)]
pub struct Fold(u64);

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        let wide = u128::from(self.0 ^ value) * u128::from(ODD);
        self.0 = low(wide) ^ low(wide >> 64);
    }

    #[inline]
    fn write_u128(&mut self, value: u128) {
        self.write_u64(low(value) ^ low(value >> 64).rotate_left(32));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn low(wide: u128) -> u64 {
    wide as u64
}

/// A map under that hash.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fold>>;

/// How often each text came.
#[derive(Debug, Default)]
pub struct Table {
    short: Map<u128, u64>,
    long: Map<Vec<u8>, u64>,
}

impl Table {
    /// Once more a text of at most [`SHORT_MAX`] bytes, padded with zeros.
    #[inline]
    pub fn add_short(&mut self, text: u128) {
        *self.short.entry(text).or_default() += 1;
    }

    /// Once more a text that holds no zero byte.
    #[inline]
    pub fn add(&mut self, text: &[u8]) {
        if text.len() <= SHORT_MAX {
            return self.add_short(short(text));
        }
        match self.long.get_mut(text) {
            Some(count) => *count += 1,
            None => {
                self.long.insert(text.to_vec(), 1);
            }
        }
    }

    /// Takes another table's counts in.
    pub fn merge(&mut self, other: Self) {
        for (text, count) in other.short {
            *self.short.entry(text).or_default() += count;
        }
        for (text, count) in other.long {
            *self.long.entry(text).or_default() += count;
        }
    }

    /// Each text with its count, in no order.
    pub fn into_counts(self) -> impl Iterator<Item = (Vec<u8>, u64)> {
        let short = self.short.into_iter();
        let short = short.map(|(text, count)| (text_of(text), count));
        short.chain(self.long)
    }

    /// Lines of text and count, by text.
    pub fn write(self, out: &mut dyn Write) -> io::Result<()> {
        let mut all: Vec<(Vec<u8>, u64)> = self.into_counts().collect();
        all.sort_unstable();
        for (text, count) in all {
            out.write_all(&text)?;
            writeln!(out, "\t{count}")?;
        }
        Ok(())
    }
}

/// A text of at most [`SHORT_MAX`] bytes as a number.
#[inline]
fn short(text: &[u8]) -> u128 {
    let mut bytes = [0; SHORT_MAX];
    bytes[..text.len()].copy_from_slice(text);
    u128::from_le_bytes(bytes)
}

/// The text of such a number.
fn text_of(number: u128) -> Vec<u8> {
    let bytes = number.to_le_bytes();
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes[..end.unwrap_or(SHORT_MAX)].to_vec()
}
