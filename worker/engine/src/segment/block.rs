//! Blocks: the header that stands before stored bytes, and varints.

use super::BLOCK_RAW_BYTES_MAX;
use super::error::{Damage, SegmentError};

/// Bytes of a block's header.
pub(super) const BLOCK_HEADER_BYTES: usize = 24;
/// Stored bytes of the block that ends a run.
pub(super) const END_BYTES: usize = 16;
const CHECKED_BYTES: usize = 20;
/// Bytes that a stored byte of a packed block can stand for, lz4's own bound: a
/// longer block than that is a lie, for which no memory is taken.
pub(super) const PACKED_RATIO_MAX: usize = 255;

/// What a block's stored bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// Records as they are.
    Plain,
    /// Records compressed with lz4.
    Lz4,
    /// Totals of the run.
    End,
    /// Records compressed with Zstandard.
    Zstd,
}

/// A block's header without its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub kind: BlockKind,
    pub partition: u32,
    pub stored_bytes: u32,
    pub raw_bytes: u32,
    pub records: u32,
}

impl BlockHeader {
    /// The header's bytes with the checksum over it and `stored`.
    pub fn encode(&self, stored: &[u8]) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[0] = match self.kind {
            BlockKind::Plain => 0,
            BlockKind::Lz4 => 1,
            BlockKind::End => 2,
            BlockKind::Zstd => 3,
        };
        bytes[4..8].copy_from_slice(&self.partition.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.raw_bytes.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..CHECKED_BYTES]), stored);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header. The lengths in it are within bounds but not yet proved;
    /// [`check`] does that once the stored bytes are there.
    pub fn decode(bytes: &[u8; BLOCK_HEADER_BYTES], offset: u64) -> Result<Self, SegmentError> {
        let fail = |field| SegmentError::Damaged {
            offset,
            damage: Damage::Field { field },
        };
        let kind = match bytes[0] {
            0 => BlockKind::Plain,
            1 => BlockKind::Lz4,
            2 => BlockKind::End,
            3 => BlockKind::Zstd,
            4.. => return Err(fail("block kind")),
        };
        let header = Self {
            kind,
            partition: u32_at(bytes, 4),
            stored_bytes: u32_at(bytes, 8),
            raw_bytes: u32_at(bytes, 12),
            records: u32_at(bytes, 16),
        };
        let stored = header.stored_bytes as usize;
        let raw = header.raw_bytes as usize;
        let lengths_fit = match kind {
            BlockKind::Plain => stored == raw,
            BlockKind::Lz4 | BlockKind::Zstd => {
                stored <= raw && raw <= stored.saturating_mul(PACKED_RATIO_MAX)
            }
            BlockKind::End => stored == END_BYTES && raw == 0 && header.records == 0,
        };
        if !lengths_fit || raw > BLOCK_RAW_BYTES_MAX {
            return Err(fail("block length"));
        }
        Ok(header)
    }
}

/// Proves header and stored bytes by the checksum in the header.
pub(super) fn check(
    header: &[u8; BLOCK_HEADER_BYTES],
    stored: &[u8],
    offset: u64,
) -> Result<(), SegmentError> {
    let expected = u32_at(header, CHECKED_BYTES);
    let found = crc32c::crc32c_append(crc32c::crc32c(&header[..CHECKED_BYTES]), stored);
    if found == expected {
        Ok(())
    } else {
        Err(SegmentError::Damaged {
            offset,
            damage: Damage::Checksum { found, expected },
        })
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

/// Appends a length in LEB128.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "each byte takes seven bits by its mask"
)]
pub(crate) fn push_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// Takes a length of at most five bytes at `at`; moves `at` behind it.
#[inline]
pub(crate) fn take_length(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(usize::from(first));
    }
    let mut length = usize::from(first & 0x7F);
    for shift in [7, 14, 21, 28] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        length |= usize::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(length);
        }
    }
    None
}
