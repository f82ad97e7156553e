//! The sums that a least-squares fit is made of: of all products of two columns,
//! one of ones and the target among them. They are exact, so they are the same in
//! whatever order rows came and matrices were merged.

use serde::{Deserialize, Serialize};

use crate::table::exact::Exact;

/// The upper triangle of the matrix of products.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Gram {
    /// Columns: the ones, the features, the target.
    columns: usize,
    /// Rows that were left out, because something in them is missing.
    pub(super) left_out: u64,
    /// Row by row, each from its diagonal on.
    sums: Vec<Exact>,
}

impl Gram {
    pub(super) fn new(columns: usize) -> Self {
        Self {
            columns,
            left_out: 0,
            sums: vec![Exact::default(); columns * (columns + 1) / 2],
        }
    }

    /// Adds a row, whose first number is 1.
    pub(super) fn add(&mut self, row: &[f64]) {
        let mut sums = self.sums.iter_mut();
        for (index, a) in row.iter().enumerate() {
            let behind = row.len() - index;
            if *a == 0.0 {
                // Passes over the row of the triangle.
                sums.nth(behind - 1);
                continue;
            }
            for (b, sum) in row[index..].iter().zip(&mut sums) {
                if *b != 0.0 {
                    sum.add_product(*a, *b);
                }
            }
        }
    }

    /// Adds what other rows came to; false if they had other columns.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        if self.columns != other.columns || self.sums.len() != other.sums.len() {
            return false;
        }
        self.left_out += other.left_out;
        for (sum, other) in self.sums.iter_mut().zip(&other.sums) {
            sum.merge(other);
        }
        true
    }

    /// The sum of the products of two columns.
    pub(super) fn of(&self, a: usize, b: usize) -> &Exact {
        let (row, column) = (a.min(b), a.max(b));
        // The rows above it have one number less each.
        &self.sums[row * self.columns - row * row.saturating_sub(1) / 2 - row + column]
    }

    /// The same sums, each in its canonical form.
    pub(super) fn canonical(&self) -> Self {
        Self {
            columns: self.columns,
            left_out: self.left_out,
            sums: self.sums.iter().map(Exact::canonical).collect(),
        }
    }

    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        postcard::to_allocvec(self).ok()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (gram, rest): (Self, _) = postcard::take_from_bytes(bytes).ok()?;
        let triangle = gram.columns.checked_add(1)?.checked_mul(gram.columns)? / 2;
        (rest.is_empty() && gram.sums.len() == triangle).then_some(gram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_products_of_columns_and_merge_to_the_same() {
        let rows = [
            [1.0, 2.0, 0.0, 5.0],
            [1.0, 0.5, 3.0, 0.0],
            [1.0, 0.0, -1.0, 2.0],
        ];
        let mut whole = Gram::new(4);
        let mut halves = [Gram::new(4), Gram::new(4)];
        for (index, row) in rows.iter().enumerate() {
            whole.add(row);
            halves[index % 2].add(row);
        }
        for a in 0..4 {
            for b in 0..4 {
                let sum: f64 = rows.iter().map(|row| row[a] * row[b]).sum();
                assert_eq!(whole.of(a, b).round(), sum, "{a} {b}");
            }
        }
        let [mut first, second] = halves;
        assert!(first.merge(&second) && !first.merge(&Gram::new(3)));
        assert_eq!(first.canonical(), whole.canonical());
        let encoded = whole.encode().expect("it can be encoded");
        assert_eq!(Gram::decode(&encoded), Some(whole));
        assert_eq!(Gram::decode(&encoded[1..]), None);
    }
}
