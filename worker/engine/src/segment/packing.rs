//! How the blocks of a segment are compressed.
//!
//! A worker chooses for the segments that it writes; a block's header says what
//! was done, so readers take all kinds, mixed, without being told.
//!
//! What pays depends on the network and the disks: `zstd` where the wire between
//! workers is the bottleneck, `none` where segments never leave the machine and
//! its disk is memory.

use std::fmt;
use std::str::FromStr;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

use super::BLOCK_RAW_BYTES;
use super::block::{BlockKind, PACKED_RATIO_MAX};

/// How a worker compresses the segments that it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SegmentCompression {
    /// Not at all.
    None,
    /// LZ4: fast.
    #[default]
    Lz4,
    /// Zstandard at its first level: smaller, and slower.
    Zstd,
}

impl SegmentCompression {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lz4, Self::Zstd, Self::None];
}

impl fmt::Display for SegmentCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// A word that names no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a compression: lz4, zstd or none")]
pub struct UnknownCompression {
    /// The word.
    pub text: String,
}

impl FromStr for SegmentCompression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, UnknownCompression> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.to_string() == text)
            .ok_or_else(|| UnknownCompression {
                text: text.to_owned(),
            })
    }
}

/// Level of Zstandard: each further one costs more time than it saves on any wire.
const ZSTD_LEVEL: i32 = 1;
/// A block is stored packed when that takes off at least this part of it: less is
/// not worth the reader's time.
const WORTHWHILE_PART: usize = 16;
/// Blocks stored without a try after one that was not worth it, twice as many
/// after each further one, up to this.
const UNTRIED_MAX: u32 = 32;

/// Packs the blocks of one file.
pub(super) struct Packer {
    method: Method,
    packed: Vec<u8>,
    /// Blocks in a row that were not worth it, as a power of two.
    untried_next: u32,
    /// Blocks that are still to be stored without a try.
    untried_left: u32,
}

enum Method {
    None,
    Lz4(CompressTable),
    Zstd(Box<Compressor<'static>>),
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.method {
            Method::None => "Packer(none)",
            Method::Lz4(_) => "Packer(lz4)",
            Method::Zstd(_) => "Packer(zstd)",
        })
    }
}

impl Packer {
    pub fn new(compression: SegmentCompression) -> Self {
        let lz4 = || Method::Lz4(CompressTable::default());
        let method = match compression {
            SegmentCompression::None => Method::None,
            SegmentCompression::Lz4 => lz4(),
            // Only memory can be missing; lz4 needs less of it.
            SegmentCompression::Zstd => match Compressor::new(ZSTD_LEVEL) {
                Ok(compressor) => Method::Zstd(Box::new(compressor)),
                Err(_) => lz4(),
            },
        };
        Self {
            method,
            packed: Vec::new(),
            untried_next: 1,
            untried_left: 0,
        }
    }

    /// What of a block is stored, and how. The same blocks are stored the same,
    /// whoever writes them.
    pub fn pack<'b>(&'b mut self, raw: &'b [u8]) -> (BlockKind, &'b [u8]) {
        if self.untried_left > 0 {
            self.untried_left -= 1;
            return (BlockKind::Plain, raw);
        }
        let packed = match &mut self.method {
            Method::None => return (BlockKind::Plain, raw),
            Method::Lz4(table) => {
                let room = room(&mut self.packed, get_maximum_output_size(raw.len()));
                let bytes = compress_into_with_table(raw, room, table).ok();
                bytes.map(|bytes| (BlockKind::Lz4, bytes))
            }
            Method::Zstd(compressor) => {
                let room = room(&mut self.packed, compress_bound(raw.len()));
                let bytes = compressor.compress_to_buffer(raw, room).ok();
                // Readers take no more memory than this for what they got.
                let fits = |&bytes: &usize| raw.len() <= bytes.saturating_mul(PACKED_RATIO_MAX);
                bytes.filter(fits).map(|bytes| (BlockKind::Zstd, bytes))
            }
        };
        let worthwhile = raw.len() - raw.len().div_ceil(WORTHWHILE_PART);
        match packed.filter(|&(_, bytes)| bytes <= worthwhile) {
            Some((kind, bytes)) => {
                self.untried_next = 1;
                (kind, &self.packed[..bytes])
            }
            None => {
                self.untried_left = self.untried_next;
                self.untried_next = (self.untried_next * 2).min(UNTRIED_MAX);
                (BlockKind::Plain, raw)
            }
        }
    }
}

/// The first bytes of a buffer that only grows, but for those of a huge record.
fn room(buffer: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if buffer.len() < bytes || buffer.len() > 2 * bytes.max(2 * BLOCK_RAW_BYTES) {
        *buffer = vec![0; bytes];
    }
    &mut buffer[..bytes]
}

/// Unpacks the blocks of one run.
#[derive(Default)]
pub(super) struct Unpacker {
    zstd: Option<Box<Decompressor<'static>>>,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unpacker")
    }
}

impl Unpacker {
    /// Fills `raw` from the stored bytes of an lz4 block; false when they are not
    /// those of a block of that size.
    pub fn lz4(stored: &[u8], raw: &mut [u8]) -> bool {
        let bytes = raw.len();
        lz4_flex::block::decompress_into(stored, raw).is_ok_and(|unpacked| unpacked == bytes)
    }

    /// The same for a block of Zstandard.
    pub fn zstd(&mut self, stored: &[u8], raw: &mut [u8]) -> bool {
        let bytes = raw.len();
        if self.zstd.is_none() {
            self.zstd = Decompressor::new().ok().map(Box::new);
        }
        self.zstd.as_mut().is_some_and(|decompressor| {
            let unpacked = decompressor.decompress_to_buffer(stored, raw);
            unpacked.is_ok_and(|unpacked| unpacked == bytes)
        })
    }
}
