//! From flags and job file to a job's specification, checked on this side
//! before anything is submitted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vivat_programs::{
    Executable, Format, ParameterError, Parameters, ProgramEntry, validate_parameters,
};
use vivat_shared::cause::FailureCause;
use vivat_shared::job::{
    HostIdentity, InputFormat, JobSpec, OutputLocation, SideFile, StepInput, StepSpec,
};
use vivat_shared::limits::NAME_BYTES_MAX;
use vivat_shared::notify::Notify;

use crate::args::Given;
use crate::args::job::{JobArgs, WhatArgs, job_file};
use crate::failure::Failure;
use crate::job_file::{self, JobFile, StepFile};
use crate::path_params;
use crate::paths::Place;
use crate::quantity::{ByteSize, TimeSpan};

/// A job as it was asked for: all but where its output goes, when nothing says.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Inputs, resolved.
    pub inputs: Vec<Place>,
    /// Output, resolved, when one is named.
    pub output: Option<Place>,
    /// How bytes become records.
    pub format: InputFormat,
    /// The steps that those take that were asked for: what is submitted.
    pub steps: Vec<StepSpec>,
    /// The key, when one is named.
    pub key: Option<String>,
    /// Files beside the input, by name, resolved.
    pub side_files: Vec<(String, Place)>,
    settings: Settings,
}

#[derive(Debug, Clone)]
struct Settings {
    name: String,
    comment: String,
    source: String,
    size_hint_bytes: Option<u64>,
    split_bytes: u64,
    overwrite: bool,
    priority: u8,
    policy: vivat_shared::job::Policy,
    attempts_max: u8,
    skipped_max: u64,
    speculation: bool,
    timeout: Option<Duration>,
    notify: Option<Notify>,
}

impl Draft {
    /// Puts flags and job file together: a flag goes before the file, the file
    /// before the default.
    ///
    /// # Errors
    ///
    /// Exit 2 for wrong usage and parameters, 3 for an unknown program or a job
    /// file that is not there.
    pub fn new(
        what: WhatArgs,
        args: &JobArgs,
        given: &Given<'_>,
        directory: &Path,
    ) -> Result<Self, Failure> {
        let file = match job_file(&what.program) {
            Some(path) => job_file::load(&path)?,
            None => of_program(&what.program),
        };
        let steps = steps(&file, args, given)?;
        let inputs = inputs(what, &file)?
            .iter()
            .map(|typed| Place::parse(typed, "input", directory))
            .collect::<Result<_, _>>()?;
        let output = pick(given, "output", args.output.clone(), file.output.clone())
            .map(|typed| Place::parse(&typed, "output", directory))
            .transpose()?;
        let format = match pick(
            given,
            "format",
            args.format,
            parsed(&file.format, "format")?,
        ) {
            Some(format) => accepted(&steps, format)?,
            None => usual_format(&steps)?,
        };
        let mut expanded = expand(&steps, format)?;
        let key = pick(given, "key", args.key.clone(), file.key.clone());
        let settings = settings(args, &file, given, &steps)?;
        let side_files = file.side_files.into_iter().map(|(name, typed)| {
            let place = Place::parse(&typed, "side file", directory)?;
            Ok::<_, Failure>((name, place))
        });
        let mut side_files = side_files.collect::<Result<_, _>>()?;
        path_params::bring(&mut expanded, &mut side_files, directory)?;
        Ok(Self {
            inputs,
            output,
            format,
            steps: expanded,
            key,
            side_files,
            settings,
        })
    }

    /// Whether anything of it is a file of this machine alone.
    pub fn needs_this_host(&self) -> bool {
        let side_files = self.side_files.iter().map(|(_, place)| place);
        let places = self.inputs.iter().chain(&self.output).chain(side_files);
        places.into_iter().any(|place| !place.everyone)
    }

    /// The specification, with its output.
    ///
    /// # Errors
    ///
    /// Exit 2 when a value is out of its bounds.
    pub fn spec(&self, output: OutputLocation, host: &HostIdentity) -> Result<JobSpec, Failure> {
        let settings = self.settings.clone();
        let spec = JobSpec {
            name: settings.name,
            comment: settings.comment,
            inputs: self
                .inputs
                .iter()
                .map(|place| place.clone().input(host))
                .collect(),
            format: self.format,
            split_bytes: settings.split_bytes,
            steps: self.steps.clone(),
            output,
            overwrite: settings.overwrite,
            priority: settings.priority,
            policy: settings.policy,
            attempts_max: settings.attempts_max,
            timeout_ms: settings
                .timeout
                .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            speculation: settings.speculation,
            skipped_max: settings.skipped_max,
            source: settings.source,
            size_hint_bytes: settings.size_hint_bytes,
            notify: settings.notify,
            side_files: self
                .side_files
                .iter()
                .map(|(name, place)| SideFile {
                    name: name.clone(),
                    location: place.clone().input(host),
                })
                .collect(),
        };
        spec.validate().map_err(|error| {
            Failure::new(
                "invalid-job",
                crate::failure::exit::USAGE,
                format!("{}: {}", error.field, error.problem),
            )
        })?;
        Ok(spec)
    }
}

/// The program of a name, with the exit code of the contract when there is none.
pub fn program(name: &str) -> Result<&'static ProgramEntry, Failure> {
    vivat_programs::find(name).ok_or_else(|| {
        let cause = FailureCause::ProgramNotFound {
            program: name.to_owned(),
        };
        let failure = Failure::from(&cause);
        let known = vivat_programs::catalogue().iter().map(|entry| entry.name);
        match crate::suggest::closest(name, known) {
            Some(close) => failure.hint(format!(
                "did you mean `{close}`? `vivat program list` shows all"
            )),
            None => failure,
        }
    })
}

/// A program's parameters, checked, with defaults: those that only the program can
/// judge too, by making it.
pub fn parameters(step: &StepSpec) -> Result<Parameters, Failure> {
    made(step).map(|(parameters, _)| parameters)
}

fn made(step: &StepSpec) -> Result<(Parameters, Box<dyn Executable>), Failure> {
    let entry = program(&step.program)?;
    let refused = |error: ParameterError| Failure::from(&error.cause());
    let parameters = validate_parameters(entry, &step.parameters).map_err(refused)?;
    let executable = (entry.build)(&parameters).map_err(refused)?;
    Ok((parameters, executable))
}

fn of_program(program: &str) -> JobFile {
    JobFile {
        step: vec![StepFile {
            name: None,
            program: program.to_owned(),
            params: BTreeMap::new(),
            reducers: None,
            input: None,
            rounds: None,
        }],
        ..JobFile::default()
    }
}

fn inputs(what: WhatArgs, file: &JobFile) -> Result<Vec<String>, Failure> {
    let typed: Vec<String> = what.inputs.into_iter().chain(what.more_inputs).collect();
    let chosen = if typed.is_empty() {
        file.input.clone().list()
    } else {
        typed
    };
    if chosen.is_empty() {
        return Err(
            Failure::usage("no input is named").hint(format!("vivat run {} FILE...", what.program))
        );
    }
    Ok(chosen)
}

fn steps(file: &JobFile, args: &JobArgs, given: &Given<'_>) -> Result<Vec<StepSpec>, Failure> {
    check_names(&file.step)?;
    if file.step.len() > 1 && !args.params.is_empty() {
        return Err(
            Failure::usage("-p with a job file of several steps: which step is meant?")
                .hint("set the parameter in the file's [step.params]"),
        );
    }
    file.step
        .iter()
        .enumerate()
        .map(|(position, step)| {
            let mut parameters: BTreeMap<String, String> = step
                .params
                .iter()
                .map(|(key, value)| {
                    let is_command = vivat_programs::exec::is_command(&step.program, key);
                    let text = if is_command {
                        value.words()
                    } else {
                        value.text()
                    };
                    (key.clone(), text)
                })
                .collect();
            for param in &args.params {
                parameters.insert(param.key.clone(), param.value.clone());
            }
            let of_file = step.reducers.or(file.reducers);
            let reducers = pick(given, "reducers", Some(args.reducers), of_file);
            let step = StepSpec {
                parameters,
                input: step_input(&file.step, position)?,
                rounds_max: step.rounds.unwrap_or(1),
                closes: step.rounds.is_some(),
                ..StepSpec::once(&step.program, reducers.unwrap_or(args.reducers))
            };
            let (_, executable) = made(&step)?;
            if step.closes && !executable.closes() {
                let number = position + 1;
                return Err(Failure::usage(format!(
                    "job file: rounds of step {number}: {} does not close rounds, so it has one",
                    step.program
                ))
                .hint("take `rounds` out"));
            }
            Ok(step)
        })
        .collect()
}

/// The first step reads the job's input, later ones what was written before them.
fn step_input(steps: &[StepFile], position: usize) -> Result<StepInput, Failure> {
    let number = position + 1;
    let failed = |what: String| Failure::usage(format!("job file: input of step {number}: {what}"));
    let before = position.checked_sub(1).map(|before| &steps[before]);
    let Some(asked) = steps[position].input.as_deref() else {
        return Ok(before.map_or(StepInput::Job, |_| StepInput::Previous));
    };
    match (asked, before) {
        ("job", _) => Ok(StepInput::Job),
        ("previous", Some(_)) => Ok(StepInput::Previous),
        (name, Some(before)) if before.name.as_deref() == Some(name) => Ok(StepInput::Previous),
        (name, _) => {
            let named = |step: &StepFile| step.name.as_deref() == Some(name);
            let is_far = steps[..position].iter().any(named);
            let may_be = match before {
                Some(_) => "`job`, or `previous` or the name of the step right before",
                None => "`job`: no step is before it",
            };
            Err(if is_far {
                failed(format!(
                    "`{name}` is not right before it, and what a step wrote is kept for \
                     the next one only"
                ))
                .hint("put the steps next to each other, or make two jobs of them")
            } else {
                failed(format!("it is {may_be}, not `{name}`"))
            })
        }
    }
}

/// Names of steps differ, and none has a meaning already.
fn check_names(steps: &[StepFile]) -> Result<(), Failure> {
    let mut names = BTreeSet::new();
    for name in steps.iter().filter_map(|step| step.name.as_deref()) {
        if matches!(name, "" | "job" | "previous") || !names.insert(name) {
            let message = format!("job file: `{name}` cannot be the name of a step");
            return Err(Failure::usage(message)
                .hint("names differ, and are not empty, `job` or `previous`"));
        }
    }
    Ok(())
}

/// The steps that the steps take; what each reads is a format that it accepts.
fn expand(steps: &[StepSpec], format: InputFormat) -> Result<Vec<StepSpec>, Failure> {
    let mut all = Vec::new();
    for step in steps {
        let entry = program(&step.program)?;
        let read = match step.input {
            StepInput::Job => format,
            StepInput::Previous => InputFormat::Text,
        };
        if !entry.accepts(read) {
            return Err(Failure::usage(format!(
                "{} does not read the format {read}, and that is what it would be given",
                entry.name
            )));
        }
        let expanded = vivat_programs::expand(step, format);
        let expanded = expanded.map_err(|error| Failure::from(&error.cause()))?;
        for step in expanded.iter().filter(|expanded| *expanded != step) {
            parameters(step)?;
        }
        all.extend(expanded);
    }
    Ok(all)
}

/// What a job is called that nobody named: its programs, as many as a name holds.
fn name_of(steps: &[StepSpec]) -> String {
    let programs: Vec<&str> = steps.iter().map(|step| step.program.as_str()).collect();
    let mut name = programs.join("+");
    name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
    name
}

fn settings(
    args: &JobArgs,
    file: &JobFile,
    given: &Given<'_>,
    steps: &[StepSpec],
) -> Result<Settings, Failure> {
    let split_size: Option<ByteSize> = parsed(&file.split_size, "split-size")?;
    let size_hint: Option<ByteSize> = parsed(&file.size_hint, "size-hint")?;
    let job_timeout: Option<TimeSpan> = parsed(&file.job_timeout, "job-timeout")?;
    let policy = parsed(&file.policy, "policy")?;
    Ok(Settings {
        name: pick(given, "name", args.name.clone(), file.name.clone())
            .unwrap_or_else(|| name_of(steps)),
        comment: pick(given, "comment", args.comment.clone(), file.comment.clone())
            .unwrap_or_default(),
        source: pick(given, "source", args.source.clone(), file.source.clone()).unwrap_or_default(),
        size_hint_bytes: pick(given, "size_hint", args.size_hint, size_hint)
            .map(|ByteSize(bytes)| bytes),
        split_bytes: pick(given, "split_size", Some(args.split_size), split_size)
            .unwrap_or(args.split_size)
            .0,
        overwrite: pick(given, "overwrite", Some(args.overwrite), file.overwrite)
            .unwrap_or(args.overwrite),
        priority: pick(given, "priority", Some(args.priority), file.priority)
            .unwrap_or(args.priority),
        policy: pick(given, "policy", Some(args.policy), policy).unwrap_or(args.policy),
        attempts_max: pick(
            given,
            "max_attempts",
            Some(args.max_attempts),
            file.max_attempts,
        )
        .unwrap_or(args.max_attempts),
        skipped_max: pick(
            given,
            "skip_bad_records",
            Some(args.skip_bad_records),
            file.skip_bad_records,
        )
        .unwrap_or(args.skip_bad_records),
        speculation: pick(
            given,
            "speculation",
            Some(args.speculation),
            file.speculation,
        )
        .unwrap_or(args.speculation),
        timeout: pick(given, "job_timeout", args.job_timeout, job_timeout)
            .map(|TimeSpan(limit)| limit),
        notify: pick(given, "notify", args.notify.clone(), file.notify.clone())
            .map(|typed| notify(&typed))
            .transpose()?,
    })
}

/// Whom to tell: a URL, or a command with its arguments as a shell would quote them.
fn notify(typed: &str) -> Result<Notify, Failure> {
    if ["http://", "https://"]
        .iter()
        .any(|it| typed.starts_with(it))
    {
        return Ok(Notify::Webhook {
            url: typed.to_owned(),
        });
    }
    let argv = shlex::split(typed)
        .filter(|argv| !argv.is_empty())
        .ok_or_else(|| Failure::usage(format!("--notify: no URL and no command: {typed}")))?;
    Ok(Notify::Command { argv })
}

/// A flag that was typed or is in the environment, else the job file's value,
/// else the flag's default, which may be the config file's.
fn pick<T>(given: &Given<'_>, id: &str, flag: Option<T>, file: Option<T>) -> Option<T> {
    if given.explicit(id) {
        flag
    } else {
        file.or(flag)
    }
}

fn parsed<T>(value: &Option<impl ToString>, key: &str) -> Result<Option<T>, Failure>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let Some(value) = value else { return Ok(None) };
    let parsed = value.to_string().parse();
    parsed
        .map(Some)
        .map_err(|error| Failure::usage(format!("job file: {key}: {error}")))
}

fn accepted(steps: &[StepSpec], format: InputFormat) -> Result<InputFormat, Failure> {
    let entry = first(steps)?;
    if entry.accepts(format) {
        return Ok(format);
    }
    let formats: Vec<String> = entry.formats.iter().map(ToString::to_string).collect();
    Err(Failure::usage(format!(
        "{} does not read the format {format}: it reads {}",
        entry.name,
        formats.join(", ")
    )))
}

/// Text for programs that read it, else the first format that they read.
fn usual_format(steps: &[StepSpec]) -> Result<InputFormat, Failure> {
    let entry = first(steps)?;
    if entry.accepts(InputFormat::Text) {
        return Ok(InputFormat::Text);
    }
    match entry.formats.first() {
        Some(Format::Csv) => Ok(InputFormat::Csv),
        Some(Format::WholeFile) => Ok(InputFormat::WholeFile),
        Some(Format::Text) | None => Ok(InputFormat::Text),
        Some(Format::Fixed) => Err(Failure::usage(format!(
            "{} needs --format fixed:N",
            entry.name
        ))),
    }
}

fn first(steps: &[StepSpec]) -> Result<&'static ProgramEntry, Failure> {
    let step = steps
        .first()
        .ok_or_else(|| Failure::usage("a job needs a step"))?;
    program(&step.program)
}

/// A directory of this machine as a place for output.
pub fn local_output(path: PathBuf) -> Result<Place, Failure> {
    let typed = path.to_string_lossy().into_owned();
    Place::parse(&typed, "output", Path::new("/"))
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
