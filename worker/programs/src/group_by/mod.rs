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
pub(crate) mod oracle;
mod plan;
mod write;

pub(crate) use oracle::formula::value as formula_of_oracle;

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Combiner, CsvRow, Emit, EncodedKey, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Value, Values as GroupValues,
};
use vivat_shared::job::StepSpec;

use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use crate::table::codes::{self, Coded, Codes, with_codes};
use crate::table::sheet::{DERIVE, Numbers, ORDINAL, codes_of};
use crate::table::{MISSING, MULTILINE, Values, key_of, text, texts_of};
use aggregate::{Cell, Group, GroupView};
use plan::{CellPlan, FilePlan, Headers, Plan};

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
        DERIVE,
        ORDINAL,
        ParameterSpec {
            name: "code-book",
            kind: ParameterKind::Choice(&["found", "all", "none"]),
            default: Some("found"),
            help: "whose numbers the last part of the output tells: those of texts that were \
                   found out, all, none",
        },
        MISSING,
        ParameterSpec {
            name: "output",
            kind: ParameterKind::Choice(&["csv", "json"]),
            default: Some("csv"),
            help: "CSV, or a JSON object a line",
        },
        ParameterSpec {
            name: "header",
            kind: ParameterKind::Choice(&["first", "every", "none"]),
            default: Some("first"),
            help: "which parts of CSV begin with the columns' names",
        },
        MULTILINE,
    ],
    formats: &[Format::Csv],
    example: "vivat run group-by data/input/game-logs.csv --format csv -p key=POSITION \
              -p 'aggregate=count,mean(PTS)'",
    build,
    oracle: oracle::oracle,
};

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    let plan = Plan::of(parameters)?;
    Ok(Box::new(Runner::new(GroupBy { plan })))
}

/// One step of grouping as the steps that it takes: texts whose numbers nobody
/// declared are found out first, and the book of them is a part of its own.
///
/// # Errors
///
/// Names a parameter that makes no sense.
pub(crate) fn expand(
    step: &StepSpec,
    parameters: &Parameters,
) -> Result<Vec<StepSpec>, ParameterError> {
    let plan = Plan::of(parameters)?;
    let mut step = step.clone();
    step.reducers += u32::from(!plan.book.is_empty());
    Ok(with_codes(step, &Coded::found(&plan.sheet.ordinals)))
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
            codes: codes_of(&self.plan.sheet.ordinals, context.broadcast)?,
            file: self.plan.of_file(header)?,
            row: CsvRow::default(),
            key: Vec::new(),
            numbers: Numbers::default(),
            cells: Vec::new(),
        })
    }

    fn reducer<'t>(
        &'t self,
        context: &'t ReduceContext<'t>,
    ) -> Result<WriteGroups<'t>, ProgramError> {
        let is_table = context.partition < self.plan.table_parts(context.partitions);
        let has_header = match self.plan.headers {
            Headers::First => context.partition == 0,
            Headers::Every => true,
            Headers::None => false,
        };
        let is_last = context.partition + 1 == context.partitions;
        let codes = match is_last && !self.plan.book.is_empty() {
            true => codes_of(&self.plan.sheet.ordinals, context.broadcast)?,
            false => Vec::new(),
        };
        Ok(WriteGroups {
            plan: &self.plan,
            header: is_table && has_header && !self.plan.json,
            codes,
            line: Vec::new(),
        })
    }

    #[inline]
    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        key.partition(self.plan.table_parts(context.partitions))
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
    /// Of the ordinal columns.
    codes: Vec<Codes>,
    columns: usize,
    names: &'t [Vec<u8>],
    row: CsvRow,
    // Room that is used again for every record.
    key: Vec<u8>,
    numbers: Numbers,
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
        let values = Values {
            missing: &self.plan.sheet.missing,
            names: self.names,
            offset: record.offset,
        };
        let plan = (&self.plan.sheet, &self.file.columns);
        self.numbers.read(plan, &self.codes, &values, fields)?;
        let mut cells = emptied(std::mem::take(&mut self.cells));
        for cell in &self.file.cells {
            cells.push(match *cell {
                CellPlan::Always => Cell::Number(1.0, 1.0),
                CellPlan::Text(column) => match fields.get(column) {
                    text if values.missing.is_missing(text) => Cell::Missing,
                    text => Cell::Text(text),
                },
                CellPlan::Number(number, weight) => {
                    let number = self.numbers.of(number);
                    let weight = weight.map_or(1.0, |it| self.numbers.of(it));
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

struct WriteGroups<'t> {
    plan: &'t Plan,
    /// It is yet to be written.
    header: bool,
    /// Of the ordinal columns, in the part that the code book is.
    codes: Vec<Codes>,
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

    fn write_book(&mut self, out: &mut Output<'_>) {
        if self.codes.is_empty() {
            return;
        }
        if !self.plan.json && self.plan.headers != Headers::None {
            out.raw(codes::HEADER);
            out.raw(b"\n");
        }
        for ordinal in &self.plan.book {
            let (column, codes) = (
                &self.plan.sheet.ordinals[*ordinal].column,
                &self.codes[*ordinal],
            );
            for code in 0..codes.texts().len() {
                write::code(self.plan, (column, code), codes, &mut self.line);
                out.line(&self.line);
            }
        }
    }
}

impl Reducer<Vec<u8>, Group> for WriteGroups<'_> {
    fn reduce<S: GroupValues<Group>>(
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
        if !group.is_of(&self.plan.functions) {
            return Err(ProgramError::new("what was shuffled is no group"));
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
        self.write_book(out);
        Ok(())
    }
}
