//! Least squares: how a column of CSV files depends on others.
//!
//! Each map adds up the products of all pairs of columns ([`gram`]), the reduce adds
//! up the maps' and solves the normal equations once ([`solve`]). Sums are exact, so
//! the model is the same to the last bit however the input was split and whatever had
//! to be repeated. The output is the model ([`model`]), which [`predict`] reads.
//!
//! A category is a column of its own for each of its texts but the first. Rows in
//! which something is missing are left out, and counted.

mod gram;
mod model;
mod oracle;
mod predict;
mod solve;

use std::collections::BTreeMap;
use std::io::Read;

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    CloseContext, Closed, Counter, CsvRow, Emit, MapContext, Mapper, Output, Parts, Program,
    ProgramError, Record, ReduceContext, Reducer, Values as Matrices,
};
use vivat_shared::job::StepSpec;

use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use crate::table::codes::{Coded, Codes, with_codes};
use crate::table::sheet::{Columns, DERIVE, Numbers, ORDINAL, Sheet, Source, codes_of};
use crate::table::{MISSING, MULTILINE, Values, exact, items, text};
use gram::Gram;
use solve::Options;

pub(crate) use predict::ENTRY as PREDICT_ENTRY;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "linear-regression",
    summary: "fits a column of CSV as a linear function of others: coefficients, R2, RMSE",
    parameters: &[
        text("target", None, "the column to be predicted"),
        text("features", Some(""), "list of columns that are numbers"),
        text(
            "categories",
            Some(""),
            "list of columns that are one of several texts: COLUMN, or COLUMN = FIRST|SECOND|...; \
             the first text is what the others are compared with",
        ),
        DERIVE,
        ORDINAL,
        ParameterSpec {
            name: "ridge",
            kind: ParameterKind::Number {
                min: 0.0,
                max: exact::LARGEST,
            },
            default: Some("0"),
            help: "times the squares of the coefficients is added to what is minimized",
        },
        ParameterSpec {
            name: "intercept",
            kind: ParameterKind::Boolean,
            default: Some("true"),
            help: "whether the fit has a constant, which ridge does not count",
        },
        MISSING,
        MULTILINE,
    ],
    formats: &[Format::Csv],
    example: "vivat run linear-regression data/input/game-logs.csv --format csv -p target=PTS \
              -p features=MIN,FGA,FTA -p categories=POSITION",
    build,
    oracle: oracle::regression,
};

/// Columns of a fit, those of categories among them.
const FEATURES_MAX: usize = 1_000;
/// Counts rows in which something is missing.
const LEFT_OUT: &str = "linear-regression.left-out";

/// What a regression does, read from its parameters.
struct Plan {
    target: String,
    features: Vec<String>,
    categories: Vec<Coded>,
    sheet: Sheet,
    /// The derived columns as they were written.
    expressions: Vec<(String, String)>,
    options: Options,
}

impl Plan {
    fn of(parameters: &Parameters) -> Result<Self, ParameterError> {
        let refuse = |name: &'static str| move |detail| parameters.error(name, detail);
        let target = parameters.text("target").trim().to_owned();
        let features = items(parameters.text("features"));
        let categories = Coded::list(parameters.text("categories"));
        let categories = categories.map_err(refuse("categories"))?;
        let ridge = parameters.number("ridge");
        if ridge != 0.0 && ridge < exact::SMALLEST {
            return Err(refuse("ridge")("it takes 0 or 1e-100 at least".to_owned()));
        }
        let mut names: Vec<&str> = features.iter().map(String::as_str).collect();
        names.extend(categories.iter().map(|category| category.column.as_str()));
        if names.is_empty() {
            let detail = "it takes names of columns, or `categories` does";
            return Err(refuse("features")(detail.to_owned()));
        }
        names.push(&target);
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                return Err(refuse("features")(format!("column `{name}` is used twice")));
            }
        }
        let expressions = items(parameters.text(DERIVE.name)).into_iter();
        let expressions = expressions.filter_map(|item| {
            let (name, expression) = item.split_once('=')?;
            Some((name.trim().to_owned(), expression.trim().to_owned()))
        });
        Ok(Self {
            sheet: Sheet::of(parameters)?,
            expressions: expressions.collect(),
            options: Options {
                ridge,
                intercept: parameters.is_true("intercept"),
            },
            target,
            features,
            categories,
        })
    }

    /// Names of the features, one for each column of the matrix.
    fn names(&self, categories: &[Codes]) -> Vec<String> {
        let mut names: Vec<String> = self.features.iter().map(|it| format!("`{it}`")).collect();
        for (category, codes) in self.categories.iter().zip(categories) {
            names.extend(codes.texts().iter().skip(1).map(|text| {
                let text = String::from_utf8_lossy(text);
                format!("`{} = {text}`", category.column)
            }));
        }
        names
    }

    /// The books of the categories, and of the ordinals.
    fn codes(&self, found: &[u8]) -> Result<(Vec<Codes>, Vec<Codes>), ProgramError> {
        // One book for both, whichever of them asked for it.
        let all: Vec<Coded> = self.coded().cloned().collect();
        let mut categories = codes_of(&all, found)?;
        let ordinals = categories.split_off(self.categories.len());
        Ok((categories, ordinals))
    }

    fn coded(&self) -> impl Iterator<Item = &Coded> {
        self.categories.iter().chain(&self.sheet.ordinals)
    }
}

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    let plan = Plan::of(parameters)?;
    Ok(Box::new(Runner::new(LinearRegression { plan })))
}

/// One step of fitting as the steps that it takes.
///
/// # Errors
///
/// Names a parameter that makes no sense.
pub(crate) fn expand(
    step: &StepSpec,
    parameters: &Parameters,
) -> Result<Vec<StepSpec>, ParameterError> {
    let plan = Plan::of(parameters)?;
    let step = StepSpec {
        // There is one matrix.
        reducers: 1,
        closes: true,
        ..step.clone()
    };
    let mut columns = Coded::found(plan.coded());
    columns.sort_unstable();
    columns.dedup();
    Ok(with_codes(step, &columns))
}

struct LinearRegression {
    plan: Plan,
}

impl Program for LinearRegression {
    /// There is one matrix, so there is one key.
    type Key = u32;
    /// An encoded [`Gram`].
    type Value = Vec<u8>;
    type Mapper<'t> = AddRows<'t>;
    type Reducer<'t> = Solve<'t>;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<AddRows<'t>, ProgramError> {
        let header = context
            .header
            .ok_or_else(|| ProgramError::new("linear-regression reads format csv"))?;
        let plan = &self.plan;
        let mut columns = Columns::new(&plan.sheet, header)?;
        let mut source = |name: &String| columns.source(&plan.sheet, header, name);
        let numbers = plan.features.iter().map(&mut source);
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        let target = source(&plan.target)?;
        let (of_categories, of_ordinals) = plan.codes(context.broadcast)?;
        let mut place = 1 + numbers.len();
        let mut categories = Vec::new();
        for (category, codes) in plan.categories.iter().zip(of_categories) {
            let next = place + codes.texts().len().saturating_sub(1);
            categories.push(CategoryColumn {
                column: header.column(&category.column)?,
                place,
                codes,
            });
            place = next;
        }
        if place > FEATURES_MAX {
            return Err(ProgramError::new(format!(
                "the fit has {place} columns, with one for each text of a category: {FEATURES_MAX} \
                 at most"
            )));
        }
        Ok(AddRows {
            plan,
            names: header.names(),
            columns,
            numbers,
            target,
            categories,
            codes: of_ordinals,
            left_out: context.counter(LEFT_OUT)?,
            row: CsvRow::default(),
            read: Numbers::default(),
            values: vec![0.0; place + 1],
            gram: Gram::new(place + 1),
        })
    }

    fn reducer<'t>(&'t self, context: &'t ReduceContext<'t>) -> Result<Solve<'t>, ProgramError> {
        Ok(Solve {
            plan: &self.plan,
            broadcast: context.broadcast,
        })
    }

    fn close(&self, _: &CloseContext<'_>, parts: &mut Parts<'_>) -> Result<Closed, ProgramError> {
        let mut text = Vec::new();
        while let Some(mut part) = parts.next()? {
            part.read_to_end(&mut text).map_err(ProgramError::part)?;
        }
        let metrics: BTreeMap<String, f64> = model::told(&text)?.into_iter().collect();
        Ok(Closed {
            broadcast: text,
            metrics,
            again: false,
        })
    }
}

/// A category in one file.
struct CategoryColumn {
    column: usize,
    /// Of its second text in a row of the matrix.
    place: usize,
    codes: Codes,
}

struct AddRows<'t> {
    plan: &'t Plan,
    names: &'t [Vec<u8>],
    columns: Columns,
    numbers: Vec<Source>,
    target: Source,
    categories: Vec<CategoryColumn>,
    /// Of the ordinal columns.
    codes: Vec<Codes>,
    left_out: Counter,
    row: CsvRow,
    read: Numbers,
    /// A row of the matrix.
    values: Vec<f64>,
    gram: Gram,
}

impl Mapper<u32, Vec<u8>> for AddRows<'_> {
    fn map<E: Emit<u32, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        _: &mut E,
    ) -> Result<(), ProgramError> {
        let fields = self.row.read(record, self.names.len())?;
        let values = Values {
            missing: &self.plan.sheet.missing,
            names: self.names,
            offset: record.offset,
        };
        let plan = (&self.plan.sheet, &self.columns);
        self.read.read(plan, &self.codes, &values, fields)?;
        self.values.fill(0.0);
        self.values[0] = 1.0;
        let mut is_whole = true;
        for category in &self.categories {
            let text = fields.get(category.column);
            match values.code(&category.codes, text, category.column)? {
                Some(0) => {}
                Some(code) => self.values[category.place + code as usize - 1] = 1.0,
                None => is_whole = false,
            }
        }
        for (source, value) in self.numbers.iter().zip(&mut self.values[1..]) {
            *value = self.read.of(*source);
            is_whole &= !value.is_nan();
        }
        let target = self.read.of(self.target);
        if !is_whole || target.is_nan() {
            self.gram.left_out += 1;
            self.left_out.add(1);
            return Ok(());
        }
        if let Some(last) = self.values.last_mut() {
            *last = target;
        }
        self.gram.add(&self.values);
        Ok(())
    }

    fn finish<E: Emit<u32, Vec<u8>>>(self, emit: &mut E) -> Result<(), ProgramError> {
        let encoded = self.gram.encode();
        let encoded = encoded.ok_or_else(|| ProgramError::new("the sums cannot be encoded"))?;
        emit.emit(0, &encoded);
        Ok(())
    }
}

struct Solve<'t> {
    plan: &'t Plan,
    broadcast: &'t [u8],
}

impl Reducer<u32, Vec<u8>> for Solve<'_> {
    fn reduce<S: Matrices<Vec<u8>>>(
        &mut self,
        _: u32,
        matrices: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        let broken = || ProgramError::new("what was shuffled is no matrix of sums");
        let (categories, ordinals) = self.plan.codes(self.broadcast)?;
        let names = self.plan.names(&categories);
        let mut gram = Gram::new(names.len() + 2);
        while let Some(encoded) = matrices.next() {
            let more = Gram::decode(encoded).ok_or_else(broken)?;
            if !gram.merge(&more) {
                return Err(broken());
            }
        }
        let fit = solve::fit(&gram, &names, self.plan.options).map_err(ProgramError::new)?;
        let text = model::write(self.plan, (&categories, &ordinals), &fit);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            out.record(line);
        }
        Ok(())
    }
}
