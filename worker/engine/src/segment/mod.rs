//! Segment files: what one map attempt hands to all reduces.
//!
//! All integers are little-endian. A file is
//!
//! ```text
//! header     16   "VIVATSEG", format version u32 = 1, partitions u32
//! run        ..   of each partition that holds records, in order:
//!   block    24   kind u8 (0 as it is, 1 lz4, 3 zstd), 3 zero bytes, partition u32,
//!                 stored bytes u32, raw bytes u32, records u32,
//!                 CRC-32C u32 of these 20 bytes and the stored bytes
//!            ..   the stored bytes
//!   end      24   the same with kind 2 and 16 stored bytes:
//!            16   records of the run u64, raw bytes of the run u64
//! index    32*n   per partition: offset u64, stored bytes u64, raw bytes u64,
//!                 records u64; all 0 where it holds nothing
//! footer     20   offset of the index u64, CRC-32C u32 of header, index and
//!                 these 8 bytes, "GESTAVIV"
//! ```
//!
//! The raw bytes of a block are whole records, each key length and value length
//! in LEB128, key, value; keys ascend, and equal keys stand in the order of
//! emission. A block holds about 64 KiB, more only when one record does.
//!
//! The bytes of a run, as [`SegmentFile::partition_range`] names them, travel as
//! they are and prove themselves: each block has its checksum and its partition,
//! and the end tells how many there were, so a reader of the bare run notices
//! damage, truncation and a run of another partition.
//!
//! Spilled runs and merge passes have the same format. Nothing here is fsynced:
//! a segment that is lost is made again.

mod block;
mod error;
mod file;
mod packing;
mod reader;
mod scan;
mod writer;

pub use error::{Damage, SegmentError};
pub use file::{FileRange, SegmentFile, verify};
pub use packing::{SegmentCompression, UnknownCompression};
pub use reader::SegmentReader;
pub use writer::SegmentWriter;

pub(crate) use scan::reader_bytes;

/// Version of the format that is written, and the only one that is read.
pub const FORMAT_VERSION: u32 = 1;
/// Raw bytes after which a block is closed.
pub const BLOCK_RAW_BYTES: usize = 64 * 1024;
/// Raw bytes that one record may take: the largest key and value with their
/// lengths.
const RECORD_RAW_BYTES_MAX: usize = vivat_shared::limits::KEY_BYTES_MAX + VALUE_BYTES_MAX + 20;
/// Raw bytes of the largest block: a record behind an almost full block.
const BLOCK_RAW_BYTES_MAX: usize = BLOCK_RAW_BYTES + RECORD_RAW_BYTES_MAX;
/// A value that a program may emit: the longest record and a little of its own.
pub const VALUE_BYTES_MAX: usize = vivat_shared::limits::RECORD_BYTES_MAX + 64 * 1024;

const HEADER_MAGIC: [u8; 8] = *b"VIVATSEG";
const FOOTER_MAGIC: [u8; 8] = *b"GESTAVIV";
const HEADER_BYTES: usize = 16;
const FOOTER_BYTES: usize = 20;
const INDEX_ENTRY_BYTES: usize = 32;
