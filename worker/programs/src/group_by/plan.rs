//! What a group-by does, read from its parameters; then, for one file, which
//! columns it takes.

use exmex::{BinOp, Express, FlatEx, MakeOperators, Operator, ops_factory};
use vivat_mapreduce::{CsvHeader, ProgramError};

use super::aggregate::Function;
use crate::parameters::{ParameterError, Parameters};

// Missing is `NaN`, and so is what is divided by zero: it spreads to all that is
// made of it, which infinity would not (1 / (1 / 0) would be 0). What binds alike
// goes from left to right.
ops_factory!(
    Arithmetic,
    f64,
    Operator::make_bin(
        "^",
        BinOp {
            apply: |a: f64, b: f64| if b.is_nan() { b } else { a.powf(b) },
            prio: 4,
            is_commutative: false,
        }
    ),
    Operator::make_bin(
        "*",
        BinOp {
            apply: |a, b| a * b,
            prio: 2,
            is_commutative: false,
        }
    ),
    Operator::make_bin(
        "/",
        BinOp {
            apply: |a, b| if b == 0.0 { f64::NAN } else { a / b },
            prio: 2,
            is_commutative: false,
        }
    ),
    Operator::make_bin_unary(
        "+",
        BinOp {
            apply: |a, b| a + b,
            prio: 0,
            is_commutative: false,
        },
        |a| a
    ),
    Operator::make_bin_unary(
        "-",
        BinOp {
            apply: |a, b| a - b,
            prio: 0,
            is_commutative: false,
        },
        |a: f64| -a
    ),
    Operator::make_unary("abs", |a: f64| a.abs()),
    Operator::make_unary("sqrt", |a: f64| a.sqrt()),
    Operator::make_unary("floor", |a: f64| a.floor()),
    Operator::make_unary("ceil", |a: f64| a.ceil()),
    Operator::make_unary("round", |a: f64| a.round())
);

/// An expression over columns.
#[derive(Debug, Clone)]
pub(super) struct Formula(FlatEx<f64, Arithmetic>);

impl Formula {
    fn parse(text: &str) -> Result<Self, String> {
        let parsed = FlatEx::parse(text).map_err(|error| error.to_string())?;
        Ok(Self(parsed))
    }

    /// The columns it takes, in the order in which [`Self::value`] wants them.
    pub(super) fn columns(&self) -> &[String] {
        self.0.var_names()
    }

    /// Nothing when a column is missing, or something is divided by zero.
    pub(super) fn value(&self, columns: &[f64]) -> Option<f64> {
        self.0.eval(columns).ok().filter(|value| value.is_finite())
    }
}

/// A column of the output.
#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    pub(super) name: String,
    pub(super) function: Function,
    /// A column of the file or a derived one; none: all rows.
    pub(super) column: Option<String>,
    pub(super) weight: Option<String>,
}

/// A column whose texts stand for numbers, in this order, from 0.
#[derive(Debug, Clone)]
pub(super) struct Ordinal {
    pub(super) column: String,
    pub(super) texts: Vec<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) keys: Vec<String>,
    pub(super) derived: Vec<(String, Formula)>,
    pub(super) aggregates: Vec<Aggregate>,
    pub(super) functions: Vec<Function>,
    pub(super) missing: Vec<Vec<u8>>,
    pub(super) ordinals: Vec<Ordinal>,
    pub(super) json: bool,
}

impl Plan {
    pub(super) fn of(parameters: &Parameters) -> Result<Self, ParameterError> {
        let refuse = |name: &'static str| move |detail| parameters.error(name, detail);
        let keys = items(parameters.text("key"));
        if keys.is_empty() {
            return Err(refuse("key")("it takes names of columns".to_owned()));
        }
        let derived = items(parameters.text("derive"));
        let derived = derived.iter().map(|text| formula(text));
        let derived: Vec<_> = derived
            .collect::<Result<_, _>>()
            .map_err(refuse("derive"))?;
        let aggregates = items(parameters.text("aggregate"));
        let aggregates: Vec<Aggregate> = aggregates
            .iter()
            .map(|text| aggregate(text))
            .collect::<Result<_, _>>()
            .map_err(refuse("aggregate"))?;
        for aggregate in &aggregates {
            let wants_text = matches!(
                aggregate.function,
                Function::First | Function::DistinctCount | Function::DistinctList
            );
            let is_derived =
                |(name, _): &(String, Formula)| Some(name) == aggregate.column.as_ref();
            if wants_text && derived.iter().any(is_derived) {
                let detail = format!(
                    "`{}` is of a derived column, which has no text",
                    aggregate.name
                );
                return Err(refuse("aggregate")(detail));
            }
        }
        let ordinals = items(parameters.text("ordinal"));
        let ordinals = ordinals.iter().map(|text| ordinal(text));
        let ordinals = ordinals
            .collect::<Result<_, _>>()
            .map_err(refuse("ordinal"))?;
        let missing = parameters.text("missing").split(',');
        Ok(Self {
            keys,
            derived,
            functions: aggregates.iter().map(|it| it.function).collect(),
            aggregates,
            missing: missing
                .map(|text| text.trim().as_bytes().to_vec())
                .collect(),
            ordinals,
            json: parameters.text("output") == "json",
        })
    }

    /// Where the columns are in a file.
    pub(super) fn of_file(&self, header: &CsvHeader) -> Result<FilePlan, ProgramError> {
        let mut plan = FilePlan {
            keys: Vec::new(),
            sources: Vec::new(),
            formulas: Vec::new(),
            cells: Vec::new(),
        };
        for key in &self.keys {
            plan.keys.push(header.column(key)?);
        }
        // A derived column may use those before it.
        for (index, (_, formula)) in self.derived.iter().enumerate() {
            let columns = formula.columns().iter();
            let columns = columns.map(|name| plan.source(self, header, name, index));
            let columns = columns.collect::<Result<_, _>>()?;
            plan.formulas.push(columns);
        }
        for aggregate in &self.aggregates {
            let cell = match (&aggregate.column, aggregate.function) {
                (None, _) => CellPlan::Always,
                (
                    Some(column),
                    Function::Count
                    | Function::First
                    | Function::DistinctCount
                    | Function::DistinctList,
                ) if !self.derived.iter().any(|(name, _)| name == column) => {
                    CellPlan::Text(header.column(column)?)
                }
                (Some(column), _) => {
                    let number = plan.source(self, header, column, self.derived.len())?;
                    let weight = aggregate
                        .weight
                        .as_ref()
                        .map(|name| plan.source(self, header, name, self.derived.len()));
                    CellPlan::Number(number, weight.transpose()?)
                }
            };
            plan.cells.push(cell);
        }
        Ok(plan)
    }
}

/// Where a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// One of [`FilePlan::sources`].
    Column(usize),
    /// A derived column.
    Derived(usize),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum CellPlan {
    Always,
    Text(usize),
    Number(Source, Option<Source>),
}

#[derive(Debug, Clone)]
pub(super) struct FilePlan {
    pub(super) keys: Vec<usize>,
    /// Columns that are read as numbers, with their ordinal if they have one.
    pub(super) sources: Vec<(usize, Option<usize>)>,
    pub(super) formulas: Vec<Vec<Source>>,
    pub(super) cells: Vec<CellPlan>,
}

impl FilePlan {
    fn source(
        &mut self,
        plan: &Plan,
        header: &CsvHeader,
        name: &str,
        derived: usize,
    ) -> Result<Source, ProgramError> {
        let before = plan.derived.iter().take(derived);
        if let Some(index) = before.rev().position(|(other, _)| other == name) {
            return Ok(Source::Derived(derived - 1 - index));
        }
        let column = header.column(name)?;
        let known = self.sources.iter().position(|(other, _)| *other == column);
        Ok(Source::Column(known.unwrap_or_else(|| {
            let ordinal = plan.ordinals.iter().position(|it| it.column == name);
            self.sources.push((column, ordinal));
            self.sources.len() - 1
        })))
    }
}

/// Parts of a list: between commas or semicolons that are in no brackets.
pub(super) fn items(list: &str) -> Vec<String> {
    let mut items = Vec::new();
    let (mut item, mut depth) = (String::new(), 0_i32);
    for character in list.chars() {
        depth += match character {
            '(' | '{' => 1,
            ')' | '}' => -1,
            _ => 0,
        };
        if depth == 0 && matches!(character, ',' | ';') {
            items.push(std::mem::take(&mut item));
        } else {
            item.push(character);
        }
    }
    items.push(item);
    let trimmed = items.iter().map(|item| item.trim().to_owned());
    trimmed.filter(|item| !item.is_empty()).collect()
}

fn formula(text: &str) -> Result<(String, Formula), String> {
    let (name, formula) = text
        .split_once('=')
        .ok_or_else(|| format!("it takes NAME = EXPRESSION, not `{text}`"))?;
    let formula = Formula::parse(formula.trim())
        .map_err(|error| format!("`{text}` is no expression: {error}"))?;
    Ok((name.trim().to_owned(), formula))
}

const FUNCTIONS: &str = "count, sum, mean, weighted-mean, min, max, variance, stddev, first, \
    distinct-count, distinct-list, quantile";

fn aggregate(text: &str) -> Result<Aggregate, String> {
    let shape =
        || format!("it takes [NAME =] FUNCTION(COLUMN), not `{text}`; functions are {FUNCTIONS}");
    let (name, call) = match text.split_once('=') {
        Some((name, call)) => (Some(name.trim().to_owned()), call.trim()),
        None => (None, text),
    };
    let (function, given) = match call.split_once('(') {
        Some((function, rest)) => (function.trim(), rest.strip_suffix(')').ok_or_else(shape)?),
        None => (call, ""),
    };
    let given = items(given);
    let (function, column, second) = match (function, given.as_slice()) {
        ("count", []) => (Function::Count, None, None),
        ("quantile", [column, part]) => {
            let part = part.parse().ok().filter(|part| (0.0..=1.0).contains(part));
            let part = part.ok_or_else(|| format!("`{text}` needs a number from 0 to 1"))?;
            (
                Function::Quantile(part),
                Some(column.clone()),
                Some(part.to_string()),
            )
        }
        ("weighted-mean", [column, weight]) => {
            let weight = Some(weight.clone());
            (Function::WeightedMean, Some(column.clone()), weight)
        }
        (function, [column]) => {
            let function = simple(function).ok_or_else(shape)?;
            (function, Some(column.clone()), None)
        }
        (_, _) => return Err(shape()),
    };
    let name = name.unwrap_or_else(|| {
        let (word, _) = call.split_once('(').unwrap_or((call, ""));
        let words = [Some(word.trim().to_owned()), column.clone(), second.clone()];
        words.into_iter().flatten().collect::<Vec<_>>().join("_")
    });
    Ok(Aggregate {
        name,
        function,
        column,
        weight: second.filter(|_| function == Function::WeightedMean),
    })
}

fn simple(name: &str) -> Option<Function> {
    Some(match name {
        "count" => Function::Count,
        "sum" => Function::Sum,
        "mean" => Function::Mean,
        "min" => Function::Min,
        "max" => Function::Max,
        "variance" => Function::Variance,
        "stddev" => Function::Deviation,
        "first" => Function::First,
        "distinct-count" => Function::DistinctCount,
        "distinct-list" => Function::DistinctList,
        _ => return None,
    })
}

fn ordinal(text: &str) -> Result<Ordinal, String> {
    let (column, texts) = text
        .split_once('=')
        .ok_or_else(|| format!("it takes COLUMN = FIRST|SECOND|..., not `{text}`"))?;
    let texts = texts.split('|').map(|text| text.trim().as_bytes().to_vec());
    Ok(Ordinal {
        column: column.trim().to_owned(),
        texts: texts.collect(),
    })
}
