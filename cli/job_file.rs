//! A job file: the flags of `run`, written down.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;

/// What a job file says; what it does not say is left to the flags' defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JobFile {
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub comment: Option<String>,
    /// Where the input comes from, for people.
    pub source: Option<String>,
    /// How large the input is expected to be, for people and for `job plan`: a
    /// number of bytes or a text with a unit.
    #[serde(alias = "size_hint")]
    pub size_hint: Option<Scalar>,
    /// Paths and globs.
    #[serde(default)]
    pub input: OneOrMany,
    /// As `--format`.
    pub format: Option<String>,
    /// As `--output`.
    pub output: Option<String>,
    /// As `--reducers`, for steps that do not say.
    pub reducers: Option<u32>,
    /// As `--split-size`: a number of bytes or a text with a unit.
    #[serde(alias = "split_size")]
    pub split_size: Option<Scalar>,
    /// As `--priority`.
    pub priority: Option<u8>,
    /// As `--policy`.
    pub policy: Option<String>,
    /// As `--max-attempts`.
    #[serde(alias = "max_attempts")]
    pub max_attempts: Option<u8>,
    /// As `--skip-bad-records`.
    #[serde(alias = "skip_bad_records")]
    pub skip_bad_records: Option<u64>,
    /// As `--speculation`: true is on.
    pub speculation: Option<bool>,
    /// As `--overwrite`.
    pub overwrite: Option<bool>,
    /// As `--key`.
    pub key: Option<String>,
    /// As `--job-timeout`: seconds or a text with a unit.
    #[serde(alias = "job_timeout")]
    pub job_timeout: Option<Scalar>,
    /// As `--notify`.
    pub notify: Option<String>,
    /// Files that every worker reads beside the input, by the names under which
    /// programs ask for them.
    #[serde(default, alias = "side_files")]
    pub side_files: BTreeMap<String, String>,
    /// At least one.
    #[serde(default)]
    pub step: Vec<StepFile>,
}

/// One `[[step]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StepFile {
    /// Under which the next step may ask for what this one writes.
    pub name: Option<String>,
    /// Name in the catalogue.
    pub program: String,
    /// `[step.params]`.
    #[serde(default)]
    pub params: BTreeMap<String, ParamFile>,
    /// Partitions of this step.
    pub reducers: Option<u32>,
    /// What it reads: `job` (the job's input, the first step always), `previous`
    /// (what the step before wrote) or the name of the step before.
    pub input: Option<String>,
    /// The most rounds of a program that closes them.
    pub rounds: Option<u32>,
}

/// A text, number or truth.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `"32MiB"`
    Text(String),
    /// `4`
    Integer(i64),
    /// `0.5`
    Float(f64),
    /// `true`
    Boolean(bool),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
        }
    }
}

/// A parameter's value: a list is its items joined by commas, or the words of a
/// command.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ParamFile {
    /// One value.
    One(Scalar),
    /// A list.
    Many(Vec<Scalar>),
}

impl ParamFile {
    /// As one would type it after `-p KEY=`.
    pub fn text(&self) -> String {
        match self {
            Self::One(scalar) => scalar.to_string(),
            Self::Many(items) => items
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(","),
        }
    }

    /// A command: a list is its words, as a JSON list of texts.
    pub fn words(&self) -> String {
        match self {
            Self::One(scalar) => scalar.to_string(),
            Self::Many(items) => {
                let items: Vec<_> = items.iter().map(|item| json!(item.to_string())).collect();
                json!(items).to_string()
            }
        }
    }
}

/// One path or a list of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// `"a.txt"`
    One(String),
    /// `["a.txt", "b.txt"]`
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl OneOrMany {
    /// As a list.
    pub fn list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// Reads a job file.
///
/// # Errors
///
/// Exit 3 when it is not there, 2 when it is wrong, with the line.
pub fn load(path: &Path) -> Result<JobFile, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::file("read the job file", path, &error))?;
    parse(&text, path)
}

/// Reads a job file's text.
///
/// # Errors
///
/// Exit 2 when it is wrong, with the line.
pub fn parse(text: &str, path: &Path) -> Result<JobFile, Failure> {
    let file: JobFile = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..start]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        let message = format!("{}:{line}: {}", path.display(), error.message());
        match unknown_key(text) {
            Some((key, near)) => {
                Failure::usage(message).hint(format!("did you mean `{near}` where `{key}` stands?"))
            }
            None => Failure::usage(message),
        }
    })?;
    if file.step.is_empty() {
        return Err(
            Failure::usage(format!("{}: there is no [[step]]", path.display()))
                .hint("add one: [[step]], and in it program = \"word-count\""),
        );
    }
    Ok(file)
}

/// Keys of a job file. A test holds them against the fields above.
const KEYS: [&str; 19] = [
    "name",
    "comment",
    "source",
    "size-hint",
    "input",
    "format",
    "output",
    "reducers",
    "split-size",
    "priority",
    "policy",
    "max-attempts",
    "skip-bad-records",
    "speculation",
    "overwrite",
    "key",
    "job-timeout",
    "notify",
    "side-files",
];
/// Keys of a step.
const STEP_KEYS: [&str; 6] = ["name", "program", "params", "reducers", "input", "rounds"];

/// The first key that a job file does not have, and the one that was meant, if one
/// is near. Keys may be written with `_` for `-`.
fn unknown_key(text: &str) -> Option<(String, &'static str)> {
    let table: toml::Table = text.parse().ok()?;
    let top = table.keys().filter(|key| *key != "step");
    let steps = table.get("step").and_then(toml::Value::as_array);
    let of_steps = steps.into_iter().flatten();
    let of_steps = of_steps.filter_map(toml::Value::as_table);
    let near = |key: &str, known: &[&'static str]| {
        let typed = key.replace('_', "-");
        let is_known = known.contains(&typed.as_str());
        let near = crate::suggest::closest(&typed, known.iter().copied());
        near.filter(|_| !is_known)
            .map(|near| (key.to_owned(), near))
    };
    let with_step: Vec<&str> = KEYS.iter().copied().chain(["step"]).collect();
    top.map(|key| near(key, &with_step))
        .chain(of_steps.flat_map(|step| step.keys().map(|key| near(key, &STEP_KEYS))))
        .flatten()
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_file_of_the_contract_is_read() {
        let text = r#"
            name     = "player-averages"
            comment  = "season averages by player"
            input    = ["data/input/game-logs.csv"]
            format   = "csv"
            output   = "out/player-averages"
            reducers = 4
            priority = 50

            [[step]]
            program = "group-by"
            [step.params]
            key = ["PLAYER_NAME"]
            limit = 3
        "#;
        let file = parse(text, Path::new("job.toml")).unwrap();
        assert_eq!(file.input.list(), ["data/input/game-logs.csv"]);
        assert_eq!(file.step[0].params["key"].text(), "PLAYER_NAME");
        assert_eq!(file.step[0].params["limit"].text(), "3");
        assert_eq!(file.step[0].params["key"].words(), r#"["PLAYER_NAME"]"#);
    }

    #[test]
    fn unknown_key_is_refused_with_its_line() {
        let text = "name = \"x\"\nreducer = 4\n[[step]]\nprogram = \"grep\"\n";
        let failure = parse(text, Path::new("job.toml")).unwrap_err();
        assert_eq!(failure.exit, 2);
        assert!(
            failure.message.starts_with("job.toml:2:"),
            "{}",
            failure.message
        );
        assert_eq!(
            failure.hint,
            "did you mean `reducers` where `reducer` stands?"
        );
        assert!(parse("name = \"x\"", Path::new("job.toml")).is_err());
    }

    #[test]
    fn key_of_a_step_that_is_misspelt_is_answered_with_the_one_that_was_meant() {
        let text = "input = \"x\"\n[[step]]\nprogram = \"grep\"\nround = 3\n";
        let failure = parse(text, Path::new("job.toml")).unwrap_err();
        assert!(failure.hint.contains("`rounds`"), "{failure:?}");
        let text = "size_hint = \"1GiB\"\n[[step]]\nprogram = \"grep\"\ncolour = 3\n";
        let failure = parse(text, Path::new("job.toml")).unwrap_err();
        assert!(failure.message.contains("colour"), "{failure:?}");
        assert_eq!(failure.hint, "");
    }

    #[test]
    fn keys_that_are_suggested_are_those_that_are_read() {
        // The refusal of an unknown key names all that are read, with both spellings.
        let read = |text: &str| -> Vec<String> {
            let message = parse(text, Path::new("job.toml")).unwrap_err().message;
            let (_, names) = message.split_once("expected one of ").unwrap();
            let names = names.split(", ").map(|name| name.trim_matches('`'));
            let names = names.filter(|name| !name.contains('_') && *name != "step");
            names.map(str::to_owned).collect()
        };
        assert_eq!(read("zzz = 1\n[[step]]\nprogram = \"grep\"\n"), KEYS);
        assert_eq!(read("[[step]]\nprogram = \"grep\"\nzzz = 1\n"), STEP_KEYS);
    }
}
