//! What group-by must write: records by the csv crate, values of a group in lists,
//! sums in whole numbers of any length.

pub(crate) mod big;
pub(crate) mod formula;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde_json::{Value, json};

use super::aggregate::Function;
use super::plan::{Aggregate, Headers, Plan};
use crate::catalogue::OracleInput;
use crate::oracles::part_of;
use crate::parameters::Parameters;
use crate::table::{codes, items};
use big::Big;

type Record = BTreeMap<String, String>;

pub(super) fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let plan = Plan::of(parameters).map_err(io::Error::other)?;
    let books = books(&plan, inputs)?;
    let context = Context {
        plan: &plan,
        books: &books,
    };
    let derived = items(parameters.text("derive"));
    let mut groups: BTreeMap<Vec<String>, Vec<Record>> = BTreeMap::new();
    for input in inputs {
        let mut reader = csv::Reader::from_path(&input.path).map_err(io::Error::other)?;
        for record in reader.deserialize() {
            let mut record: Record = record.map_err(io::Error::other)?;
            let key = plan
                .keys
                .iter()
                .map(|key| record.get(key).cloned().unwrap_or_default());
            let key: Vec<String> = key.collect();
            record.retain(|_, value| {
                let text = value.trim();
                !plan.sheet.missing.is_missing(text.as_bytes())
            });
            for formula in &derived {
                let (name, text) = formula.split_once('=').unwrap_or((formula, ""));
                let value = formula::value(text, &|column| context.number(&record, column));
                record.remove(name.trim());
                if value.is_finite() {
                    record.insert(name.trim().to_owned(), value.to_string());
                }
            }
            groups.entry(key).or_default().push(record);
        }
    }
    let table_parts = plan.table_parts(reducers);
    for part in 0..table_parts as usize {
        let is_named = match plan.headers {
            Headers::First => part == 0,
            Headers::Every => true,
            Headers::None => false,
        };
        if is_named && !plan.json {
            let names = plan.aggregates.iter().map(|it| &it.name);
            let names: Vec<String> = plan.keys.iter().chain(names).cloned().collect();
            line(&names, out)?;
        }
        for (key, records) in &groups {
            if part_of(&encoded(key), table_parts) == part {
                write(&context, key, records, out)?;
            }
        }
    }
    write_books(&context, out)
}

/// What everything is looked up in.
struct Context<'p> {
    plan: &'p Plan,
    /// The texts of the ordinal columns, in order.
    books: &'p [Vec<Vec<u8>>],
}

fn books(plan: &Plan, inputs: &[OracleInput]) -> io::Result<Vec<Vec<Vec<u8>>>> {
    let mut books = Vec::new();
    for ordinal in &plan.sheet.ordinals {
        if ordinal.is_declared() {
            books.push(ordinal.codes(&codes::CodeBook::default()).texts().to_vec());
            continue;
        }
        let columns = [ordinal.column.clone()];
        let found = codes::distinct(inputs, &columns, &plan.sheet.missing)?;
        books.extend(found.into_iter().map(|texts| texts.into_iter().collect()));
    }
    Ok(books)
}

fn write_books(context: &Context<'_>, out: &mut dyn Write) -> io::Result<()> {
    let plan = context.plan;
    if !plan.book.is_empty() && !plan.json && plan.headers != Headers::None {
        writeln!(out, "column,code,text")?;
    }
    for index in &plan.book {
        let column = &plan.sheet.ordinals[*index].column;
        for (code, text) in context.books[*index].iter().enumerate() {
            let text = String::from_utf8_lossy(text).into_owned();
            if plan.json {
                let (column, text) = (json!(column), json!(text));
                writeln!(
                    out,
                    "{{\"column\":{column},\"code\":{code},\"text\":{text}}}"
                )?;
            } else {
                line(&[column.clone(), code.to_string(), text], out)?;
            }
        }
    }
    Ok(())
}

/// One text is itself, several end in `00 01` each.
fn encoded(key: &[String]) -> Vec<u8> {
    match key {
        [only] => only.clone().into_bytes(),
        key => key
            .join("\0\u{1}")
            .into_bytes()
            .into_iter()
            .chain([0, 1])
            .collect(),
    }
}

impl Context<'_> {
    fn number(&self, record: &Record, column: &str) -> f64 {
        let Some(text) = record.get(column) else {
            return f64::NAN;
        };
        let ordinals = self.plan.sheet.ordinals.iter().zip(self.books);
        let mut ordinals = ordinals.filter(|(ordinal, _)| ordinal.column == column);
        let book = ordinals.next().map(|(_, book)| book);
        match book.and_then(|book| book.iter().position(|it| it == text.trim().as_bytes())) {
            Some(place) => f64::from(u32::try_from(place).unwrap_or(0)),
            None => text.trim().parse().unwrap_or(f64::NAN),
        }
    }
}

fn write(
    context: &Context<'_>,
    key: &[String],
    records: &[Record],
    out: &mut dyn Write,
) -> io::Result<()> {
    let plan = context.plan;
    let answers = plan
        .aggregates
        .iter()
        .map(|it| answer(context, it, records));
    let all: Vec<Value> = key.iter().map(|key| json!(key)).chain(answers).collect();
    if plan.json {
        let names = plan
            .keys
            .iter()
            .chain(plan.aggregates.iter().map(|it| &it.name));
        let pairs = names
            .zip(&all)
            .map(|(name, value)| format!("{}:{}", json!(name), shown(value)));
        return writeln!(out, "{{{}}}", pairs.collect::<Vec<_>>().join(","));
    }
    let fields = all.iter().map(|value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(texts) => {
            let texts = texts.iter().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join("|")
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => shown(value),
    });
    line(&fields.collect::<Vec<_>>(), out)
}

/// Numbers as Rust shows them, very long ones with an exponent.
fn shown(value: &Value) -> String {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) if number != 0.0 && !(1e-7..1e21).contains(&number.abs()) => {
            format!("{number:e}")
        }
        Some(number) => number.to_string(),
        None => value.to_string(),
    }
}

fn line(fields: &[String], out: &mut dyn Write) -> io::Result<()> {
    let quoted = fields
        .iter()
        .map(|field| match field.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field.clone(),
        });
    writeln!(out, "{}", quoted.collect::<Vec<_>>().join(","))
}

#[expect(clippy::cast_precision_loss, reason = "tests are small")]
fn answer(context: &Context<'_>, aggregate: &Aggregate, records: &[Record]) -> Value {
    let column = aggregate.column.as_deref().unwrap_or_default();
    let texts: Vec<&String> = records
        .iter()
        .filter_map(|record| record.get(column))
        .collect();
    let weight = aggregate.weight.as_deref();
    let weighted = records.iter().map(|record| {
        let weight = weight.map_or(1.0, |weight| context.number(record, weight));
        (context.number(record, column), weight)
    });
    let weighted = weighted.filter(|(number, weight)| !number.is_nan() && !weight.is_nan());
    let weighted: Vec<(f64, f64)> = weighted.collect();
    let mut numbers: Vec<f64> = weighted.iter().map(|(number, _)| *number).collect();
    numbers.sort_by(f64::total_cmp);
    let count = numbers.len();
    let sum = |terms: &[(f64, f64)]| {
        let products = terms.iter().map(|(a, b)| Big::of(*a).times(&Big::of(*b)));
        products.fold(Big::default(), |sum, product| sum.plus(&product))
    };
    let total = || sum(&weighted.iter().map(|(a, _)| (*a, 1.0)).collect::<Vec<_>>());
    match aggregate.function {
        Function::Count if column.is_empty() => json!(records.len()),
        Function::Count => json!(texts.len()),
        Function::First => json!(texts.first()),
        Function::DistinctCount => json!(texts.iter().collect::<BTreeSet<_>>().len()),
        Function::DistinctList => json!(texts.iter().collect::<BTreeSet<_>>()),
        Function::WeightedMean => {
            let weights = weighted.iter().map(|(_, weight)| (*weight, 1.0));
            let weights = sum(&weights.collect::<Vec<_>>()).rounded();
            match weights == 0.0 {
                true => Value::Null,
                false => json!(sum(&weighted).rounded() / weights),
            }
        }
        _ if count == 0 => Value::Null,
        Function::Sum => json!(total().rounded()),
        Function::Mean => json!(total().rounded() / count as f64),
        Function::Min => json!(numbers[0]),
        Function::Max => json!(numbers[count - 1]),
        Function::Quantile(part) => {
            let rank = (1..=count).find(|rank| *rank as f64 >= part * count as f64);
            let found = numbers[rank.unwrap_or(count) - 1];
            json!(f64::from_bits(found.to_bits() & !0 << 43) + 0.0)
        }
        Function::Variance | Function::Deviation if count < 2 => Value::Null,
        Function::Variance | Function::Deviation => {
            let squares = sum(&numbers.iter().map(|a| (*a, *a)).collect::<Vec<_>>());
            // Scales: squares have that of a product, so the count needs none.
            let spread = squares.repeated(count).minus(&total().squared_as_product());
            let variance = spread.rounded() / (count as f64 * (count - 1) as f64);
            json!(match aggregate.function == Function::Deviation {
                true => variance.sqrt(),
                false => variance,
            })
        }
    }
}
