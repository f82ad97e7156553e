//! The arithmetic of a network, in an order that is written down.
//!
//! What a shard learns must have the same bits on every machine, so nothing here
//! depends on what a processor can do, but how fast it is. Libraries of linear
//! algebra choose the order of a sum by the machine that they run on; here it is
//! part of what the program promises:
//!
//! - An element of a product of matrices is a chain of fused multiplications and
//!   additions, the inner index rising. Lanes of a processor hold different
//!   elements, never parts of one.
//! - Gradients are sums over rows, in the order of the rows.
//! - A row's exponentials are summed in [`STRANDS`] strands, class `c` in strand
//!   `c % STRANDS`; then the strands, in order.
//! - The exponential is the polynomial that [`exponential`] says, the logarithm
//!   that of the crate libm.
//!
//! Rows are padded to a multiple of [`STRANDS`] numbers: zeros, and in the biases
//! of the classes negative infinities, so that a class that is not there has no
//! probability. `pulp` picks the widest vectors that the processor has, without
//! unsafe code here.

use pulp::{Arch, Simd, WithSimd};

use super::net::{Gradient, Net, Rows};
use super::product::{Product, TurnedProduct};

/// Numbers that a row is padded to a multiple of; as many as the widest vectors
/// have lanes.
pub(super) const STRANDS: usize = 8;
/// Rows that are done at a time: what they need fits the nearest cache.
const BLOCK_ROWS: usize = 32;
/// A length in padded rows.
pub(super) fn padded(length: usize) -> usize {
    length.next_multiple_of(STRANDS)
}

/// What a pass over rows came to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Tally {
    /// The sum of the rows' cross-entropies.
    pub(super) loss: f64,
    /// Rows whose likeliest class is another than theirs; counted without
    /// gradients only.
    pub(super) errors: u64,
}

/// What a pass works in, kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    hidden: Vec<f64>,
    classes: Vec<f64>,
    back: Vec<f64>,
    /// The second layer without its biases, turned around.
    turned: Vec<f64>,
}

/// Adds the gradient of the summed cross-entropy over all rows to `gradient`, and
/// returns the sum.
pub(super) fn descend(
    net: &Net,
    rows: &Rows,
    gradient: &mut Gradient,
    scratch: &mut Scratch,
) -> Tally {
    turn(net, &mut scratch.turned);
    Arch::new().dispatch(Pass {
        net,
        rows,
        scratch,
        gradient: Some(gradient),
    })
}

/// What the network makes of rows.
pub(super) fn judge(net: &Net, rows: &Rows, scratch: &mut Scratch) -> Tally {
    Arch::new().dispatch(Pass {
        net,
        rows,
        scratch,
        gradient: None,
    })
}

/// The likeliest class of each row and its probability.
pub(super) fn classify(net: &Net, rows: &Rows) -> Vec<(usize, f64)> {
    let mut found = Vec::with_capacity(rows.labels.len());
    let mut scratch = Scratch::default();
    for x in rows.x.chunks(BLOCK_ROWS * rows.features.max(1)) {
        Arch::new().dispatch(Classify {
            net,
            x,
            scratch: &mut scratch,
            found: &mut found,
        });
    }
    found
}

fn turn(net: &Net, turned: &mut Vec<f64>) {
    let (hidden, classes) = (net.hidden_padded(), net.classes_padded());
    turned.clear();
    turned.resize(net.shape.classes * hidden, 0.0);
    for (unit, weights) in net.v[classes..].chunks_exact(classes).enumerate() {
        for (class, weight) in weights[..net.shape.classes].iter().enumerate() {
            turned[class * hidden + unit] = *weight;
        }
    }
}

/// The scores of some rows; they end up in the scratch.
struct Forward<'t> {
    net: &'t Net,
    x: &'t [f64],
    scratch: &'t mut Scratch,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { net, x, scratch } = self;
        let (features, hidden) = (net.shape.features, net.hidden_padded());
        let classes = net.classes_padded();
        let rows = x.len() / features.max(1);
        repeat(&mut scratch.hidden, &net.w[..hidden], rows);
        simd.vectorize(Product {
            a: (x, features),
            b: &net.w[hidden..],
            out: (&mut scratch.hidden, hidden),
        });
        for unit in &mut scratch.hidden {
            *unit = kept(*unit, *unit);
        }
        repeat(&mut scratch.classes, &net.v[..classes], rows);
        simd.vectorize(Product {
            a: (&scratch.hidden, hidden),
            b: &net.v[classes..],
            out: (&mut scratch.classes, classes),
        });
    }
}

/// Rows to their likeliest classes.
struct Classify<'t> {
    net: &'t Net,
    x: &'t [f64],
    scratch: &'t mut Scratch,
    found: &'t mut Vec<(usize, f64)>,
}

impl WithSimd for Classify<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        simd.vectorize(Forward {
            net: self.net,
            x: self.x,
            scratch: &mut *self.scratch,
        });
        let stride = self.net.classes_padded();
        for scores in self.scratch.classes.chunks_exact_mut(stride) {
            let best = likeliest(&scores[..self.net.shape.classes]);
            let sum = exponentials(scores, scores[best]);
            self.found.push((best, scores[best] * (1.0 / sum)));
        }
    }
}

/// The number where `unit` is positive, else zero: by a mask, because compilers make
/// of a choice stores under a mask, which are slow on some processors.
#[inline(always)]
fn kept(number: f64, unit: f64) -> f64 {
    let mask = u64::from(unit > 0.0).wrapping_neg();
    f64::from_bits(number.to_bits() & mask)
}

/// So many copies of a row.
#[inline(always)]
fn repeat(out: &mut Vec<f64>, row: &[f64], rows: usize) {
    out.clear();
    for _ in 0..rows {
        out.extend_from_slice(row);
    }
}

/// Forward, and backward when there is a gradient to be filled.
struct Pass<'t> {
    net: &'t Net,
    rows: &'t Rows,
    scratch: &'t mut Scratch,
    gradient: Option<&'t mut Gradient>,
}

impl WithSimd for Pass<'_> {
    type Output = Tally;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Tally {
        let Self { net, rows, .. } = self;
        let (scratch, mut gradient) = (self.scratch, self.gradient);
        let mut tally = Tally::default();
        let blocks = rows.x.chunks(BLOCK_ROWS * rows.features.max(1));
        for (x, labels) in blocks.zip(rows.labels.chunks(BLOCK_ROWS)) {
            simd.vectorize(Forward {
                net,
                x,
                scratch: &mut *scratch,
            });
            match &mut gradient {
                None => simd.vectorize(Judge {
                    net,
                    labels,
                    scores: &mut scratch.classes,
                    tally: &mut tally,
                }),
                Some(gradient) => {
                    simd.vectorize(Soften {
                        net,
                        labels,
                        scores: &mut scratch.classes,
                        tally: &mut tally,
                    });
                    simd.vectorize(Backward {
                        net,
                        x,
                        scratch: &mut *scratch,
                        gradient,
                    });
                }
            }
        }
        tally
    }
}

/// Losses and errors of scores.
struct Judge<'t> {
    net: &'t Net,
    labels: &'t [u32],
    scores: &'t mut [f64],
    tally: &'t mut Tally,
}

impl WithSimd for Judge<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let stride = self.net.classes_padded();
        for (scores, label) in self.scores.chunks_exact_mut(stride).zip(self.labels) {
            let label = *label as usize;
            let best = likeliest(&scores[..self.net.shape.classes]);
            self.tally.errors += u64::from(best != label);
            let top = scores[best];
            let own = scores[label] - top;
            self.tally.loss += libm::log(exponentials(scores, top)) - own;
        }
    }
}

/// Scores to what the loss changes by with each of them, and the losses' sum.
struct Soften<'t> {
    net: &'t Net,
    labels: &'t [u32],
    scores: &'t mut [f64],
    tally: &'t mut Tally,
}

impl WithSimd for Soften<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // Row by row within each step: what a row must wait for, others do not.
        let stride = self.net.classes_padded();
        let mut tops = [0.0; BLOCK_ROWS];
        let mut owns = [0.0; BLOCK_ROWS];
        let mut sums = [0.0; BLOCK_ROWS];
        for (scores, top) in self.scores.chunks_exact(stride).zip(&mut tops) {
            *top = highest(scores);
        }
        let rows = self.scores.chunks_exact_mut(stride).zip(self.labels);
        for (((scores, label), top), (own, sum)) in
            rows.zip(tops).zip(owns.iter_mut().zip(&mut sums))
        {
            *own = scores[*label as usize] - top;
            *sum = exponentials(scores, top);
        }
        let rows = self.scores.chunks_exact_mut(stride).zip(self.labels);
        for ((scores, label), (own, sum)) in rows.zip(owns.into_iter().zip(sums)) {
            self.tally.loss += libm::log(sum) - own;
            let inverse = 1.0 / sum;
            for chunk in scores.as_chunks_mut::<STRANDS>().0 {
                for score in chunk {
                    *score *= inverse;
                }
            }
            scores[*label as usize] -= 1.0;
        }
    }
}

/// From what the loss changes by with the scores to the gradient.
struct Backward<'t> {
    net: &'t Net,
    x: &'t [f64],
    scratch: &'t mut Scratch,
    gradient: &'t mut Gradient,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { net, x, .. } = self;
        let (hidden, classes) = (net.hidden_padded(), net.classes_padded());
        let scratch = self.scratch;
        let (bias, weights) = self.gradient.v.split_at_mut(classes);
        add_rows(bias, &scratch.classes);
        simd.vectorize(TurnedProduct {
            a: (&scratch.hidden, hidden),
            b: &scratch.classes,
            out: (weights, classes),
        });
        scratch.back.clear();
        scratch.back.resize(scratch.hidden.len(), 0.0);
        simd.vectorize(Product {
            a: (&scratch.classes, classes),
            b: &scratch.turned,
            out: (&mut scratch.back, hidden),
        });
        for (back, unit) in scratch.back.iter_mut().zip(&scratch.hidden) {
            *back = kept(*back, *unit);
        }
        let (bias, weights) = self.gradient.w.split_at_mut(hidden);
        add_rows(bias, &scratch.back);
        simd.vectorize(TurnedProduct {
            a: (x, net.shape.features),
            b: &scratch.back,
            out: (weights, hidden),
        });
    }
}

/// Adds rows up, one after the other.
#[inline(always)]
fn add_rows(sums: &mut [f64], rows: &[f64]) {
    let stride = sums.len();
    for (at, sums) in sums.as_chunks_mut::<STRANDS>().0.iter_mut().enumerate() {
        let mut column = *sums;
        for row in rows.chunks_exact(stride) {
            let numbers = row[at * STRANDS..].first_chunk::<STRANDS>();
            for (sum, number) in column.iter_mut().zip(numbers.into_iter().flatten()) {
                *sum += number;
            }
        }
        *sums = column;
    }
}

/// The highest score, padding included: that is never it.
#[inline(always)]
fn highest(scores: &[f64]) -> f64 {
    let mut strands = [f64::NEG_INFINITY; STRANDS];
    for chunk in scores.as_chunks::<STRANDS>().0 {
        for (strand, score) in strands.iter_mut().zip(chunk) {
            *strand = if *score > *strand { *score } else { *strand };
        }
    }
    let mut highest = f64::NEG_INFINITY;
    for strand in strands {
        highest = if strand > highest { strand } else { highest };
    }
    highest
}

/// The first class of the highest score.
fn likeliest(scores: &[f64]) -> usize {
    let mut best = 0;
    for (class, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = class;
        }
    }
    best
}

/// Replaces scores by their exponentials, `top` less, and returns the sum.
#[inline(always)]
fn exponentials(scores: &mut [f64], top: f64) -> f64 {
    let mut strands = [0.0; STRANDS];
    for chunk in scores.as_chunks_mut::<STRANDS>().0 {
        for (strand, score) in strands.iter_mut().zip(chunk) {
            *score = exponential(*score - top);
            *strand += *score;
        }
    }
    let mut sum = 0.0;
    for strand in strands {
        sum += strand;
    }
    sum
}

/// Below this the exponential is taken for zero.
const LEAST: f64 = -708.0;
/// Added to a number it leaves the nearest integer in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// The logarithm of 2 in two parts, the first with zeros at its end.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// The exponential of a number that is not positive, to within two units in the
/// last place: a power of two, times the Taylor polynomial of degree 12 of what is
/// left, at most half the logarithm of 2, by Horner's rule in fused steps.
#[inline(always)]
fn exponential(number: f64) -> f64 {
    let bounded = if number > LEAST { number } else { LEAST };
    let shifted = bounded.mul_add(std::f64::consts::LOG2_E, ROUNDER);
    let power = shifted - ROUNDER;
    let rest = power.mul_add(-LN_2_HIGH, bounded);
    let rest = power.mul_add(-LN_2_LOW, rest);
    let mut value = TAYLOR[0];
    for factor in &TAYLOR[1..] {
        value = value.mul_add(rest, *factor);
    }
    let scale = (shifted.to_bits() << 52).wrapping_add(1023 << 52);
    let value = value * f64::from_bits(scale);
    if number > LEAST { value } else { 0.0 }
}

/// One over the factorials from 12 down to 0.
const TAYLOR: [f64; 13] = [
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_within_two_units_in_the_last_place() {
        for step in 0..70_000 {
            let number = -f64::from(step) / 100.0;
            let (found, expected) = (exponential(number), libm::exp(number));
            let apart = found.to_bits().abs_diff(expected.to_bits());
            assert!(apart <= 2, "{number}: {found} {expected}");
        }
        for number in [f64::NEG_INFINITY, -709.0] {
            assert_eq!(exponential(number).to_bits(), 0);
        }
    }
}
