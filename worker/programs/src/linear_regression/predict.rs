//! What a model says of records: one line for each, in the order of the input.

use std::path::Path;

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Counter, CsvHeader, CsvRow, Emit, EncodedKey, MapContext, Mapper, Output, Program,
    ProgramError, Record, ReduceContext, Reducer, Values as Lines,
};

use super::model::Model;
use super::oracle;
use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use crate::table::codes::{Coded, Codes};
use crate::table::sheet::{Columns, Numbers, Sheet, Source};
use crate::table::write::{fields, shown};
use crate::table::{MISSING, MULTILINE, Missing, Values, items, text};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "linear-predict",
    summary: "adds the predictions of a linear-regression's model to CSV records",
    parameters: &[
        ParameterSpec {
            name: "model",
            kind: ParameterKind::Path,
            default: None,
            help: "what linear-regression wrote",
        },
        text(
            "keep",
            Some(""),
            "list of columns that stand before the prediction",
        ),
        ParameterSpec {
            name: "unseen",
            kind: ParameterKind::Choice(&["refuse", "missing"]),
            default: Some("refuse"),
            help: "what becomes of a category that the model has never seen: an error, or no \
                   prediction",
        },
        MISSING,
        MULTILINE,
    ],
    formats: &[Format::Csv],
    example: "vivat run linear-predict data/input/game-logs.csv --format csv \
              -p model=data/expected/linear-regression.csv -p keep=PLAYER_NAME,PTS",
    build,
    oracle: oracle::prediction,
};

/// The largest model that is read.
const MODEL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Counts records of which something is missing.
const NOT_PREDICTED: &str = "linear-predict.not-predicted";

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    Ok(Box::new(Runner::new(LinearPredict {
        model: parameters.text("model").to_owned(),
        keep: items(parameters.text("keep")),
        unseen_is_missing: parameters.text("unseen") == "missing",
        missing: Missing::of(parameters.text("missing")),
    })))
}

struct LinearPredict {
    /// Name of the side file.
    model: String,
    keep: Vec<String>,
    unseen_is_missing: bool,
    missing: Missing,
}

pub(super) fn read_model(path: &Path) -> Result<Model, ProgramError> {
    let refused = |detail: String| ProgramError::new(format!("the model: {detail}"));
    let length = std::fs::metadata(path).map(|found| found.len());
    let length = length.map_err(|error| refused(error.to_string()))?;
    if length > MODEL_BYTES_MAX {
        return Err(refused(format!("more than {MODEL_BYTES_MAX} bytes")));
    }
    let text = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    Model::read(&text).map_err(refused)
}

impl Program for LinearPredict {
    /// File and place in it.
    type Key = (u32, u64);
    type Value = Vec<u8>;
    type Mapper<'t> = Predict<'t>;
    type Reducer<'t> = WriteLines<'t>;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Predict<'t>, ProgramError> {
        let header = context
            .header
            .ok_or_else(|| ProgramError::new("linear-predict reads format csv"))?;
        let path = context.side_file(&self.model);
        let path =
            path.ok_or_else(|| ProgramError::new("the job did not bring the model along"))?;
        let model = read_model(path)?;
        let keep = self.keep.iter().map(|name| header.column(name));
        Ok(Predict {
            program: self,
            file: context.file_index,
            names: header.names(),
            keep: keep.collect::<Result<_, _>>()?,
            terms: Terms::new(&model, &self.missing, header)?,
            row: CsvRow::default(),
            read: Numbers::default(),
            line: Vec::new(),
            not_predicted: context.counter(NOT_PREDICTED)?,
        })
    }

    fn reducer<'t>(
        &'t self,
        context: &'t ReduceContext<'t>,
    ) -> Result<WriteLines<'t>, ProgramError> {
        Ok(WriteLines {
            keep: &self.keep,
            header: context.partition == 0,
        })
    }

    /// Splits go to parts in their order.
    fn partition(&self, _: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        let place = u64::from(context.split) * u64::from(context.partitions);
        let part = place / u64::from(context.splits.max(1));
        u32::try_from(part).map_or(0, |part| part.min(context.partitions - 1))
    }
}

/// A model over the columns of one file.
struct Terms {
    sheet: Sheet,
    columns: Columns,
    /// Of the ordinal columns.
    codes: Vec<Codes>,
    intercept: f64,
    numbers: Vec<(Source, f64)>,
    categories: Vec<(usize, Codes, Vec<f64>)>,
}

impl Terms {
    fn new(model: &Model, missing: &Missing, header: &CsvHeader) -> Result<Self, ProgramError> {
        let ordinals = model.ordinals.iter();
        let sheet = Sheet {
            derived: model.derived.clone(),
            ordinals: ordinals
                .map(|(column, codes)| Coded::declared(column, codes))
                .collect(),
            missing: missing.clone(),
        };
        let mut columns = Columns::new(&sheet, header)?;
        let numbers = model.numbers.iter().map(|(name, coefficient)| {
            let source = columns.source(&sheet, header, name)?;
            Ok((source, *coefficient))
        });
        let numbers = numbers.collect::<Result<_, ProgramError>>()?;
        let categories = model.categories.iter().map(|category| {
            let column = header.column(&category.column)?;
            Ok((
                column,
                category.codes.clone(),
                category.coefficients.clone(),
            ))
        });
        Ok(Self {
            codes: model.ordinals.iter().map(|(_, it)| it.clone()).collect(),
            intercept: model.intercept,
            numbers,
            categories: categories.collect::<Result<_, ProgramError>>()?,
            sheet,
            columns,
        })
    }
}

struct Predict<'t> {
    program: &'t LinearPredict,
    file: u32,
    names: &'t [Vec<u8>],
    keep: Vec<usize>,
    terms: Terms,
    row: CsvRow,
    read: Numbers,
    line: Vec<u8>,
    not_predicted: Counter,
}

impl Mapper<(u32, u64), Vec<u8>> for Predict<'_> {
    fn map<E: Emit<(u32, u64), Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let fields_of = self.row.read(record, self.names.len())?;
        let terms = &self.terms;
        let values = Values {
            missing: &terms.sheet.missing,
            names: self.names,
            offset: record.offset,
        };
        let lenient = self.program.unseen_is_missing;
        let plan = (&terms.sheet, &terms.columns);
        let read = match lenient {
            true => self.read.read_seen(plan, &terms.codes, &values, fields_of),
            false => self.read.read(plan, &terms.codes, &values, fields_of),
        };
        read?;
        let mut sum = terms.intercept;
        for (source, coefficient) in &terms.numbers {
            sum += coefficient * self.read.of(*source);
        }
        for (column, codes, coefficients) in &terms.categories {
            let text = fields_of.get(*column);
            let code = match lenient {
                true => codes.place(text),
                false => values.code(codes, text, *column)?,
            };
            let coefficient = code.and_then(|code| coefficients.get(code as usize));
            sum += coefficient.copied().unwrap_or(f64::NAN);
        }
        let prediction = match sum.is_finite() {
            true => shown(sum + 0.0),
            false => {
                self.not_predicted.add(1);
                String::new()
            }
        };
        let kept = self.keep.iter().map(|column| fields_of.get(*column));
        self.line.clear();
        fields(kept.chain([prediction.as_bytes()]), &mut self.line);
        emit.emit((self.file, record.offset), &self.line);
        Ok(())
    }
}

struct WriteLines<'t> {
    keep: &'t [String],
    /// It is yet to be written.
    header: bool,
}

impl WriteLines<'_> {
    fn write_header(&mut self, out: &mut Output<'_>) {
        if self.header {
            self.header = false;
            let mut line = Vec::new();
            let names = self.keep.iter().map(|name| name.as_bytes());
            fields(names.chain([&b"prediction"[..]]), &mut line);
            line.push(b'\n');
            out.raw(&line);
        }
    }
}

impl Reducer<(u32, u64), Vec<u8>> for WriteLines<'_> {
    fn reduce<S: Lines<Vec<u8>>>(
        &mut self,
        _: (u32, u64),
        lines: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        self.write_header(out);
        while let Some(line) = lines.next() {
            // One empty field is a record, and an empty line is none.
            out.line(if line.is_empty() { b"\"\"" } else { line });
        }
        Ok(())
    }

    fn finish(mut self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        self.write_header(out);
        Ok(())
    }
}
