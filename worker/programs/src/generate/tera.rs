//! Records to sort: a hundred bytes, ten of them a key.

use std::io::{self, Write};

use super::random::SplitMix64;

/// Bytes of one record.
const RECORD_BYTES: usize = 100;
/// Bytes of its key, its first.
const KEY_BYTES: usize = 10;
/// Printable characters, of which keys are made.
const PRINTABLE: u64 = 95;
/// Records that gather before they are written.
const BUFFER_RECORDS: u64 = 2_560;

/// Writes records of a hundred bytes: a key of ten random printable characters,
/// two spaces, the record's number in 32 hexadecimal digits, two spaces, filling
/// letters and a line end. As many as come nearest to `size_bytes`.
///
/// # Errors
///
/// When `out` fails.
pub fn tera(size_bytes: u64, seed: u64, out: &mut dyn Write) -> io::Result<()> {
    let records = size_bytes.saturating_add(RECORD_BYTES as u64 / 2) / RECORD_BYTES as u64;
    let mut random = SplitMix64(seed);
    let mut buffer = Vec::with_capacity(RECORD_BYTES * 2_560);
    for number in 0..records {
        for _ in 0..KEY_BYTES {
            let letter = random.below(PRINTABLE);
            buffer.push(b' ' + u8::try_from(letter).unwrap_or(0));
        }
        write!(buffer, "  {number:032X}  ")?;
        let letter = b'A' + u8::try_from(random.below(26)).unwrap_or(0);
        let filled = buffer.len().next_multiple_of(RECORD_BYTES) - 1;
        buffer.resize(filled, letter);
        buffer.push(b'\n');
        if (number + 1).is_multiple_of(BUFFER_RECORDS) {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    out.write_all(&buffer)
}
