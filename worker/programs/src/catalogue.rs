//! The list of built-in programs.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use vivat_engine::Executable;
use vivat_shared::job::InputFormat;

use crate::parameters::{ParameterError, ParameterSpec, Parameters, edits};
use crate::{grep, word_count};

/// Makes a program of checked parameters.
pub type Build = fn(&Parameters) -> Result<Box<dyn Executable>, ParameterError>;

/// Writes what all parts of a job hold, one after another: parameters, inputs
/// in order, number of reducers, output.
pub type Oracle = fn(&Parameters, &[OracleInput], u32, &mut dyn Write) -> io::Result<()>;

/// A kind of input format, without its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines.
    Text,
    /// CSV with a header.
    Csv,
    /// One record a file.
    WholeFile,
    /// Records of a fixed length.
    Fixed,
}

impl Format {
    /// The kind of a format.
    #[must_use]
    pub fn of(format: InputFormat) -> Self {
        match format {
            InputFormat::Text => Self::Text,
            InputFormat::Csv => Self::Csv,
            InputFormat::WholeFile => Self::WholeFile,
            InputFormat::Fixed(_) => Self::Fixed,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Csv => "csv",
            Self::WholeFile => "whole-file",
            Self::Fixed => "fixed:N",
        })
    }
}

/// One input of an oracle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OracleInput {
    /// The file.
    pub path: PathBuf,
    /// As the user would write it.
    pub display: String,
}

/// A built-in program.
#[derive(Debug, Clone, Copy)]
pub struct ProgramEntry {
    /// Its name in jobs.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// What it takes.
    pub parameters: &'static [ParameterSpec],
    /// The input formats that it reads.
    pub formats: &'static [Format],
    /// A line that runs as it stands in a checkout.
    pub example: &'static str,
    /// Makes the program.
    pub build: Build,
    /// Writes what it must give.
    pub oracle: Oracle,
}

impl ProgramEntry {
    /// Whether the program reads inputs of that format.
    #[must_use]
    pub fn accepts(&self, format: InputFormat) -> bool {
        self.formats.contains(&Format::of(format))
    }
}

static CATALOGUE: [ProgramEntry; 2] = [grep::ENTRY, word_count::ENTRY];

/// All programs, by name.
#[must_use]
pub fn catalogue() -> &'static [ProgramEntry] {
    &CATALOGUE
}

/// The program of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ProgramEntry> {
    CATALOGUE.iter().find(|entry| entry.name == name)
}

/// The program whose name is most like `name`, for a hint.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static ProgramEntry> {
    CATALOGUE
        .iter()
        .map(|entry| (edits(entry.name, name), entry))
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, entry)| distance <= (entry.name.len() / 3).max(1))
        .map(|(_, entry)| entry)
}
