//! The corpus: bytes of valid values, and random changes of them.

use vivat_testkit::dice::Dice;

/// Numbers that decoders get wrong: bounds, and lengths in three encodings.
const EDGES: [&[u8]; 8] = [
    &[0],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
];
/// Larger inputs find nothing that smaller ones do not, and take longer.
const BYTES_MAX: usize = 64 * 1024;

/// The file of a valid value below `fuzz/corpus/TARGET`.
#[must_use]
pub fn value_name(position: usize) -> String {
    format!("value-{position:02}")
}

/// Changes inputs at random, the same for the same seed.
#[derive(Debug)]
pub struct Mutator<'a> {
    dice: Dice,
    corpus: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    /// Begins with inputs of this corpus.
    #[must_use]
    pub fn new(seed: u64, corpus: &'a [Vec<u8>]) -> Self {
        Self {
            dice: Dice::new(seed),
            corpus,
        }
    }

    /// One of the corpus, changed in a few places.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut bytes = self.dice.pick(self.corpus).cloned().unwrap_or_default();
        for _ in 0..self.dice.between(1, 6) {
            self.change(&mut bytes);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.position(bytes.len());
        match self.dice.up_to(7) {
            0 => {
                let bit = self.dice.up_to(7);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            1 => {
                if let (Some(byte), [random, ..]) =
                    (bytes.get_mut(at), self.dice.roll().to_le_bytes())
                {
                    *byte = random;
                }
            }
            2 => bytes.truncate(at),
            3 => {
                let end = self.end(at, bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = self.end(at, bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            5 | 6 => {
                let edge = self.dice.pick(&EDGES).copied().unwrap_or_default();
                let end = bytes.len().min(at + edge.len());
                let overwrites = self.dice.chance(50);
                bytes.splice(at..if overwrites { end } else { at }, edge.iter().copied());
            }
            _ => {
                let other = self.dice.pick(self.corpus).cloned().unwrap_or_default();
                let from = self.position(other.len());
                let to = self.end(from, other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }

    fn position(&mut self, length: usize) -> usize {
        usize::try_from(self.dice.up_to(length as u64)).unwrap_or(length)
    }

    /// Mostly near, because a field is short.
    fn end(&mut self, from: usize, length: usize) -> usize {
        let reach = if self.dice.chance(75) { 16 } else { length };
        let bytes = self.position(reach);
        from.saturating_add(bytes).min(length)
    }
}
