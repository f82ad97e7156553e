//! Counts runs of ASCII letters.

use std::io;

use super::table::{SHORT_MAX, Table};
use super::{Task, lines};

/// Writes each word with its count.
pub fn run(task: &Task) -> io::Result<()> {
    let mut tables = lines::read(task, Words::default)?.into_iter();
    let mut all = tables.next().unwrap_or_default().0;
    tables.for_each(|table| all.merge(table.0));
    lines::write(&task.output, |out| all.write(out))
}

#[derive(Default)]
struct Words(Table);

impl lines::Sink for Words {
    fn lines(&mut self, _file: usize, lines: &[u8]) {
        each(lines, |text, padded| match padded {
            Some(padded) => self.0.add_short(padded),
            None => self.0.add(text),
        });
    }
}

/// Every word, and the word as a number where it is short and not at the end.
#[inline]
pub fn each(text: &[u8], mut word: impl FnMut(&[u8], Option<u128>)) {
    let mut at = 0;
    while at < text.len() {
        let Some(next) = text.get(at..at + SHORT_MAX) else {
            break;
        };
        let Ok(next) = next.try_into().map(u128::from_le_bytes) else {
            break;
        };
        let length = letters(next);
        if length == SHORT_MAX {
            let rest = &text[at..];
            let end = rest.iter().position(|byte| !byte.is_ascii_alphabetic());
            let end = end.unwrap_or(rest.len());
            word(&rest[..end], None);
            at += end;
        } else if length > 0 {
            let padded = next & ((1 << (8 * length)) - 1);
            word(&text[at..at + length], Some(padded));
            at += length;
        }
        // What stopped the word is no letter.
        at += 1;
    }
    let rest = text.get(at..).unwrap_or_default();
    let words = rest.split(|byte| !byte.is_ascii_alphabetic());
    words
        .filter(|found| !found.is_empty())
        .for_each(|found| word(found, None));
}

/// How many of sixteen bytes, from the first on, are ASCII letters.
#[inline]
fn letters(bytes: u128) -> usize {
    const ONES: u128 = u128::from_le_bytes([1; SHORT_MAX]);
    const HIGH: u128 = ONES << 7;
    // Lower case; then `a` and above carry into the high bit, above `z` do not.
    let lower = bytes | (ONES * 0x20);
    let low = lower & !HIGH;
    let from_a = low + ONES * (0x80 - 0x61);
    let behind_z = low + ONES * (0x80 - 0x7b);
    let is_letter = from_a & !behind_z & !bytes & HIGH;
    let others = !is_letter & HIGH;
    others.trailing_zeros() as usize / 8
}
