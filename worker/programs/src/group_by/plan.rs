//! What a group-by does, read from its parameters; then, for one file, which
//! columns it takes.

use vivat_mapreduce::{CsvHeader, ProgramError};

use super::aggregate::Function;
use crate::parameters::{ParameterError, Parameters};
use crate::table::codes::Coded;
use crate::table::items;
use crate::table::sheet::{Columns, Sheet, Source};

/// A column of the output.
#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    pub(super) name: String,
    pub(super) function: Function,
    /// A column of the file or a derived one; none: all rows.
    pub(super) column: Option<String>,
    pub(super) weight: Option<String>,
}

/// Which parts begin with the names of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Headers {
    First,
    Every,
    None,
}

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) keys: Vec<String>,
    pub(super) sheet: Sheet,
    pub(super) aggregates: Vec<Aggregate>,
    pub(super) functions: Vec<Function>,
    /// Those ordinal columns whose code book is the last part of the output.
    pub(super) book: Vec<usize>,
    pub(super) json: bool,
    pub(super) headers: Headers,
}

impl Plan {
    pub(super) fn of(parameters: &Parameters) -> Result<Self, ParameterError> {
        let refuse = |name: &'static str| move |detail| parameters.error(name, detail);
        let keys = items(parameters.text("key"));
        if keys.is_empty() {
            return Err(refuse("key")("it takes names of columns".to_owned()));
        }
        let sheet = Sheet::of(parameters)?;
        let aggregates = items(parameters.text("aggregate"));
        let aggregates: Vec<Aggregate> = aggregates
            .iter()
            .map(|text| aggregate(text))
            .collect::<Result<_, _>>()
            .map_err(refuse("aggregate"))?;
        check(&keys, &aggregates, &sheet).map_err(refuse("aggregate"))?;
        let wants_book = |ordinal: &Coded| match parameters.text("code-book") {
            "all" => true,
            "none" => false,
            _ => !ordinal.is_declared(),
        };
        let book = (0..sheet.ordinals.len()).filter(|index| wants_book(&sheet.ordinals[*index]));
        Ok(Self {
            keys,
            functions: aggregates.iter().map(|it| it.function).collect(),
            aggregates,
            book: book.collect(),
            sheet,
            json: parameters.text("output") == "json",
            headers: match parameters.text("header") {
                "every" => Headers::Every,
                "none" => Headers::None,
                _ => Headers::First,
            },
        })
    }

    /// Of so many parts those that hold groups.
    pub(super) fn table_parts(&self, partitions: u32) -> u32 {
        let book = u32::from(!self.book.is_empty());
        partitions.saturating_sub(book).max(1)
    }

    /// Where the columns are in a file.
    pub(super) fn of_file(&self, header: &CsvHeader) -> Result<FilePlan, ProgramError> {
        let mut plan = FilePlan {
            keys: Vec::new(),
            columns: Columns::new(&self.sheet, header)?,
            cells: Vec::new(),
        };
        for key in &self.keys {
            plan.keys.push(header.column(key)?);
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
                ) if !self.sheet.is_derived(column) => CellPlan::Text(header.column(column)?),
                (Some(column), _) => {
                    let number = plan.columns.source(&self.sheet, header, column)?;
                    let weight = aggregate
                        .weight
                        .as_ref()
                        .map(|name| plan.columns.source(&self.sheet, header, name));
                    CellPlan::Number(number, weight.transpose()?)
                }
            };
            plan.cells.push(cell);
        }
        Ok(plan)
    }
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
    pub(super) columns: Columns,
    pub(super) cells: Vec<CellPlan>,
}

/// Names that tell what is what, and no texts of columns that have none.
fn check(keys: &[String], aggregates: &[Aggregate], sheet: &Sheet) -> Result<(), String> {
    for (index, aggregate) in aggregates.iter().enumerate() {
        let wants_text = matches!(
            aggregate.function,
            Function::First | Function::DistinctCount | Function::DistinctList
        );
        let column = aggregate.column.as_deref().unwrap_or_default();
        let name = &aggregate.name;
        if wants_text && sheet.is_derived(column) {
            return Err(format!(
                "`{name}` is of a derived column, which has no text"
            ));
        }
        let is_before = aggregates[..index].iter().any(|other| other.name == *name);
        if is_before || keys.contains(name) {
            return Err(format!(
                "two columns of the output are called `{name}`: give one a name, \
                 NAME = FUNCTION(...)"
            ));
        }
    }
    Ok(())
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
