//! From flags and job file to a job's specification, checked on this side
//! before anything is submitted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vivat_programs::{Format, Parameters, ProgramEntry, validate_parameters};
use vivat_shared::cause::FailureCause;
use vivat_shared::job::{
    HostIdentity, InputFormat, JobSpec, OutputLocation, SideFile, StepInput, StepSpec,
};

use crate::args::Given;
use crate::args::job::{JobArgs, WhatArgs, job_file};
use crate::failure::Failure;
use crate::job_file::{self, JobFile, StepFile};
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
    split_bytes: u64,
    overwrite: bool,
    priority: u8,
    policy: vivat_shared::job::Policy,
    attempts_max: u8,
    skipped_max: u64,
    speculation: bool,
    timeout: Option<Duration>,
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
        let expanded = expand(&steps, format)?;
        let key = pick(given, "key", args.key.clone(), file.key.clone());
        let settings = settings(args, &file, given, &steps)?;
        let side_files = file.side_files.into_iter().map(|(name, typed)| {
            let place = Place::parse(&typed, "side file", directory)?;
            Ok::<_, Failure>((name, place))
        });
        let side_files = side_files.collect::<Result<_, _>>()?;
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

/// A program's parameters, checked, with defaults.
pub fn parameters(step: &StepSpec) -> Result<Parameters, Failure> {
    validate_parameters(program(&step.program)?, &step.parameters)
        .map_err(|error| Failure::from(&error.cause()))
}

fn of_program(program: &str) -> JobFile {
    JobFile {
        step: vec![StepFile {
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
                .map(|(key, value)| (key.clone(), value.text()))
                .collect();
            for param in &args.params {
                parameters.insert(param.key.clone(), param.value.clone());
            }
            let of_file = step.reducers.or(file.reducers);
            let reducers = pick(given, "reducers", Some(args.reducers), of_file);
            let step = StepSpec {
                parameters,
                input: step_input(position, step)?,
                rounds_max: step.rounds.unwrap_or(1),
                closes: step.rounds.is_some(),
                ..StepSpec::once(&step.program, reducers.unwrap_or(args.reducers))
            };
            self::parameters(&step)?;
            Ok(step)
        })
        .collect()
}

/// The first step reads the job's input, later ones what was written before them.
fn step_input(position: usize, step: &StepFile) -> Result<StepInput, Failure> {
    match (step.input.as_deref(), position) {
        (Some("job"), _) | (None, 0) => Ok(StepInput::Job),
        (Some("previous"), 1..) | (None, 1..) => Ok(StepInput::Previous),
        (Some(other), _) => Err(Failure::usage(format!(
            "job file: input of step {}: it is `job` or, behind another step, `previous`, not \
             `{other}`",
            position + 1
        ))),
    }
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
        all.extend(expanded.map_err(|error| Failure::from(&error.cause()))?);
    }
    Ok(all)
}

fn settings(
    args: &JobArgs,
    file: &JobFile,
    given: &Given<'_>,
    steps: &[StepSpec],
) -> Result<Settings, Failure> {
    let programs: Vec<&str> = steps.iter().map(|step| step.program.as_str()).collect();
    let split_size: Option<ByteSize> = parsed(&file.split_size, "split-size")?;
    let job_timeout: Option<TimeSpan> = parsed(&file.job_timeout, "job-timeout")?;
    let policy = parsed(&file.policy, "policy")?;
    Ok(Settings {
        name: pick(given, "name", args.name.clone(), file.name.clone())
            .unwrap_or_else(|| programs.join("+")),
        comment: pick(given, "comment", args.comment.clone(), file.comment.clone())
            .unwrap_or_default(),
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
    })
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
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::args::{Cli, Command};

    fn draft(words: &[&str], configured: &[String]) -> Result<Draft, Failure> {
        let all = ["vivat", "run"].iter().chain(words);
        let matches = Cli::command().try_get_matches_from(all).unwrap();
        let Command::Run(args) = Cli::from_arg_matches(&matches).unwrap().command else {
            panic!("not the command that was typed");
        };
        let matches = matches.subcommand_matches("run").unwrap();
        let given = Given::new(matches, configured);
        Draft::new(args.what, &args.job, &given, Path::new("/home/ada"))
    }

    fn job_file(text: &str) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job.toml");
        std::fs::write(&path, text).unwrap();
        let path = path.to_string_lossy().into_owned();
        (directory, path)
    }

    const FILE: &str = "input = \"a.txt\"\nreducers = 6\nsplit-size = \"1KiB\"\n\
        [[step]]\nprogram = \"grep\"\nparams.pattern = \"x\"\n";

    #[test]
    fn flag_goes_before_job_file_and_job_file_before_config_and_default() {
        let (_directory, path) = job_file(FILE);
        let configured = ["reducers".to_owned()];
        let of_file = draft(&[&path], &configured).unwrap();
        assert_eq!(of_file.steps[0].reducers, 6);
        assert_eq!(of_file.settings.split_bytes, 1_024);
        assert_eq!(of_file.settings.priority, 50);
        let typed = ["--reducers", "2", "-p", "pattern=y", "--input", "b.txt"];
        let typed = draft(&[&[path.as_str()], &typed[..]].concat(), &[]).unwrap();
        assert_eq!(typed.steps[0].reducers, 2);
        assert_eq!(typed.steps[0].parameters["pattern"], "y");
        assert_eq!(typed.inputs.len(), 1);
        assert_eq!(typed.inputs[0].path, "/home/ada/b.txt");
    }

    #[test]
    fn what_is_wrong_is_found_before_anything_is_submitted() {
        for (words, exit) in [
            (&["wordcount", "a.txt"][..], 3),
            (&["word-count", "a.txt", "-p", "shape=round"], 2),
            (&["grep", "a.txt"], 2),
            (&["grep", "a.txt", "-p", "pattern=("], 2),
            (&["word-count"], 2),
            (&["word-count", "a.txt", "--format", "csv"], 2),
            (&["/nowhere/job.toml"], 3),
        ] {
            assert_eq!(draft(words, &[]).unwrap_err().exit, exit, "{words:?}");
        }
    }

    #[test]
    fn sort_into_several_parts_takes_a_sample_first_and_into_one_part_none() {
        let words = [
            "sort",
            "a.bin",
            "--format",
            "fixed:100",
            "-p",
            "key-bytes=10",
        ];
        let several = draft(&words, &[]).unwrap();
        let programs: Vec<&str> = several
            .steps
            .iter()
            .map(|step| step.program.as_str())
            .collect();
        assert_eq!(programs, ["sort-sample", "sort"]);
        let [sample, sort] = &several.steps[..] else {
            panic!("{programs:?}");
        };
        assert!(sample.closes && sample.reducers == 1 && !sort.closes);
        assert_eq!(sample.parameters["parts"], "4");
        assert_eq!(sort.parameters["record-bytes"], "100");
        assert_eq!((sample.input, sort.input), (StepInput::Job, StepInput::Job));
        let wrong = ["sort", "a.txt", "-p", "csv-column=name"];
        assert_eq!(draft(&wrong, &[]).unwrap_err().exit, 2);
        let one = draft(&["sort", "a.txt", "--reducers", "1"], &[]).unwrap();
        assert_eq!(one.steps.len(), 1);
    }

    #[test]
    fn later_step_reads_what_was_written_before_it_unless_the_file_says_otherwise() {
        let (_directory, path) = job_file(
            "input = \"a.txt\"\n[[step]]\nprogram = \"word-count\"\n\
             [[step]]\nprogram = \"sort\"\nreducers = 1\n\
             [[step]]\nprogram = \"sort\"\ninput = \"job\"\nreducers = 1\n",
        );
        let draft = draft(&[&path], &[]).unwrap();
        let inputs: Vec<StepInput> = draft.steps.iter().map(|step| step.input).collect();
        let expected = [StepInput::Job, StepInput::Previous, StepInput::Job];
        assert_eq!(inputs, expected);
        for wrong in ["input = \"previous\"\n", "rounds = 0\n"] {
            let text = format!("input = \"a.txt\"\n[[step]]\nprogram = \"sort\"\n{wrong}");
            let (_directory, path) = job_file(&text);
            let refused = self::draft(&[&path], &[]).and_then(|draft| {
                let output = OutputLocation::Dataset { name: None };
                draft.spec(output, &HostIdentity("x".to_owned())).map(drop)
            });
            assert_eq!(refused.unwrap_err().exit, 2, "{wrong}");
        }
    }

    #[test]
    fn file_urls_alone_need_no_worker_on_this_machine() {
        let words = ["word-count", "file:///a", "--output", "file:///o"];
        assert!(!draft(&words, &[]).unwrap().needs_this_host());
        assert!(
            draft(&["word-count", "file:///a", "b"], &[])
                .unwrap()
                .needs_this_host()
        );
    }
}
