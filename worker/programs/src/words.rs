//! Finds words in bytes.
//!
//! Nearly all text is ASCII, so a table tells for each byte whether it is
//! inside a word, outside, or the beginning of something longer; only the last
//! is decoded.

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// A maximal run of alphabetic code points.
    Letters,
    /// What stands between white space.
    Whitespace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Outside,
    Inside,
    /// Not ASCII: decode.
    Longer,
}

const fn classes(words: Words) -> [Class; 256] {
    let mut classes = [Class::Longer; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        let inside = match words {
            Words::Letters => byte.is_ascii_alphabetic(),
            // Vertical tab is white space to Unicode and not to `is_ascii_whitespace`.
            Words::Whitespace => !(byte.is_ascii_whitespace() || byte == 0x0B),
        };
        classes[byte as usize] = if inside {
            Class::Inside
        } else {
            Class::Outside
        };
        byte += 1;
    }
    classes
}

static LETTERS: [Class; 256] = classes(Words::Letters);
static WHITESPACE: [Class; 256] = classes(Words::Whitespace);

/// Calls `word` for each word of `text`, in order.
#[inline]
pub(crate) fn scan(words: Words, text: &[u8], word: impl FnMut(&[u8])) {
    match words {
        Words::Letters => scan_classes(&LETTERS, words, text, word),
        Words::Whitespace => scan_classes(&WHITESPACE, words, text, word),
    }
}

#[inline]
fn scan_classes(classes: &[Class; 256], words: Words, text: &[u8], mut word: impl FnMut(&[u8])) {
    let class = |at: usize| text.get(at).map(|&byte| classes[usize::from(byte)]);
    let mut at = 0;
    loop {
        while class(at) == Some(Class::Outside) {
            at += 1;
        }
        let start = at;
        while class(at) == Some(Class::Inside) {
            at += 1;
        }
        if class(at) == Some(Class::Longer) {
            let (end, next) = long_word(words, text, start, at);
            if end > start {
                word(&text[start..end]);
            }
            at = next;
        } else if at > start {
            word(&text[start..at]);
        } else {
            return;
        }
    }
}

/// The end of the word that begins at `start` and is known up to `at`, where a
/// byte is not ASCII; and where to go on.
#[cold]
fn long_word(words: Words, text: &[u8], start: usize, at: usize) -> (usize, usize) {
    debug_assert!(start <= at);
    let mut at = at;
    while at < text.len() {
        let (character, bytes) = decode(&text[at..]);
        let inside = match (words, character) {
            (Words::Letters, Some(character)) => character.is_alphabetic(),
            (Words::Letters, None) => false,
            (Words::Whitespace, Some(character)) => !character.is_whitespace(),
            (Words::Whitespace, None) => true,
        };
        if !inside {
            return (at, at + bytes);
        }
        at += bytes;
    }
    (at, at)
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
