//! The sum of all values of a key, which several programs print.

use vivat_mapreduce::Values;

/// Adds up what is left of a key's values.
#[inline]
pub(crate) fn sum_of<S: Values<u64>>(values: &mut S) -> u64 {
    let mut sum = 0;
    while let Some(value) = values.next() {
        sum += value;
    }
    sum
}
