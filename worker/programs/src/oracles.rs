//! What several oracles need. Nothing here is used by a program, and nothing of
//! the engine is used here.

use xxhash_rust::xxh3::xxh3_64;

/// The lines of a text without their ends, as a person would count them.
pub(crate) fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let unended = lines.pop().filter(|line| !line.is_empty());
    for line in &mut lines {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    lines.extend(unended);
    lines
}

/// The part that a key goes to.
pub(crate) fn part_of(key: &[u8], reducers: u32) -> usize {
    let part = xxh3_64(key) % u64::from(reducers.max(1));
    usize::try_from(part).unwrap_or(0)
}

/// The words of a text, character by character; `letters`: runs of alphabetic
/// characters, else what stands between white space.
pub(crate) fn words(text: &[u8], letters: bool, fold_case: bool) -> Vec<(usize, Vec<u8>)> {
    let mut words = Vec::new();
    let mut word: (usize, Vec<u8>) = (0, Vec::new());
    let mut at = 0;
    let mut end = |word: &mut (usize, Vec<u8>)| {
        let (start, text) = std::mem::take(word);
        if !text.is_empty() {
            words.push((start, if fold_case { fold(&text) } else { text }));
        }
    };
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            let inside = match letters {
                true => character.is_alphabetic(),
                false => !character.is_whitespace(),
            };
            if inside {
                if word.1.is_empty() {
                    word.0 = at;
                }
                word.1.extend_from_slice(character.to_string().as_bytes());
            } else {
                end(&mut word);
            }
            at += character.len_utf8();
        }
        if !letters && !chunk.invalid().is_empty() {
            if word.1.is_empty() {
                word.0 = at;
            }
            word.1.extend_from_slice(chunk.invalid());
        } else if !chunk.invalid().is_empty() {
            end(&mut word);
        }
        at += chunk.invalid().len();
    }
    end(&mut word);
    words
}

fn fold(word: &[u8]) -> Vec<u8> {
    let mut folded = Vec::new();
    for chunk in word.utf8_chunks() {
        folded.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
    folded
}
