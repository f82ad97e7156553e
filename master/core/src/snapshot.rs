//! The state as bytes, for snapshot files and for the comparison of replicas.
//!
//! ```text
//! magic (8) | format version (u32) | body (postcard) | XXH3-64 of all before (u64)
//! ```
//!
//! Numbers outside the body are little-endian.
//!
//! | Version | Since | What changed |
//! |---|---|---|
//! | 2 | 0.1.0 | the first that was used |
//! | 3 | 0.1.0 | datasets and values; origins of inputs, kinds of outputs |
//! | 4 | 0.1.0 | steps, rounds and broadcasts; backups, times and scores |
//! | 5 | 0.1.0 | headers in plans, logs, retries, notices |
//!
//! A version that was released is pinned by golden bytes in the tests, and stays
//! readable for one release.

use xxhash_rust::xxh3::xxh3_64;

use crate::state::State;

/// The version that [`encode`] writes.
pub const FORMAT_VERSION: u32 = 5;

const MAGIC: &[u8; 8] = b"VIVATSNP";
const HEADER_BYTES: usize = 12;
const TRAILER_BYTES: usize = 8;

/// Why bytes are not a snapshot that this program reads.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not one of ours, or too short to tell.
    #[error("not a snapshot of vivat: {bytes} bytes without its mark")]
    NotASnapshot {
        /// How many there are.
        bytes: usize,
    },
    /// Written by another version of the format.
    #[error("snapshot has format {found}, this program reads format {supported}")]
    Version {
        /// In the header.
        found: u32,
        /// Read by this program.
        supported: u32,
    },
    /// Damaged or cut short.
    #[error("snapshot has checksum {found:#018x}, its trailer says {expected:#018x}")]
    Checksum {
        /// Of the bytes.
        found: u64,
        /// In the trailer.
        expected: u64,
    },
    /// Whole, and yet not the encoding of a state: a defect.
    #[error("snapshot does not decode")]
    Body(#[source] postcard::Error),
    /// Whole, and followed by bytes that mean nothing: a defect.
    #[error("snapshot has {bytes} bytes after its end")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Encodes the whole state.
#[must_use]
pub fn encode(state: &State) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    let mut bytes = postcard::to_extend(state, bytes)
        .expect("the state is integers, strings, sequences of known length and enums");
    let checksum = xxh3_64(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
///
/// Everything that is not the exact bytes of a state, see [`SnapshotError`].
/// The version is looked at before the checksum, so that the snapshot of a later
/// program is called that and not damaged.
pub fn decode(bytes: &[u8]) -> Result<State, SnapshotError> {
    let foreign = || SnapshotError::NotASnapshot { bytes: bytes.len() };
    if bytes.len() < HEADER_BYTES + TRAILER_BYTES {
        return Err(foreign());
    }
    let (summed, trailer) = bytes.split_at(bytes.len() - TRAILER_BYTES);
    let unmarked = summed.strip_prefix(MAGIC.as_slice()).ok_or_else(foreign)?;
    let (version, body) = unmarked.split_first_chunk().ok_or_else(foreign)?;
    let found = u32::from_le_bytes(*version);
    if found != FORMAT_VERSION {
        return Err(SnapshotError::Version {
            found,
            supported: FORMAT_VERSION,
        });
    }
    let expected = trailer
        .first_chunk()
        .map_or(0, |trailer| u64::from_le_bytes(*trailer));
    let found = xxh3_64(summed);
    if found != expected {
        return Err(SnapshotError::Checksum { found, expected });
    }
    let (state, rest) = postcard::take_from_bytes(body).map_err(SnapshotError::Body)?;
    if !rest.is_empty() {
        return Err(SnapshotError::Trailing { bytes: rest.len() });
    }
    Ok(state)
}
