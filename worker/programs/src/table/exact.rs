//! Sums of floating-point numbers without any error, so that their order does not
//! matter: whatever was split, spilled, merged or repeated, the result is the same.
//!
//! A sum is kept as a few numbers that do not overlap and whose true sum it is
//! (J. R. Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997). Only when
//! it is asked for it is rounded, once, to the nearest double.
//!
//! Terms are zero or between [`SMALLEST`] and [`LARGEST`]: then neither sums nor
//! products of two terms lose anything at either end of the range.

use serde::{Deserialize, Serialize};

/// The largest magnitude of a term.
pub(crate) const LARGEST: f64 = 1e100;
/// The smallest magnitude of a term that is not zero.
pub(crate) const SMALLEST: f64 = 1e-100;

/// A sum.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exact {
    /// The largest part.
    top: f64,
    /// The others, rising; nearly always none.
    low: Vec<f64>,
}

impl Exact {
    /// The sum of these numbers.
    #[cfg(test)]
    fn of(parts: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = Self::default();
        for part in parts {
            sum.add(part);
        }
        sum
    }

    /// Its parts: their sum is it.
    pub(crate) fn parts(&self) -> impl Iterator<Item = f64> + '_ {
        self.low.iter().copied().chain([self.top])
    }

    /// Bytes outside of itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.low.capacity() * size_of::<f64>()
    }

    /// Adds a number.
    #[inline]
    pub(crate) fn add(&mut self, number: f64) {
        let (sum, error) = two_sum(self.top, number);
        if error == 0.0 && self.low.is_empty() {
            self.top = sum;
        } else {
            self.add_slowly(number);
        }
    }

    fn add_slowly(&mut self, mut number: f64) {
        let mut kept = 0;
        self.low.push(self.top);
        for index in 0..self.low.len() {
            let (sum, error) = two_sum(number, self.low[index]);
            if error != 0.0 {
                self.low[kept] = error;
                kept += 1;
            }
            number = sum;
        }
        self.low.truncate(kept);
        self.top = number;
        // Parts that cancelled leave a zero on top.
        while self.top == 0.0
            && let Some(next) = self.low.pop()
        {
            self.top = next;
        }
    }

    /// Adds the product of two numbers.
    #[inline]
    pub(crate) fn add_product(&mut self, a: f64, b: f64) {
        let (product, error) = two_product(a, b);
        self.add(product);
        self.add(error);
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: &Self) {
        for part in other.parts() {
            self.add(part);
        }
    }

    /// Adds the product of three numbers.
    pub(crate) fn add_product_of_three(&mut self, a: f64, b: f64, c: f64) {
        let (product, error) = two_product(a, b);
        self.add_product(product, c);
        self.add_product(error, c);
    }

    /// The same sum in its only form that is rounded from the top: what is made of
    /// it part by part does not depend on the order in which it came together.
    pub(crate) fn canonical(&self) -> Self {
        let mut rest = self.clone();
        let mut parts = Vec::new();
        loop {
            let top = rest.round();
            if top == 0.0 || !top.is_finite() {
                break;
            }
            parts.push(top);
            rest.add(-top);
        }
        let mut parts = parts.into_iter();
        let top = parts.next().unwrap_or(0.0);
        let mut low: Vec<f64> = parts.collect();
        low.reverse();
        Self { top, low }
    }

    /// The nearest double; of two the even one.
    pub(crate) fn round(&self) -> f64 {
        let mut rest = self.low.iter().rev();
        let mut high = self.top;
        while let Some(part) = rest.next() {
            let (sum, error) = two_sum(high, *part);
            high = sum;
            if error == 0.0 {
                continue;
            }
            // Halfway between two doubles the parts below decide.
            if rest
                .next()
                .is_some_and(|next| (*next < 0.0) == (error < 0.0))
            {
                let doubled = error * 2.0;
                let other = high + doubled;
                if other - high == doubled {
                    high = other;
                }
            }
            break;
        }
        // There is one zero.
        high + 0.0
    }
}

/// The sum and its rounding error.
#[inline]
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    let of_a = sum - of_b;
    (sum, (a - of_a) + (b - of_b))
}

/// The product and its rounding error, without a fused multiplication, which not
/// every machine has (T. J. Dekker, 1971).
#[inline]
fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    let ((a_high, a_low), (b_high, b_low)) = (split(a), split(b));
    let error = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low);
    (product, error)
}

#[inline]
fn split(number: f64) -> (f64, f64) {
    let scaled = number * 134_217_729.0;
    let high = scaled - (scaled - number);
    (high, number - high)
}

/// `count * squares - sum * sum`, rounded once: the sum of squared distances from
/// the mean, times the count.
pub(crate) fn spread(count: u64, sum: &Exact, squares: &Exact) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no job has 2^53 records")]
    let count = count as f64;
    centred(count, (sum, sum), squares).round()
}

/// `count * products - a * b`: the sum of products of distances from the means,
/// times the count, of numbers whose sums are `a` and `b`.
pub(crate) fn centred(count: f64, (a, b): (&Exact, &Exact), products: &Exact) -> Exact {
    let mut spread = Exact::default();
    for part in products.parts() {
        spread.add_product(count, part);
    }
    for a in a.parts() {
        for b in b.parts() {
            spread.add_product(-a, b);
        }
    }
    spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_exact_arithmetic_in_any_order() {
        let cases: [(&[f64], f64); 6] = [
            (&[1e100, 1.0, -1e100], 1.0),
            (&[0.1; 10], 1.0),
            (&[1e16, 1.0, 1e-16], 10_000_000_000_000_002.0),
            (&[1e16, 1.0, -1e-16], 1e16),
            (&[1e16, -1e-16, 1.0, 1e-16, -1e16], 1.0),
            (&[], 0.0),
        ];
        for (terms, expected) in cases {
            assert_eq!(
                Exact::of(terms.iter().copied()).round(),
                expected,
                "{terms:?}"
            );
            let backwards = Exact::of(terms.iter().rev().copied());
            assert_eq!(backwards.round(), expected, "{terms:?} backwards");
        }
    }

    #[test]
    fn parts_are_the_same_whatever_order_the_sum_came_in() {
        let terms = [1e16, 0.1, -3e-9, 1.0, -1e16, 7e20, 1e-30, 0.3, -7e20];
        let forwards = Exact::of(terms).canonical();
        let backwards = Exact::of(terms.into_iter().rev()).canonical();
        assert_eq!(forwards, backwards);
        assert_eq!(forwards.round(), Exact::of(terms).round());
        assert_eq!(Exact::default().canonical(), Exact::default());
    }

    #[test]
    fn a_spread_of_equal_numbers_is_zero_however_large() {
        let numbers = [0.1 + 1e9; 7];
        let mut squares = Exact::default();
        for number in numbers {
            squares.add_product(number, number);
        }
        assert_eq!(spread(7, &Exact::of(numbers), &squares), 0.0);
    }
}
