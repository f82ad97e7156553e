//! Finds words in bytes.
//!
//! Nearly all text is ASCII, so 64 bytes at a time become 64 bits that tell
//! which of them are inside a word, and words are found where bits change:
//! without a branch per byte, and with one hard to foretell per window instead
//! of two per word. A window that is not ASCII is decoded.

use std::ops::Range;

use vivat_mapreduce::{Block, Framing};

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// A maximal run of alphabetic code points.
    Letters,
    /// What stands between white space.
    Whitespace,
}

/// Bytes of text that are looked at together, one bit each.
const WINDOW_BYTES: usize = 64;
/// Every byte of a word set to one.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The high bit of every byte of a word.
const HIGHS: u64 = 0x8080_8080_8080_8080;

impl Words {
    /// By the value of the parameter `words`.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "whitespace" => Self::Whitespace,
            _ => Self::Letters,
        }
    }

    /// The high bit of each byte of `eight` that is inside a word; `eight` is
    /// ASCII, so adding to its bytes never carries into the next.
    #[inline]
    const fn inside(self, eight: u64) -> u64 {
        match self {
            Self::Letters => {
                let lower = eight | (0x20 * ONES);
                let from_a = lower + (0x80 - b'a' as u64) * ONES;
                let behind_z = lower + (0x80 - b'z' as u64 - 1) * ONES;
                from_a & !behind_z & HIGHS
            }
            Self::Whitespace => {
                let from_tab = eight + (0x80 - 0x09) * ONES;
                let behind_return = eight + (0x80 - 0x0D - 1) * ONES;
                let not_blank = (eight ^ (0x20 * ONES)) + 0x7F * ONES;
                !(from_tab & !behind_return) & not_blank & HIGHS
            }
        }
    }

    #[inline]
    fn is_inside(self, character: Option<char>) -> bool {
        match (self, character) {
            (Self::Letters, Some(character)) => character.is_alphabetic(),
            (Self::Letters, None) => false,
            (Self::Whitespace, Some(character)) => !character.is_whitespace(),
            (Self::Whitespace, None) => true,
        }
    }
}

/// One bit per byte of a window, the first lowest: whether it is inside a word.
/// Nothing when a byte is not ASCII.
#[inline]
fn window_bits<const LETTERS: bool>(window: &[u8; WINDOW_BYTES]) -> Option<u64> {
    // Multiplied by this, the lowest bits of eight bytes meet in the top byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let words = if LETTERS {
        Words::Letters
    } else {
        Words::Whitespace
    };
    let (mut bits, mut any) = (0, 0);
    let (eights, _) = window.as_chunks::<8>();
    for (index, eight) in eights.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        any |= eight;
        // Without this mask a byte that is not ASCII could carry; the result is
        // thrown away then, but the addition must not overflow.
        let inside = words.inside(eight & !HIGHS);
        bits |= ((inside >> 7).wrapping_mul(GATHER) >> 56) << (8 * index);
    }
    (any & HIGHS == 0).then_some(bits)
}

/// How many records a block of text holds, of which words were taken all at once: no
/// word goes over a line's end.
pub(crate) fn records_of(block: &Block<'_>) -> u64 {
    match block.framing {
        Framing::Lines => {
            let ends = memchr::memchr_iter(b'\n', block.bytes).count() as u64;
            let unended = !block.bytes.is_empty() && !block.bytes.ends_with(b"\n");
            ends + u64::from(unended)
        }
        Framing::Fixed(_) | Framing::Whole | Framing::Csv => block.records().count() as u64,
    }
}

/// Calls `word` for each word of `text`, in order, with its place.
#[inline]
fn scan(words: Words, text: &[u8], word: impl FnMut(Range<usize>)) {
    match words {
        Words::Letters => scan_windows::<true>(words, text, word),
        Words::Whitespace => scan_windows::<false>(words, text, word),
    }
}

/// A word that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'t> {
    /// Where it begins in the text that was scanned.
    pub(crate) at: usize,
    /// A text that holds it, as it is to be taken.
    pub(crate) text: &'t [u8],
    start: usize,
    end: usize,
}

impl<'t> Word<'t> {
    /// Its bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &'t [u8] {
        &self.text[self.start..self.end]
    }

    /// Where in [`Self::text`] it stands.
    #[inline]
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// Calls `word` for each word of `text`, in lower case if wanted. `folded` is room
/// that is used again.
#[inline]
pub(crate) fn scan_folded(
    (words, fold_case): (Words, bool),
    text: &[u8],
    folded: &mut Vec<u8>,
    mut word: impl FnMut(Word<'_>),
) {
    let mut found_in = |text: &[u8], found: Range<usize>| {
        word(Word {
            at: found.start,
            text,
            start: found.start,
            end: found.end,
        });
    };
    if fold_case && text.is_ascii() {
        // Folding moves no end of a word here, so all are folded at once.
        folded.clear();
        folded.extend_from_slice(text);
        folded.make_ascii_lowercase();
        let folded = folded.as_slice();
        scan(words, folded, |found| found_in(folded, found));
    } else if fold_case {
        scan(words, text, |found| {
            let at = found.start;
            fold(&text[found], folded);
            word(Word {
                at,
                text: folded,
                start: 0,
                end: folded.len(),
            });
        });
    } else {
        scan(words, text, |found| found_in(text, found));
    }
}

/// Puts the lower case of `word` into `folded`.
fn fold(word: &[u8], folded: &mut Vec<u8>) {
    folded.clear();
    if word.is_ascii() {
        folded.extend_from_slice(word);
        folded.make_ascii_lowercase();
        return;
    }
    for chunk in word.utf8_chunks() {
        folded.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
}

#[inline]
fn scan_windows<const LETTERS: bool>(
    words: Words,
    text: &[u8],
    mut word: impl FnMut(Range<usize>),
) {
    let mut base = 0;
    // Where the word began that the last window ended in.
    let mut open: Option<usize> = None;
    while let Some(window) = text[base..].first_chunk::<WINDOW_BYTES>() {
        let Some(bits) = window_bits::<LETTERS>(window) else {
            let start = open.take().unwrap_or(base);
            base = scan_slowly(words, text, start, base + WINDOW_BYTES, &mut word);
            continue;
        };
        let before = bits << 1 | u64::from(open.is_some());
        let (mut starts, mut ends) = (bits & !before, !bits & before);
        let mut start = open.unwrap_or_else(|| take_lowest(&mut starts, base));
        while ends != 0 {
            let end = take_lowest(&mut ends, base);
            word(start..end);
            start = take_lowest(&mut starts, base);
        }
        open = (bits >> (WINDOW_BYTES - 1) == 1).then_some(start);
        base += WINDOW_BYTES;
    }
    scan_slowly(words, text, open.unwrap_or(base), text.len(), &mut word);
}

/// Where the lowest bit stands in the text; the bit is cleared. Without a bit
/// the result is behind the window and of no use.
#[inline]
fn take_lowest(bits: &mut u64, base: usize) -> usize {
    let at = base + bits.trailing_zeros() as usize;
    *bits &= bits.wrapping_sub(1);
    at
}

/// Scans from `from`, outside any word, character by character; stops outside
/// any word at or behind `until`, and returns where.
fn scan_slowly(
    words: Words,
    text: &[u8],
    from: usize,
    until: usize,
    word: &mut impl FnMut(Range<usize>),
) -> usize {
    let mut at = from;
    let mut start = None;
    while at < text.len() && (at < until || start.is_some()) {
        let (character, bytes) = decode(&text[at..]);
        match (words.is_inside(character), start) {
            (true, None) => start = Some(at),
            (false, Some(start_at)) => {
                word(start_at..at);
                start = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        at += bytes;
    }
    if let Some(start) = start {
        word(start..at);
    }
    at
}

/// The first character of `text` and its length, or nothing and one byte. The
/// text is not empty.
fn decode(text: &[u8]) -> (Option<char>, usize) {
    let bytes = match text[0] {
        0x00..=0x7F => 1,
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        0x80..=0xC1 | 0xF5..=0xFF => return (None, 1),
    };
    let character = text
        .get(..bytes)
        .and_then(|encoded| std::str::from_utf8(encoded).ok())
        .and_then(|encoded| encoded.chars().next());
    match character {
        Some(character) => (Some(character), bytes),
        None => (None, 1),
    }
}
