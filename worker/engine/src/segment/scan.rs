//! How much memory a run takes to be read, by its blocks' headers alone: the
//! stored bytes between them are passed over.
//!
//! A guess for whoever plans a merge. Nothing is proved here; a run that is
//! damaged is found out when it is read.

use super::block::{BLOCK_HEADER_BYTES, BlockHeader};

/// The stored and the raw bytes of the run's largest block. `read_at` fills a
/// buffer from a place in the run, or says that it cannot.
pub(crate) fn reader_bytes(
    run_bytes: u64,
    mut read_at: impl FnMut(u64, &mut [u8]) -> bool,
) -> usize {
    let mut offset = 0;
    let mut largest = 0;
    while offset < run_bytes {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        if !read_at(offset, &mut bytes) {
            break;
        }
        let Ok(header) = BlockHeader::decode(&bytes, offset) else {
            break;
        };
        largest = largest.max(header.stored_bytes as usize + header.raw_bytes as usize);
        offset += BLOCK_HEADER_BYTES as u64 + u64::from(header.stored_bytes);
    }
    largest
}
