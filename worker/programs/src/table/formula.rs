//! Expressions over columns.

use exmex::{BinOp, Express, FlatEx, MakeOperators, Operator, ops_factory};

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
pub(crate) struct Formula(FlatEx<f64, Arithmetic>);

impl Formula {
    /// Reads an expression.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parsed = FlatEx::parse(text).map_err(|error| error.to_string())?;
        Ok(Self(parsed))
    }

    /// The columns it takes, in the order in which [`Self::value`] wants them.
    pub(crate) fn columns(&self) -> &[String] {
        self.0.var_names()
    }

    /// Nothing when a column is missing, or something is divided by zero.
    pub(crate) fn value(&self, columns: &[f64]) -> Option<f64> {
        self.0.eval(columns).ok().filter(|value| value.is_finite())
    }
}

/// Reads `NAME = EXPRESSION`.
pub(crate) fn named(text: &str) -> Result<(String, Formula), String> {
    let (name, formula) = text
        .split_once('=')
        .ok_or_else(|| format!("it takes NAME = EXPRESSION, not `{text}`"))?;
    let formula = Formula::parse(formula.trim())
        .map_err(|error| format!("`{text}` is no expression: {error}"))?;
    Ok((name.trim().to_owned(), formula))
}
