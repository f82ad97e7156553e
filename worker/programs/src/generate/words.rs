//! Text: words in lines.

use std::io::{self, Write};

use super::random::{AliasTable, SplitMix64};

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
