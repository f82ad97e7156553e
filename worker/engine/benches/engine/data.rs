//! What is measured on, and the plain loops that the engine is compared with.

use std::collections::HashMap;
use std::hint::black_box;

/// A generator good enough for test data: xorshift.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One of so many bytes from `first` on.
    fn letter(&mut self, first: u8, count: u8) -> u8 {
        let [.., draw, _, _] = self.next().to_le_bytes();
        first + draw % count
    }
}

/// Words of a vocabulary of 50,000, frequent ones very frequent, in lines.
pub fn words(bytes: usize) -> Vec<u8> {
    let mut draw = Draw::new(1);
    let mut text = Vec::with_capacity(bytes + 16);
    let mut in_line = 0;
    while text.len() < bytes {
        let uniform = (draw.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = rank(uniform);
        let mut word = Draw::new(rank);
        let letters = 2 + word.next() % 8;
        text.extend((0..letters).map(|_| word.letter(b'a', 26)));
        in_line += 1;
        text.push(if in_line % 11 == 0 { b'\n' } else { b' ' });
    }
    text.push(b'\n');
    text
}

/// Lines of so many bytes: a random key of ten and letters that hardly compress.
pub fn lines(bytes: usize, line_bytes: usize) -> Vec<u8> {
    let mut draw = Draw::new(2);
    let mut text = Vec::with_capacity(bytes + line_bytes);
    while text.len() < bytes {
        text.extend((1..line_bytes).map(|_| draw.letter(b' ', 94)));
        text.push(b'\n');
    }
    text
}

/// Lines that differ late, as URLs and log lines do.
pub fn prefixed(bytes: usize) -> Vec<u8> {
    let mut draw = Draw::new(3);
    let mut text = Vec::with_capacity(bytes + 128);
    while text.len() < bytes {
        let (site, page) = (draw.next() % 50, draw.next() % 1_000_000);
        let line = format!("https://www.example-{site:02}.org/articles/{page:07}?from=start\n");
        text.extend_from_slice(line.as_bytes());
    }
    text
}

/// Lines of some words.
pub fn sentences(bytes: usize) -> Vec<u8> {
    words(bytes)
}

pub fn count_in_memory(text: &[u8]) {
    let mut counts: HashMap<&[u8], u64> = HashMap::new();
    for word in text.split(|byte| !byte.is_ascii_alphabetic()) {
        if !word.is_empty() {
            *counts.entry(word).or_default() += 1;
        }
    }
    black_box(counts.len());
}

pub fn sort_in_memory(text: &[u8]) {
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    let mut out = Vec::with_capacity(text.len());
    for line in lines {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    black_box(out.len());
}

pub fn lines_in_memory(text: &[u8]) {
    black_box(memchr::memchr_iter(b'\n', text).count());
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "1 to 50,000"
)]
fn rank(uniform: f64) -> u64 {
    50_000_f64.powf(uniform) as u64
}
