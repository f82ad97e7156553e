//! Products of matrices whose rows are padded, tile by tile: every element is one
//! chain of fused multiplications and additions, the inner index rising, however
//! wide a processor's vectors are.

use std::array::from_fn;

use pulp::{Simd, WithSimd};

/// Rows and vectors of an element block that stays in registers.
const TILE_ROWS: usize = 4;
const TILE_VECTORS: usize = 2;

/// `out[i][j] += a[i][k] * b[k][j]`; slices with their rows' lengths. The rows of
/// `b` are as long as those of `out`; `a` may have more columns than `b` has rows.
pub(super) struct Product<'t> {
    pub(super) a: (&'t [f64], usize),
    pub(super) b: &'t [f64],
    pub(super) out: (&'t mut [f64], usize),
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, b, out } = self;
        let (out, stride) = out;
        let by = (b, stride);
        for (tile, out) in out.chunks_mut(TILE_ROWS * stride).enumerate() {
            let a = (&a.0[tile * TILE_ROWS * a.1..], a.1);
            match out.len() / stride {
                TILE_ROWS => strip(simd, along::<TILE_ROWS>(a, by), by, out),
                3 => strip(simd, along::<3>(a, by), by, out),
                2 => strip(simd, along::<2>(a, by), by, out),
                _ => strip(simd, along::<1>(a, by), by, out),
            }
        }
    }
}

/// `out[i][j] += a[k][i] * b[k][j]`.
pub(super) struct TurnedProduct<'t> {
    pub(super) a: (&'t [f64], usize),
    pub(super) b: &'t [f64],
    pub(super) out: (&'t mut [f64], usize),
}

impl WithSimd for TurnedProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, b, out } = self;
        let (out, stride) = out;
        let by = (b, stride);
        for (tile, out) in out.chunks_mut(TILE_ROWS * stride).enumerate() {
            let first = tile * TILE_ROWS;
            match out.len() / stride {
                TILE_ROWS => strip(simd, down::<TILE_ROWS>(a, first), by, out),
                3 => strip(simd, down::<3>(a, first), by, out),
                2 => strip(simd, down::<2>(a, first), by, out),
                _ => strip(simd, down::<1>(a, first), by, out),
            }
        }
    }
}

/// The first `R` rows of `a`, column by column, as many as `b` has rows.
#[inline(always)]
fn along<'t, const R: usize>(
    (a, length): (&'t [f64], usize),
    (b, stride): (&[f64], usize),
) -> impl Iterator<Item = [f64; R]> + Clone + 't {
    let depth = b.len() / stride;
    let rows: [&[f64]; R] = from_fn(|row| &a[row * length..][..depth]);
    (0..depth).map(move |column| rows.map(|row| row[column]))
}

/// `R` columns of `a` from the `first`, row by row.
#[inline(always)]
fn down<'t, const R: usize>(
    (a, length): (&'t [f64], usize),
    first: usize,
) -> impl Iterator<Item = [f64; R]> + Clone + 't {
    a.chunks_exact(length)
        .map_while(move |row| row[first..].first_chunk::<R>().copied())
}

/// Some rows of a product, tile by tile.
#[inline(always)]
fn strip<S: Simd, const R: usize>(
    simd: S,
    factors: impl Iterator<Item = [f64; R]> + Clone,
    (b, stride): (&[f64], usize),
    out: &mut [f64],
) {
    let lanes = S::F64_LANES;
    let mut at = 0;
    while at + TILE_VECTORS * lanes <= stride {
        tile::<S, R, TILE_VECTORS>(simd, factors.clone(), (b, stride, at), out);
        at += TILE_VECTORS * lanes;
    }
    while at + 2 * lanes <= stride {
        tile::<S, R, 2>(simd, factors.clone(), (b, stride, at), out);
        at += 2 * lanes;
    }
    while at + lanes <= stride {
        tile::<S, R, 1>(simd, factors.clone(), (b, stride, at), out);
        at += lanes;
    }
}

/// A tile of a product, in registers.
#[inline(always)]
fn tile<S: Simd, const R: usize, const W: usize>(
    simd: S,
    factors: impl Iterator<Item = [f64; R]>,
    (b, stride, at): (&[f64], usize, usize),
    out: &mut [f64],
) {
    let width = W * S::F64_LANES;
    let mut sums: [[S::f64s; W]; R] =
        from_fn(|row| load::<S, W>(&out[row * stride + at..][..width]));
    for (line, factors) in b.chunks_exact(stride).zip(factors) {
        let vectors = load::<S, W>(&line[at..at + width]);
        for (sums, factor) in sums.iter_mut().zip(factors) {
            let factor = simd.splat_f64s(factor);
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = simd.mul_add_f64s(factor, vector, *sum);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        let (vectors, _) = S::as_mut_simd_f64s(&mut out[row * stride + at..][..width]);
        for (vector, sum) in vectors.iter_mut().zip(sums) {
            *vector = sum;
        }
    }
}

#[inline(always)]
fn load<S: Simd, const W: usize>(from: &[f64]) -> [S::f64s; W] {
    let (vectors, _) = S::as_simd_f64s(from);
    from_fn(|index| vectors[index])
}

#[cfg(test)]
mod tests {
    use pulp::Arch;

    use super::*;

    #[test]
    fn product_of_any_shape_is_a_chain_of_fused_steps() {
        for (rows, depth, columns) in [(1, 1, 8), (4, 3, 24), (7, 17, 32), (33, 5, 40), (6, 2, 56)]
        {
            let number = |index: usize| (index % 23) as f64 / 7.0 - 1.1;
            let a: Vec<f64> = (0..rows * depth).map(number).collect();
            let b: Vec<f64> = (0..depth * columns).map(|at| number(at + 5)).collect();
            let mut expected = vec![0.25; rows * columns];
            for (at, sum) in expected.iter_mut().enumerate() {
                for k in 0..depth {
                    *sum = a[at / columns * depth + k].mul_add(b[k * columns + at % columns], *sum);
                }
            }
            let mut found = vec![0.25; rows * columns];
            Arch::new().dispatch(Product {
                a: (&a, depth),
                b: &b,
                out: (&mut found, columns),
            });
            assert_eq!(found, expected);
            let turned: Vec<f64> = (0..depth * rows)
                .map(|at| a[at % rows * depth + at / rows])
                .collect();
            let mut found = vec![0.25; rows * columns];
            Arch::new().dispatch(TurnedProduct {
                a: (&turned, rows),
                b: &b,
                out: (&mut found, columns),
            });
            assert_eq!(found, expected);
        }
    }
}
