//! `vivat config view`: every setting, its value, and where it comes from.

use clap::{Arg, Command, CommandFactory};
use serde_json::json;

use crate::app::App;
use crate::args::{Cli, Given, Print, Rank};
use crate::config::{ConfigFile, Entry, key_of, settable};
use crate::environment;
use crate::failure::Failure;

/// One setting.
struct Setting {
    table: String,
    key: String,
    values: Vec<String>,
    origin: String,
}

/// Prints them, as TOML that could be a config file, or as JSON.
pub fn view(
    app: &App,
    origin: bool,
    only: Option<String>,
    given: &Given<'_>,
) -> Result<(), Failure> {
    let grammar = environment::name_all(Cli::command());
    if let Some(only) = &only {
        let known: Vec<&str> = grammar.get_subcommands().map(Command::get_name).collect();
        if !known.contains(&only.as_str()) {
            return Err(Failure::usage(format!("there is no command `{only}`"))
                .hint(format!("there are: {}", known.join(", "))));
        }
    }
    let mut settings = Vec::new();
    collect(&grammar, &mut Vec::new(), &app.config, given, &mut settings);
    settings.retain(|setting| {
        only.as_deref().is_none_or(|only| {
            setting.table == only || setting.table.starts_with(&format!("{only}."))
        })
    });
    if app.print.is_json() {
        let list: Vec<_> = settings
            .iter()
            .map(|setting| {
                json!({
                    "table": setting.table,
                    "key": setting.key,
                    "values": setting.values,
                    "origin": setting.origin,
                })
            })
            .collect();
        return app.json_list(&list);
    }
    if app.print == Print::Name {
        let names: String = settings
            .iter()
            .map(|setting| format!("{}\n", dotted(setting)))
            .collect();
        return app.data(&names);
    }
    app.data(&toml(&settings, origin, &app.config, only.is_none()))
}

fn dotted(setting: &Setting) -> String {
    if setting.table.is_empty() {
        setting.key.clone()
    } else {
        format!("{}.{}", setting.table, setting.key)
    }
}

fn collect(
    command: &Command,
    at: &mut Vec<String>,
    file: &ConfigFile,
    given: &Given<'_>,
    settings: &mut Vec<Setting>,
) {
    for arg in command.get_arguments().filter(|arg| settable(arg)) {
        if let Some((values, origin)) = value(arg, at, file, given) {
            settings.push(Setting {
                table: at.join("."),
                key: key_of(arg).unwrap_or_default().to_owned(),
                values,
                origin,
            });
        }
    }
    for sub in command.get_subcommands() {
        at.push(sub.get_name().to_owned());
        collect(sub, at, file, given, settings);
        at.pop();
    }
}

/// The value that holds for a flag that is not typed, and its origin; none
/// when there is none.
fn value(
    arg: &Arg,
    table: &[String],
    file: &ConfigFile,
    given: &Given<'_>,
) -> Option<(Vec<String>, String)> {
    if table.is_empty() && given.rank(arg.get_id().as_str()) == Some(Rank::Typed) {
        let typed = given.raw(arg.get_id().as_str());
        return Some((typed, "the command line".to_owned()));
    }
    let variable = arg
        .get_env()
        .map(|name| name.to_string_lossy().into_owned());
    if let Some(name) = variable
        && let Ok(value) = std::env::var(&name)
        && !value.is_empty()
    {
        let values = match arg.get_value_delimiter() {
            Some(delimiter) => value.split(delimiter).map(str::to_owned).collect(),
            None => vec![value],
        };
        return Some((values, format!("environment {name}")));
    }
    let in_file = |entry: &&Entry| entry.table == table && Some(entry.key.as_str()) == key_of(arg);
    if let Some(entry) = file.entries.iter().find(in_file) {
        let path = file.path.as_deref().unwrap_or_else(|| "".as_ref());
        let origin = format!("{}:{}", path.display(), entry.line);
        return Some((entry.values.clone(), origin));
    }
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    (!defaults.is_empty()).then(|| (defaults, "default".to_owned()))
}

fn toml(settings: &[Setting], origin: bool, file: &ConfigFile, contexts: bool) -> String {
    let mut text = String::new();
    let mut table = "";
    for setting in settings {
        if setting.table != table {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("[{}]\n", setting.table));
            table = &setting.table;
        }
        let line = format!("{} = {}", setting.key, literal(&setting.values));
        if origin {
            text.push_str(&format!("{line:<40} # {}\n", setting.origin));
        } else {
            text.push_str(&format!("{line}\n"));
        }
    }
    if contexts {
        for (name, cluster) in &file.contexts {
            text.push_str(&format!(
                "\n[context.{name}]\ncluster = {}\n",
                literal(cluster)
            ));
        }
    }
    text
}

fn literal(values: &[String]) -> String {
    let one = |value: &String| {
        let bare = value.parse::<i64>().is_ok() || ["true", "false"].contains(&value.as_str());
        if bare {
            value.clone()
        } else {
            toml::Value::from(value.as_str()).to_string()
        }
    };
    match values {
        [single] => one(single),
        several => {
            let items: Vec<String> = several.iter().map(one).collect();
            format!("[{}]", items.join(", "))
        }
    }
}
