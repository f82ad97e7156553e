//! A fitted model as CSV: what a job writes, and what a prediction reads.
//!
//! | kind | column | text | value |
//! |---|---|---|---|
//! | `target` | the column that was learned | | |
//! | `intercept` | | | number |
//! | `number` | a feature | | its coefficient |
//! | `category` | a feature | one of its texts | its coefficient, 0 for the first text |
//! | `code` | an ordinal column | one of its texts | the number that it stands for |
//! | `derived` | a name | its expression | |
//! | `metric` | what is told: `rows`, `left-out`, `r2`, `rmse` | | number, if there is one |

use vivat_mapreduce::ProgramError;

use super::Plan;
use super::solve::Fit;
use crate::table::codes::Codes;
use crate::table::formula::Formula;
use crate::table::write::{fields, shown};

const HEADER: &[u8] = b"kind,column,text,value\n";

/// A feature that is one of several texts.
#[derive(Debug, Clone)]
pub(super) struct Category {
    pub(super) column: String,
    pub(super) codes: Codes,
    /// Of the texts in order.
    pub(super) coefficients: Vec<f64>,
}

/// What a prediction needs.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) intercept: f64,
    pub(super) numbers: Vec<(String, f64)>,
    pub(super) categories: Vec<Category>,
    pub(super) ordinals: Vec<(String, Codes)>,
    pub(super) derived: Vec<(String, Formula)>,
}

/// Writes a fit. `codes` are the books of the plan's categories and ordinals.
pub(super) fn write(plan: &Plan, codes: (&[Codes], &[Codes]), fit: &Fit) -> Vec<u8> {
    let mut text = HEADER.to_vec();
    let mut row = |kind: &str, column: &str, words: &[u8], value: Option<f64>| {
        let value = value.map(shown).unwrap_or_default();
        let all = [kind.as_bytes(), column.as_bytes(), words, value.as_bytes()];
        fields(all, &mut text);
        text.push(b'\n');
    };
    let (of_categories, of_ordinals) = codes;
    row("target", &plan.target, b"", None);
    row("intercept", "", b"", Some(fit.intercept));
    let mut coefficients = fit.coefficients.iter();
    for name in &plan.features {
        row("number", name, b"", coefficients.next().copied());
    }
    for (category, codes) in plan.categories.iter().zip(of_categories) {
        for (place, words) in codes.texts().iter().enumerate() {
            let coefficient = match place {
                0 => Some(0.0),
                _ => coefficients.next().copied(),
            };
            row("category", &category.column, words, coefficient);
        }
    }
    for (ordinal, codes) in plan.sheet.ordinals.iter().zip(of_ordinals) {
        for (place, words) in (0_u32..).zip(codes.texts()) {
            row("code", &ordinal.column, words, Some(f64::from(place)));
        }
    }
    for (name, expression) in &plan.expressions {
        row("derived", name, expression.as_bytes(), None);
    }
    for (name, value) in metrics(fit) {
        row("metric", name, b"", value);
    }
    text
}

/// What is told of a fit.
fn metrics(fit: &Fit) -> [(&'static str, Option<f64>); 4] {
    #[expect(clippy::cast_precision_loss, reason = "no job has 2^53 records")]
    let left_out = fit.left_out as f64;
    [
        ("rows", Some(fit.rows)),
        ("left-out", Some(left_out)),
        ("r2", fit.r2),
        ("rmse", Some(fit.rmse)),
    ]
}

/// A line of a model.
struct Row {
    kind: Vec<u8>,
    column: String,
    text: Vec<u8>,
    value: Option<f64>,
}

fn rows(text: &[u8]) -> Result<Vec<Row>, String> {
    let mut reader = csv::Reader::from_reader(text);
    let header = reader.byte_headers().map_err(|error| error.to_string())?;
    if !header
        .iter()
        .eq(["kind", "column", "text", "value"].map(str::as_bytes))
    {
        return Err("it does not begin with kind,column,text,value".to_owned());
    }
    let row = |(line, record): (usize, Result<csv::ByteRecord, csv::Error>)| {
        let record = record.map_err(|error| error.to_string())?;
        let bad = || format!("record {} is none of a model", line + 2);
        let field = |index: usize| record.get(index).unwrap_or_default();
        let words = |index: usize| str::from_utf8(field(index)).map_err(|_| bad());
        let value = Some(words(3)?).filter(|value| !value.is_empty());
        let value = value.map(|value| value.parse::<f64>().map_err(|_| bad()));
        Ok(Row {
            kind: field(0).to_vec(),
            column: words(1)?.to_owned(),
            text: field(2).to_vec(),
            value: value.transpose()?.filter(|value| value.is_finite()),
        })
    };
    reader.byte_records().enumerate().map(row).collect()
}

impl Model {
    /// Reads what [`write`] wrote.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let mut model = Self::default();
        let mut texts: Vec<(String, Vec<Vec<u8>>, Vec<f64>)> = Vec::new();
        let mut codes: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
        let mut is_model = false;
        for row in rows(text)? {
            let Row {
                kind,
                column,
                text,
                value,
            } = row;
            let number = || value.ok_or_else(|| format!("a number is missing for `{column}`"));
            match kind.as_slice() {
                b"target" | b"metric" => {}
                b"intercept" => {
                    is_model = true;
                    model.intercept = number()?;
                }
                b"number" => model.numbers.push((column.clone(), number()?)),
                b"category" => {
                    let number = number()?;
                    match texts.iter_mut().find(|(name, ..)| *name == column) {
                        Some((_, texts, numbers)) => {
                            texts.push(text);
                            numbers.push(number);
                        }
                        None => texts.push((column, vec![text], vec![number])),
                    }
                }
                b"code" => match codes.iter_mut().find(|(name, _)| *name == column) {
                    Some((_, texts)) => texts.push(text),
                    None => codes.push((column, vec![text])),
                },
                b"derived" => {
                    let expression = String::from_utf8_lossy(&text);
                    let formula = Formula::parse(&expression)?;
                    model.derived.push((column, formula));
                }
                other => return Err(format!("`{}` is unknown", other.escape_ascii())),
            }
        }
        if !is_model {
            return Err("it has no intercept".to_owned());
        }
        let category = |(column, texts, coefficients)| Category {
            column,
            codes: Codes::of(texts),
            coefficients,
        };
        model.categories = texts.into_iter().map(category).collect();
        let ordinal = |(column, texts)| (column, Codes::of(texts));
        model.ordinals = codes.into_iter().map(ordinal).collect();
        Ok(model)
    }
}

/// What a written fit tells of itself.
pub(super) fn told(text: &[u8]) -> Result<Vec<(String, f64)>, ProgramError> {
    let rows = rows(text).map_err(ProgramError::new)?;
    let metrics = rows.into_iter().filter(|row| row.kind == b"metric");
    Ok(metrics
        .filter_map(|row| Some((row.column, row.value?)))
        .collect())
}
