//! Sizes of segments in one byte, on a log scale.
//!
//! A round keeps maps x partitions sizes for as long as it runs; one byte each
//! keeps a million tasks small. The scale is that of Spark's compressed map
//! status: base 1.1, so a size is known to within 10 %. Zero stays exact,
//! because a reducer skips empty segments.

use serde::{Deserialize, Serialize};

/// A size in bytes to within 10 %, rounded up; 0 means exactly nothing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct SizeCode(pub u8);

const LOG_BASE: f64 = 1.1;

impl SizeCode {
    /// The code of nothing.
    pub const EMPTY: Self = Self(0);

    /// Encodes a size in bytes; 35 GB and more share the largest code.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "clamped to 1..=255 before the cast; the scale is approximate by design"
    )]
    pub fn of(bytes: u64) -> Self {
        match bytes {
            0 => Self(0),
            1 => Self(1),
            _ => Self(
                ((bytes as f64).ln() / LOG_BASE.ln())
                    .ceil()
                    .clamp(1.0, 255.0) as u8,
            ),
        }
    }

    /// Whether there is nothing to fetch.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The size in bytes, up to 10 % too large.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1.1^255 is 3.6e10, far inside u64"
    )]
    pub fn bytes(self) -> u64 {
        if self.0 == 0 {
            0
        } else {
            LOG_BASE.powi(i32::from(self.0)) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_known_within_a_tenth_and_zero_exactly() {
        assert_eq!(SizeCode::of(0).bytes(), 0);
        for bytes in [1_u64, 2, 10, 1_000, 65_536, 123_456_789, 30_000_000_000] {
            let back = SizeCode::of(bytes).bytes();
            assert!(
                back + 1 >= bytes && back <= bytes + bytes / 10 + 1,
                "{bytes} became {back}"
            );
        }
        assert_eq!(SizeCode::of(u64::MAX).0, 255);
    }
}
