//! Clusters rows of numbers around `k` centroids, by Lloyd's algorithm (S. Lloyd,
//! Least Squares Quantization in PCM, 1982).
//!
//! A step before the rounds draws a sample of the rows and chooses the first
//! centroids among it, see [`seed`]. In a round every row goes to the centroid that
//! is nearest to it, the first of several; a centroid moves to the mean of its rows,
//! and one without rows stays. Rounds end when none moves farther than a tolerance.
//!
//! Sums are exact, so the result has the same bits however the input was cut and
//! whoever dies. Distances are squared and summed in the order of the columns.

mod oracle;
mod rounds;
mod seed;

use std::collections::BTreeMap;

use vivat_mapreduce::{ProgramError, Record};
use vivat_shared::job::{StepInput, StepSpec};

use crate::catalogue::{Format, ProgramEntry};
use crate::numbers::{self, Lines};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};

pub(crate) use seed::ENTRY as SEED_ENTRY;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    parameters: &[
        K,
        SEED,
        LABELLED,
        ParameterSpec {
            name: "rounds",
            kind: ParameterKind::Integer {
                min: 1,
                max: 10_000,
            },
            default: Some("100"),
            help: "rounds at most; `rounds` of a job file's step goes first",
        },
        ParameterSpec {
            name: "tolerance",
            kind: ParameterKind::Number {
                min: 0.0,
                max: f64::MAX,
            },
            default: Some("0.0001"),
            help: "the rounds end when no centroid moved farther than this",
        },
    ],
    formats: &[Format::Text],
    example: "vivat run k-means data/input/letters/train-1.txt -p k=8 -p labelled=true",
    oracle: oracle::k_means,
    ..ProgramEntry::new(
        "k-means",
        "finds the centroids of rows of numbers, and how many rows each has",
        rounds::build,
    )
};

const K: ParameterSpec = ParameterSpec {
    name: "k",
    kind: ParameterKind::Integer {
        min: 1,
        max: 100_000,
    },
    default: Some("8"),
    help: "centroids",
};

const SEED: ParameterSpec = ParameterSpec {
    name: "seed",
    kind: ParameterKind::Integer {
        min: 0,
        max: i64::MAX,
    },
    default: Some("1"),
    help: "what draws depend on",
};

const LABELLED: ParameterSpec = ParameterSpec {
    name: "labelled",
    kind: ParameterKind::Boolean,
    default: Some("false"),
    help: "leave out the last column: it is a class",
};

/// Clustering as the steps that it takes.
///
/// # Errors
///
/// When it would have to read twice what can be read once.
pub(crate) fn expand(
    step: &StepSpec,
    parameters: &Parameters,
) -> Result<Vec<StepSpec>, ParameterError> {
    if step.input == StepInput::Previous {
        return Err(parameters.error(
            "k",
            "what a step before it wrote can be read once only: cluster the input itself"
                .to_owned(),
        ));
    }
    let mut rounds = step.clone();
    if step.closes {
        let most = step.rounds_max.to_string();
        rounds.parameters.insert("rounds".to_owned(), most);
    } else {
        rounds.rounds_max = u32::try_from(parameters.integer("rounds")).unwrap_or(1);
    }
    rounds.closes = true;
    rounds.reducers = 1;
    let shared = [K.name, SEED.name, LABELLED.name];
    let shared = shared.map(|name| (name.to_owned(), parameters.text(name).to_owned()));
    let seed = StepSpec {
        parameters: BTreeMap::from(shared),
        closes: true,
        ..StepSpec::once(SEED_ENTRY.name, 1)
    };
    Ok(vec![seed, rounds])
}

/// Reads points.
#[derive(Debug)]
pub(crate) struct PointReader<'t> {
    display: &'t str,
    is_labelled: bool,
    lines: Lines,
    numbers: Vec<f64>,
}

impl<'t> PointReader<'t> {
    fn new(display: &'t str, is_labelled: bool, split_offset: u64) -> Self {
        Self {
            display,
            is_labelled,
            lines: Lines::new(split_offset),
            numbers: Vec::new(),
        }
    }

    /// Reads a line of `columns` numbers, if that is known; none: it is blank.
    ///
    /// # Errors
    ///
    /// Names file and line, and what is wrong.
    fn read(
        &mut self,
        record: Record<'_>,
        columns: Option<usize>,
    ) -> Result<Option<&[f64]>, ProgramError> {
        self.lines.pass(record);
        if record.bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        match self.parse(record.bytes, columns) {
            Ok(()) => Ok(Some(&self.numbers)),
            Err(detail) => {
                let place = self.lines.place(self.display);
                Err(ProgramError::at(
                    record.offset,
                    format!("{place}: {detail}"),
                ))
            }
        }
    }

    fn parse(&mut self, line: &[u8], columns: Option<usize>) -> Result<(), String> {
        self.numbers.clear();
        let found = numbers::read(line, &mut self.numbers)?;
        if self.is_labelled {
            self.numbers.pop();
        }
        if self.numbers.is_empty() {
            return Err("it has one column, and that is its class".to_owned());
        }
        let other = columns.filter(|columns| *columns != self.numbers.len());
        match other {
            None => Ok(()),
            Some(columns) => Err(format!(
                "it has {found} columns, and other rows have {}",
                columns + usize::from(self.is_labelled)
            )),
        }
    }
}

/// The squared distance of two points, column by column.
fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        sum += (a - b) * (a - b);
    }
    sum
}

/// Centroids as they are handed on.
fn encode(centroids: &[Vec<f64>]) -> Result<Vec<u8>, ProgramError> {
    postcard::to_stdvec(&(MAGIC, centroids))
        .map_err(|error| ProgramError::new(format!("centroids cannot be handed on: {error}")))
}

/// Centroids that were handed on.
fn decode(broadcast: &[u8]) -> Result<Vec<Vec<f64>>, ProgramError> {
    match postcard::from_bytes::<(u64, Vec<Vec<f64>>)>(broadcast) {
        Ok((MAGIC, centroids)) if !centroids.is_empty() => Ok(centroids),
        Ok(_) | Err(_) => Err(ProgramError::new(
            "k-means needs the step before it that chooses the first centroids",
        )),
    }
}

/// Tells centroids from what other programs hand on.
const MAGIC: u64 = 0x6B2D_6D65_616E_7301;
