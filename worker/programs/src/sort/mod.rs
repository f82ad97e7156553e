//! Sorts records: the parts in order are the sorted whole.
//!
//! One partition needs nothing else. For several, a step before this one takes a
//! sample of the keys and hands on cut points, see [`sample`]; a key's partition
//! is the range that it lies in. So the order of the whole does not depend on
//! the sample, only how evenly the parts are filled.
//!
//! Sorting is stable: records with equal keys stay in the order of the input.
//! `unique` keeps the first of them. `reverse` turns the order of the keys
//! around, and not that of records with equal keys.
//!
//! Records of CSV are written as they stand in their files, without a header.
//!
//! What a record is emitted as is its key and what the key does not say: a line
//! sorted as a whole travels once.

pub(crate) mod key;
pub(crate) mod oracle;
mod sample;

use std::collections::BTreeMap;

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Block, Combiner, Counter, Emit, EmitValue, EncodedKey, MapContext, Mapper, Output, Program,
    ProgramError, Ranges, Record, ReduceContext, Reducer, Values,
};
use vivat_shared::job::{InputFormat, StepInput, StepSpec};

use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use key::{KeyRule, Keys};

pub(crate) use sample::ENTRY as SAMPLE_ENTRY;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "sort",
    summary: "sorts records; the parts in order are sorted as a whole",
    parameters: &[
        key::COLUMN,
        key::DELIMITER,
        key::CSV_COLUMN,
        key::KEY_START,
        key::KEY_BYTES,
        key::NUMERIC,
        key::REVERSE,
        key::RECORD_BYTES,
        ParameterSpec {
            name: "unique",
            kind: ParameterKind::Boolean,
            default: Some("false"),
            help: "of records with equal keys keep the first",
        },
    ],
    formats: &[Format::Text, Format::Csv, Format::Fixed],
    example: "vivat run sort data/input/*.txt",
    build,
    oracle: oracle::sort,
};

/// Counts records whose key should be a number and is none.
const NOT_NUMBERS: &str = "sort.keys.not-numbers";

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    let rule = KeyRule::of(parameters)?;
    Ok(if parameters.is_true("unique") {
        Box::new(Runner::new(Sort::<true> { rule }))
    } else {
        Box::new(Runner::new(Sort::<false> { rule }))
    })
}

/// One step of sorting as the steps that it takes.
///
/// # Errors
///
/// Names a parameter that does not go with the format, and a sort into several
/// parts of what a step before it wrote: that can be read once only.
pub(crate) fn expand(
    step: &StepSpec,
    parameters: &Parameters,
    format: InputFormat,
) -> Result<Vec<StepSpec>, ParameterError> {
    if !parameters.text("csv-column").is_empty() && format != InputFormat::Csv {
        let detail = format!("it is for format csv, not {format}: lines have `column`");
        return Err(parameters.error("csv-column", detail));
    }
    let sort = of_format(step, format);
    let given = &sort.parameters;
    if step.reducers == 1 {
        return Ok(vec![sort]);
    }
    if step.input == StepInput::Previous {
        return Err(parameters.error(
            "reducers",
            "a step that sorts what a step before it wrote has 1: set reducers = 1".to_owned(),
        ));
    }
    let shared = [
        "column",
        "delimiter",
        "csv-column",
        "key-start",
        "key-bytes",
        "numeric",
    ];
    let shared = shared.iter().chain(&["reverse", "record-bytes"]);
    let mut sampled: BTreeMap<String, String> = shared
        .filter_map(|&name| Some((name.to_owned(), given.get(name)?.clone())))
        .collect();
    sampled.insert("parts".to_owned(), step.reducers.to_string());
    let sample = StepSpec {
        parameters: sampled,
        closes: true,
        ..StepSpec::once(sample::ENTRY.name, 1)
    };
    Ok(vec![sample, sort])
}

/// The step with the parameter that follows from the format.
pub(crate) fn of_format(step: &StepSpec, format: InputFormat) -> StepSpec {
    let bytes = match (format, step.input) {
        (InputFormat::Fixed(bytes), StepInput::Job) => bytes,
        (InputFormat::Fixed(_), StepInput::Previous)
        | (InputFormat::Text | InputFormat::Csv | InputFormat::WholeFile, _) => 0,
    };
    let mut step = step.clone();
    let name = key::RECORD_BYTES.name.to_owned();
    step.parameters.insert(name, bytes.to_string());
    step
}

struct Sort<const UNIQUE: bool> {
    rule: KeyRule,
}

impl<const UNIQUE: bool> Program for Sort<UNIQUE> {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    type Mapper<'t> = Split<'t>;
    type Reducer<'t> = Write;
    const COMBINER: Combiner = if UNIQUE {
        Combiner::Combine
    } else {
        Combiner::None
    };

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Split<'t>, ProgramError> {
        if context.partitions > 1 {
            let ranges = Ranges::check(context.broadcast).map_err(|error| {
                ProgramError::new(format!(
                    "sorting into {} parts needs the cut points of a sort-sample step before \
                     it: {error}",
                    context.partitions
                ))
            })?;
            if ranges.cuts() >= context.partitions as usize {
                return Err(ProgramError::new(format!(
                    "{} cut points are too many for {} parts",
                    ranges.cuts(),
                    context.partitions
                )));
            }
        }
        Ok(Split {
            keys: Keys::new(&self.rule, context.header)?,
            not_numbers: context.counter(NOT_NUMBERS)?,
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Write, ProgramError> {
        Ok(Write {
            is_unique: UNIQUE,
            in_front: self.rule.is_in_front(),
            lines: self.rule.record_bytes == 0,
        })
    }

    fn combine<S: Values<Vec<u8>>, E: EmitValue<Vec<u8>>>(
        &self,
        _: &[u8],
        values: &mut S,
        emit: &mut E,
    ) {
        if let Some(first) = values.next() {
            emit.emit(first);
        }
    }

    #[inline]
    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        match context.partitions {
            1 => 0,
            _ => Ranges::of(context.broadcast).partition(key.bytes()),
        }
    }
}

struct Split<'t> {
    keys: Keys<'t>,
    not_numbers: Counter,
}

impl Mapper<Vec<u8>, Vec<u8>> for Split<'_> {
    #[inline]
    fn map<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        if self.keys.rule.is_in_front() {
            let key = self.keys.rule.part(record.bytes);
            emit.emit(key, &record.bytes[key.len()..]);
            return Ok(());
        }
        let encoded = self.keys.of(record)?;
        if encoded.is_not_number {
            self.not_numbers.add(1);
        }
        emit.emit(encoded.key, record.bytes);
        Ok(())
    }

    fn map_block<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        self.keys.rule.check_framing(block.framing)?;
        let mut records = 0;
        for record in block.records() {
            self.map(record, emit)?;
            records += 1;
        }
        Ok(records)
    }
}

struct Write {
    is_unique: bool,
    in_front: bool,
    lines: bool,
}

impl Reducer<Vec<u8>, Vec<u8>> for Write {
    #[inline]
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        key: &[u8],
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while let Some(value) = values.next() {
            if self.in_front {
                out.raw(key);
            }
            if self.lines {
                out.line(value);
            } else {
                out.record(value);
            }
            if self.is_unique {
                break;
            }
        }
        Ok(())
    }
}
