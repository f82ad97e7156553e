//! Asks a script what it would run: one process of the user's Python.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

use crate::failure::{Failure, exit};

/// The helper that runs in the user's Python.
const DESCRIBE: &str = include_str!("describe.py");
/// What steps start with whose commands need something done first.
const TASK: &str = include_str!("task.py");
/// The Python that is meant when none is named.
const PYTHON: &str = "python3";
/// Where a script that goes with its steps finds mrjob, and what else it needs.
const INSTALL: &str = "pip install mrjob==0.7.4 'setuptools<81', with Python 3.12 or older; or \
    name a Python that has it: --python PATH or VIVAT_PYTHON";

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// Python, when one is named.
    pub python: Option<String>,
    /// The script, as typed.
    pub script: String,
    /// Its own arguments.
    pub arguments: Vec<String>,
    /// Whether tasks run on this machine.
    pub near: bool,
}

/// What the script answered.
#[derive(Debug)]
pub enum Described {
    /// A job.
    Job {
        /// What it is.
        description: Box<Description>,
        /// What the script said on standard error.
        said: String,
    },
    /// It was asked for its help.
    Help(String),
}

/// A job as its script describes it.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, serde(default))]
pub struct Description {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Files that go with it: the name in the working directory, and where it is.
    pub files: BTreeMap<String, String>,
    /// Variables of its tasks.
    pub environment: BTreeMap<String, String>,
    /// Inputs among the script's own arguments.
    pub inputs: Vec<String>,
    /// `SORT_VALUES`.
    pub sort_values: bool,
    /// `PARTITIONER`.
    pub partitioner: Option<String>,
    /// `HADOOP_INPUT_FORMAT`.
    pub input_format: Option<String>,
    /// `HADOOP_OUTPUT_FORMAT`.
    pub output_format: Option<String>,
    /// `--output-dir`.
    pub output: Option<String>,
    /// Where Python keeps what its user installed for herself.
    pub user_base: Option<String>,
}

/// One step: commands as argument vectors.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    /// None: lines as they are.
    pub mapper: Option<Vec<String>>,
    /// None: no combiner.
    pub combiner: Option<Vec<String>>,
    /// None: what mappers print is the result.
    pub reducer: Option<Vec<String>>,
    /// Whether the mapper is given whole files (`mapper_raw`).
    pub raw: bool,
    /// Hadoop's properties.
    pub jobconf: BTreeMap<String, String>,
}

/// What `describe.py` writes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Failed { error: Problem },
    Job(Box<Description>),
}

#[derive(Debug, Deserialize)]
struct Problem {
    kind: ProblemKind,
    message: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ProblemKind {
    /// mrjob cannot be imported.
    Mrjob,
    /// The script raised something.
    Script,
    /// It ended by itself, as it does on wrong arguments.
    Arguments,
    /// It has steps that only Hadoop or Spark can run, or describes none that can
    /// be run.
    Refused,
    /// It ended without starting a job.
    NoJob,
}

/// Asks. Files that the job needs and the script does not have are made in
/// `directory`.
///
/// # Errors
///
/// Exit 3 when script, Python or mrjob are not there; 2 when the script cannot be
/// imported, refuses its arguments or describes nothing that can be run.
pub fn ask(question: &Question, directory: &Path) -> Result<Described, Failure> {
    let script = Path::new(&question.script);
    let about = fs::metadata(script).map_err(|error| Failure::file("read", script, &error))?;
    if about.is_dir() {
        return Err(Failure::usage(format!(
            "{} is a directory, not a script",
            script.display()
        )));
    }
    let write = |name: &str, text: &str| -> Result<PathBuf, Failure> {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| Failure::file("write", &path, &error))?;
        Ok(path)
    };
    let helper = write("describe.py", DESCRIBE)?;
    let task = write("vivat_task.py", TASK)?;
    let python = question.python.as_deref().unwrap_or(PYTHON);
    let output = Command::new(python)
        .arg(helper)
        .args([directory, &task])
        .arg(of_tasks(question))
        .arg(script)
        .args(&question.arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| no_python(python, &error))?;
    answer(question, directory, &output)
}

/// What tasks run with: empty is the very Python that is asked. A path means the
/// same on every machine; a bare name may not mean the one that is found here.
fn of_tasks(question: &Question) -> String {
    match &question.python {
        Some(_) => String::new(),
        None if question.near => String::new(),
        None => PYTHON.to_owned(),
    }
}

fn no_python(python: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => Failure::not_found(format!("there is no Python `{python}`"))
            .hint("name one that has mrjob: --python PATH or VIVAT_PYTHON"),
        _ => Failure::failed(format!("cannot run Python `{python}`: {error}")),
    }
}

fn answer(question: &Question, directory: &Path, output: &Output) -> Result<Described, Failure> {
    let said = String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = directory.join("job.json");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(_) if output.status.success() => return Ok(Described::Help(printed)),
        Err(_) => {
            let message = format!(
                "the script could not be asked for its steps: {}",
                output.status
            );
            return Err(refusal(&message, &said));
        }
    };
    let answer: Answer = serde_json::from_slice(&text)
        .map_err(|error| Failure::failed(format!("what the script says is no job: {error}")))?;
    match answer {
        Answer::Job(description) => Ok(Described::Job { description, said }),
        Answer::Failed { error } => Err(explain(question, &error, &said)),
    }
}

fn refusal(message: &str, said: &str) -> Failure {
    let told = [message, said].into_iter().filter(|text| !text.is_empty());
    Failure::usage(told.collect::<Vec<_>>().join("\n"))
}

fn explain(question: &Question, problem: &Problem, said: &str) -> Failure {
    let script = &question.script;
    let message = problem.message.trim_end();
    match problem.kind {
        ProblemKind::Mrjob => Failure::new(
            "mrjob-not-found",
            exit::NOT_FOUND,
            format!(
                "{} cannot import mrjob: {message}",
                question.python.as_deref().unwrap_or(PYTHON)
            ),
        )
        .hint(INSTALL),
        ProblemKind::Script => refusal(&format!("{script} cannot be loaded\n{message}"), said),
        ProblemKind::Arguments => refusal(&format!("{script} refuses its arguments"), said)
            .hint("the script's own arguments stand behind `--`"),
        ProblemKind::Refused => refusal(&format!("{script} cannot be run here: {message}"), said),
        ProblemKind::NoJob => refusal(&format!("{script} starts no job"), said)
            .hint("it ends with: if __name__ == '__main__': NameOfTheJob.run()"),
    }
}
