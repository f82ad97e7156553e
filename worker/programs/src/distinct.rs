//! The distinct lines of the input, each once.

use std::collections::BTreeMap;
use std::io::{self, Write};

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Combiner, Emit, MapContext, Mapper, Output, Program, ProgramError, Record, ReduceContext,
    Reducer, Values,
};

use crate::catalogue::{Format, OracleInput, ProgramEntry};
use crate::oracles::{lines as lines_of, part_of};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use crate::sums::sum_of;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "distinct",
    summary: "prints each different line once, sorted within a part",
    parameters: &[ParameterSpec {
        name: "count",
        kind: ParameterKind::Boolean,
        default: Some("false"),
        help: "print how often the line occurs behind it",
    }],
    formats: &[Format::Text],
    example: "vivat run distinct data/input/links.tsv",
    build,
    oracle,
};

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    Ok(Box::new(Runner::new(Distinct {
        count: parameters.is_true("count"),
    })))
}

struct Distinct {
    count: bool,
}

impl Program for Distinct {
    type Key = Vec<u8>;
    type Value = u64;
    type Mapper<'t> = Lines;
    type Reducer<'t> = Print;
    const COMBINER: Combiner = Combiner::Merge;

    fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Lines, ProgramError> {
        Ok(Lines)
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Print, ProgramError> {
        Ok(Print { count: self.count })
    }

    #[inline]
    fn merge(&self, accumulator: &mut u64, value: u64) {
        *accumulator += value;
    }
}

struct Lines;

impl Mapper<Vec<u8>, u64> for Lines {
    #[inline]
    fn map<E: Emit<Vec<u8>, u64>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        emit.emit(record.bytes, 1);
        Ok(())
    }
}

struct Print {
    count: bool,
}

impl Reducer<Vec<u8>, u64> for Print {
    fn reduce<S: Values<u64>>(
        &mut self,
        key: &[u8],
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        if !self.count {
            out.line(key);
            return Ok(());
        }
        out.pair(key, sum_of(values));
        Ok(())
    }
}

/// Counts lines in one sorted map.
fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut times: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for input in inputs {
        for line in lines_of(&std::fs::read(&input.path)?) {
            *times.entry(line).or_default() += 1;
        }
    }
    for part in 0..reducers as usize {
        for (line, times) in &times {
            if part_of(line, reducers) != part {
                continue;
            }
            out.write_all(line)?;
            if parameters.is_true("count") {
                write!(out, "\t{times}")?;
            }
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
