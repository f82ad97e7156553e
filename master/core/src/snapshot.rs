//! The state as a file.
use crate::state::State;

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not one of ours, or cut short.
    #[error("not a snapshot")]
    NotASnapshot,
    /// Written by another version.
    #[error("snapshot format {found}, this program reads {supported}")]
    Version {
        /// In the file.
        found: u32,
        /// Read by this program.
        supported: u32,
    },
    /// The bytes are damaged.
    #[error("snapshot has checksum {found:#018x}, expected {expected:#018x}")]
    Checksum {
        /// Of the bytes.
        found: u64,
        /// In the trailer.
        expected: u64,
    },
    /// The body does not decode.
    #[error("snapshot body does not decode")]
    Body(#[source] postcard::Error),
}

/// Encodes the whole state.
#[must_use]
pub fn encode(state: &State) -> Vec<u8> {
    postcard::to_stdvec(state).expect("plain data encodes")
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
///
/// See [`SnapshotError`].
pub fn decode(bytes: &[u8]) -> Result<State, SnapshotError> {
    postcard::from_bytes(bytes).map_err(SnapshotError::Body)
}
