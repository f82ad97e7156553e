//! Which partition a key goes to.
//!
//! The rule is part of what users see: it decides which `part-NNNNN` holds a
//! key, so it never changes. `xxh3_64` with seed 0 over the encoded key, modulo
//! the number of partitions.

use xxhash_rust::xxh3::xxh3_64;

/// An encoded key on its way to a partition.
#[derive(Debug, Clone, Copy)]
pub struct EncodedKey<'a> {
    bytes: &'a [u8],
    hash: Option<u64>,
}

impl<'a> EncodedKey<'a> {
    /// A key whose hash nobody has computed yet.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, hash: None }
    }

    /// A key with its `xxh3_64`, computed already.
    #[must_use]
    pub fn with_hash(bytes: &'a [u8], hash: u64) -> Self {
        Self {
            bytes,
            hash: Some(hash),
        }
    }

    /// The encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// `xxh3_64` of the bytes, seed 0.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash.unwrap_or_else(|| xxh3_64(self.bytes))
    }

    /// The default partition among `partitions`, which is at least 1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a remainder by a u32 is a u32"
    )]
    pub fn partition(&self, partitions: u32) -> u32 {
        (self.hash() % u64::from(partitions.max(1))) as u32
    }
}

/// The partition that an encoded key goes to by default: stable for ever.
///
/// ```
/// assert_eq!(vivat_mapreduce::partition_of(b"whale", 4), 3);
/// ```
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    EncodedKey::new(key).partition(partitions)
}
