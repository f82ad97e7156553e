//! Parameters of programs: what they take, and refusing all else.
//!
//! Parameters travel as text. The same check runs where a job is typed and on
//! the worker that runs it, so a bad one is named before anything starts.

use std::collections::BTreeMap;

use regex::bytes::Regex;
use vivat_shared::cause::FailureCause;

use crate::catalogue::ProgramEntry;

/// One parameter of a program.
#[derive(Debug, Clone, Copy)]
pub struct ParameterSpec {
    /// Its name, as in `-p NAME=VALUE`. One that ends in `.*` is any number of
    /// parameters whose names begin so.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParameterKind,
    /// Its value when it is not given; one without must be given.
    pub default: Option<&'static str>,
    /// One line for people.
    pub help: &'static str,
}

impl ParameterSpec {
    /// Whether a parameter of that name is this one, or one of these.
    fn is(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(begin) => name.len() > begin.len() && name.starts_with(begin),
            None => name == self.name,
        }
    }

    /// Whether it is any number of parameters.
    fn is_many(&self) -> bool {
        self.name.ends_with('*')
    }
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ParameterKind {
    /// Any text.
    Text,
    /// A whole number from `min` to `max`.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number from `min` to `max`, with a fraction or without.
    Number {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// `true` or `false`.
    Boolean,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// A regular expression in the syntax of the `regex` crate.
    Regex,
    /// A file that every task reads beside the input; empty: none. Whoever
    /// submits makes it a side file, and the value the name of that.
    Path,
}

impl ParameterKind {
    /// What it takes, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } if *max == f64::MAX => format!("a number, {min} or more"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Choice(words) => words.join(" or "),
            Self::Regex => "a regular expression".to_owned(),
            Self::Path => "a file".to_owned(),
        }
    }

    /// One word for tables: `text`, `integer`, `number`, `boolean`,
    /// `choice`, `regex`, `path`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer { .. } => "integer",
            Self::Number { .. } => "number",
            Self::Boolean => "boolean",
            Self::Choice(_) => "choice",
            Self::Regex => "regex",
            Self::Path => "path",
        }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let fits = match self {
            Self::Text | Self::Path => true,
            Self::Integer { min, max } => value
                .parse::<i64>()
                .is_ok_and(|number| (*min..=*max).contains(&number)),
            Self::Number { min, max } => value
                .parse::<f64>()
                .is_ok_and(|number| (*min..=*max).contains(&number)),
            Self::Boolean => matches!(value, "true" | "false"),
            Self::Choice(words) => words.contains(&value),
            Self::Regex => {
                return Regex::new(value)
                    .map(drop)
                    .map_err(|error| format!("it takes a regular expression: {error}"));
            }
        };
        if fits {
            Ok(())
        } else {
            let shown: String = value.chars().take(SHOWN_CHARS_MAX).collect();
            Err(format!("it takes {}, not `{shown}`", self.describe()))
        }
    }
}

/// Characters of a refused value that a message repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// A parameter that a program refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{parameter}` of {program}: {detail}")]
pub struct ParameterError {
    /// The program.
    pub program: String,
    /// The parameter.
    pub parameter: String,
    /// What is wrong and what it takes instead.
    pub detail: String,
}

impl ParameterError {
    /// The cause that the master is told.
    #[must_use]
    pub fn cause(&self) -> FailureCause {
        FailureCause::InvalidParameter {
            program: self.program.clone(),
            parameter: self.parameter.clone(),
            detail: self.detail.clone(),
        }
    }
}

/// Checked parameters of one program, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    program: &'static str,
    values: BTreeMap<String, String>,
}

impl Parameters {
    /// The text of a parameter; empty for one that the program does not have.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// Whether a boolean parameter is true.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// The number of a number parameter; 0 for one that the program does not have.
    #[must_use]
    pub fn number(&self, name: &str) -> f64 {
        self.text(name).parse().unwrap_or(0.0)
    }

    /// The number of an integer parameter; 0 for one that the program does not
    /// have.
    #[must_use]
    pub fn integer(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// All of them, as they travel.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.values.clone()
    }

    /// The error of a value that the check by its kind could not refuse.
    #[must_use]
    pub fn error(&self, parameter: &str, detail: String) -> ParameterError {
        ParameterError {
            program: self.program.to_owned(),
            parameter: parameter.to_owned(),
            detail,
        }
    }
}

/// Checks what was given against what the program takes.
///
/// # Errors
///
/// Names the first parameter that is unknown, missing or has a value that it
/// does not take.
pub fn validate_parameters(
    entry: &ProgramEntry,
    given: &BTreeMap<String, String>,
) -> Result<Parameters, ParameterError> {
    let error = |parameter: &str, detail: String| ParameterError {
        program: entry.name.to_owned(),
        parameter: parameter.to_owned(),
        detail,
    };
    for name in given.keys() {
        if !entry.parameters.iter().any(|spec| spec.is(name)) {
            return Err(error(name, unknown(entry, name)));
        }
    }
    let mut values = BTreeMap::new();
    for spec in entry.parameters {
        if spec.is_many() {
            for (name, value) in given.iter().filter(|(name, _)| spec.is(name)) {
                let checked = spec.kind.check(value);
                checked.map_err(|detail| error(name, detail))?;
                values.insert(name.clone(), value.clone());
            }
            continue;
        }
        let value = match (given.get(spec.name), spec.default) {
            (Some(value), _) => value.as_str(),
            (None, Some(default)) => default,
            (None, None) => {
                let detail = format!(
                    "it must be given: -p {}=..., {}",
                    spec.name,
                    spec.kind.describe()
                );
                return Err(error(spec.name, detail));
            }
        };
        spec.kind
            .check(value)
            .map_err(|detail| error(spec.name, detail))?;
        values.insert(spec.name.to_owned(), value.to_owned());
    }
    Ok(Parameters {
        program: entry.name,
        values,
    })
}

fn unknown(entry: &ProgramEntry, name: &str) -> String {
    let known = entry.parameters.iter().map(|spec| spec.name);
    let nearest = known
        .clone()
        .map(|known| (edits(known, name), known))
        .min()
        .filter(|&(distance, known)| distance <= (known.len() / 3).max(1));
    match nearest {
        Some((_, nearest)) => format!("there is no such parameter, did you mean `{nearest}`?"),
        None => format!(
            "there is no such parameter, there are: {}",
            known.collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Letters to insert, delete or replace to make `b` of `a`; `_` is as good as `-`.
pub(crate) fn edits(a: &str, b: &str) -> usize {
    let letters = |text: &str| -> Vec<char> {
        text.chars()
            .take(SHOWN_CHARS_MAX)
            .map(|letter| match letter.to_ascii_lowercase() {
                '_' => '-',
                letter => letter,
            })
            .collect()
    };
    let (a, b) = (letters(a), letters(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
