//! Rows like those of the letter recognition set: sixteen measures of a drawn
//! letter, each from 0 to 15, and which letter it is.

use std::io::{self, Write};

use super::random::SplitMix64;

const BUFFER_BYTES: usize = 256 * 1024;
const FEATURES: usize = 16;
const LETTERS: u64 = 26;
/// A letter is drawn in several hands, which differ.
const HANDS: u64 = 3;
/// What hands are drawn from: the same for every seed, so that what was learnt
/// from one file can be tried on another.
const HANDS_SEED: u64 = 0x76_69_76_61_74;
/// A measure is off by so much on either side, mostly less.
const NOISE: u64 = 4;

/// Writes rows of seventeen whole numbers between commas, the class last. The text
/// ends with the row that brings it to `size_bytes` or just beyond.
///
/// # Errors
///
/// When `out` fails.
pub fn letters(size_bytes: u64, seed: u64, out: &mut dyn Write) -> io::Result<()> {
    let hands = hands();
    let mut random = SplitMix64(seed);
    let mut buffer = Vec::new();
    let mut written = 0;
    while written + (buffer.len() as u64) < size_bytes {
        let letter = random.below(LETTERS);
        let hand = letter * HANDS + random.below(HANDS);
        for measure in hands[usize::try_from(hand).unwrap_or(0)] {
            // Two draws: the middle is likelier than the ends.
            let noise = random.below(NOISE + 1) + random.below(NOISE + 1);
            let measure = (measure + noise).saturating_sub(NOISE).min(15);
            write!(buffer, "{measure},")?;
        }
        writeln!(buffer, "{letter}")?;
        if buffer.len() >= BUFFER_BYTES {
            out.write_all(&buffer)?;
            written += buffer.len() as u64;
            buffer.clear();
        }
    }
    out.write_all(&buffer)
}

fn hands() -> Vec<[u64; FEATURES]> {
    let mut random = SplitMix64(HANDS_SEED);
    let mut hands = Vec::new();
    for _ in 0..LETTERS {
        let letter: [u64; FEATURES] = std::array::from_fn(|_| 2 + random.below(12));
        for _ in 0..HANDS {
            let shift = letter.map(|measure| (measure + random.below(7)).saturating_sub(3));
            hands.push(shift.map(|measure| measure.min(15)));
        }
    }
    hands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sixteen_measures_and_a_class_and_the_same_for_a_seed() {
        let text = |seed| {
            let mut text = Vec::new();
            letters(100_000, seed, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        let first = text(1);
        assert!((100_000..100_060).contains(&first.len()));
        assert_eq!(first, text(1));
        assert!(first != text(2));
        let mut classes = [0_u32; 26];
        for line in first.lines() {
            let numbers: Vec<usize> = line.split(',').map(|it| it.parse().unwrap()).collect();
            assert_eq!(numbers.len(), 17, "{line}");
            assert!(numbers[..16].iter().all(|measure| *measure < 16), "{line}");
            classes[numbers[16]] += 1;
        }
        assert!(classes.iter().all(|count| *count > 50), "{classes:?}");
    }
}
