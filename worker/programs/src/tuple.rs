//! Keys that are tuples and go where their first component does.

use vivat_mapreduce::{Component, partition_of};

/// The partition of the first component of an encoded tuple, which is bytes: that
/// of the same bytes alone.
pub(crate) fn first_partition(mut encoded: &[u8], partitions: u32) -> u32 {
    // What does not decode is no key of ours; the reducer will say so.
    <Vec<u8> as Component>::decode_component(&mut encoded)
        .map_or(0, |first| partition_of(&first, partitions))
}
