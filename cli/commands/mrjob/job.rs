//! From a script's description to the text of a job file.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::describe::{Description, Step};
use super::jobconf::{self, Shape};
use crate::args::job::Param;
use crate::args::mrjob::MrjobArgs;
use crate::failure::{Failure, exit};
use crate::paths;

/// Where Python looks for modules besides its own: of the tasks, the working
/// directory, in which the files lie that go with the job.
const MODULES: &str = "PYTHONPATH";
/// Where Python looks for what a user installed for herself: below the home that she
/// has here, and tasks have none.
const USER_BASE: &str = "PYTHONUSERBASE";

/// The format of inputs that a mapper is given as files.
const WHOLE_FILES: &str = "whole-file";

/// A job file and what it cannot say.
#[derive(Debug)]
pub struct JobText {
    /// The file.
    pub toml: String,
    /// Partitions of each step that says so itself.
    pub reducers: Vec<Option<u32>>,
    /// What people should know.
    pub warnings: Vec<String>,
}

impl JobText {
    /// Of a description. `parameters` are of `exec` and go to every step.
    ///
    /// # Errors
    ///
    /// Exit 2 when there is no input, and for properties that are refused.
    pub fn new(
        job: &Description,
        args: &MrjobArgs,
        parameters: &[Param],
        near: bool,
    ) -> Result<Self, Failure> {
        let inputs: Vec<Value> = inputs(job, args)?.into_iter().map(Value::from).collect();
        let mut warnings = unread(job);
        let mut reducers = Vec::new();
        let mut steps = Vec::new();
        for (position, step) in job.steps.iter().enumerate() {
            let shape = jobconf::shape(job, step, position + 1)?;
            if step.reducer.is_none() && step.combiner.is_some() {
                warnings.push(format!(
                    "step {}: nothing is combined where nothing is reduced",
                    position + 1
                ));
            }
            let params = params(job, step, &shape, parameters, near);
            let mut table = Table::new();
            table.insert("program".to_owned(), "exec".into());
            table.insert("params".to_owned(), params.into());
            steps.push(Value::from(table));
            reducers.push(shape.reducers);
            warnings.extend(shape.warnings);
        }
        let mut file = Table::new();
        let mut set = |key: &str, value: Value| file.insert(key.to_owned(), value);
        set("name", script_name(&args.script).into());
        set("input", inputs.into());
        if job.steps.first().is_some_and(|step| step.raw) {
            set("format", WHOLE_FILES.into());
        }
        if let Some(output) = &job.output {
            set("output", output.as_str().into());
        }
        let files = job.files.iter();
        let files = files.map(|(name, path)| (name.clone(), Value::from(path.as_str())));
        set("side-files", files.collect::<Table>().into());
        set("step", steps.into());
        Ok(Self {
            toml: file.to_string(),
            reducers,
            warnings,
        })
    }
}

/// Whether a job that ended so for its waiter may go on.
pub fn may_live_on(failure: &Failure) -> bool {
    [exit::TIMEOUT, exit::TEMPORARY, exit::INTERRUPTED].contains(&failure.exit)
}

fn inputs(job: &Description, args: &MrjobArgs) -> Result<Vec<String>, Failure> {
    let all: Vec<String> = args.inputs.iter().chain(&job.inputs).cloned().collect();
    if all.is_empty() {
        return Err(Failure::usage("no input is named")
            .hint(format!("vivat mrjob {} FILE... [-- ARGS]", args.script)));
    }
    Ok(all)
}

fn script_name(script: &str) -> String {
    script.rsplit('/').next().unwrap_or(script).to_owned()
}

/// What the script asks for that only Hadoop has, and that changes no result here.
fn unread(job: &Description) -> Vec<String> {
    [
        ("HADOOP_INPUT_FORMAT", &job.input_format),
        ("HADOOP_OUTPUT_FORMAT", &job.output_format),
    ]
    .into_iter()
    .filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some(format!("{name} is Java and not used: {value}"))
    })
    .collect()
}

fn params(
    job: &Description,
    step: &Step,
    shape: &Shape,
    parameters: &[Param],
    near: bool,
) -> Table {
    let mut table = Table::new();
    let mut set = |key: String, value: String| table.insert(key, value.into());
    let commands = [
        ("mapper", step.mapper.as_ref()),
        (
            "combiner",
            step.combiner.as_ref().filter(|_| step.reducer.is_some()),
        ),
        ("reducer", step.reducer.as_ref()),
    ];
    for (name, command) in commands {
        if let Some(command) = command {
            set(name.to_owned(), serde_json::json!(command).to_string());
        }
    }
    if step.raw {
        set("raw".to_owned(), "true".to_owned());
        // What the job's format makes of it anyway, for whoever judges the step alone.
        set("format".to_owned(), WHOLE_FILES.to_owned());
    }
    if shape.sort_values {
        set("sort-values".to_owned(), "true".to_owned());
    }
    let fields = [
        ("key-fields", shape.key_fields),
        ("partition-fields", shape.partition_fields),
    ];
    for (name, fields) in fields {
        if let Some(fields) = fields {
            set(name.to_owned(), fields.to_string());
        }
    }
    for (name, value) in environment(job, step, near) {
        set(format!("env.{name}"), value);
    }
    for param in parameters {
        set(param.key.clone(), param.value.clone());
    }
    table
}

/// Properties as Hadoop Streaming gives them to tasks, then what the script sets.
fn environment(job: &Description, step: &Step, near: bool) -> BTreeMap<String, String> {
    let variable = |name: &str| -> String {
        let letter = |letter: char| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        };
        name.chars().map(letter).collect()
    };
    let mut all: BTreeMap<String, String> = step
        .jobconf
        .iter()
        .map(|(name, value)| (variable(name), value.clone()))
        .collect();
    all.extend(job.environment.clone());
    if let Some(base) = job.user_base.as_ref().filter(|_| near) {
        all.entry(USER_BASE.to_owned()).or_insert(base.clone());
    }
    let own = job.environment.get(MODULES).cloned();
    let here = std::env::var(MODULES).ok().filter(|_| near);
    let modules = [Some(".".to_owned()), own, here.map(absolute)];
    let modules: Vec<String> = modules.into_iter().flatten().collect();
    all.insert(MODULES.to_owned(), modules.join(":"));
    all
}

/// A search path that means the same in another directory.
fn absolute(search: String) -> String {
    let Ok(here) = paths::here() else {
        return search;
    };
    let parts = search.split(':').map(|part| here.join(part));
    let parts: Vec<String> = parts
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    parts.join(":")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::args::{Cli, Command};

    fn args(words: &[&str]) -> MrjobArgs {
        let all = ["vivat", "mrjob"].iter().chain(words);
        let matches = Cli::command().try_get_matches_from(all).unwrap();
        match Cli::from_arg_matches(&matches).unwrap().command {
            Command::Mrjob(args) => args,
            other => panic!("not the command that was typed: {other:?}"),
        }
    }

    fn description() -> Description {
        let text = r##"{"steps": [
            {"mapper": ["python3", "a b.py", "--mapper"], "combiner": ["cat"], "raw": true},
            {"reducer": ["head", "-n", "1"], "jobconf": {"mapreduce.job.reduces": "1"}}],
            "files": {"a b.py": "/home/ada/a b.py"}, "environment": {"MODE": "x"}}"##;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn arguments_behind_two_dashes_are_the_scripts_own() {
        let args = args(&["s.py", "a", "b", "--reducers", "2", "--", "--top", "3", "c"]);
        assert_eq!(args.script, "s.py");
        assert_eq!(args.inputs, ["a", "b"]);
        assert_eq!(args.arguments, ["--top", "3", "c"]);
        assert_eq!(args.job.reducers, 2);
    }

    #[test]
    fn each_step_becomes_a_step_of_one_job_file() {
        let param = Param {
            key: "timeout".to_owned(),
            value: "1h".to_owned(),
        };
        let args = args(&["dir/s.py", "a.txt"]);
        let text = JobText::new(&description(), &args, &[param], false).unwrap();
        let file: Table = text.toml.parse().unwrap();
        assert_eq!(file["name"].as_str(), Some("s.py"));
        assert_eq!(file["format"].as_str(), Some("whole-file"));
        assert_eq!(
            file["side-files"]["a b.py"].as_str(),
            Some("/home/ada/a b.py")
        );
        let [first, second] = &file["step"].as_array().unwrap()[..] else {
            panic!("{}", text.toml);
        };
        let first = first["params"].as_table().unwrap();
        assert_eq!(
            first["mapper"].as_str(),
            Some(r#"["python3","a b.py","--mapper"]"#)
        );
        assert_eq!(first["env.MODE"].as_str(), Some("x"));
        assert_eq!(first["env.PYTHONPATH"].as_str(), Some("."));
        assert!(!first.contains_key("combiner") && text.warnings.len() == 1);
        let second = second["params"].as_table().unwrap();
        assert_eq!(second["env.mapreduce_job_reduces"].as_str(), Some("1"));
        assert_eq!(second["timeout"].as_str(), Some("1h"));
        assert_eq!(text.reducers, [None, Some(1)]);
    }

    #[test]
    fn job_without_input_is_refused_and_inputs_may_stand_among_the_scripts_arguments() {
        let refused = JobText::new(&description(), &args(&["s.py"]), &[], true).unwrap_err();
        assert_eq!(refused.exit, 2);
        let mut job = description();
        job.inputs = vec!["x".to_owned()];
        let text = JobText::new(&job, &args(&["s.py"]), &[], true).unwrap();
        assert!(text.toml.contains(r#"input = ["x"]"#), "{}", text.toml);
    }
}
