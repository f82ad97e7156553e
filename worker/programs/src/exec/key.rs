//! Lines as keys and values, and keys as the bytes that order them.
//!
//! | What the step wants | Key | Value |
//! |---|---|---|
//! | to reduce | the key's fields | the rest of the line |
//! | to reduce, values sorted | both, the key so that it shows where it ends | nothing |
//! | no reducer | partition, split, place in the split | the line |

use std::borrow::Cow;

use memchr::memchr_iter;
use vivat_mapreduce::{Component, EncodedKey, MapContext};

use super::settings::{Role, Settings};

/// What the step wants of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Keyed,
    Sorted,
    InOrder,
}

impl Shape {
    pub fn of(settings: &Settings) -> Self {
        if !settings.has(Role::Reducer) {
            Self::InOrder
        } else if settings.sort_values {
            Self::Sorted
        } else {
            Self::Keyed
        }
    }
}

/// A line as key and value: `fields` fields are the key. A line with fewer tabs is a
/// key, and has an empty value.
pub(super) fn split(line: &[u8], fields: usize) -> (&[u8], &[u8]) {
    match memchr_iter(b'\t', line).nth(fields - 1) {
        Some(end) => (&line[..end], &line[end + 1..]),
        None => (line, &[]),
    }
}

/// The key of a line whose values are sorted: key and value.
pub(super) fn sorted(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.clear();
    <Vec<u8> as Component>::encode_component(key, out);
    out.extend_from_slice(value);
}

/// Key and value of it; none when it is not one.
pub(super) fn unsorted(mut encoded: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let key = <Vec<u8> as Component>::decode_component(&mut encoded).ok()?;
    Some((key, encoded))
}

/// The key of a line that keeps its place.
pub(super) fn in_order(context: &MapContext<'_>, place: u64, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&partition_of_split(context).to_be_bytes());
    out.extend_from_slice(&context.split.to_be_bytes());
    out.extend_from_slice(&place.to_be_bytes());
}

/// Neighbours go to the same partition, so that the parts one behind the other are in
/// the order of the input.
fn partition_of_split(context: &MapContext<'_>) -> u32 {
    let splits = u64::from(context.splits.max(1));
    let partition = u64::from(context.split) * u64::from(context.partitions) / splits;
    u32::try_from(partition)
        .unwrap_or(u32::MAX)
        .min(context.partitions - 1)
}

/// Where a key goes.
pub(super) fn partition(
    settings: &Settings,
    shape: Shape,
    key: EncodedKey<'_>,
    partitions: u32,
) -> u32 {
    let deciding = |key: &[u8]| match settings.partition_fields {
        Some(fields) => EncodedKey::new(split(key, fields).0).partition(partitions),
        None => EncodedKey::new(key).partition(partitions),
    };
    match shape {
        Shape::InOrder => key
            .bytes()
            .first_chunk::<4>()
            .map_or(0, |bytes| u32::from_be_bytes(*bytes)),
        Shape::Keyed if settings.partition_fields.is_none() => key.partition(partitions),
        Shape::Keyed => deciding(key.bytes()),
        Shape::Sorted => unsorted(key.bytes()).map_or(0, |(key, _)| deciding(&key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_tab_behind_the_keys_fields() {
        let of = |line: &'static str, fields| split(line.as_bytes(), fields);
        assert_eq!(of("a\tb\tc", 1), (b"a".as_slice(), b"b\tc".as_slice()));
        assert_eq!(of("a\tb\tc", 2), (b"a\tb".as_slice(), b"c".as_slice()));
        assert_eq!(of("a\tb\tc", 3), (b"a\tb\tc".as_slice(), b"".as_slice()));
        assert_eq!(of("a\t", 1), (b"a".as_slice(), b"".as_slice()));
        assert_eq!(of("", 1), (b"".as_slice(), b"".as_slice()));
    }

    #[test]
    fn sorted_keys_come_back_and_are_in_the_order_of_key_then_value() {
        let pairs: [(&[u8], &[u8]); 6] = [
            (b"", b"z"),
            (b"\0", b"y"),
            (b"a", b"\xFF"),
            (b"a\0", b""),
            (b"a\0b", b"\0"),
            (b"b", b"a"),
        ];
        let encoded: Vec<Vec<u8>> = pairs
            .iter()
            .map(|(key, value)| {
                let mut out = Vec::new();
                sorted(key, value, &mut out);
                out
            })
            .collect();
        assert!(encoded.is_sorted());
        for (pair, encoded) in pairs.iter().zip(&encoded) {
            assert_eq!(unsorted(encoded), Some((Cow::Borrowed(pair.0), pair.1)));
        }
        assert_eq!(unsorted(b"a"), None);
    }
}
