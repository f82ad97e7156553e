//! Input for word counts, and a count of it that is not the product's.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Words of several alphabets; short ones come more often.
const STEMS: [&str; 16] = [
    "a",
    "Öl",
    "the",
    "café",
    "Žofie",
    "storm",
    "lantern",
    "Ελένη",
    "дождь",
    "naïve",
    "quorum",
    "harbour",
    "straße",
    "election",
    "Skálavík",
    "interruption",
];

/// About so many bytes of lines of words, the same for the same seed.
pub fn generate(bytes: usize, seed: u64) -> String {
    let mut text = String::with_capacity(bytes + 64);
    let mut state = seed;
    while text.len() < bytes {
        for column in 0..9 {
            let draw = next(&mut state);
            let stem = STEMS[(draw % 16).min((draw >> 8) % 16) as usize];
            // A few thousand distinct words: every reducer has some of each map.
            let tail = char::from(b'a' + u8::try_from((draw >> 16) % 26).expect("below 26"));
            let end = char::from(b'a' + u8::try_from((draw >> 24) % 26).expect("below 26"));
            write!(text, "{stem}{tail}{end}").expect("a string takes all");
            text.push(if column == 8 { '\n' } else { ' ' });
        }
    }
    text
}

/// Word count as the README explains it: `word<TAB>count` lines, sorted.
pub fn count(text: &str) -> Vec<String> {
    let mut counts = BTreeMap::<&str, u64>::new();
    for word in text
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty())
    {
        *counts.entry(word).or_default() += 1;
    }
    counts
        .iter()
        .map(|(word, count)| format!("{word}\t{count}"))
        .collect()
}

/// SplitMix64: a generator that needs no crate and is the same everywhere.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
