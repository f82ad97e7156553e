//! The config file: read before the command line, and handed to clap as the
//! defaults of its flags, so that one mechanism does all typing.
//!
//! A key is the name of a flag, a table the name of a command: `[master]`,
//! `[run]`, `[gen.words]`. Keys outside tables are those of the global flags.
//! `[context.NAME]` names a cluster, `current-context` the one to use. What is
//! unknown is refused, with its line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;

/// A config file; empty when there is none.
#[derive(Debug, Default)]
pub struct ConfigFile {
    /// Where it is, if it is.
    pub path: Option<PathBuf>,
    /// Its settings in the order of the file.
    pub entries: Vec<Entry>,
    /// Clusters by context.
    pub contexts: BTreeMap<String, Vec<String>>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The command it is for, empty for global flags: `["gen", "words"]`.
    pub table: Vec<String>,
    /// The flag's name in the file.
    pub key: String,
    /// Its value, or values.
    pub values: Vec<String>,
    /// Line in the file, from 1.
    pub line: usize,
}

/// Where the config file is: `--config` or `VIVAT_CONFIG`, which must exist,
/// else the default place, which need not.
pub fn locate(arguments: &[OsString]) -> Option<(PathBuf, bool)> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else { continue };
        if text == "--" {
            break;
        }
        if text == "--config" {
            return words.next().map(|path| (PathBuf::from(path), true));
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some((PathBuf::from(path), true));
        }
    }
    if let Some(path) = env::var_os("VIVAT_CONFIG").filter(|path| !path.is_empty()) {
        return Some((PathBuf::from(path), true));
    }
    let home = |name: &str| env::var_os(name).filter(|path| !path.is_empty());
    let base = home("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| home("HOME").map(|path| PathBuf::from(path).join(".config")))?;
    Some((base.join("vivat").join("config.toml"), false))
}

/// Reads a config file for this grammar.
///
/// # Errors
///
/// Exit 3 when it must exist and does not, 2 when it is wrong, with the line.
pub fn load(path: &Path, must_exist: bool, grammar: &Command) -> Result<ConfigFile, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            return Ok(ConfigFile::default());
        }
        Err(error) => return Err(Failure::file("read the config file", path, &error)),
    };
    parse(&text, path, grammar)
}

/// Reads a config file's text for this grammar.
///
/// # Errors
///
/// Exit 2 when it is wrong, with the line.
pub fn parse(text: &str, path: &Path, grammar: &Command) -> Result<ConfigFile, Failure> {
    let mut reader = Reader {
        path,
        text,
        file: ConfigFile {
            path: Some(path.to_owned()),
            ..ConfigFile::default()
        },
    };
    let document = DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        reader.wrong(start, error.message())
    })?;
    reader.table(document.get_ref(), grammar, &mut Vec::new())?;
    Ok(reader.file)
}

/// The grammar with the file's values as defaults.
pub fn inject(grammar: Command, file: &ConfigFile) -> Command {
    file.entries.iter().fold(grammar, |grammar, entry| {
        inject_entry(grammar, &entry.table, entry)
    })
}

fn inject_entry(command: Command, table: &[String], entry: &Entry) -> Command {
    if let Some((first, rest)) = table.split_first() {
        return command.mut_subcommand(first, |sub| inject_entry(sub, rest, entry));
    }
    let Some(id) = find_flag(&command, &entry.key).map(|arg| arg.get_id().clone()) else {
        return command;
    };
    let values = entry.values.clone();
    command.mut_arg(id, |arg| arg.required(false).default_values(values))
}

/// Flags that a config file may set: those with a long name and a value.
pub fn settable(arg: &Arg) -> bool {
    let takes_value = matches!(
        arg.get_action(),
        ArgAction::Set | ArgAction::Append | ArgAction::SetTrue
    );
    let special = ["config", "parent"].contains(&arg.get_id().as_str());
    takes_value && arg.get_long().is_some() && !special
}

/// A flag's name in the file: its long name, but for the one whose name is
/// taken by the tables `[context.NAME]`.
pub fn key_of(arg: &Arg) -> Option<&str> {
    match arg.get_long() {
        Some("context") => Some("current-context"),
        long => long,
    }
}

fn find_flag<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command
        .get_arguments()
        .find(|arg| settable(arg) && key_of(arg) == Some(key))
}

/// The flag that an entry is for.
pub fn flag_of<'a>(grammar: &'a Command, entry: &Entry) -> Option<&'a Arg> {
    let mut command = grammar;
    for name in &entry.table {
        command = command.find_subcommand(name)?;
    }
    find_flag(command, &entry.key)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    file: ConfigFile,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        self.text.as_bytes()[..end]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    }

    fn wrong(&self, offset: usize, problem: &str) -> Failure {
        let line = self.line(offset);
        Failure::usage(format!("{}:{line}: {problem}", self.path.display()))
    }

    fn table(
        &mut self,
        table: &DeTable<'_>,
        command: &Command,
        at: &mut Vec<String>,
    ) -> Result<(), Failure> {
        for (key, value) in table {
            let offset = key.span().start;
            let name = key.get_ref().replace('_', "-");
            if let DeValue::Table(inner) = value.get_ref() {
                if at.is_empty() && name == "context" {
                    self.contexts(inner)?;
                    continue;
                }
                let sub = command.get_subcommands().find(|sub| sub.get_name() == name);
                let Some(sub) = sub else {
                    return Err(self.unknown(offset, &name, at, command));
                };
                at.push(name);
                self.table(inner, sub, at)?;
                at.pop();
                continue;
            }
            let Some(arg) = find_flag(command, &name) else {
                return Err(self.unknown(offset, &name, at, command));
            };
            let values = self.values(value)?;
            check(arg, &values).map_err(|problem| self.wrong(offset, &problem))?;
            self.file.entries.push(Entry {
                table: at.clone(),
                key: name,
                values,
                line: self.line(offset),
            });
        }
        Ok(())
    }

    fn unknown(&self, offset: usize, name: &str, at: &[String], command: &Command) -> Failure {
        let place = if at.is_empty() {
            "the top of the file".to_owned()
        } else {
            format!("[{}]", at.join("."))
        };
        let known: Vec<&str> = command
            .get_arguments()
            .filter(|arg| settable(arg))
            .filter_map(key_of)
            .chain(command.get_subcommands().map(Command::get_name))
            .collect();
        let failure = self.wrong(offset, &format!("unknown key `{name}` at {place}"));
        match crate::suggest::closest(name, known.iter().copied()) {
            Some(close) => failure.hint(format!("did you mean `{close}`?")),
            None => failure.hint(format!("known are: {}", known.join(", "))),
        }
    }

    fn contexts(&mut self, contexts: &DeTable<'_>) -> Result<(), Failure> {
        for (name, context) in contexts {
            let offset = name.span().start;
            let DeValue::Table(inner) = context.get_ref() else {
                return Err(self.wrong(offset, "a context is a table: [context.NAME]"));
            };
            let mut cluster = None;
            for (key, value) in inner {
                if key.get_ref() != "cluster" {
                    let problem = format!("unknown key `{}` in a context", key.get_ref());
                    return Err(self.wrong(key.span().start, &problem));
                }
                let values = self.values(value)?;
                cluster = Some(
                    values
                        .iter()
                        .flat_map(|value| value.split(','))
                        .map(|part| part.trim().to_owned())
                        .collect(),
                );
            }
            let Some(cluster) = cluster else {
                return Err(self.wrong(offset, "a context needs `cluster = \"HOST:PORT,...\"`"));
            };
            self.file
                .contexts
                .insert(name.get_ref().to_string(), cluster);
        }
        Ok(())
    }

    fn values(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Failure> {
        let problem = "a text, a number, true or false, or a list of them is needed";
        match value.get_ref() {
            DeValue::Array(items) => items
                .iter()
                .map(|item| {
                    scalar(item.get_ref()).ok_or_else(|| self.wrong(item.span().start, problem))
                })
                .collect(),
            single => scalar(single)
                .map(|text| vec![text])
                .ok_or_else(|| self.wrong(value.span().start, problem)),
        }
    }
}

/// A TOML scalar as the text that one would type; none for anything else.
pub fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Lets clap judge the values, as it would on the command line.
fn check(arg: &Arg, values: &[String]) -> Result<(), String> {
    let flag = arg.get_long().unwrap_or_default();
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return match values {
            [value] if ["true", "false"].contains(&value.as_str()) => Ok(()),
            _ => Err(format!("`{flag}` is true or false")),
        };
    }
    let lone = arg.clone().required(false).env(None).global(false);
    let words = values.iter().map(|value| format!("--{flag}={value}"));
    let checked = Command::new("config")
        .no_binary_name(true)
        .disable_help_flag(true)
        .arg(lone)
        .try_get_matches_from(words);
    match checked {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(first.trim_start_matches("error: ").to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::args::{Cli, Command as Parsed};
    use crate::environment;

    fn read(text: &str) -> Result<ConfigFile, Failure> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        fs::write(&path, text).unwrap();
        load(&path, true, &environment::name_all(Cli::command()))
    }

    fn reducers(text: &str, words: &[&str]) -> u32 {
        let file = read(text).unwrap();
        let grammar = inject(environment::name_all(Cli::command()), &file);
        let matches = grammar.try_get_matches_from(words).unwrap();
        match Cli::from_arg_matches(&matches).unwrap().command {
            Parsed::Run(args) => args.job.reducers,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flag_goes_before_file_and_file_before_default() {
        let words = ["vivat", "run", "grep", "a.txt"];
        assert_eq!(reducers("", &words), 4);
        assert_eq!(reducers("[run]\nreducers = 7\n", &words), 7);
        let typed = [&words[..], &["--reducers", "9"]].concat();
        assert_eq!(reducers("[run]\nreducers = 7\n", &typed), 9);
    }

    #[test]
    fn table_of_another_command_changes_nothing() {
        let words = ["vivat", "run", "grep", "a.txt"];
        assert_eq!(reducers("[submit]\nreducers = 7\n", &words), 4);
    }

    #[test]
    fn needed_flag_may_come_from_the_file() {
        let file =
            read("[master]\nid = 2\ndir = \"/m\"\npeers = [\"2=h:1\", \"3=h:2\"]\n").unwrap();
        let grammar = inject(environment::name_all(Cli::command()), &file);
        let matches = grammar.try_get_matches_from(["vivat", "master"]).unwrap();
        let Parsed::Master(args) = Cli::from_arg_matches(&matches).unwrap().command else {
            panic!("not the command that was typed");
        };
        assert_eq!((args.id, args.peers.len()), (2, 2));
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_line() {
        for (text, line, word) in [
            ("cluster = \"h:1\"\nclutser = \"h:1\"\n", 2, "clutser"),
            ("\n[run]\nreducer = 4\n", 3, "reducer"),
            ("[rnu]\nreducers = 4\n", 1, "rnu"),
            ("[run]\nreducers = \"many\"\n", 2, "many"),
            ("[run]\nreducers = 0\n", 2, "0"),
            ("[run]\noverwrite = 3\n", 2, "overwrite"),
            ("[context.home]\nclustre = \"h:1\"\n", 2, "clustre"),
            ("[run\n", 1, ""),
        ] {
            let failure = read(text).unwrap_err();
            assert_eq!(failure.exit, 2, "{text}");
            let place = format!("config.toml:{line}:");
            assert!(
                failure.message.contains(&place),
                "{text}: {}",
                failure.message
            );
            assert!(
                failure.message.contains(word),
                "{text}: {}",
                failure.message
            );
        }
    }

    #[test]
    fn unknown_key_close_to_a_known_one_is_guessed() {
        let failure = read("[run]\nreducer = 4\n").unwrap_err();
        assert_eq!(failure.hint, "did you mean `reducers`?");
    }

    #[test]
    fn contexts_name_clusters() {
        let file = read("[context.home]\ncluster = \"a:1, b:2\"\n").unwrap();
        assert_eq!(file.contexts["home"], ["a:1", "b:2"]);
    }
}
