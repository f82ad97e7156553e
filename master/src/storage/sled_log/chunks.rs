//! How a record lies in the database.
//!
//! sled moves a leaf that outgrows 128 KiB to a file of its own, which it does
//! not sync. A leaf has up to 16 items, so no value here is above 4 KiB: a
//! record is cut into chunks under the keys (index, chunk number), both big
//! endian, and its first chunk begins with its length and checksum. All chunks
//! of a record are written in one batch, which is atomic.

use bytes::Bytes;

use super::super::Record;

/// Largest value in the database.
pub const CHUNK_BYTES_MAX: usize = 4 * 1024;
/// Length and CRC-32C of the record, little endian.
const HEADER_BYTES: usize = 8;
const KEY_BYTES: usize = 8 + 4;

/// The key of a chunk.
pub fn key(index: u64, chunk: u32) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..].copy_from_slice(&chunk.to_be_bytes());
    key
}

/// Cuts a record.
pub fn cut(record: &Record) -> impl Iterator<Item = ([u8; KEY_BYTES], Vec<u8>)> + '_ {
    let length = u32::try_from(record.bytes.len()).expect("entries are bounded at 64 KiB");
    let head = CHUNK_BYTES_MAX - HEADER_BYTES;
    let (first, rest) = record.bytes.split_at(record.bytes.len().min(head));
    let mut value = Vec::with_capacity(HEADER_BYTES + first.len());
    value.extend_from_slice(&length.to_le_bytes());
    value.extend_from_slice(&crc32c::crc32c(&record.bytes).to_le_bytes());
    value.extend_from_slice(first);
    std::iter::once(value)
        .chain(rest.chunks(CHUNK_BYTES_MAX).map(<[u8]>::to_vec))
        .zip(0..)
        .map(|(value, chunk)| (key(record.index, chunk), value))
}

/// Puts records together from keys and values in order.
#[derive(Debug, Default)]
pub struct Assembler {
    current: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    index: u64,
    next_chunk: u32,
    length: usize,
    checksum: u32,
    bytes: Vec<u8>,
}

impl Assembler {
    /// Takes the next chunk; gives a record when it is whole.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Record>, String> {
        let (index, chunk) = parse_key(key)?;
        let partial = match self.current.take() {
            None => Partial::begin(index, chunk, value)?,
            Some(partial) => partial.extend(index, chunk, value)?,
        };
        if partial.bytes.len() < partial.length {
            self.current = Some(partial);
            return Ok(None);
        }
        partial.finish().map(Some)
    }

    /// Says that no chunk follows.
    ///
    /// # Errors
    ///
    /// When the last record is not whole.
    pub fn finish(self) -> Result<(), String> {
        match self.current {
            None => Ok(()),
            Some(partial) => Err(format!("record {} is cut short", partial.index)),
        }
    }
}

impl Partial {
    fn begin(index: u64, chunk: u32, value: &[u8]) -> Result<Self, String> {
        if chunk != 0 || value.len() < HEADER_BYTES {
            return Err(format!("record {index} has no beginning"));
        }
        let word = |at: usize| {
            u32::from_le_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]])
        };
        Ok(Self {
            index,
            next_chunk: 1,
            length: word(0) as usize,
            checksum: word(4),
            bytes: value[HEADER_BYTES..].to_vec(),
        })
    }

    fn extend(mut self, index: u64, chunk: u32, value: &[u8]) -> Result<Self, String> {
        if index != self.index || chunk != self.next_chunk {
            return Err(format!("record {} is cut short", self.index));
        }
        self.next_chunk += 1;
        self.bytes.extend_from_slice(value);
        Ok(self)
    }

    fn finish(self) -> Result<Record, String> {
        if self.bytes.len() != self.length || crc32c::crc32c(&self.bytes) != self.checksum {
            return Err(format!("record {} has another checksum", self.index));
        }
        Ok(Record {
            index: self.index,
            bytes: Bytes::from(self.bytes),
        })
    }
}

fn parse_key(key: &[u8]) -> Result<(u64, u32), String> {
    let parse = || {
        let (index, chunk) = key.split_at_checked(8)?;
        let index = u64::from_be_bytes(index.try_into().ok()?);
        Some((index, u32::from_be_bytes(chunk.try_into().ok()?)))
    };
    parse().ok_or_else(|| format!("key of {} bytes", key.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_of_any_size_is_put_together_again() {
        for length in [0, 1, 4087, 4088, 4089, 8184, 8185, 65_536, 66_000] {
            let record = Record {
                index: 7,
                bytes: Bytes::from(vec![3; length]),
            };
            let mut assembler = Assembler::default();
            let mut whole = None;
            for (key, value) in cut(&record) {
                assert!(value.len() <= CHUNK_BYTES_MAX);
                assert_eq!(whole, None);
                whole = assembler.push(&key, &value).unwrap();
            }
            assert_eq!(whole, Some(record));
            assert_eq!(assembler.finish(), Ok(()));
        }
    }

    #[test]
    fn missing_chunk_is_noticed() {
        let record = Record {
            index: 7,
            bytes: Bytes::from(vec![3; 20_000]),
        };
        let mut chunks: Vec<_> = cut(&record).collect();
        chunks.remove(2);
        let mut assembler = Assembler::default();
        let found: Result<Vec<_>, _> = chunks
            .iter()
            .map(|(key, value)| assembler.push(key, value))
            .collect();
        assert!(found.is_err());
    }
}
