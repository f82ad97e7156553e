//! The normal equations, and what is told of a fit.
//!
//! The sums are exact, so the equations are. A Cholesky factor of them, rounded and
//! scaled, gives a first solution; what that leaves over is computed exactly and
//! solved for again, until the solution is good to twice the digits of a double
//! (J. H. Wilkinson's iterative refinement). It is rounded once. So coefficients
//! are those of exact arithmetic to the last bit, unless columns nearly depend on
//! one another, which is refused.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use super::gram::Gram;
use crate::table::exact::{Exact, centred, two_sum};

/// What is left of a column's spread when the columns before it have explained
/// theirs, below which it is said to depend on them.
const TOLERANCE: f64 = 1e-12;
/// Corrections of the solution.
const CORRECTIONS_MAX: usize = 60;
/// Of the solution's size: a correction that changes nothing any more.
const SETTLED: f64 = f64::EPSILON * f64::EPSILON;
/// What a correction must at least come to for the solution to be believed.
const BELIEVED: f64 = f64::EPSILON / 256.0;
/// Of the largest contribution: a coefficient that is none.
const NOTHING: f64 = f64::EPSILON * f64::EPSILON * 16_777_216.0;

/// A fit and how good it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fit {
    /// 0 when there is none.
    pub(super) intercept: f64,
    /// Of the features in order.
    pub(super) coefficients: Vec<f64>,
    pub(super) rows: f64,
    pub(super) left_out: u64,
    /// Nothing when the target is the same in every row.
    pub(super) r2: Option<f64>,
    pub(super) rmse: f64,
}

/// How a fit is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) ridge: f64,
    pub(super) intercept: bool,
}

/// Fits the last column by those between it and the first, whose names are for
/// messages.
pub(super) fn fit(gram: &Gram, names: &[String], options: Options) -> Result<Fit, String> {
    let gram = &gram.canonical();
    let (features, target) = (names.len(), names.len() + 1);
    let rows = gram.of(0, 0).round();
    if rows == 0.0 {
        return Err(match gram.left_out {
            0 => "there are no rows to learn from".to_owned(),
            count => format!("there are no rows to learn from: in all {count} a value is missing"),
        });
    }
    let product = |a: usize, b: usize| match options.intercept {
        true => centred(rows, (gram.of(0, a), gram.of(0, b)), gram.of(a, b)).canonical(),
        false => gram.of(a, b).clone(),
    };
    let mut system = System {
        products: Vec::with_capacity(features * features),
        wanted: (1..=features).map(|a| product(a, target)).collect(),
    };
    for a in 1..=features {
        for b in 1..=features {
            let known = (b < a).then(|| system.products[(b - 1) * features + a - 1].clone());
            let mut sum = known.unwrap_or_else(|| product(a, b));
            if a == b {
                sum.add_product(if options.intercept { rows } else { 1.0 }, options.ridge);
            }
            system.products.push(sum);
        }
    }
    let solution = system.solve(names)?;
    let coefficients: Vec<f64> = solution.iter().map(|(high, _)| high + 0.0).collect();
    let intercept = match options.intercept {
        true => intercept(gram, &solution) / rows + 0.0,
        false => 0.0,
    };
    let errors = squared_errors(gram, intercept, &coefficients);
    let sum = gram.of(0, target);
    let spread = centred(rows, (sum, sum), gram.of(target, target)).round() / rows;
    let fit = Fit {
        intercept,
        coefficients,
        rows,
        left_out: gram.left_out,
        r2: (spread > 0.0).then(|| 1.0 - errors / spread),
        rmse: (errors / rows).sqrt(),
    };
    let numbers = fit.coefficients.iter().chain([&fit.intercept, &fit.rmse]);
    if !numbers.into_iter().all(|number| number.is_finite()) {
        return Err("the numbers are too large or too small to be fitted".to_owned());
    }
    Ok(fit)
}

/// The sum of the target less what the features explain of it.
fn intercept(gram: &Gram, solution: &[(f64, f64)]) -> f64 {
    let mut left = gram.of(0, solution.len() + 1).clone();
    let mut size = left.round().abs();
    for (index, (high, low)) in solution.iter().enumerate() {
        let sum = gram.of(0, index + 1);
        size += (sum.round() * high).abs();
        for part in sum.parts() {
            left.add_product(-part, *high);
            left.add_product(-part, *low);
        }
    }
    let left = left.round();
    if left.abs() <= size * NOTHING {
        return 0.0;
    }
    left
}

/// The sum of the squared differences between the target and its prediction.
fn squared_errors(gram: &Gram, intercept: f64, coefficients: &[f64]) -> f64 {
    let all = coefficients.iter().map(|coefficient| -coefficient);
    let all: Vec<f64> = [-intercept].into_iter().chain(all).chain([1.0]).collect();
    let mut sum = Exact::default();
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate() {
            for part in gram.of(i, j).parts() {
                sum.add_product_of_three(*a, *b, part);
            }
        }
    }
    sum.round().max(0.0)
}

/// Equations whose matrix is symmetric.
struct System {
    /// Row by row.
    products: Vec<Exact>,
    wanted: Vec<Exact>,
}

impl System {
    /// The solution, each number as the sum of two.
    fn solve(&self, names: &[String]) -> Result<Vec<(f64, f64)>, String> {
        let size = self.wanted.len();
        let diagonal = (0..size).map(|at| self.products[at * size + at].round());
        let diagonal: Vec<f64> = diagonal.collect();
        if let Some(flat) = diagonal.iter().position(|it| *it <= 0.0) {
            return Err(format!(
                "column {} is the same in every row, or 0: leave it out",
                names[flat]
            ));
        }
        let scales: Vec<f64> = diagonal.iter().map(|it| 1.0 / it.sqrt()).collect();
        let matrix = DMatrix::from_fn(size, size, |i, j| {
            self.products[i * size + j].round() * scales[i] * scales[j]
        });
        let factor = Cholesky::new_with_substitute(matrix, TOLERANCE * TOLERANCE);
        let factor = factor.ok_or("the numbers are too large or too small to be fitted")?;
        let pivots = factor.l_dirty().diagonal();
        if let Some(dependent) = pivots.iter().position(|pivot| pivot * pivot < TOLERANCE) {
            return Err(format!(
                "column {} depends on the columns before it: leave it out, or set ridge",
                names[dependent]
            ));
        }
        self.refine(&factor, &scales)
    }

    fn refine(
        &self,
        factor: &Cholesky<f64, Dyn>,
        scales: &[f64],
    ) -> Result<Vec<(f64, f64)>, String> {
        let size = self.wanted.len();
        let mut solution = vec![(0.0, 0.0); size];
        let mut before = f64::INFINITY;
        for _ in 0..CORRECTIONS_MAX {
            let left = self.left_over(&solution);
            let scaled = DVector::from_fn(size, |at, _| left[at] * scales[at]);
            let correction = factor.solve(&scaled);
            let (mut change, mut largest) = (0.0_f64, 0.0_f64);
            for (at, number) in solution.iter_mut().enumerate() {
                *number = add(*number, correction[at] * scales[at]);
                change = change.max(correction[at].abs());
                largest = largest.max((number.0 / scales[at]).abs());
            }
            let is_stuck = change >= before / 2.0;
            if change <= largest * SETTLED || (is_stuck && change <= largest * BELIEVED) {
                for (number, scale) in solution.iter_mut().zip(scales) {
                    if (number.0 / scale).abs() <= largest * NOTHING {
                        *number = (0.0, 0.0);
                    }
                }
                return Ok(solution);
            }
            before = change;
        }
        Err("the columns nearly depend on one another: leave some out, or set ridge".to_owned())
    }

    /// What is wanted, less what a solution gives.
    fn left_over(&self, solution: &[(f64, f64)]) -> Vec<f64> {
        let rows = self.products.chunks_exact(self.wanted.len());
        let left = self.wanted.iter().zip(rows).map(|(wanted, row)| {
            let mut left = wanted.clone();
            for (sum, (high, low)) in row.iter().zip(solution) {
                for part in sum.parts() {
                    left.add_product(-part, *high);
                    left.add_product(-part, *low);
                }
            }
            left.round()
        });
        left.collect()
    }
}

/// Adds to a number that is the sum of two, the first of them the larger.
fn add((high, low): (f64, f64), more: f64) -> (f64, f64) {
    let (sum, error) = two_sum(high, more);
    two_sum(sum, low + error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options {
        ridge: 0.0,
        intercept: true,
    };

    fn fitted(rows: &[[f64; 3]], options: Options) -> Result<Fit, String> {
        let mut gram = Gram::new(4);
        for [a, b, y] in rows {
            gram.add(&[1.0, *a, *b, *y]);
        }
        fit(&gram, &["a".to_owned(), "b".to_owned()], options)
    }

    #[test]
    fn a_plane_is_found_exactly_even_far_from_where_the_axes_meet() {
        for far in [0.0, 1e6, -1e9] {
            let rows = [[0.0, 1.0], [1.0, 0.0], [2.0, 5.0], [3.0, 1.0], [7.0, 2.0]];
            let rows = rows.map(|[a, b]| [a + far, b, 0.5 * (a + far) - 2.0 * b + 3.0]);
            let fit = fitted(&rows, OPTIONS).unwrap();
            assert_eq!(fit.coefficients, [0.5, -2.0], "{far}");
            assert_eq!((fit.intercept, fit.r2, fit.rmse), (3.0, Some(1.0), 0.0));
        }
    }

    #[test]
    fn a_column_that_says_nothing_of_the_target_gets_no_coefficient() {
        let rows = [
            [1.0, 1.0, 2.0],
            [1.0, -1.0, 2.0],
            [3.0, 1.0, 6.0],
            [3.0, -1.0, 6.0],
        ];
        let fit = fitted(&rows, OPTIONS).unwrap();
        assert_eq!((fit.coefficients, fit.intercept), (vec![2.0, 0.0], 0.0));
    }

    #[test]
    fn columns_that_depend_on_others_are_named_and_ridge_takes_them() {
        let rows = [
            [1.0, 2.0, 1.0],
            [2.0, 4.0, 2.0],
            [5.0, 10.0, 3.0],
            [6.0, 12.0, 9.0],
        ];
        let refused = fitted(&rows, OPTIONS).unwrap_err();
        assert!(refused.contains("column b depends"), "{refused}");
        let options = Options {
            ridge: 0.5,
            ..OPTIONS
        };
        let fit = fitted(&rows, options).unwrap();
        assert!((fit.coefficients[1] - 2.0 * fit.coefficients[0]).abs() < 1e-12);
        let rows = rows.map(|[a, _, y]| [a, 4.0, y]);
        let refused = fitted(&rows, OPTIONS).unwrap_err();
        assert!(
            refused.contains("column b is the same in every row"),
            "{refused}"
        );
        assert!(fitted(&[], OPTIONS).unwrap_err().contains("no rows"));
    }

    #[test]
    fn a_target_that_never_changes_has_no_r2() {
        let rows = [[1.0, 2.0, 4.0], [2.0, 1.0, 4.0], [5.0, 1.0, 4.0]];
        let fit = fitted(&rows, OPTIONS).unwrap();
        assert_eq!((fit.intercept, fit.r2, fit.rmse), (4.0, None, 0.0));
    }
}
