//! Sample data: the same bytes for the same seed on every machine.
//!
//! Nothing here uses floating point, whose last bits may differ: frequencies
//! are integers, and draws come from SplitMix64 (Steele, Lea, Flood: Fast
//! Splittable Pseudorandom Number Generators, 2014), which is six lines long
//! and never changes.

use std::io::{self, Write};

/// Words in the vocabulary.
const VOCABULARY: u32 = 50_000;
/// Room for one word and the space behind it.
const SLOT_BYTES: usize = 16;
/// A line is ended once it has so many bytes...
const LINE_BYTES_MIN: u64 = 60;
/// ...and a draw of less than this more.
const LINE_BYTES_SPREAD: u64 = 32;
/// Bytes that gather before they are written.
const BUFFER_BYTES: usize = 256 * 1024;
/// The longest line: the longest draw, one more word, the line end.
const LINE_BYTES_MAX: u64 = LINE_BYTES_MIN + LINE_BYTES_SPREAD + SLOT_BYTES as u64 + 1;

/// Writes `size_bytes` bytes of text: words whose frequencies fall with their
/// rank as Zipf's law says, in lines of 60 to 108 bytes. The last line is cut so
/// that the text has exactly that size and ends with a line end.
///
/// # Errors
///
/// When `out` fails.
pub fn words(size_bytes: u64, seed: u64, out: &mut dyn Write) -> io::Result<()> {
    let table = AliasTable::zipf(VOCABULARY);
    let slots: Vec<Slot> = (0..VOCABULARY).map(Slot::of_rank).collect();
    let mut random = SplitMix64(seed);
    let mut buffer = Vec::with_capacity(BUFFER_BYTES + 1024);
    let mut left = size_bytes;
    while left > 0 {
        let start = buffer.len();
        let target = start + bytes_of(LINE_BYTES_MIN + random.below(LINE_BYTES_SPREAD));
        while buffer.len() < target {
            let slot = &slots[table.draw(&mut random) as usize];
            let end = buffer.len() + usize::from(slot.bytes);
            buffer.extend_from_slice(&slot.text);
            buffer.truncate(end);
        }
        // The space behind the last word becomes the line end.
        buffer.pop();
        buffer.push(b'\n');
        if left <= LINE_BYTES_MAX {
            fit_last(&mut buffer, start, left);
        }
        left -= (buffer.len() - start) as u64;
        if buffer.len() >= BUFFER_BYTES || left == 0 {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    Ok(())
}

/// Makes the line at `start` fit into `left` bytes when it does not: a line of
/// exactly that length.
fn fit_last(buffer: &mut Vec<u8>, start: usize, left: u64) {
    let left = bytes_of(left);
    if buffer.len() - start > left {
        buffer.truncate(start + left - 1);
        buffer.push(b'\n');
    }
}

fn bytes_of(bytes: u64) -> usize {
    usize::try_from(bytes).expect("lengths of lines are far below 4 GiB")
}

/// Steele, Lea and Flood's generator.
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is at most 2^32: the high half of a
    /// product, whose bias is below bound / 2^32.
    #[inline]
    fn below(&mut self, bound: u64) -> u64 {
        ((self.next() >> 32) * bound) >> 32
    }
}

/// Draws ranks by Vose's alias method, in integers: one column of height
/// 2^32 per rank, the lower part the rank's own, the upper another's.
struct AliasTable {
    columns: Vec<Column>,
}

#[derive(Clone, Copy)]
struct Column {
    /// Heights below this are the rank's own.
    own: u32,
    other: u32,
}

impl AliasTable {
    fn zipf(ranks: u32) -> Self {
        let weights = (1..=u64::from(ranks)).map(|rank| (1 << 40) / rank);
        let weights: Vec<u64> = weights.collect();
        let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
        // Heights scaled so that they average 2^32; what rounding loses is far
        // below one part in a million.
        let mut heights: Vec<u64> = weights
            .iter()
            .map(|&weight| {
                let scaled = (u128::from(weight) * u128::from(ranks)) << 32;
                u64::try_from(scaled / total).unwrap_or(u64::MAX)
            })
            .collect();
        const FULL: u64 = 1 << 32;
        let full = Column {
            own: u32::MAX,
            other: 0,
        };
        let mut columns: Vec<Column> = (0..ranks)
            .map(|rank| Column {
                other: rank,
                ..full
            })
            .collect();
        let (mut low, mut high): (Vec<u32>, Vec<u32>) =
            (0..ranks).partition(|&rank| heights[rank as usize] < FULL);
        while let (Some(poor), Some(&rich)) = (low.pop(), high.last()) {
            let height = heights[poor as usize];
            columns[poor as usize] = Column {
                own: u32::try_from(height).unwrap_or(u32::MAX),
                other: rich,
            };
            let left = &mut heights[rich as usize];
            *left -= FULL - height;
            if *left < FULL {
                low.extend(high.pop());
            }
        }
        Self { columns }
    }

    #[inline]
    fn draw(&self, random: &mut SplitMix64) -> u32 {
        let bits = random.next();
        let count = self.columns.len() as u64;
        let rank = ((bits >> 32) * count) >> 32;
        let column = self.columns[usize::try_from(rank).unwrap_or(0)];
        let height = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        if height < column.own {
            u32::try_from(rank).unwrap_or(0)
        } else {
            column.other
        }
    }
}

/// A word and the space behind it, in a slot that is copied whole.
struct Slot {
    text: [u8; SLOT_BYTES],
    bytes: u8,
}

const CONSONANTS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
const VOWELS: &[u8; 5] = b"aeiou";
const ENDINGS: [&[u8]; 7] = [b"", b"n", b"s", b"", b"r", b"th", b"ng"];

impl Slot {
    /// The word of a rank: syllables that count in base 100, so that frequent
    /// words are short, and an ending. Syllables end in a vowel and endings hold
    /// none, so words differ when their syllables do.
    fn of_rank(rank: u32) -> Self {
        let mut text = [b' '; SLOT_BYTES];
        let mut bytes = 0;
        let mut put = |letter: u8| {
            text[bytes] = letter;
            bytes += 1;
        };
        let mut number = rank + 1;
        while number > 0 {
            number -= 1;
            let syllable = (number % 100) as usize;
            put(CONSONANTS[syllable / 5]);
            put(VOWELS[syllable % 5]);
            number /= 100;
        }
        for &letter in ENDINGS[(rank as usize * 5) % ENDINGS.len()] {
            put(letter);
        }
        put(b' ');
        Self {
            text,
            bytes: u8::try_from(bytes).unwrap_or(0),
        }
    }
}
