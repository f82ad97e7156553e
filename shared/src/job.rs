//! What a user submits.
//!
//! A specification is immutable once it is in the log. It never names anything
//! that depends on who is alive; paths in it are absolute.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dataset;
use crate::ids::{JobId, ParseIdError};
use crate::limits;
use crate::notify::Notify;

/// Default number of partitions.
pub const REDUCERS_DEFAULT: u32 = 4;
/// Default split size in bytes: 32 MiB.
pub const SPLIT_BYTES_DEFAULT: u64 = 32 * 1024 * 1024;
/// Default number of failures that end a job.
pub const ATTEMPTS_DEFAULT: u8 = 4;
/// Default priority, of 0 to 100.
pub const PRIORITY_DEFAULT: u8 = 50;

/// A machine as far as plain paths go: boot id and mount namespace. Two
/// processes with the same identity see the same files under the same names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostIdentity(pub String);

/// Who sees a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Visibility {
    /// Every worker (`file:///x`): a shared file system.
    Everyone,
    /// Workers of one machine only: a plain path.
    Host(HostIdentity),
}

/// An input pattern: a path or a glob, absolute, a dataset or a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPattern {
    /// Absolute path; `*`, `?` and `[...]` make it a glob unless such a file
    /// exists. Or `vivat://NAME`, or a URL, see [`is_url`]; these everyone sees.
    pub path: String,
    /// As the user wrote it; programs that print file names print this form.
    pub display: String,
    /// Who sees it.
    pub visibility: Visibility,
}

impl InputPattern {
    /// The dataset that it names, if it does.
    #[must_use]
    pub fn dataset(&self) -> Option<&str> {
        self.path.strip_prefix(dataset::SCHEME)
    }
}

/// Schemes of URLs that inputs are read from, and of those that outputs are
/// written to as well.
const SCHEMES_READ: [&str; 5] = ["http://", "https://", "s3://", "gs://", "az://"];
const SCHEMES_WRITTEN: [&str; 3] = ["s3://", "gs://", "az://"];

/// Whether an input is a URL that workers read by themselves.
#[must_use]
pub fn is_url(path: &str) -> bool {
    SCHEMES_READ.iter().any(|scheme| path.starts_with(scheme))
}

/// Where a job's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputLocation {
    /// A directory that must not exist yet.
    Directory {
        /// Absolute path.
        path: String,
        /// As the user wrote it.
        display: String,
        /// Who sees it.
        visibility: Visibility,
    },
    /// A dataset.
    Dataset {
        /// Its name; none: the job's id.
        name: Option<String>,
    },
    /// Objects below a prefix of an object store.
    Objects {
        /// `s3://BUCKET/PREFIX` and the like.
        url: String,
    },
}

impl OutputLocation {
    /// As people read it; of a job that has an id.
    #[must_use]
    pub fn display(&self, job: JobId) -> String {
        match self {
            Self::Directory { display, .. } => display.clone(),
            Self::Dataset { name: Some(name) } => format!("{}{name}", dataset::SCHEME),
            Self::Dataset { name: None } => format!("{}{job}", dataset::SCHEME),
            Self::Objects { url } => url.clone(),
        }
    }

    /// The absolute path, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Directory { path, .. } => Some(path),
            Self::Dataset { .. } | Self::Objects { .. } => None,
        }
    }
}

/// How bytes become records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputFormat {
    /// Lines.
    Text,
    /// Records of a CSV file with a header.
    Csv,
    /// One record a file.
    WholeFile,
    /// Records of so many bytes.
    Fixed(u32),
}

impl fmt::Display for InputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Csv => f.write_str("csv"),
            Self::WholeFile => f.write_str("whole-file"),
            Self::Fixed(bytes) => write!(f, "fixed:{bytes}"),
        }
    }
}

impl FromStr for InputFormat {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseIdError {
            text: text.to_owned(),
            expected: "a format: text, csv, whole-file or fixed:N",
        };
        match text {
            "text" => Ok(Self::Text),
            "csv" => Ok(Self::Csv),
            "whole-file" => Ok(Self::WholeFile),
            _ => text
                .strip_prefix("fixed:")
                .and_then(|digits| digits.parse().ok())
                .filter(|&bytes| bytes > 0)
                .map(Self::Fixed)
                .ok_or_else(error),
        }
    }
}

/// How the scheduler chooses among workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Policy {
    /// Where the data are, within a bounded wait.
    #[default]
    Locality,
    /// The worker with the most free room.
    LeastLoaded,
    /// In turn.
    RoundRobin,
    /// By a seeded draw.
    Random,
    /// By observed throughput.
    Score,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Locality => "locality",
            Self::LeastLoaded => "least-loaded",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::Score => "score",
        })
    }
}

impl FromStr for Policy {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            Self::Locality,
            Self::LeastLoaded,
            Self::RoundRobin,
            Self::Random,
            Self::Score,
        ]
        .into_iter()
        .find(|policy| policy.to_string() == text)
        .ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected: "a policy: locality, least-loaded, round-robin, random or score",
        })
    }
}

/// What a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepInput {
    /// The job's inputs.
    Job,
    /// The dataset that the step before wrote, as lines of text.
    Previous,
}

/// A file that every worker of a job has beside the input. Tasks read it
/// through their context, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideFile {
    /// Under which tasks ask for it; unique in the job.
    pub name: String,
    /// Where it is; never a glob.
    pub location: InputPattern,
}

/// One map-shuffle-reduce pass of a job, or several: its rounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSpec {
    /// Name in the workers' catalogue.
    pub program: String,
    /// Parameters as text; the program's catalogue entry gives them types.
    pub parameters: BTreeMap<String, String>,
    /// Partitions, 1 to [`limits::REDUCERS_MAX`].
    pub reducers: u32,
    /// What its maps read, in every round the same.
    pub input: StepInput,
    /// The most rounds that it may have, 1 to [`limits::ROUNDS_MAX`].
    pub rounds_max: u32,
    /// Whether a `close` attempt ends each of its rounds; must be if it repeats.
    pub closes: bool,
}

impl StepSpec {
    /// A step that runs once over the job's inputs, without parameters.
    #[must_use]
    pub fn once(program: &str, reducers: u32) -> Self {
        Self {
            program: program.to_owned(),
            parameters: BTreeMap::new(),
            reducers,
            input: StepInput::Job,
            rounds_max: 1,
            closes: false,
        }
    }
}

/// A whole job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// For people; need not be unique.
    pub name: String,
    /// For people.
    pub comment: String,
    /// What the first step reads, and later ones that ask for it.
    pub inputs: Vec<InputPattern>,
    /// How the inputs' bytes become records.
    pub format: InputFormat,
    /// Bytes of one split, at least 1.
    pub split_bytes: u64,
    /// At least one. The first reads the inputs, a later one what its
    /// [`StepSpec::input`] says.
    pub steps: Vec<StepSpec>,
    /// Where the last step's output goes.
    pub output: OutputLocation,
    /// Whether an output that the plan found may be replaced.
    pub overwrite: bool,
    /// 0 to 100; higher goes first.
    pub priority: u8,
    /// Placement.
    pub policy: Policy,
    /// Failures of one task that fail the job, at least 1.
    pub attempts_max: u8,
    /// Milliseconds from submission after which the job fails.
    pub timeout_ms: Option<u64>,
    /// Whether a slow task may get a second attempt beside the first.
    pub speculation: bool,
    /// Bad records that may be skipped in all; 0: none.
    pub skipped_max: u64,
    /// At most [`limits::SIDE_FILES_MAX`].
    pub side_files: Vec<SideFile>,
    /// Whom to tell when it ends.
    pub notify: Option<Notify>,
    /// Where the input comes from, for people.
    pub source: String,
    /// How large the input is expected to be, for people.
    pub size_hint_bytes: Option<u64>,
}

/// Why a specification is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("job specification: {field}: {problem}")]
pub struct SpecError {
    /// The field.
    pub field: String,
    /// What is wrong with it and what it may be.
    pub problem: String,
}

impl JobSpec {
    /// Checks every bound that does not need the catalogue or a file system.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its bounds.
    pub fn validate(&self) -> Result<(), SpecError> {
        let fail = |field: &str, problem: String| {
            Err(SpecError {
                field: field.to_owned(),
                problem,
            })
        };
        let texts = [
            ("name", &self.name),
            ("comment", &self.comment),
            ("source", &self.source),
        ];
        for (field, text) in texts {
            let bytes_max = if field == "name" {
                limits::NAME_BYTES_MAX
            } else {
                limits::JOB_TEXT_BYTES_MAX
            };
            if text.len() > bytes_max || text.chars().any(char::is_control) {
                return fail(
                    field,
                    format!("at most {bytes_max} bytes and no control characters"),
                );
            }
        }
        if self.inputs.is_empty() || self.inputs.len() > limits::INPUTS_MAX {
            return fail("input", format!("1 to {} patterns", limits::INPUTS_MAX));
        }
        for input in &self.inputs {
            check_input(input)?;
        }
        check_output(&self.output)?;
        if self.split_bytes == 0 {
            return fail("split_size", "at least 1 byte".to_owned());
        }
        if self.steps.is_empty() || self.steps.len() > limits::STEPS_MAX {
            return fail("step", format!("1 to {} steps", limits::STEPS_MAX));
        }
        for (position, step) in self.steps.iter().enumerate() {
            check_step(step)?;
            if position == 0 && step.input == StepInput::Previous {
                return fail(
                    "step",
                    "the first reads the job's input; none is before it".to_owned(),
                );
            }
        }
        check_side_files(&self.side_files)?;
        if self.priority > 100 {
            return fail("priority", "0 to 100".to_owned());
        }
        if self.attempts_max == 0 {
            return fail("max_attempts", "at least 1".to_owned());
        }
        self.notify.as_ref().map_or(Ok(()), Notify::validate)
    }
}

fn check_input(input: &InputPattern) -> Result<(), SpecError> {
    if let Some(name) = input.dataset() {
        return dataset::check_name("input", name);
    }
    if is_url(&input.path) {
        return check_url("input", &input.path);
    }
    check_path("input", &input.path)
}

fn check_output(output: &OutputLocation) -> Result<(), SpecError> {
    match output {
        OutputLocation::Directory { path, .. } => check_path("output", path),
        OutputLocation::Dataset { name: None } => Ok(()),
        OutputLocation::Dataset { name: Some(name) } => dataset::check_name("output", name),
        OutputLocation::Objects { url } => {
            if SCHEMES_WRITTEN.iter().any(|scheme| url.starts_with(scheme)) {
                return check_url("output", url);
            }
            Err(SpecError {
                field: "output".to_owned(),
                problem: format!("one of {}", SCHEMES_WRITTEN.join(", ")),
            })
        }
    }
}

fn check_url(field: &str, url: &str) -> Result<(), SpecError> {
    let fits = url.len() <= limits::PATH_BYTES_MAX;
    if fits && !url.chars().any(char::is_control) {
        return Ok(());
    }
    Err(SpecError {
        field: field.to_owned(),
        problem: format!(
            "a URL of at most {} bytes without control characters",
            limits::PATH_BYTES_MAX
        ),
    })
}

fn check_path(field: &str, path: &str) -> Result<(), SpecError> {
    if !path.starts_with('/') || path.len() > limits::PATH_BYTES_MAX || path.contains('\0') {
        let problem = format!(
            "an absolute path of at most {} bytes is needed, not `{}`",
            limits::PATH_BYTES_MAX,
            path.escape_debug().take(80).collect::<String>()
        );
        return Err(SpecError {
            field: field.to_owned(),
            problem,
        });
    }
    Ok(())
}

fn check_step(step: &StepSpec) -> Result<(), SpecError> {
    let fail = |field: &str, problem: String| {
        Err(SpecError {
            field: field.to_owned(),
            problem,
        })
    };
    if step.program.is_empty() || step.program.len() > limits::NAME_BYTES_MAX {
        return fail(
            "program",
            format!("a name of 1 to {} bytes", limits::NAME_BYTES_MAX),
        );
    }
    if step.reducers == 0 || step.reducers > limits::REDUCERS_MAX {
        return fail("reducers", format!("1 to {}", limits::REDUCERS_MAX));
    }
    if step.rounds_max == 0 || step.rounds_max > limits::ROUNDS_MAX {
        return fail("rounds", format!("1 to {}", limits::ROUNDS_MAX));
    }
    if step.rounds_max > 1 && !step.closes {
        let problem = "a step that repeats needs a program that closes its rounds";
        return fail("rounds", problem.to_owned());
    }
    Ok(())
}

fn check_side_files(files: &[SideFile]) -> Result<(), SpecError> {
    let fail = |problem: String| {
        Err(SpecError {
            field: "side_files".to_owned(),
            problem,
        })
    };
    if files.len() > limits::SIDE_FILES_MAX {
        return fail(format!("at most {}", limits::SIDE_FILES_MAX));
    }
    let mut names = BTreeSet::new();
    for file in files {
        let fits = (1..=limits::NAME_BYTES_MAX).contains(&file.name.len());
        if !fits || file.name.chars().any(char::is_control) {
            return fail(format!(
                "names of 1 to {} bytes without control characters",
                limits::NAME_BYTES_MAX
            ));
        }
        if !names.insert(&file.name) {
            return fail(format!("`{}` is there twice", file.name));
        }
        check_input(&file.location)?;
    }
    Ok(())
}
