//! Groups the records of CSV files by columns, and says something of each group.
//!
//! A value is missing when its field is empty, blank, or one of the texts of
//! `missing`; a missing value is counted nowhere. A derived column is missing when
//! one of its columns is, or when it divides by zero.
//!
//! Sums are exact ([`exact`]), quantiles come of counts, so the result is the same
//! to the last bit however the input was split and whatever had to be repeated, and
//! groups can be merged where they are found.

mod aggregate;
mod exact;
mod oracle;
mod plan;
mod write;

use std::borrow::Cow;

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Combiner, Component, CsvFields, CsvRow, DecodeError, Emit, MapContext, Mapper, Output, Program,
    ProgramError, Record, ReduceContext, Reducer, Value, Values,
};

use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use aggregate::{Cell, Group, GroupView};
use plan::{CellPlan, FilePlan, Plan, Source};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "group-by",
    summary: "groups CSV records by columns: counts, sums, means, quantiles and more",
    parameters: &[
        text("key", None, "columns to group by, with commas between"),
        text(
            "aggregate",
            Some("count"),
            "list of [NAME =] FUNCTION(COLUMN): count, sum, mean, weighted-mean(COLUMN, WEIGHT), \
             min, max, variance, stddev, first, distinct-count, distinct-list, quantile(COLUMN, Q)",
        ),
        text(
            "derive",
            Some(""),
            "list of NAME = EXPRESSION over columns, with + - * / ^ abs sqrt floor ceil round",
        ),
        text(
            "ordinal",
            Some(""),
            "list of COLUMN = FIRST|SECOND|...: these texts stand for 0, 1, ... as numbers",
        ),
        text(
            "missing",
            Some("NA,NaN,null"),
            "texts that stand for a missing value, beside an empty field",
        ),
        ParameterSpec {
            name: "output",
            kind: ParameterKind::Choice(&["csv", "json"]),
            default: Some("csv"),
            help: "CSV with its header in the first part, or a JSON object a line",
        },
        ParameterSpec {
            name: "multiline",
            kind: ParameterKind::Boolean,
            default: Some("true"),
            help: "whether fields may hold line ends; if not, far files can be split",
        },
    ],
    formats: &[Format::Csv],
    example: "vivat run group-by data/input/game-logs.csv --format csv -p key=POSITION \
              -p 'aggregate=count,mean(PTS)'",
    build,
    oracle: oracle::oracle,
};

const fn text(
    name: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> ParameterSpec {
    ParameterSpec {
        name,
        kind: ParameterKind::Text,
        default,
        help,
    }
}

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    let plan = Plan::of(parameters)?;
    Ok(Box::new(Runner::new(GroupBy { plan })))
}

struct GroupBy {
    plan: Plan,
}

impl Program for GroupBy {
    type Key = Vec<u8>;
    type Value = Group;
    type Mapper<'t> = ReadRows<'t>;
    type Reducer<'t> = WriteGroups<'t>;
    const COMBINER: Combiner = Combiner::Merge;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<ReadRows<'t>, ProgramError> {
        let header = context
            .header
            .ok_or_else(|| ProgramError::new("group-by reads format csv"))?;
        Ok(ReadRows {
            plan: &self.plan,
            columns: header.names().len(),
            names: header.names(),
            file: self.plan.of_file(header)?,
            row: CsvRow::default(),
            key: Vec::new(),
            numbers: Vec::new(),
            derived: Vec::new(),
            given: Vec::new(),
            cells: Vec::new(),
        })
    }

    fn reducer<'t>(
        &'t self,
        context: &'t ReduceContext<'t>,
    ) -> Result<WriteGroups<'t>, ProgramError> {
        Ok(WriteGroups {
            plan: &self.plan,
            header: context.partition == 0 && !self.plan.json,
            line: Vec::new(),
        })
    }

    #[inline]
    fn merge(&self, accumulator: &mut Group, value: GroupView<'_>) {
        match value {
            GroupView::Row(_, cells) => accumulator.add(cells),
            GroupView::Whole(_) | GroupView::Encoded(_) => accumulator.merge(Group::own(value)),
        }
    }
}

struct ReadRows<'t> {
    plan: &'t Plan,
    file: FilePlan,
    columns: usize,
    names: &'t [Vec<u8>],
    row: CsvRow,
    // Room that is used again for every record.
    key: Vec<u8>,
    numbers: Vec<f64>,
    derived: Vec<f64>,
    given: Vec<f64>,
    cells: Vec<Cell<'static>>,
}

/// The same vector, empty, for cells of another record.
fn emptied<'to>(mut cells: Vec<Cell<'_>>) -> Vec<Cell<'to>> {
    cells.clear();
    cells.into_iter().map(|_| Cell::Missing).collect()
}

impl Mapper<Vec<u8>, Group> for ReadRows<'_> {
    fn map<E: Emit<Vec<u8>, Group>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let fields = self.row.read(record, self.columns)?;
        let numbers = Numbers {
            plan: self.plan,
            names: self.names,
            offset: record.offset,
        };
        self.numbers.clear();
        for (column, ordinal) in &self.file.sources {
            let number = numbers.read(fields.get(*column), *column, *ordinal)?;
            self.numbers.push(number);
        }
        self.derived.clear();
        for ((name, formula), sources) in self.plan.derived.iter().zip(&self.file.formulas) {
            self.given.clear();
            for source in sources {
                self.given.push(of(*source, &self.numbers, &self.derived));
            }
            let is_whole = !self.given.iter().any(|number| number.is_nan());
            let value = is_whole.then(|| formula.value(&self.given)).flatten();
            let value = value.unwrap_or(f64::NAN);
            self.derived.push(numbers.in_range(value, name.as_bytes())?);
        }
        let mut cells = emptied(std::mem::take(&mut self.cells));
        for cell in &self.file.cells {
            cells.push(match *cell {
                CellPlan::Always => Cell::Number(1.0, 1.0),
                CellPlan::Text(column) => match fields.get(column) {
                    text if self.plan.is_missing(text) => Cell::Missing,
                    text => Cell::Text(text),
                },
                CellPlan::Number(number, weight) => {
                    let number = of(number, &self.numbers, &self.derived);
                    let weight = weight.map_or(1.0, |it| of(it, &self.numbers, &self.derived));
                    match number.is_nan() || weight.is_nan() {
                        true => Cell::Missing,
                        false => Cell::Number(number, weight),
                    }
                }
            });
        }
        key_of(&self.file.keys, fields, &mut self.key);
        emit.emit(&self.key, GroupView::Row(&self.plan.functions, &cells));
        self.cells = emptied(cells);
        Ok(())
    }
}

#[inline]
fn of(source: Source, numbers: &[f64], derived: &[f64]) -> f64 {
    match source {
        Source::Column(index) => numbers[index],
        Source::Derived(index) => derived[index],
    }
}

/// One column is its own key; several are a tuple.
fn key_of(columns: &[usize], fields: CsvFields<'_>, key: &mut Vec<u8>) {
    key.clear();
    match columns {
        [column] => key.extend_from_slice(fields.get(*column)),
        columns => {
            for column in columns {
                <Vec<u8> as Component>::encode_component(fields.get(*column), key);
            }
        }
    }
}

fn texts_of(count: usize, key: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, DecodeError> {
    if count == 1 {
        return Ok(vec![Cow::Borrowed(key)]);
    }
    let mut rest = key;
    (0..count)
        .map(|_| <Vec<u8> as Component>::decode_component(&mut rest))
        .collect()
}

/// Reads numbers of one record.
struct Numbers<'r> {
    plan: &'r Plan,
    names: &'r [Vec<u8>],
    offset: u64,
}

impl Numbers<'_> {
    /// `NaN` for a missing one.
    #[inline]
    fn read(
        &self,
        text: &[u8],
        column: usize,
        ordinal: Option<usize>,
    ) -> Result<f64, ProgramError> {
        if let Some(number) = small(text) {
            if ordinal.is_none() {
                return Ok(number);
            }
        } else if self.plan.is_missing(text) {
            return Ok(f64::NAN);
        }
        if let Some(ordinal) = ordinal {
            return self.place(text, ordinal);
        }
        let text = text.trim_ascii();
        let begins_so = |first: &u8| matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.');
        let number: Option<f64> = Some(text)
            .filter(|text| {
                text.iter()
                    .find(|byte| !matches!(byte, b'+' | b'-'))
                    .is_some_and(begins_so)
            })
            .and_then(|text| str::from_utf8(text).ok())
            .and_then(|text| text.parse().ok());
        match number {
            Some(number) => self.in_range(number, &self.names[column]),
            None => Err(self.refused(text, &self.names[column], "is not a number")),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody lists 2^53 texts")]
    fn place(&self, text: &[u8], ordinal: usize) -> Result<f64, ProgramError> {
        let ordinal = &self.plan.ordinals[ordinal];
        let place = ordinal.texts.iter().position(|it| it == text.trim_ascii());
        match place {
            Some(place) => Ok(place as f64),
            None => {
                let what = "is none of the texts of parameter `ordinal`";
                Err(self.refused(text, ordinal.column.as_bytes(), what))
            }
        }
    }

    /// The number, if it is missing or one that can be added without an error.
    #[inline]
    fn in_range(&self, number: f64, column: &[u8]) -> Result<f64, ProgramError> {
        let size = number.abs();
        if number.is_nan() || size == 0.0 || (exact::SMALLEST..=exact::LARGEST).contains(&size) {
            return Ok(number);
        }
        let text = format!("{number:e}");
        let what = "is not 0 and not between 1e-100 and 1e100 in size";
        Err(self.refused(text.as_bytes(), column, what))
    }

    #[cold]
    fn refused(&self, text: &[u8], column: &[u8], what: &str) -> ProgramError {
        /// Bytes of a field that a message repeats.
        const SHOWN_BYTES_MAX: usize = 80;
        let column = String::from_utf8_lossy(column);
        let text = String::from_utf8_lossy(&text[..text.len().min(SHOWN_BYTES_MAX)]);
        ProgramError::at(self.offset, format!("column `{column}`: `{text}` {what}"))
    }
}

/// A short whole number without a sign, as most are.
#[inline]
fn small(text: &[u8]) -> Option<f64> {
    if text.is_empty() || text.len() > 8 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = text.iter().map(|digit| u32::from(digit - b'0'));
    Some(f64::from(
        digits.fold(0, |number, digit| number * 10 + digit),
    ))
}

impl Plan {
    #[inline]
    fn is_missing(&self, text: &[u8]) -> bool {
        let text = text.trim_ascii();
        text.is_empty() || self.missing.iter().any(|it| it == text)
    }
}

struct WriteGroups<'t> {
    plan: &'t Plan,
    /// It is yet to be written.
    header: bool,
    line: Vec<u8>,
}

impl WriteGroups<'_> {
    fn write_header(&mut self, out: &mut Output<'_>) {
        if self.header {
            self.header = false;
            self.line.clear();
            write::header(self.plan, &mut self.line);
            out.raw(&self.line);
        }
    }
}

impl Reducer<Vec<u8>, Group> for WriteGroups<'_> {
    fn reduce<S: Values<Group>>(
        &mut self,
        key: &[u8],
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        self.write_header(out);
        let mut group = Group::new(&self.plan.functions);
        while let Some(more) = values.next() {
            group.merge(Group::own(more));
        }
        let texts = texts_of(self.plan.keys.len(), key)
            .map_err(|error| ProgramError::new(error.to_string()))?;
        self.line.clear();
        match self.plan.json {
            true => write::json(self.plan, &texts, &group, &mut self.line),
            false => write::csv(self.plan, &texts, &group, &mut self.line),
        }
        out.line(&self.line);
        Ok(())
    }

    fn finish(mut self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        self.write_header(out);
        Ok(())
    }
}
