//! Rows of a shard, read and checked, and what travels of it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use vivat_mapreduce::{ProgramError, Record};

use super::net::Rows;
use crate::numbers::{self, Lines};

/// Reads the rows of one file, or of a piece of it.
#[derive(Debug)]
pub(super) struct RowReader<'t> {
    display: &'t str,
    classes: usize,
    lines: Lines,
    /// One row: its numbers, the class last.
    numbers: Vec<f64>,
    /// Numbers of a row without its class, as in the first row.
    features: Option<usize>,
}

/// One labelled row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'t> {
    pub(super) x: &'t [f64],
    pub(super) label: u32,
}

impl<'t> RowReader<'t> {
    pub(super) fn new(display: &'t str, classes: usize, split_offset: u64) -> Self {
        Self {
            display,
            classes,
            lines: Lines::new(split_offset),
            numbers: Vec::new(),
            features: None,
        }
    }

    /// Reads a line; none: it is blank.
    ///
    /// # Errors
    ///
    /// Names file and line, and what is wrong.
    pub(super) fn read(&mut self, record: Record<'_>) -> Result<Option<Row<'_>>, ProgramError> {
        self.lines.pass(record);
        if record.bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        match self.parse(record.bytes) {
            Ok(label) => {
                let x = &self.numbers[..self.numbers.len() - 1];
                Ok(Some(Row { x, label }))
            }
            Err(detail) => {
                let place = self.lines.place(self.display);
                Err(ProgramError::at(
                    record.offset,
                    format!("{place}: {detail}"),
                ))
            }
        }
    }

    fn parse(&mut self, line: &[u8]) -> Result<u32, String> {
        self.numbers.clear();
        let columns = numbers::read(line, &mut self.numbers)?;
        let features = columns - 1;
        if features == 0 {
            return Err("it has one column: a row is numbers and, last, its class".to_owned());
        }
        let expected = *self.features.get_or_insert(features);
        if features != expected {
            return Err(format!(
                "it has {columns} columns, and the rows before it have {}",
                expected + 1
            ));
        }
        label(self.numbers[features], self.classes)
    }
}

/// A class of a number.
pub(super) fn label(number: f64, classes: usize) -> Result<u32, String> {
    let bound = u32::try_from(classes).unwrap_or(u32::MAX);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what does not fit is another number, and refused"
    )]
    let label = number as u32;
    if label < bound && f64::from(label) == number {
        return Ok(label);
    }
    Err(format!(
        "its class, the last column, is {number}: with {classes} classes it is a whole number \
         from 0 to {}",
        bound.saturating_sub(1)
    ))
}

impl Rows {
    /// Adds a row.
    ///
    /// # Errors
    ///
    /// When it is not as long as the others.
    pub(super) fn push(&mut self, row: Row<'_>) -> Result<(), String> {
        if self.labels.is_empty() {
            self.features = row.x.len();
        }
        if self.features != row.x.len() {
            return Err(format!(
                "it has rows of {} columns and of {}",
                self.features + 1,
                row.x.len() + 1
            ));
        }
        self.x.extend_from_slice(row.x);
        self.labels.push(row.label);
        Ok(())
    }
}

/// All rows of a file beside the input.
///
/// # Errors
///
/// Names file and line.
pub(super) fn read_file(path: &Path, name: &str, classes: usize) -> Result<Rows, ProgramError> {
    let bytes = std::fs::read(path)
        .map_err(|error| ProgramError::new(format!("{name} cannot be read: {error}")))?;
    let mut reader = RowReader::new(name, classes, 0);
    let mut rows = Rows::default();
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let record = Record {
            bytes: line.strip_suffix(b"\n").unwrap_or(line),
            offset,
        };
        offset += line.len() as u64;
        let row = reader.read(record).map_err(|error| ProgramError {
            offset: None,
            ..error
        })?;
        if let Some(row) = row {
            rows.push(row).map_err(ProgramError::new)?;
        }
    }
    if rows.labels.is_empty() {
        return Err(ProgramError::new(format!("{name} has no rows")));
    }
    Ok(rows)
}

/// What a map task tells of a file, beside the file's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Told {
    /// A row of a file that was cut.
    Row {
        /// Its numbers.
        x: Vec<f64>,
        /// Its class.
        label: u32,
    },
    /// What a whole file came to.
    Trained(Trained),
}

/// What a shard came to in a round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Trained {
    pub(super) rows: u64,
    pub(super) features: u32,
    pub(super) epochs: u32,
    /// Of its own weights over its own rows.
    pub(super) loss: f64,
    pub(super) errors: u64,
    /// How far the weights went, `W` first.
    pub(super) deltas: Vec<f64>,
    /// Adam's means, then its squares; none of plain steps.
    pub(super) moments: Vec<f64>,
    /// Steps that are in them: of several shards the fewest.
    pub(super) steps: u64,
}
