//! Products of two numbers as whole numbers of any length: in units of 2^-840, so
//! that nothing is ever lost. A number alone is in units of 2^-420.

use std::cmp::Ordering;

const UNIT_BITS: usize = 420;

#[derive(Debug, Clone, Default)]
pub(crate) struct Big {
    negative: bool,
    /// From the lowest; the highest is not zero.
    limbs: Vec<u32>,
}

impl Big {
    /// A number, in units of 2^-420.
    pub(crate) fn of(number: f64) -> Self {
        let bits = number.abs().to_bits();
        let exponent = usize::try_from(bits >> 52).unwrap_or(0);
        if exponent == 0 {
            return Self::default();
        }
        let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
        // number = mantissa * 2^(exponent - 1075)
        let shift = exponent + UNIT_BITS - 1075;
        let mut limbs = vec![0; shift / 32];
        let wide = u128::from(mantissa) << (shift % 32);
        limbs.extend((0..3).map(|limb| low(wide >> (32 * limb))));
        Self::trimmed(number < 0.0, limbs)
    }

    fn trimmed(negative: bool, mut limbs: Vec<u32>) -> Self {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        Self { negative, limbs }
    }

    pub(crate) fn times(&self, other: &Self) -> Self {
        let mut limbs = vec![0_u32; self.limbs.len() + other.limbs.len() + 1];
        for (i, a) in self.limbs.iter().enumerate() {
            let mut carry = 0;
            for (j, b) in other.limbs.iter().chain([&0]).enumerate() {
                let sum = u128::from(*a) * u128::from(*b) + u128::from(limbs[i + j]) + carry;
                limbs[i + j] = low(sum);
                carry = sum >> 32;
            }
        }
        Self::trimmed(self.negative != other.negative, limbs)
    }

    /// The same, so many times.
    pub(crate) fn repeated(&self, times: usize) -> Self {
        let limbs = vec![low(times as u128), low(times as u128 >> 32)];
        self.times(&Self::trimmed(false, limbs))
    }

    /// The square of a sum of numbers times one, as one product: 2^840 units of
    /// 2^-840 are taken off.
    pub(crate) fn squared_as_product(&self) -> Self {
        let mut square = self.times(self);
        let (limbs, bits) = (2 * UNIT_BITS / 32, 2 * UNIT_BITS % 32);
        square.limbs.drain(..limbs.min(square.limbs.len()));
        let mut carry = 0;
        for limb in square.limbs.iter_mut().rev() {
            let wide = u64::from(carry) << 32 | u64::from(*limb);
            carry = low(u128::from(wide) & ((1 << bits) - 1));
            *limb = low(u128::from(wide >> bits));
        }
        Self::trimmed(square.negative, square.limbs)
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.plus(&Self {
            negative: !other.negative,
            limbs: other.limbs.clone(),
        })
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        let larger_first = match self.compare(other) {
            Ordering::Less => (other, self),
            Ordering::Equal | Ordering::Greater => (self, other),
        };
        let (large, small) = larger_first;
        let sign: i64 = if large.negative == small.negative {
            1
        } else {
            -1
        };
        let mut carry = 0_i64;
        let mut limbs = Vec::with_capacity(large.limbs.len() + 1);
        for index in 0..=large.limbs.len() {
            let limb = |big: &Self| i64::from(big.limbs.get(index).copied().unwrap_or(0));
            let sum = limb(large) + sign * limb(small) + carry;
            limbs.push(low(sum.rem_euclid(1 << 32).unsigned_abs().into()));
            carry = sum.div_euclid(1 << 32);
        }
        Self::trimmed(large.negative, limbs)
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_limbs = || self.limbs.iter().rev().cmp(other.limbs.iter().rev());
        self.limbs.len().cmp(&other.limbs.len()).then_with(by_limbs)
    }

    /// The nearest double of units of 2^-840; of two the even one.
    pub(crate) fn rounded(&self) -> f64 {
        let mut mantissa = 0_u64;
        let mut below = false;
        let mut dropped = 0_i32;
        for limb in self.limbs.iter().rev() {
            for bit in (0..32).rev() {
                let bit = u64::from(limb >> bit & 1);
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 1 | bit;
                } else {
                    below |= bit == 1;
                    dropped += 1;
                }
            }
        }
        // What is below only decides between two doubles.
        #[expect(clippy::cast_precision_loss, reason = "this is the rounding")]
        let rounded = (mantissa | u64::from(below)) as f64;
        let size = rounded * 2_f64.powi(dropped - 840);
        if self.negative { 0.0 - size } else { size }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
fn low(wide: u128) -> u32 {
    wide as u32
}
