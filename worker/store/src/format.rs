//! What a block's file holds, byte for byte.
//!
//! ```text
//! header   magic 8 | version 4 | dataset 8 | index 8 | crc32c of these 4
//! data     as it was sent
//! table    crc32c of each 64 KiB of the data, 4 each
//! footer   dataset 8 | index 8 | length of the data 8 | crc32c of the data 4 |
//!          crc32c of the table 4 | version 4 | crc32c of these 4 | magic 8
//! ```
//!
//! Numbers are little endian. The footer alone tells what the block is, so a
//! start reads nothing else; its length and the file's must agree, so that no
//! truncated file looks whole. Every byte of a file is under some checksum or
//! compared with a constant.

use vivat_shared::ids::{BlockId, DatasetId};

use crate::error::Damage;

/// Bytes of data under one checksum: what is read at least to serve any of them.
pub const CHUNK_BYTES: u64 = 64 * 1024;
/// The version that this crate writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;

const HEADER_MAGIC: [u8; 8] = *b"VIVATBLK";
const FOOTER_MAGIC: [u8; 8] = *b"BLKVIVAT";

pub(crate) const HEADER_BYTES: u64 = 32;
pub(crate) const FOOTER_BYTES: u64 = 48;
pub(crate) const HEADER_SIZE: usize = 32;
pub(crate) const FOOTER_SIZE: usize = 48;
const CHECKSUM_BYTES: u64 = 4;

/// What the footer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) id: BlockId,
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
    pub(crate) table_crc32c: u32,
}

/// Chunks of so much data.
pub(crate) fn chunks(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK_BYTES)
}

/// Bytes of the file of a block of so much data; none if there is no such file.
pub(crate) fn file_bytes(bytes: u64) -> Option<u64> {
    let table = chunks(bytes) * CHECKSUM_BYTES;
    bytes
        .checked_add(table)?
        .checked_add(HEADER_BYTES + FOOTER_BYTES)
}

pub(crate) fn header(id: BlockId) -> [u8; HEADER_SIZE] {
    let mut header = [0; HEADER_SIZE];
    header[..8].copy_from_slice(&HEADER_MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&id.dataset.0.to_le_bytes());
    header[20..28].copy_from_slice(&id.index.to_le_bytes());
    let sum = crc32c::crc32c(&header[..28]);
    header[28..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// Whether these bytes begin the file of that block.
pub(crate) fn check_header(id: BlockId, found: &[u8; HEADER_SIZE]) -> Result<(), Damage> {
    if *found == header(id) {
        return Ok(());
    }
    check_version(u32_at(found, 8), &found[..28], u32_at(found, 28))?;
    Err(Damage::Header)
}

impl Footer {
    pub(crate) fn encode(&self) -> [u8; FOOTER_SIZE] {
        let mut footer = [0; FOOTER_SIZE];
        footer[..8].copy_from_slice(&self.id.dataset.0.to_le_bytes());
        footer[8..16].copy_from_slice(&self.id.index.to_le_bytes());
        footer[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        footer[24..28].copy_from_slice(&self.crc32c.to_le_bytes());
        footer[28..32].copy_from_slice(&self.table_crc32c.to_le_bytes());
        footer[32..36].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let sum = crc32c::crc32c(&footer[..36]);
        footer[36..40].copy_from_slice(&sum.to_le_bytes());
        footer[40..].copy_from_slice(&FOOTER_MAGIC);
        footer
    }

    /// Reads the end of a file that should be that block's.
    pub(crate) fn decode(
        id: BlockId,
        found: &[u8; FOOTER_SIZE],
        file_length: u64,
    ) -> Result<Self, Damage> {
        if found[40..] != FOOTER_MAGIC {
            return Err(Damage::Footer);
        }
        let sum = u32_at(found, 36);
        check_version(u32_at(found, 32), &found[..36], sum)?;
        if crc32c::crc32c(&found[..36]) != sum {
            return Err(Damage::Footer);
        }
        let footer = Self {
            id: BlockId {
                dataset: DatasetId(u64_at(found, 0)),
                index: u64_at(found, 8),
            },
            bytes: u64_at(found, 16),
            crc32c: u32_at(found, 24),
            table_crc32c: u32_at(found, 28),
        };
        if footer.id != id {
            return Err(Damage::OtherBlock { found: footer.id });
        }
        match file_bytes(footer.bytes) {
            Some(expected) if expected == file_length => Ok(footer),
            Some(_) | None => Err(Damage::Length { found: file_length }),
        }
    }

    pub(crate) fn table_offset(&self) -> u64 {
        HEADER_BYTES + self.bytes
    }

    pub(crate) fn table_bytes(&self) -> u64 {
        chunks(self.bytes) * CHECKSUM_BYTES
    }
}

/// The table as it is written, from its checksums.
pub(crate) fn encode_table(sums: &[u32]) -> Vec<u8> {
    sums.iter().flat_map(|sum| sum.to_le_bytes()).collect()
}

/// The checksums of a table.
pub(crate) fn decode_table(footer: &Footer, found: &[u8]) -> Result<Vec<u32>, Damage> {
    if crc32c::crc32c(found) != footer.table_crc32c {
        return Err(Damage::Table);
    }
    let sums = found.chunks_exact(4).map(|sum| u32_at(sum, 0));
    Ok(sums.collect())
}

/// A version that is under a right checksum and not ours was written by another
/// version of the program: not damage, and not to be thrown away as such.
fn check_version(version: u32, covered: &[u8], sum: u32) -> Result<(), Damage> {
    if version != FORMAT_VERSION && crc32c::crc32c(covered) == sum {
        return Err(Damage::Version { found: version });
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: BlockId = BlockId {
        dataset: DatasetId(4),
        index: 17,
    };

    #[test]
    fn header_and_footer_of_this_version_keep_their_bytes() {
        let hex = |bytes: &[u8]| {
            let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            digits.concat()
        };
        assert_eq!(
            hex(&header(ID)),
            "5649564154424c4b0100000004000000000000001100000000000000f728ecea"
        );
        let footer = Footer {
            id: ID,
            bytes: 70_000,
            crc32c: 0x0102_0304,
            table_crc32c: 0x0506_0708,
        };
        assert_eq!(
            hex(&footer.encode()),
            "0400000000000000110000000000000070110100000000000403020108070605\
             0100000061e3fdd8424c4b5649564154"
        );
        let file_length = 70_000 + 8 + HEADER_BYTES + FOOTER_BYTES;
        assert_eq!(
            Footer::decode(ID, &footer.encode(), file_length),
            Ok(footer)
        );
    }

    #[test]
    fn a_file_of_a_later_version_is_named_so_and_not_called_damaged() {
        let mut later = header(ID);
        later[8] = 2;
        let sum = crc32c::crc32c(&later[..28]);
        later[28..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(check_header(ID, &later), Err(Damage::Version { found: 2 }));
    }

    #[test]
    fn a_length_that_no_file_can_have_is_damage_and_no_overflow() {
        let footer = Footer {
            id: ID,
            bytes: u64::MAX,
            crc32c: 0,
            table_crc32c: 0,
        };
        assert_eq!(
            Footer::decode(ID, &footer.encode(), 100),
            Err(Damage::Length { found: 100 })
        );
    }
}
