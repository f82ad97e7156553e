//! The list of programs: the built-in ones, and those that a binary of one's own
//! registers before it does anything else.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::Program;
use vivat_shared::job::{InputFormat, StepSpec};
use vivat_shared::limits::NAME_BYTES_MAX;

use crate::parameters::{ParameterError, ParameterSpec, Parameters, edits, validate_parameters};
use crate::table::codes;
use crate::{
    distinct, exec, grep, group_by, inverted_index, join, k_means, linear_regression, mlp,
    reverse_links, sample, sort, term_vector, url_count, validate_sort, word_count,
};

/// A program that can run, or the parameter that it refuses.
pub type Built = Result<Box<dyn Executable>, ParameterError>;

/// Makes a program of checked parameters. It runs where a job is typed and on
/// every worker, so it looks at nothing but them.
pub type Build = fn(&Parameters) -> Built;

/// A program as the engine runs it: what a [`Build`] ends with.
///
/// # Errors
///
/// None; it is the form that a [`Build`] answers in.
pub fn built(program: impl Program) -> Built {
    Ok(Box::new(Runner::new(program)))
}

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

/// A program as people know it.
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
    /// A program over lines of text that takes no parameters and has no oracle;
    /// whatever else is true of it is said by its fields:
    ///
    /// ```
    /// use vivat_programs::{Built, Format, Parameters, ProgramEntry};
    /// # fn build(_: &Parameters) -> Built { unimplemented!() }
    /// const ENTRY: ProgramEntry = ProgramEntry {
    ///     formats: &[Format::Text, Format::WholeFile],
    ///     ..ProgramEntry::new("line-lengths", "counts the lines of each length", build)
    /// };
    /// ```
    #[must_use]
    pub const fn new(name: &'static str, summary: &'static str, build: Build) -> Self {
        Self {
            name,
            summary,
            parameters: &[],
            formats: &[Format::Text],
            example: "",
            build,
            oracle: no_oracle,
        }
    }

    /// Whether the program reads inputs of that format.
    #[must_use]
    pub fn accepts(&self, format: InputFormat) -> bool {
        self.formats.contains(&Format::of(format))
    }
}

/// The oracle of a program that has none: `--sequential` says so.
fn no_oracle(_: &Parameters, _: &[OracleInput], _: u32, _: &mut dyn Write) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this program has no oracle: run it without --sequential",
    ))
}

static BUILT_IN: &[ProgramEntry] = &[
    distinct::ENTRY,
    exec::ENTRY,
    grep::ENTRY,
    group_by::ENTRY,
    inverted_index::ENTRY,
    join::ENTRY,
    k_means::ENTRY,
    linear_regression::PREDICT_ENTRY,
    linear_regression::ENTRY,
    mlp::PREDICT_ENTRY,
    mlp::ENTRY,
    reverse_links::ENTRY,
    sample::ENTRY,
    sort::ENTRY,
    term_vector::ENTRY,
    url_count::ENTRY,
    validate_sort::ENTRY,
    word_count::ENTRY,
];

/// Steps that others are expanded to: nobody asks for them by name.
static HIDDEN: &[ProgramEntry] = &[
    sort::SAMPLE_ENTRY,
    codes::ENTRY,
    k_means::SEED_ENTRY,
    mlp::SCALE_ENTRY,
];

/// The built-in programs and the registered ones, by name. Set by the first who
/// registers or asks.
static CATALOGUE: OnceLock<Vec<ProgramEntry>> = OnceLock::new();

/// Why programs were not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The catalogue was asked before, or programs were registered before.
    #[error("programs are registered once, before anything asks for one")]
    TooLate,
    /// There is one of that name.
    #[error("there are two programs of the name `{name}`")]
    Taken {
        /// The name.
        name: String,
    },
    /// No job could name it.
    #[error("`{name}` is no name of a program: 1 to {bytes_max} letters, digits and `-`")]
    BadName {
        /// The name.
        name: String,
        /// The longest allowed, in bytes.
        bytes_max: usize,
    },
}

/// Adds programs to the catalogue of this process, for clients and workers alike.
///
/// # Errors
///
/// See [`RegisterError`]; nothing is added then.
pub fn register(entries: &[ProgramEntry]) -> Result<(), RegisterError> {
    let all = with_own(entries)?;
    CATALOGUE.set(all).map_err(|_| RegisterError::TooLate)
}

fn with_own(entries: &[ProgramEntry]) -> Result<Vec<ProgramEntry>, RegisterError> {
    let mut all = BUILT_IN.to_vec();
    for entry in entries {
        let name = entry.name.to_owned();
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(letters) {
            let bytes_max = NAME_BYTES_MAX;
            return Err(RegisterError::BadName { name, bytes_max });
        }
        if all.iter().chain(HIDDEN).any(|known| known.name == name) {
            return Err(RegisterError::Taken { name });
        }
        all.push(*entry);
    }
    all.sort_by_key(|entry| entry.name);
    Ok(all)
}

/// All programs that people are told of, by name.
#[must_use]
pub fn catalogue() -> &'static [ProgramEntry] {
    CATALOGUE.get_or_init(|| BUILT_IN.to_vec())
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
    if entry.name == group_by::ENTRY.name {
        return group_by::expand(step, &validate_parameters(entry, &step.parameters)?);
    }
    if entry.name == linear_regression::ENTRY.name {
        return linear_regression::expand(step, &validate_parameters(entry, &step.parameters)?);
    }
    if entry.name == join::ENTRY.name {
        return join::expand(step, &validate_parameters(entry, &step.parameters)?, format);
    }
    if entry.name == k_means::ENTRY.name {
        let parameters = validate_parameters(entry, &step.parameters)?;
        return k_means::expand(step, &parameters);
    }
    if entry.name == mlp::ENTRY.name {
        let parameters = validate_parameters(entry, &step.parameters)?;
        return mlp::expand(step, &parameters);
    }
    if entry.name == validate_sort::ENTRY.name {
        return Ok(vec![sort::of_format(step, format)]);
    }
    if entry.name == exec::ENTRY.name {
        return Ok(vec![exec::of_format(step, format)]);
    }
    Ok(vec![step.clone()])
}

/// Whether what a program writes is a file for other programs: people are shown
/// its rounds instead.
#[must_use]
pub fn writes_a_model(name: &str) -> bool {
    name == mlp::ENTRY.name
}

/// The program of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ProgramEntry> {
    let mut all = catalogue().iter().chain(HIDDEN);
    all.find(|entry| entry.name == name)
}

/// The program whose name is most like `name`, for a hint.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static ProgramEntry> {
    catalogue()
        .iter()
        .map(|entry| (edits(entry.name, name), entry))
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, entry)| distance <= (entry.name.len() / 3).max(1))
        .map(|(_, entry)| entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &'static str) -> ProgramEntry {
        ProgramEntry::new(name, "", |_| Err(unused()))
    }

    fn unused() -> ParameterError {
        ParameterError {
            program: String::new(),
            parameter: String::new(),
            detail: String::new(),
        }
    }

    #[test]
    fn own_programs_stand_among_the_built_in_ones_by_name() {
        let all = with_own(&[own("zebra"), own("line-lengths")]).expect("both are new");
        let names: Vec<&str> = all.iter().map(|entry| entry.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(names.len(), BUILT_IN.len() + 2);
    }

    #[test]
    fn names_that_are_taken_or_cannot_be_typed_are_refused() {
        let refused = |entries: &[ProgramEntry]| with_own(entries).expect_err("it is refused");
        let taken = |name: &str| RegisterError::Taken {
            name: name.to_owned(),
        };
        assert_eq!(refused(&[own("grep")]), taken("grep"));
        assert_eq!(refused(&[own("sort-sample")]), taken("sort-sample"));
        assert_eq!(refused(&[own("x"), own("x")]), taken("x"));
        for name in ["", "two words", "a/b", "job.toml"] {
            let error = refused(&[own(name)]);
            assert!(matches!(error, RegisterError::BadName { .. }), "{name}");
        }
    }

    #[test]
    fn programs_come_too_late_once_somebody_has_looked() {
        let before = catalogue().len();
        assert_eq!(register(&[own("late")]), Err(RegisterError::TooLate));
        assert_eq!(catalogue().len(), before);
    }
}
