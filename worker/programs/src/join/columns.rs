//! Joins CSV files by columns.
//!
//! A record of the output is the key's fields, under the names of the left files'
//! columns, then the other fields of the left record, then those of the right one. A
//! right column whose name is taken gets `_right` behind it. The first part begins
//! with the names; all files of a side must have the same columns beside the key.
//!
//! The names of the other columns are known where files are read and needed where
//! records are written: the first split of every file sends them to every part, in
//! front of all records.

use std::borrow::Cow;

use vivat_mapreduce::{
    Component, CsvRow, Emit, EncodedKey, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values, partition_of,
};

use super::{Held, RIGHT, Sides};
use crate::parameters::{ParameterError, Parameters};
use crate::table::write::fields;
use crate::table::{items, key_of, texts_of};

/// The key's columns by side, if there are any.
pub(super) fn of(parameters: &Parameters) -> Result<Option<[Vec<String>; 2]>, ParameterError> {
    let left = items(parameters.text("left-columns"));
    let right = items(parameters.text("right-columns"));
    let right = if right.is_empty() {
        left.clone()
    } else {
        right
    };
    if left.len() != right.len() {
        let detail = format!(
            "it names {} columns, left-columns {}",
            right.len(),
            left.len()
        );
        return Err(parameters.error("right-columns", detail));
    }
    Ok((!left.is_empty()).then_some([right, left]))
}

pub(super) struct JoinCsv {
    pub(super) sides: Sides,
    /// The key's columns by side.
    pub(super) columns: [Vec<String>; 2],
    pub(super) keep_left: bool,
    pub(super) missing: Vec<u8>,
}

/// Kind, key, side.
type CsvKey = (u32, Vec<u8>, u32);

/// Names of columns, whose key is the part that they go to.
const NAMES: u32 = 0;
const RECORD: u32 = 1;

impl Program for JoinCsv {
    type Key = CsvKey;
    /// CSV fields with commas between; of names the file's behind them.
    type Value = (Vec<u8>, Vec<u8>);
    type Mapper<'t> = ReadRecords<'t>;
    type Reducer<'t> = PairRecords<'t>;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<ReadRecords<'t>, ProgramError> {
        let header = context
            .header
            .ok_or_else(|| ProgramError::new("left-columns is for format csv"))?;
        let side = self.sides.side(context.display)?;
        let keys = &self.columns[side as usize];
        let keys = keys.iter().map(|name| header.column(name));
        let keys: Vec<usize> = keys.collect::<Result<_, _>>()?;
        let others = (0..header.names().len()).filter(|column| !keys.contains(column));
        let others: Vec<usize> = others.collect();
        let mut names = Vec::new();
        fields(
            others.iter().map(|it| header.names()[*it].as_slice()),
            &mut names,
        );
        if others.len() == 1 && names.is_empty() {
            // One name that is empty, and not none.
            names.extend_from_slice(b"\"\"");
        }
        Ok(ReadRecords {
            display: context.display,
            // A file of no records has a first split, too.
            names: (context.split_offset == 0).then_some(names),
            parts: context.partitions,
            side,
            columns: header.names().len(),
            keys,
            others,
            row: CsvRow::default(),
            key: Vec::new(),
            line: Vec::new(),
        })
    }

    fn reducer<'t>(
        &'t self,
        context: &'t ReduceContext<'t>,
    ) -> Result<PairRecords<'t>, ProgramError> {
        Ok(PairRecords {
            join: self,
            header: context.partition == 0,
            names: [None, None],
            missing: None,
            held: Held::default(),
            line: Vec::new(),
        })
    }

    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        part_of(key.bytes(), context.partitions).unwrap_or(0)
    }
}

/// Nothing for what is no key of ours; the reducer will say so.
fn part_of(mut encoded: &[u8], partitions: u32) -> Option<u32> {
    let kind = <u32 as Component>::decode_component(&mut encoded).ok()?;
    let key = <Vec<u8> as Component>::decode_component(&mut encoded).ok()?;
    if kind == RECORD {
        return Some(partition_of(&key, partitions));
    }
    let part = key.as_ref().try_into().ok().map(u32::from_be_bytes)?;
    Some(part.min(partitions - 1))
}

pub(super) struct ReadRecords<'t> {
    display: &'t str,
    /// Of the columns beside the key; to be sent.
    names: Option<Vec<u8>>,
    parts: u32,
    side: u32,
    /// Of the file.
    columns: usize,
    keys: Vec<usize>,
    others: Vec<usize>,
    row: CsvRow,
    key: Vec<u8>,
    line: Vec<u8>,
}

impl Mapper<CsvKey, (Vec<u8>, Vec<u8>)> for ReadRecords<'_> {
    fn map<E: Emit<CsvKey, (Vec<u8>, Vec<u8>)>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let row = self.row.read(record, self.columns)?;
        key_of(&self.keys, row, &mut self.key);
        self.line.clear();
        fields(
            self.others.iter().map(|column| row.get(*column)),
            &mut self.line,
        );
        emit.emit((RECORD, &self.key, self.side), (&self.line, &[]));
        Ok(())
    }

    fn finish<E: Emit<CsvKey, (Vec<u8>, Vec<u8>)>>(self, emit: &mut E) -> Result<(), ProgramError> {
        let Some(names) = self.names else {
            return Ok(());
        };
        for part in 0..self.parts {
            let key = (NAMES, &part.to_be_bytes()[..], self.side);
            emit.emit(key, (&names, self.display.as_bytes()));
        }
        Ok(())
    }
}

pub(super) struct PairRecords<'t> {
    join: &'t JoinCsv,
    /// It is yet to be written.
    header: bool,
    /// Of the other columns by side, and a file that has them.
    names: [Option<(Vec<u8>, Vec<u8>)>; 2],
    /// The fields of a right record that is not there; until a record comes, none.
    missing: Option<Vec<u8>>,
    held: Held,
    line: Vec<u8>,
}

impl PairRecords<'_> {
    fn learn(&mut self, side: u32, names: &[u8], file: &[u8]) -> Result<(), ProgramError> {
        let known = &mut self.names[side as usize];
        let (before, other) = known.get_or_insert_with(|| (names.to_vec(), file.to_vec()));
        if before == names {
            return Ok(());
        }
        let name = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        Err(ProgramError::new(format!(
            "files of one side have the same columns beside the key: {} has {}, {} has {}",
            name(other),
            name(before),
            name(file),
            name(names)
        )))
    }

    /// Writes the names, once they are all known.
    fn begin(&mut self, out: &mut Output<'_>) {
        let none = || (Vec::new(), Vec::new());
        let [right, left] = [0, 1].map(|side| self.names[side].clone().unwrap_or_else(none).0);
        let (right, left) = (split(&right), split(&left));
        let holes = right.iter().map(|_| self.join.missing.as_slice());
        let mut missing = Vec::new();
        fields(holes, &mut missing);
        self.missing = Some(missing);
        if !std::mem::take(&mut self.header) {
            return;
        }
        let keys = self.join.columns[1].iter();
        let mut names: Vec<Vec<u8>> = keys.map(|name| name.as_bytes().to_vec()).collect();
        names.extend(left);
        for mut name in right {
            while names.contains(&name) {
                name.extend_from_slice(b"_right");
            }
            names.push(name);
        }
        let mut line = Vec::new();
        fields(names.iter().map(Vec::as_slice), &mut line);
        line.push(b'\n');
        out.raw(&line);
    }

    fn print(&mut self, key: &[u8], pair: [&[u8]; 2], out: &mut Output<'_>) {
        self.line.clear();
        self.line.extend_from_slice(key);
        for (side, others) in [1, 0].into_iter().zip(pair) {
            // No other columns, and not one that is empty.
            let has_columns = self.names[side]
                .as_ref()
                .is_some_and(|(it, _)| !it.is_empty());
            if has_columns {
                self.line.push(b',');
                self.line.extend_from_slice(others);
            }
        }
        out.line(&self.line);
    }
}

/// The names that a line holds, none if it is empty.
fn split(line: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(false).from_reader(line);
    let first = reader.byte_records().next().and_then(Result::ok);
    let names = first.map(|names| names.iter().map(<[u8]>::to_vec).collect());
    names.unwrap_or_default()
}

impl Reducer<CsvKey, (Vec<u8>, Vec<u8>)> for PairRecords<'_> {
    fn reduce<S: Values<(Vec<u8>, Vec<u8>)>>(
        &mut self,
        (kind, key, side): (u32, Cow<'_, [u8]>, u32),
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        if kind == NAMES {
            while let Some((names, file)) = values.next() {
                self.learn(side, names, file)?;
            }
            return Ok(());
        }
        if self.missing.is_none() {
            self.begin(out);
        }
        self.held.begin(&key, side);
        let texts = texts_of(self.join.columns[0].len(), &key);
        let texts = texts.map_err(|error| ProgramError::new(error.to_string()))?;
        let mut shown = Vec::new();
        fields(texts.iter().map(AsRef::as_ref), &mut shown);
        while let Some((line, _)) = values.next() {
            if side == RIGHT {
                self.held.hold(line)?;
                continue;
            }
            let held = std::mem::take(&mut self.held);
            for right in held.lines() {
                self.print(&shown, [line, right], out);
            }
            if held.ends.is_empty() && self.join.keep_left {
                let missing = self.missing.take().unwrap_or_default();
                self.print(&shown, [line, &missing], out);
                self.missing = Some(missing);
            }
            self.held = held;
        }
        Ok(())
    }

    fn finish(mut self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        if self.header {
            self.begin(out);
        }
        Ok(())
    }
}
