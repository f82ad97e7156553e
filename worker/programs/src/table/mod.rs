//! What programs over tables have in common: reading numbers and categories out of
//! CSV records, exact sums, formulas, code books, and writing CSV.

pub(crate) mod codes;
pub(crate) mod exact;
pub(crate) mod formula;
pub(crate) mod sheet;
pub(crate) mod write;

use std::borrow::Cow;

use vivat_mapreduce::{Component, CsvFields, DecodeError, ProgramError};

use crate::parameters::{ParameterKind, ParameterSpec};
use codes::Codes;

/// The texts that stand for a missing value, beside a blank field.
pub(crate) const MISSING: ParameterSpec = text(
    "missing",
    Some("NA,NaN,null"),
    "texts that stand for a missing value, beside an empty field",
);

/// Read by the plan of a job.
pub(crate) const MULTILINE: ParameterSpec = ParameterSpec {
    name: "multiline",
    kind: ParameterKind::Boolean,
    default: Some("true"),
    help: "whether fields may hold line ends; if not, far files can be split",
};

pub(crate) const fn text(
    name: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> ParameterSpec {
    ParameterSpec {
        name,
        kind: ParameterKind::Text,
        default,
        help,
    }
}

/// Parts of a list: between commas or semicolons that are in no brackets.
pub(crate) fn items(list: &str) -> Vec<String> {
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

/// What stands for a missing value.
#[derive(Debug, Clone)]
pub(crate) struct Missing(Vec<Vec<u8>>);

impl Missing {
    /// Of the parameter's text.
    pub(crate) fn of(list: &str) -> Self {
        let texts = list.split(',').map(|text| text.trim().as_bytes().to_vec());
        Self(texts.collect())
    }

    /// Whether a field holds nothing.
    #[inline]
    pub(crate) fn is_missing(&self, field: &[u8]) -> bool {
        let text = field.trim_ascii();
        text.is_empty() || self.0.iter().any(|it| it == text)
    }
}

/// Reads the values of one record.
pub(crate) struct Values<'r> {
    pub(crate) missing: &'r Missing,
    /// Of the file's columns.
    pub(crate) names: &'r [Vec<u8>],
    /// Where the record begins.
    pub(crate) offset: u64,
}

impl Values<'_> {
    /// The number in a field; `NaN` for a missing one.
    #[inline]
    pub(crate) fn number(&self, text: &[u8], column: usize) -> Result<f64, ProgramError> {
        match small(text) {
            Some(number) => Ok(number),
            None => self.any_number(text, column),
        }
    }

    fn any_number(&self, text: &[u8], column: usize) -> Result<f64, ProgramError> {
        if self.missing.is_missing(text) {
            return Ok(f64::NAN);
        }
        let text = text.trim_ascii();
        let begins_so = |first: &u8| matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.');
        let number: Option<f64> = Some(text)
            .filter(|text| {
                text.iter()
                    .find(|byte| !matches!(byte, b'+' | b'-'))
                    .is_some_and(begins_so)
            })
            .and_then(|text| str::from_utf8(text).ok())
            .and_then(|text| text.parse().ok());
        match number {
            Some(number) => self.in_range(number, &self.names[column]),
            None => Err(self.refused(text, &self.names[column], "is not a number")),
        }
    }

    /// The code of a category; nothing for a missing one.
    pub(crate) fn code(
        &self,
        codes: &Codes,
        text: &[u8],
        column: usize,
    ) -> Result<Option<u32>, ProgramError> {
        if self.missing.is_missing(text) {
            return Ok(None);
        }
        codes.place(text).map(Some).ok_or_else(|| {
            let what = "is none of the texts that the column may have";
            self.refused(text.trim_ascii(), &self.names[column], what)
        })
    }

    /// The number, if it is missing or one that can be added without an error.
    #[inline]
    pub(crate) fn in_range(&self, number: f64, column: &[u8]) -> Result<f64, ProgramError> {
        let size = number.abs();
        if number.is_nan() || size == 0.0 || (exact::SMALLEST..=exact::LARGEST).contains(&size) {
            return Ok(number);
        }
        let text = format!("{number:e}");
        let what = "is not 0 and not between 1e-100 and 1e100 in size";
        Err(self.refused(text.as_bytes(), column, what))
    }

    /// What is wrong with a field, and where it is.
    #[cold]
    pub(crate) fn refused(&self, text: &[u8], column: &[u8], what: &str) -> ProgramError {
        /// Bytes of a field that a message repeats.
        const SHOWN_BYTES_MAX: usize = 80;
        let column = String::from_utf8_lossy(column);
        let text = String::from_utf8_lossy(&text[..text.len().min(SHOWN_BYTES_MAX)]);
        ProgramError::at(self.offset, format!("column `{column}`: `{text}` {what}"))
    }
}

/// A short whole number without a sign, as most are.
#[inline]
fn small(text: &[u8]) -> Option<f64> {
    if text.is_empty() || text.len() > 8 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = text.iter().map(|digit| u32::from(digit - b'0'));
    Some(f64::from(
        digits.fold(0, |number, digit| number * 10 + digit),
    ))
}

/// The key made of some columns: one is its own key, several are a tuple.
pub(crate) fn key_of(columns: &[usize], fields: CsvFields<'_>, key: &mut Vec<u8>) {
    key.clear();
    match columns {
        [column] => key.extend_from_slice(fields.get(*column)),
        columns => {
            for column in columns {
                <Vec<u8> as Component>::encode_component(fields.get(*column), key);
            }
        }
    }
}

/// The texts of so many columns that a key was made of.
pub(crate) fn texts_of(count: usize, key: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, DecodeError> {
    if count == 1 {
        return Ok(vec![Cow::Borrowed(key)]);
    }
    let mut rest = key;
    (0..count)
        .map(|_| <Vec<u8> as Component>::decode_component(&mut rest))
        .collect()
}
