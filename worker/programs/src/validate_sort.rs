//! Checks that records are sorted, and adds them up so that two sets of records
//! can be compared whatever their order.
//!
//! A map reads one split and tells its first and last key, what is wrong within
//! it, and the sum of its records' hashes; the reduce goes over the splits in
//! order, so that what is wrong between two of them, or two files, is found too.
//! The order of the files is that of the input: parts of an output in order.

use std::io::{self, Write};

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Block, Emit, EncodedKey, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::catalogue::{Format, OracleInput, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use crate::sort::key::{self, KeyRule, Keys};
use crate::sort::oracle::{OracleKeys, records};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "validate-sort",
    summary: "checks that records are sorted; a checksum that no order changes",
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
            name: "must-be-sorted",
            kind: ParameterKind::Boolean,
            default: Some("false"),
            help: "fail the job when a record is out of order",
        },
    ],
    formats: &[Format::Text, Format::Csv, Format::Fixed],
    example: "vivat run validate-sort data/expected/sort.txt",
    build,
    oracle,
};

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    Ok(Box::new(Runner::new(ValidateSort {
        rule: KeyRule::of(parameters)?,
        must_be_sorted: parameters.is_true("must-be-sorted"),
    })))
}

struct ValidateSort {
    rule: KeyRule,
    must_be_sorted: bool,
}

/// Numbers as text, first key, last key.
type Summary = (Vec<u8>, Vec<u8>, Vec<u8>);

impl Program for ValidateSort {
    /// The split.
    type Key = u32;
    type Value = Summary;
    type Mapper<'t> = Look<'t>;
    type Reducer<'t> = Join;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Look<'t>, ProgramError> {
        Ok(Look {
            keys: Keys::new(&self.rule, context.header)?,
            context,
            sums: Sums::default(),
            first: None,
            last: Vec::new(),
        })
    }

    fn reducer<'t>(&'t self, context: &'t ReduceContext<'t>) -> Result<Join, ProgramError> {
        Ok(Join {
            is_first: context.partition == 0,
            must_be_sorted: self.must_be_sorted,
            sums: Sums::default(),
            last: None,
        })
    }

    fn partition(&self, _: EncodedKey<'_>, _: &MapContext<'_>) -> u32 {
        0
    }
}

/// What records come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Sums {
    records: u64,
    duplicates: u64,
    out_of_order: u64,
    checksum: u128,
    /// File and offset.
    first_wrong: Option<String>,
}

impl Sums {
    fn add(&mut self, more: Self) {
        self.records += more.records;
        self.duplicates += more.duplicates;
        self.out_of_order += more.out_of_order;
        self.checksum = self.checksum.wrapping_add(more.checksum);
        self.first_wrong = self.first_wrong.take().or(more.first_wrong);
    }

    /// Of a record, the key of the one before, and its own.
    fn compare(&mut self, before: &[u8], key: &[u8], place: impl FnOnce() -> String) {
        match before.cmp(key) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => self.duplicates += 1,
            std::cmp::Ordering::Greater => {
                self.out_of_order += 1;
                self.first_wrong.get_or_insert_with(place);
            }
        }
    }

    /// As text, the place of the first record behind it.
    fn to_text(&self, first_place: &str) -> Vec<u8> {
        let wrong = self.first_wrong.as_deref().unwrap_or_default();
        let Self {
            records,
            duplicates,
            out_of_order,
            checksum,
            first_wrong: _,
        } = self;
        let numbers = format!("{records} {duplicates} {out_of_order} {checksum}");
        format!("{numbers}\n{wrong}\n{first_place}").into_bytes()
    }

    fn of_text(text: &[u8]) -> Option<(Self, String)> {
        let mut lines = str::from_utf8(text).ok()?.splitn(3, '\n');
        let mut numbers = lines.next()?.split(' ');
        let mut next = || numbers.next()?.parse().ok();
        let [records, duplicates, out_of_order] = [next()?, next()?, next()?];
        let checksum = numbers.next()?.parse().ok()?;
        let wrong = lines.next()?;
        let sums = Self {
            records,
            duplicates,
            out_of_order,
            checksum,
            first_wrong: (!wrong.is_empty()).then(|| wrong.to_owned()),
        };
        Some((sums, lines.next()?.to_owned()))
    }
}

/// A file and a place in it, on one line whatever the file is called.
fn place(display: &str, offset: u64) -> String {
    format!("{}:{offset}", display.replace(['\n', '\t'], "?"))
}

struct Look<'t> {
    keys: Keys<'t>,
    context: &'t MapContext<'t>,
    sums: Sums,
    /// Key and place of the first record.
    first: Option<(Vec<u8>, u64)>,
    last: Vec<u8>,
}

impl Mapper<u32, Summary> for Look<'_> {
    fn map<E: Emit<u32, Summary>>(
        &mut self,
        record: Record<'_>,
        _: &mut E,
    ) -> Result<(), ProgramError> {
        let key = self.keys.of(record)?.key;
        let display = self.context.display;
        match &self.first {
            None => self.first = Some((key.to_vec(), record.offset)),
            Some(_) => self
                .sums
                .compare(&self.last, key, || place(display, record.offset)),
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        self.sums.records += 1;
        self.sums.checksum = self.sums.checksum.wrapping_add(xxh3_128(record.bytes));
        Ok(())
    }

    fn map_block<E: Emit<u32, Summary>>(
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

    fn finish<E: Emit<u32, Summary>>(self, emit: &mut E) -> Result<(), ProgramError> {
        if let Some((first, offset)) = self.first {
            let text = self.sums.to_text(&place(self.context.display, offset));
            emit.emit(self.context.split, (&text, &first, &self.last));
        }
        Ok(())
    }
}

struct Join {
    is_first: bool,
    must_be_sorted: bool,
    sums: Sums,
    /// The last key so far.
    last: Option<Vec<u8>>,
}

impl Reducer<u32, Summary> for Join {
    fn reduce<S: Values<Summary>>(
        &mut self,
        split: u32,
        values: &mut S,
        _: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while let Some((text, first, last)) = values.next() {
            let (sums, first_place) = Sums::of_text(text).ok_or_else(|| {
                ProgramError::new(format!("the summary of split {split} cannot be read"))
            })?;
            if let Some(before) = &self.last {
                self.sums.compare(before, first, || first_place);
            }
            self.sums.add(sums);
            self.last = Some(last.to_vec());
        }
        Ok(())
    }

    fn finish(self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        if !self.is_first {
            return Ok(());
        }
        let sums = self.sums;
        if self.must_be_sorted
            && let Some(place) = &sums.first_wrong
        {
            return Err(ProgramError::new(format!(
                "{} of {} records are out of order, the first at {place}",
                sums.out_of_order, sums.records
            )));
        }
        out.pair(b"checksum", format_args!("{:032x}", sums.checksum));
        out.pair(b"duplicates", sums.duplicates);
        out.pair(
            b"first-wrong",
            sums.first_wrong.as_deref().unwrap_or("none"),
        );
        out.pair(b"out-of-order", sums.out_of_order);
        out.pair(b"records", sums.records);
        Ok(())
    }
}

/// Goes over all records once.
fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    _reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let keys = OracleKeys::new(parameters)?;
    let (mut duplicates, mut wrong, mut sum, mut count) = (0, Vec::new(), 0_u128, 0);
    let mut before = None;
    for input in inputs {
        for record in records(parameters, std::slice::from_ref(input))? {
            let key = keys.of(&record);
            if let Some(before) = before {
                let order = key.compare(&before);
                let order = match parameters.is_true("reverse") {
                    true => order.reverse(),
                    false => order,
                };
                duplicates += u64::from(order.is_eq());
                if order.is_lt() {
                    wrong.push(format!("{}:{}", input.display, record.offset));
                }
            }
            before = Some(key);
            sum = sum.wrapping_add(xxh3_128(&record.bytes));
            count += 1;
        }
    }
    let first = wrong.first().map_or("none", String::as_str);
    writeln!(out, "checksum\t{sum:032x}\nduplicates\t{duplicates}")?;
    writeln!(out, "first-wrong\t{first}\nout-of-order\t{}", wrong.len())?;
    writeln!(out, "records\t{count}")
}
