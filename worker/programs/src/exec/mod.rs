//! Runs commands as mappers, combiners and reducers, as Hadoop Streaming does.
//!
//! A command reads records as lines on its standard input and prints lines: up to the
//! first tab is the key, behind it the value. A reducer reads the lines of its
//! partition sorted by key, and what it prints is the output.
//!
//! One thread feeds a command and takes what it prints (see `child`), and one process
//! stands between the two, which leaves nothing behind of what the command started (see
//! `supervisor`). That process is this binary again, with an argument of its own.

mod child;
mod combine;
mod environment;
mod key;
mod lines;
mod oracle;
mod processes;
mod reducer;
mod said;
mod settings;
mod supervisor;
mod wire;
mod workdir;

mod mapper;

use std::sync::Arc;

use vivat_mapreduce::{EncodedKey, MapContext, Program, ProgramError, ReduceContext};
use vivat_shared::job::{InputFormat, StepInput, StepSpec};

use crate::catalogue::{Built, Format, ProgramEntry, built};
use crate::parameters::{ParameterKind, ParameterSpec, Parameters};
use key::Shape;
use settings::{Role, Settings};

pub use child::set_supervisor;
pub use supervisor::supervise;

/// The first argument of a process that is to call [`supervise`] and nothing else.
pub const SUPERVISOR_ARGUMENT: &str = "exec-supervisor";

/// Descriptors that a command may be allowed, at most: what a kernel allows.
const OPEN_FILES_MAX: i64 = 1_048_576;
/// Tabs are counted no further.
const FIELDS_MAX: i64 = 1_000;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "exec",
    summary: "commands as mapper, combiner and reducer, as Hadoop Streaming runs them",
    parameters: &[
        text(
            "mapper",
            "command that reads the input's lines; a list in JSON or quoted words",
        ),
        text(
            "combiner",
            "command that reads sorted pairs on the side of the maps",
        ),
        text(
            "reducer",
            "command that reads sorted pairs and prints the output",
        ),
        flag("shell", "run the commands by /bin/sh -c"),
        integer(
            "key-fields",
            (1, FIELDS_MAX),
            "1",
            "fields of a line that are its key",
        ),
        integer(
            "partition-fields",
            (0, FIELDS_MAX),
            "0",
            "fields of the key that decide its partition; 0: all",
        ),
        flag("sort-values", "sort the values of a key as bytes"),
        flag("raw", "give the mapper a file's path and name as arguments"),
        text("env.*", "a variable of the environment: -p env.NAME=VALUE"),
        ParameterSpec {
            default: Some("10m"),
            ..text(
                "timeout",
                "fail a command that neither reads nor prints for so long",
            )
        },
        text("memory", "bytes in memory of all processes of a command"),
        text("cpu-time", "CPU time of one process"),
        integer(
            "open-files",
            (0, OPEN_FILES_MAX),
            "0",
            "open files of one process; 0: any",
        ),
        text("file-size", "bytes of the largest file that may be written"),
        FORMAT,
    ],
    formats: &[Format::Text, Format::Csv, Format::WholeFile, Format::Fixed],
    example: "vivat run exec data/input/*.txt -p \"mapper=tr -cs '[:alpha:]' '\\n'\" \
        -p \"reducer=uniq -c\"",
    build,
    oracle: oracle::oracle,
};

/// What the input's format is: [`of_format`] sets it, for the oracle.
const FORMAT: ParameterSpec = ParameterSpec {
    default: Some("text"),
    ..text("format", "how the input is read: follows from --format")
};

const fn text(name: &'static str, help: &'static str) -> ParameterSpec {
    ParameterSpec {
        name,
        kind: ParameterKind::Text,
        default: Some(""),
        help,
    }
}

const fn flag(name: &'static str, help: &'static str) -> ParameterSpec {
    ParameterSpec {
        kind: ParameterKind::Boolean,
        default: Some("false"),
        ..text(name, help)
    }
}

const fn integer(
    name: &'static str,
    (min, max): (i64, i64),
    default: &'static str,
    help: &'static str,
) -> ParameterSpec {
    ParameterSpec {
        kind: ParameterKind::Integer { min, max },
        default: Some(default),
        ..text(name, help)
    }
}

/// Whether a parameter of a program is a command, so that a list is its words.
#[must_use]
pub fn is_command(program: &str, parameter: &str) -> bool {
    let roles = [Role::Mapper, Role::Combiner, Role::Reducer];
    program == ENTRY.name && roles.iter().any(|role| role.word() == parameter)
}

/// The step with the parameter that follows from the format.
pub(crate) fn of_format(step: &StepSpec, format: InputFormat) -> StepSpec {
    let format = match step.input {
        StepInput::Job => format,
        StepInput::Previous => InputFormat::Text,
    };
    let mut step = step.clone();
    step.parameters
        .insert(FORMAT.name.to_owned(), format.to_string());
    step
}

fn build(parameters: &Parameters) -> Built {
    let settings = Settings::of(parameters)?;
    let is_whole = parameters.text(FORMAT.name) == InputFormat::WholeFile.to_string();
    if settings.raw && !is_whole {
        let detail = "it gives whole files: --format whole-file".to_owned();
        return Err(parameters.error("raw", detail));
    }
    let shape = Shape::of(&settings);
    built(Exec {
        settings: Arc::new(settings),
        shape,
    })
}

struct Exec {
    settings: Arc<Settings>,
    shape: Shape,
}

impl Program for Exec {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    type Mapper<'t> = mapper::MapSide<'t>;
    type Reducer<'t> = reducer::ReduceSide<'t>;

    fn mapper<'t>(
        &'t self,
        context: &'t MapContext<'t>,
    ) -> Result<mapper::MapSide<'t>, ProgramError> {
        mapper::MapSide::start(&self.settings, self.shape, context)
    }

    fn reducer<'t>(
        &'t self,
        context: &'t ReduceContext<'t>,
    ) -> Result<reducer::ReduceSide<'t>, ProgramError> {
        reducer::ReduceSide::start(&self.settings, self.shape, context)
    }

    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        key::partition(&self.settings, self.shape, key, context.partitions)
    }
}
