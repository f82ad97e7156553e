//! What is known of a group: one accumulator for each aggregate.
//!
//! Every accumulator merges to the same whatever the order (the first value alone
//! goes by the order of the input, which the engine keeps), so groups are merged
//! as soon as they are found.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vivat_mapreduce::{DecodeError, Value};

use crate::table::exact::{Exact, spread};

/// What is made of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Function {
    Count,
    Sum,
    Mean,
    WeightedMean,
    Min,
    Max,
    Variance,
    Deviation,
    First,
    DistinctCount,
    DistinctList,
    /// Of the part of the values that is at or below it.
    Quantile(f64),
}

/// A row's contribution to one aggregate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'r> {
    /// Nothing is there, so nothing is counted.
    Missing,
    /// A number, and its weight.
    Number(f64, f64),
    Text(&'r [u8]),
}

/// An accumulator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Sums {
    Count(u64),
    Sum(u64, Exact),
    Weighted(Exact, Exact),
    Min(Option<f64>),
    Max(Option<f64>),
    Squares(u64, Exact, Exact),
    First(Option<Box<[u8]>>),
    /// The texts and their bytes.
    Distinct(BTreeSet<Box<[u8]>>, usize),
    /// How often each number occurs, cut to ten significant bits.
    Quantile(BTreeMap<u64, u64>),
}

/// Nine bits behind the leading one are kept.
const CUT_BITS: u32 = 52 - 9;

/// Bits that are ordered as the numbers are, but for the last.
fn ordered(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits() >> CUT_BITS << CUT_BITS;
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

fn unordered(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 {
        bits & !(1 << 63)
    } else {
        !bits
    })
}

impl Sums {
    fn new(function: Function) -> Self {
        match function {
            Function::Count => Self::Count(0),
            Function::Sum | Function::Mean => Self::Sum(0, Exact::default()),
            Function::WeightedMean => Self::Weighted(Exact::default(), Exact::default()),
            Function::Min => Self::Min(None),
            Function::Max => Self::Max(None),
            Function::Variance | Function::Deviation => {
                Self::Squares(0, Exact::default(), Exact::default())
            }
            Function::First => Self::First(None),
            Function::DistinctCount | Function::DistinctList => Self::Distinct(BTreeSet::new(), 0),
            Function::Quantile(_) => Self::Quantile(BTreeMap::new()),
        }
    }

    #[inline]
    fn add(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (_, Cell::Missing) => {}
            (Self::Count(count), Cell::Number(..) | Cell::Text(_)) => *count += 1,
            (Self::Sum(count, sum), Cell::Number(number, _)) => {
                *count += 1;
                sum.add(number);
            }
            (Self::Weighted(sum, weights), Cell::Number(number, weight)) => {
                sum.add_product(number, weight);
                weights.add(weight);
            }
            (Self::Min(least), Cell::Number(number, _)) => {
                *least = Some(least.map_or(number, |least| least.min(number)));
            }
            (Self::Max(most), Cell::Number(number, _)) => {
                *most = Some(most.map_or(number, |most| most.max(number)));
            }
            (Self::Squares(count, sum, squares), Cell::Number(number, _)) => {
                *count += 1;
                sum.add(number);
                squares.add_product(number, number);
            }
            (Self::First(first), Cell::Text(text)) => {
                first.get_or_insert_with(|| text.into());
            }
            (Self::Distinct(texts, bytes), Cell::Text(text)) => {
                if !texts.contains(text) {
                    texts.insert(text.into());
                    *bytes += text.len();
                }
            }
            (Self::Quantile(counts), Cell::Number(number, _)) => {
                *counts.entry(ordered(number)).or_default() += 1;
            }
            // The plan gives each function the cells that it takes.
            (
                Self::Sum(..)
                | Self::Weighted(..)
                | Self::Min(_)
                | Self::Max(_)
                | Self::Squares(..)
                | Self::Quantile(_),
                Cell::Text(_),
            )
            | (Self::First(_) | Self::Distinct(..), Cell::Number(..)) => {}
        }
    }

    /// Later values come from the other.
    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Count(a), Self::Count(b)) => *a += b,
            (Self::Sum(count, a), Self::Sum(more, b)) => {
                *count += more;
                a.merge(&b);
            }
            (Self::Weighted(a, weights), Self::Weighted(b, more)) => {
                a.merge(&b);
                weights.merge(&more);
            }
            (Self::Min(a), Self::Min(b)) => *a = a.iter().copied().chain(b).reduce(f64::min),
            (Self::Max(a), Self::Max(b)) => *a = a.iter().copied().chain(b).reduce(f64::max),
            (Self::Squares(count, a, aa), Self::Squares(more, b, bb)) => {
                *count += more;
                a.merge(&b);
                aa.merge(&bb);
            }
            (Self::First(a), Self::First(b)) => {
                if a.is_none() {
                    *a = b;
                }
            }
            (Self::Distinct(a, bytes), Self::Distinct(b, _)) => {
                for text in b {
                    let text_bytes = text.len();
                    if a.insert(text) {
                        *bytes += text_bytes;
                    }
                }
            }
            (Self::Quantile(a), Self::Quantile(b)) => {
                for (number, count) in b {
                    *a.entry(number).or_default() += count;
                }
            }
            // Both were made for the same function.
            (_, _) => {}
        }
    }

    fn heap_bytes(&self) -> usize {
        /// What a node of a tree costs an item.
        const NODE_BYTES: usize = 32;
        match self {
            Self::Count(_) | Self::Min(_) | Self::Max(_) => 0,
            Self::Sum(_, sum) => sum.heap_bytes(),
            Self::Weighted(a, b) | Self::Squares(_, a, b) => a.heap_bytes() + b.heap_bytes(),
            Self::First(first) => first.as_ref().map_or(0, |text| text.len()),
            Self::Distinct(texts, bytes) => bytes + texts.len() * NODE_BYTES,
            Self::Quantile(counts) => counts.len() * NODE_BYTES,
        }
    }
}

/// What an aggregate came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer<'g> {
    Missing,
    Count(u64),
    Number(f64),
    Text(&'g [u8]),
    Texts(&'g BTreeSet<Box<[u8]>>),
}

/// All that is known of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Group(Vec<Sums>);

impl Group {
    pub(super) fn new(functions: &[Function]) -> Self {
        Self(
            functions
                .iter()
                .map(|function| Sums::new(*function))
                .collect(),
        )
    }

    #[inline]
    pub(super) fn add(&mut self, cells: &[Cell<'_>]) {
        for (sums, cell) in self.0.iter_mut().zip(cells) {
            sums.add(*cell);
        }
    }

    /// A group that could not be read makes one that is of no functions.
    pub(super) fn merge(&mut self, other: Self) {
        if other.0.len() != self.0.len() {
            self.0.clear();
        }
        for (sums, other) in self.0.iter_mut().zip(other.0) {
            sums.merge(other);
        }
    }

    /// Whether it was made for these functions, and nothing went wrong on the way.
    pub(super) fn is_of(&self, functions: &[Function]) -> bool {
        self.0.len() == functions.len()
    }

    #[expect(clippy::cast_precision_loss, reason = "no job has 2^53 records")]
    pub(super) fn answer(&self, index: usize, function: Function) -> Answer<'_> {
        let number = |number: Option<f64>| number.map_or(Answer::Missing, Answer::Number);
        match &self.0[index] {
            Sums::Count(count) => Answer::Count(*count),
            Sums::Sum(0, _) => Answer::Missing,
            Sums::Sum(count, sum) if function == Function::Mean => {
                Answer::Number(sum.round() / *count as f64)
            }
            Sums::Sum(_, sum) => Answer::Number(sum.round()),
            Sums::Weighted(sum, weights) => {
                let weights = weights.round();
                number((weights != 0.0).then(|| sum.round() / weights))
            }
            Sums::Min(found) | Sums::Max(found) => number(*found),
            Sums::Squares(0 | 1, ..) => Answer::Missing,
            Sums::Squares(count, sum, squares) => {
                let pairs = *count as f64 * (*count - 1) as f64;
                let variance = spread(*count, sum, squares) / pairs;
                match function == Function::Deviation {
                    true => Answer::Number(variance.sqrt()),
                    false => Answer::Number(variance),
                }
            }
            Sums::First(first) => first
                .as_ref()
                .map_or(Answer::Missing, |text| Answer::Text(text)),
            Sums::Distinct(texts, _) if function == Function::DistinctList => Answer::Texts(texts),
            Sums::Distinct(texts, _) => Answer::Count(texts.len() as u64),
            Sums::Quantile(counts) => number(quantile(counts, function)),
        }
    }
}

/// The number at the nearest rank.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank is between 1 and the count"
)]
fn quantile(counts: &BTreeMap<u64, u64>, function: Function) -> Option<f64> {
    let Function::Quantile(part) = function else {
        return None;
    };
    let count: u64 = counts.values().sum();
    let rank = ((part * count as f64).ceil() as u64).max(1);
    let mut below = 0;
    counts.iter().find_map(|(number, count)| {
        below += count;
        (below >= rank).then(|| unordered(*number))
    })
}

/// A group on its way: as a row, whole, or encoded.
#[derive(Debug, Clone, Copy)]
pub(super) enum GroupView<'a> {
    /// One row of a group whose functions are these.
    Row(&'a [Function], &'a [Cell<'a>]),
    Whole(&'a Group),
    Encoded(&'a [u8]),
}

fn write(group: &Group, out: &mut Vec<u8>) {
    // Everything in a group has a length, and a `Vec` takes whatever comes: it
    // cannot fail, and if it did, what is missing would not decode.
    if let Ok(encoded) = postcard::to_extend(group, std::mem::take(out)) {
        *out = encoded;
    }
}

fn read(bytes: &[u8]) -> Option<Group> {
    postcard::from_bytes(bytes).ok()
}

impl Value for Group {
    type View<'a> = GroupView<'a>;

    fn encode(view: GroupView<'_>, out: &mut Vec<u8>) {
        match view {
            GroupView::Row(..) => write(&Self::own(view), out),
            GroupView::Whole(group) => write(group, out),
            GroupView::Encoded(bytes) => out.extend_from_slice(bytes),
        }
    }

    fn decode(bytes: &[u8]) -> Result<GroupView<'_>, DecodeError> {
        // Decoded once, where it is merged: what is no group is found out there.
        Ok(GroupView::Encoded(bytes))
    }

    fn own(view: GroupView<'_>) -> Self {
        match view {
            GroupView::Row(functions, cells) => {
                let mut group = Self::new(functions);
                group.add(cells);
                group
            }
            GroupView::Whole(group) => group.clone(),
            GroupView::Encoded(bytes) => read(bytes).unwrap_or(Self(Vec::new())),
        }
    }

    fn view(&self) -> GroupView<'_> {
        GroupView::Whole(self)
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        let own = self.0.capacity() * size_of::<Sums>();
        own + self.0.iter().map(Sums::heap_bytes).sum::<usize>()
    }
}
