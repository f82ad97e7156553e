//! The list of built-in programs.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use vivat_engine::Executable;
use vivat_shared::job::{InputFormat, StepSpec};

use crate::parameters::{ParameterError, ParameterSpec, Parameters, edits, validate_parameters};
use crate::{
    distinct, grep, group_by, inverted_index, join, reverse_links, sample, sort, term_vector,
    url_count, validate_sort, word_count,
};

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

static CATALOGUE: &[ProgramEntry] = &[
    distinct::ENTRY,
    grep::ENTRY,
    group_by::ENTRY,
    inverted_index::ENTRY,
    join::ENTRY,
    reverse_links::ENTRY,
    sample::ENTRY,
    sort::ENTRY,
    term_vector::ENTRY,
    url_count::ENTRY,
    validate_sort::ENTRY,
    word_count::ENTRY,
];

/// Steps that others are expanded to: nobody asks for them by name.
static HIDDEN: &[ProgramEntry] = &[sort::SAMPLE_ENTRY];

/// All programs that people are told of, by name.
#[must_use]
pub fn catalogue() -> &'static [ProgramEntry] {
    CATALOGUE
}

/// Programs of steps that [`expand`] adds to a job: found by name, not listed.
#[must_use]
pub fn hidden() -> &'static [ProgramEntry] {
    HIDDEN
}

/// The steps that a step of a job takes, with what follows from the format of
/// the job's input: most are one, itself.
///
/// # Errors
///
/// Names a parameter that the program refuses; a program that is not in the
/// catalogue is a step of its own.
pub fn expand(step: &StepSpec, format: InputFormat) -> Result<Vec<StepSpec>, ParameterError> {
    let Some(entry) = find(&step.program) else {
        return Ok(vec![step.clone()]);
    };
    if entry.name == sort::ENTRY.name {
        let parameters = validate_parameters(entry, &step.parameters)?;
        return sort::expand(step, &parameters, format);
    }
    if entry.name == validate_sort::ENTRY.name {
        return Ok(vec![sort::of_format(step, format)]);
    }
    Ok(vec![step.clone()])
}

/// The program of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ProgramEntry> {
    let mut all = CATALOGUE.iter().chain(HIDDEN);
    all.find(|entry| entry.name == name)
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
