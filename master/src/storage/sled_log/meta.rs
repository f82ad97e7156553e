//! The values beside the log: bytes and their CRC-32C.

use super::super::MetaKey;

pub const FORMAT: &str = "format";
pub const PROGRESS: &str = "progress";
pub const VOTE: &str = "vote";
pub const PURGED: &str = "purged";
pub const COMMITTED: &str = "committed";

const CHECKSUM_BYTES: usize = 4;
const INDEX_BYTES: usize = 8;

/// The key of a value.
pub fn name(key: MetaKey) -> &'static str {
    match key {
        MetaKey::Vote => VOTE,
        MetaKey::Purged => PURGED,
        MetaKey::Committed => COMMITTED,
    }
}

/// Adds the checksum.
pub fn encode(value: &[u8]) -> Vec<u8> {
    let mut bytes = value.to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(value).to_le_bytes());
    bytes
}

/// Checks and removes the checksum.
pub fn decode(bytes: &[u8]) -> Option<&[u8]> {
    let (value, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
    (sum == crc32c::crc32c(value).to_le_bytes()).then_some(value)
}

/// The purge mark has its index in front, which this module needs itself.
pub fn encode_purged(upto: u64, mark: &[u8]) -> Vec<u8> {
    let mut value = upto.to_be_bytes().to_vec();
    value.extend_from_slice(mark);
    encode(&value)
}

/// Takes the index off the purge mark.
pub fn decode_purged(value: &[u8]) -> Option<(u64, &[u8])> {
    let (index, mark) = value.split_at_checked(INDEX_BYTES)?;
    Some((u64::from_be_bytes(index.try_into().ok()?), mark))
}
