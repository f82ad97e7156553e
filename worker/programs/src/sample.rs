//! A sample of lines that is the same however often it is taken.
//!
//! A line is in the sample or not by the hash of its bytes and of `seed`: so equal
//! lines are in it together, or not, and neither splits nor workers matter. Under
//! `fraction` every line has that chance, and parts are sorted by line. Under
//! `count` the lines with the smallest hashes are taken, and printed in that order,
//! all of them in the first part.

use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, Write};

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Combiner, Emit, EncodedKey, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::catalogue::{Format, OracleInput, ProgramEntry};
use crate::oracles::{lines, part_of};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use crate::tuple::first_partition;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "sample",
    summary: "takes a sample of the lines, the same one every time",
    parameters: &[
        ParameterSpec {
            name: "fraction",
            kind: ParameterKind::Number { min: 0.0, max: 1.0 },
            default: Some("0.01"),
            help: "the chance of each line, from 0 to 1; without a count",
        },
        ParameterSpec {
            name: "count",
            kind: ParameterKind::Integer {
                min: 0,
                max: 1_000_000,
            },
            default: Some("0"),
            help: "take so many lines instead; 0: by the fraction",
        },
        ParameterSpec {
            name: "seed",
            kind: ParameterKind::Integer {
                min: 0,
                max: i64::MAX,
            },
            default: Some("1"),
            help: "another seed gives another sample",
        },
    ],
    formats: &[Format::Text],
    example: "vivat run sample data/input/access.log -p fraction=0.2",
    build,
    oracle,
};

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    let seed = parameters.integer("seed").unsigned_abs();
    let take = match usize::try_from(parameters.integer("count")) {
        Ok(0) | Err(_) => Take::Below(threshold(parameters)),
        Ok(count) => Take::Smallest(count),
    };
    Ok(Box::new(Runner::new(Sample { seed, take })))
}

/// The fraction of all hashes.
fn threshold(parameters: &Parameters) -> u128 {
    let fraction = parameters.number("fraction");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 0 to 2^64"
    )]
    let below = (fraction * 2_f64.powi(64)) as u128;
    below
}

/// Which hashes are taken.
#[derive(Debug, Clone, Copy)]
enum Take {
    Below(u128),
    Smallest(usize),
}

struct Sample {
    seed: u64,
    take: Take,
}

/// Hash (0 where it does not matter), line.
type Line = (u64, Vec<u8>);

impl Program for Sample {
    type Key = Line;
    type Value = u64;
    type Mapper<'t> = Choose;
    type Reducer<'t> = Print;
    const COMBINER: Combiner = Combiner::Merge;

    fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Choose, ProgramError> {
        Ok(Choose {
            seed: self.seed,
            take: self.take,
            smallest: BinaryHeap::new(),
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Print, ProgramError> {
        let left = match self.take {
            Take::Below(_) => u64::MAX,
            Take::Smallest(count) => count as u64,
        };
        Ok(Print { left })
    }

    fn merge(&self, accumulator: &mut u64, value: u64) {
        *accumulator += value;
    }

    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        match self.take {
            Take::Smallest(_) => 0,
            // Behind the hash.
            Take::Below(_) => {
                let line = key.bytes().get(8..).unwrap_or_default();
                first_partition(line, context.partitions)
            }
        }
    }
}

struct Choose {
    seed: u64,
    take: Take,
    /// The smallest hashes so far, the largest of them on top.
    smallest: BinaryHeap<u64>,
}

impl Mapper<Line, u64> for Choose {
    #[inline]
    fn map<E: Emit<Line, u64>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let hash = xxh3_64_with_seed(record.bytes, self.seed);
        match self.take {
            Take::Below(threshold) if u128::from(hash) < threshold => {
                emit.emit((0, record.bytes), 1);
            }
            Take::Below(_) => {}
            // What is not among the smallest here is not among those of all; what
            // was for a while travels too, and the reducer leaves it out.
            Take::Smallest(count) => {
                if self.smallest.len() == count {
                    if self.smallest.peek().is_some_and(|most| hash > *most) {
                        return Ok(());
                    }
                    self.smallest.pop();
                }
                self.smallest.push(hash);
                emit.emit((hash, record.bytes), 1);
            }
        }
        Ok(())
    }
}

struct Print {
    left: u64,
}

impl Reducer<Line, u64> for Print {
    fn reduce<S: Values<u64>>(
        &mut self,
        (_, line): (u64, std::borrow::Cow<'_, [u8]>),
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while let Some(times) = values.next() {
            let times = times.min(self.left);
            self.left -= times;
            for _ in 0..times {
                out.line(&line);
            }
        }
        Ok(())
    }
}

/// Takes all lines, then those that belong to the sample.
fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let seed = parameters.integer("seed").unsigned_abs();
    let mut by_hash: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    for input in inputs {
        for line in lines(&std::fs::read(&input.path)?) {
            let hash = xxh3_64_with_seed(&line, seed);
            by_hash.entry(hash).or_default().push(line);
        }
    }
    let all = by_hash.into_iter().flat_map(|(hash, mut lines)| {
        lines.sort();
        lines.into_iter().map(move |line| (hash, line))
    });
    let count = usize::try_from(parameters.integer("count")).unwrap_or(0);
    if count > 0 {
        for (_, line) in all.take(count) {
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        }
        return Ok(());
    }
    let fraction: f64 = parameters
        .text("fraction")
        .parse()
        .map_err(io::Error::other)?;
    let mut parts = vec![Vec::new(); reducers as usize];
    for (hash, line) in all {
        if fraction >= 1.0 || (hash as f64) < fraction * 2_f64.powi(64) {
            parts[part_of(&line, reducers)].push(line);
        }
    }
    for part in &mut parts {
        part.sort();
        for line in part {
            out.write_all(line)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
