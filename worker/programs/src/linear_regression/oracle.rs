//! What a regression must write: sums in whole numbers of any length, the normal
//! equations solved in fractions, each number rounded at the end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use num_bigint::{BigInt, Sign};

use super::Plan;
use crate::catalogue::OracleInput;
use crate::group_by::formula_of_oracle;
use crate::parameters::Parameters;
use crate::table::codes::{CodeBook, Coded, distinct};
use crate::table::{Missing, items};

/// Numbers are counted in units of 2^-1074, so every double is a whole number.
const UNIT_BITS: usize = 1074;

type Record = BTreeMap<String, String>;

fn units(number: f64) -> BigInt {
    let bits = number.to_bits();
    let exponent = usize::try_from(bits >> 52 & 0x7FF).unwrap_or(0);
    let fraction = bits & ((1 << 52) - 1);
    let whole = if exponent == 0 {
        fraction
    } else {
        fraction | 1 << 52
    };
    let size = BigInt::from(whole) << exponent.saturating_sub(1);
    if bits >> 63 == 1 { -size } else { size }
}

/// The double nearest to a fraction.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "this is the rounding, and lengths are small"
)]
fn nearest(above: &BigInt, below: &BigInt) -> f64 {
    let is_negative = (above.sign() == Sign::Minus) != (below.sign() == Sign::Minus);
    let (above, below) = (above.magnitude().clone(), below.magnitude().clone());
    let shift = 70 + below.bits() as i64 - above.bits() as i64;
    let (above, below) = match shift >= 0 {
        true => (above << shift, below),
        false => (above, below << -shift),
    };
    let whole = &above / &below;
    let is_inexact = &whole * &below != above;
    let whole = whole.iter_u64_digits().rev();
    let whole = whole.fold(0, |sum, digit| sum << 64 | u128::from(digit));
    let mut number = (whole | u128::from(is_inexact)) as f64;
    for _ in 0..shift.abs() {
        number = if shift > 0 {
            number / 2.0
        } else {
            number * 2.0
        };
    }
    if is_negative { 0.0 - number } else { number }
}

/// What the parameters ask for, and the texts of all categories and ordinals.
struct Task {
    plan: Plan,
    derived: Vec<(String, String)>,
    books: BTreeMap<String, Vec<String>>,
}

impl Task {
    fn of(parameters: &Parameters, inputs: &[OracleInput]) -> io::Result<Self> {
        let plan = Plan::of(parameters).map_err(io::Error::other)?;
        let mut books = BTreeMap::new();
        for coded in plan.coded() {
            books.insert(
                coded.column.clone(),
                texts(coded, inputs, &plan.sheet.missing)?,
            );
        }
        let derived = items(parameters.text("derive"));
        let derived = derived.iter().filter_map(|item| item.split_once('='));
        Ok(Self {
            derived: derived
                .map(|(name, text)| (name.trim().to_owned(), text.to_owned()))
                .collect(),
            books,
            plan,
        })
    }

    /// One, the features, the target: nothing if any of it is missing.
    fn row(&self, record: &Record) -> Option<Vec<f64>> {
        let is_ordinal = |name: &str| self.plan.sheet.ordinals.iter().any(|it| it.column == name);
        let mut numbers: BTreeMap<String, f64> = BTreeMap::new();
        for (name, text) in record {
            let text = text.trim();
            let missing = self.plan.sheet.missing.is_missing(text.as_bytes());
            let code = self.books.get(name).filter(|_| is_ordinal(name));
            let code = code.and_then(|book| book.iter().position(|it| it == text));
            let number = match code {
                _ if missing => continue,
                Some(code) => f64::from(u32::try_from(code).unwrap_or(0)),
                None => text.parse().unwrap_or(f64::NAN),
            };
            numbers.insert(name.clone(), number);
        }
        for (name, text) in &self.derived {
            let column = |name: &str| numbers.get(name).copied().unwrap_or(f64::NAN);
            let value = formula_of_oracle(text, &column);
            numbers.remove(name);
            if value.is_finite() {
                numbers.insert(name.clone(), value);
            }
        }
        let mut row = vec![1.0];
        for name in &self.plan.features {
            row.push(*numbers.get(name)?);
        }
        for category in &self.plan.categories {
            let text = record.get(&category.column)?.trim();
            let place = self.books[&category.column]
                .iter()
                .position(|it| it == text)?;
            let others = 1..self.books[&category.column].len();
            row.extend(others.map(|other| f64::from(u8::from(other == place))));
        }
        row.push(*numbers.get(&self.plan.target)?);
        Some(row)
    }
}

fn texts(coded: &Coded, inputs: &[OracleInput], missing: &Missing) -> io::Result<Vec<String>> {
    let all: Vec<Vec<u8>> = if coded.is_declared() {
        coded.codes(&CodeBook::default()).texts().to_vec()
    } else {
        let found = distinct(inputs, std::slice::from_ref(&coded.column), missing)?;
        found.into_iter().flatten().collect()
    };
    let text = |text: Vec<u8>| String::from_utf8(text).map_err(io::Error::other);
    all.into_iter().map(text).collect()
}

/// The solution of equations, as numerators of one denominator, by elimination
/// without fractions (E. H. Bareiss, 1968).
fn solved(mut rows: Vec<Vec<BigInt>>) -> Option<(Vec<BigInt>, BigInt)> {
    let size = rows.len();
    let mut before = BigInt::from(1);
    for at in 0..size {
        let found = (at..size).find(|row| rows[*row][at] != BigInt::ZERO)?;
        rows.swap(at, found);
        let pivot = rows[at].clone();
        for (index, row) in rows.iter_mut().enumerate() {
            if index != at {
                let factor = row[at].clone();
                for (number, of_pivot) in row.iter_mut().zip(&pivot) {
                    *number = (&*number * &pivot[at] - &factor * of_pivot) / &before;
                }
            }
        }
        before = pivot[at].clone();
    }
    // All numbers on the diagonal are the same now.
    let numerators = rows.into_iter().map(|mut row| row.swap_remove(size));
    Some((numerators.collect(), before))
}

struct Sums {
    rows: u32,
    left_out: u32,
    /// Of products of two columns, in units of 2^-2148.
    products: Vec<Vec<BigInt>>,
}

fn sums(task: &Task, inputs: &[OracleInput]) -> io::Result<Sums> {
    let mut sums = Sums {
        rows: 0,
        left_out: 0,
        products: Vec::new(),
    };
    for input in inputs {
        let mut reader = csv::Reader::from_path(&input.path).map_err(io::Error::other)?;
        for record in reader.deserialize() {
            let record: Record = record.map_err(io::Error::other)?;
            let Some(row) = task.row(&record) else {
                sums.left_out += 1;
                continue;
            };
            sums.rows += 1;
            sums.products
                .resize(row.len(), vec![BigInt::ZERO; row.len()]);
            let row: Vec<BigInt> = row.into_iter().map(units).collect();
            for (a, sums) in row.iter().zip(&mut sums.products) {
                for (b, sum) in row.iter().zip(sums) {
                    if *a != BigInt::ZERO && *b != BigInt::ZERO {
                        *sum += a * b;
                    }
                }
            }
        }
    }
    Ok(sums)
}

pub(super) fn regression(
    parameters: &Parameters,
    inputs: &[OracleInput],
    _: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let task = Task::of(parameters, inputs)?;
    let options = task.plan.options;
    let Sums {
        rows,
        left_out,
        products,
    } = sums(&task, inputs)?;
    let last = products.len().checked_sub(1);
    let last = last.ok_or_else(|| io::Error::other("there are no rows to learn from"))?;
    let first = usize::from(!options.intercept);
    let ridge = units(options.ridge) << UNIT_BITS;
    let equations = (first..last).map(|a| {
        let number = |b: usize| match a == b && a > 0 {
            true => &products[a][b] + &ridge,
            false => products[a][b].clone(),
        };
        (first..=last).map(number).collect()
    });
    let (above, below) = solved(equations.collect())
        .ok_or_else(|| io::Error::other("columns depend on one another"))?;
    let mut coefficients: Vec<f64> = above.iter().map(|above| nearest(above, &below)).collect();
    if options.intercept {
        coefficients[0] = nearest(&(&above[0] * rows), &below) / f64::from(rows);
    } else {
        coefficients.insert(0, 0.0);
    }
    // Of every row the target less its prediction, squared.
    let signed = coefficients.iter().map(|coefficient| -units(*coefficient));
    let signed: Vec<BigInt> = signed.chain([units(1.0)]).collect();
    let mut errors = BigInt::ZERO;
    for (a, row) in signed.iter().zip(&products) {
        for (b, product) in signed.iter().zip(row) {
            errors += a * b * product;
        }
    }
    let errors = nearest(&errors, &(BigInt::from(1) << (4 * UNIT_BITS)));
    let sum = &products[0][last];
    let spread = ((&products[last][last] * rows) << (2 * UNIT_BITS)) - sum * sum;
    let spread = nearest(&spread, &(BigInt::from(1) << (4 * UNIT_BITS))) / f64::from(rows);
    let r2 = (spread > 0.0).then(|| 1.0 - errors / spread);
    let metrics = [
        ("rows", Some(f64::from(rows))),
        ("left-out", Some(f64::from(left_out))),
        ("r2", r2),
        ("rmse", Some((errors / f64::from(rows)).sqrt())),
    ];
    write(&task, &coefficients, metrics, out)
}

fn write(
    task: &Task,
    coefficients: &[f64],
    metrics: [(&str, Option<f64>); 4],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut table = csv::Writer::from_writer(out);
    let mut row = |fields: [&str; 4]| table.write_record(fields).map_err(io::Error::other);
    row(["kind", "column", "text", "value"])?;
    row(["target", &task.plan.target, "", ""])?;
    row(["intercept", "", "", &shown(coefficients[0])])?;
    let mut rest = coefficients[1..].iter();
    let mut next = || shown(rest.next().copied().unwrap_or(f64::NAN));
    for name in &task.plan.features {
        row(["number", name, "", &next()])?;
    }
    for category in &task.plan.categories {
        for (place, text) in task.books[&category.column].iter().enumerate() {
            let value = if place == 0 { "0".to_owned() } else { next() };
            row(["category", &category.column, text, &value])?;
        }
    }
    for ordinal in &task.plan.sheet.ordinals {
        for (place, text) in task.books[&ordinal.column].iter().enumerate() {
            row(["code", &ordinal.column, text, &place.to_string()])?;
        }
    }
    for (name, text) in &task.derived {
        row(["derived", name, text.trim(), ""])?;
    }
    for (name, value) in metrics {
        row(["metric", name, "", &value.map(shown).unwrap_or_default()])?;
    }
    table.flush()
}

/// Numbers as Rust shows them, very long ones with an exponent.
fn shown(number: f64) -> String {
    match number != 0.0 && !(1e-7..1e21).contains(&number.abs()) {
        true => format!("{number:e}"),
        false => number.to_string(),
    }
}

/// The rows of a model of one kind.
fn of_kind<'m>(model: &'m [Vec<String>], kind: &str) -> Vec<&'m [String]> {
    let rows = model.iter().filter(|row| row[0] == kind);
    rows.map(|row| &row[1..]).collect()
}

pub(super) fn prediction(
    parameters: &Parameters,
    inputs: &[OracleInput],
    _: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut reader =
        csv::Reader::from_path(Path::new(parameters.text("model"))).map_err(io::Error::other)?;
    let model: Result<Vec<Vec<String>>, csv::Error> = reader.deserialize().collect();
    let model = model.map_err(io::Error::other)?;
    let missing = Missing::of(parameters.text("missing"));
    let keep = items(parameters.text("keep"));
    let lenient = parameters.text("unseen") == "missing";
    let mut table = csv::Writer::from_writer(out);
    let names = keep.iter().map(String::as_str).chain(["prediction"]);
    table.write_record(names).map_err(io::Error::other)?;
    for input in inputs {
        let mut reader = csv::Reader::from_path(&input.path).map_err(io::Error::other)?;
        for record in reader.deserialize() {
            let record: Record = record.map_err(io::Error::other)?;
            let predicted = predicted(&model, &record, &missing);
            let predicted = match predicted {
                Err(unseen) if !lenient => return Err(io::Error::other(unseen)),
                Ok(number) if number.is_finite() => shown(number + 0.0),
                Ok(_) | Err(_) => String::new(),
            };
            let kept = keep.iter().map(|name| record[name].as_str());
            let fields = kept.chain([predicted.as_str()]);
            table.write_record(fields).map_err(io::Error::other)?;
        }
    }
    table.flush()
}

/// The error is a text that the model does not have.
fn predicted(model: &[Vec<String>], record: &Record, missing: &Missing) -> Result<f64, String> {
    let codes = of_kind(model, "code");
    let number = |text: &str| text.parse().unwrap_or(f64::NAN);
    let mut numbers: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, text) in record {
        let text = text.trim();
        let mut of_column = codes.iter().filter(|row| row[0] == *name).peekable();
        let value = match of_column.peek() {
            _ if missing.is_missing(text.as_bytes()) => f64::NAN,
            None => number(text),
            Some(_) => match of_column.find(|row| row[1] == text) {
                Some(row) => number(&row[2]),
                None => return Err(format!("`{text}` is unknown")),
            },
        };
        numbers.insert(name, value);
    }
    for row in of_kind(model, "derived") {
        let column = |name: &str| numbers.get(name).copied().unwrap_or(f64::NAN);
        let value = formula_of_oracle(&row[1], &column);
        numbers.insert(&row[0], value);
    }
    let mut sum = number(&of_kind(model, "intercept")[0][2]);
    for row in of_kind(model, "number") {
        sum += number(&row[2]) * numbers.get(row[0].as_str()).copied().unwrap_or(f64::NAN);
    }
    let categories = of_kind(model, "category");
    let mut columns: Vec<&str> = categories.iter().map(|row| row[0].as_str()).collect();
    columns.dedup();
    for column in columns {
        let text = record[column].trim();
        let mut found = categories.iter().filter(|row| row[0] == column);
        sum += match found.find(|row| row[1] == text) {
            Some(row) => number(&row[2]),
            None if missing.is_missing(text.as_bytes()) => f64::NAN,
            None => return Err(format!("`{text}` is unknown")),
        };
    }
    Ok(sum)
}
