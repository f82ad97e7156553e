//! A column of bytes that is encoded as one run, not byte by byte.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One byte per task, or per task and partition.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ByteColumn(Vec<u8>);

impl ByteColumn {
    pub(crate) fn zeros(len: usize) -> Self {
        Self(vec![0; len])
    }
}

impl fmt::Debug for ByteColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteColumn({} bytes)", self.0.len())
    }
}

impl Deref for ByteColumn {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for ByteColumn {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Serialize for ByteColumn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for ByteColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = ByteColumn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a run of bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<ByteColumn, E> {
                Ok(ByteColumn(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}
