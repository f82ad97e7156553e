//! All of the one binary but its `main`: parses, wires, waits.
//!
//! It is a library so that the decoders of what users write can be checked from
//! without; nothing else is meant to use it.

mod app;
mod args;
mod commands;
mod config;
mod descriptors;
mod embedded;
mod environment;
mod failure;
mod follow;
mod form;
pub mod formats;
mod job_file;
mod logging;
mod parent;
mod paths;
mod progress;
mod quantity;
mod sequential;
mod signals;
mod spec;
mod suggest;
mod table;
mod upload;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use app::App;
use args::{Cli, Given};
use config::ConfigFile;
use failure::{Failure, exit};

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    descriptors::raise();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match parse(&arguments) {
        Ok(invocation) => run(invocation),
        Err(Parsed::Text(code)) => code,
        Err(Parsed::Failed(failure)) => report(&failure, asks_json(&arguments), false),
    }
}

/// A command line that was understood.
struct Invocation {
    cli: Cli,
    /// Of the innermost command.
    matches: ArgMatches,
    /// Flags of that command that the config file set.
    configured: Vec<String>,
    config: ConfigFile,
}

/// Why there is nothing to run.
enum Parsed {
    /// clap has printed help, the version or what is wrong.
    Text(ExitCode),
    Failed(Failure),
}

fn parse(arguments: &[OsString]) -> Result<Invocation, Parsed> {
    let grammar = environment::name_all(Cli::command());
    let config = match config::locate(arguments) {
        Some((path, must_exist)) => {
            config::load(&path, must_exist, &grammar).map_err(Parsed::Failed)?
        }
        None => ConfigFile::default(),
    };
    let mut grammar = config::inject(grammar, &config);
    let matches = grammar
        .try_get_matches_from_mut(arguments)
        .map_err(|error| explain(&error, arguments))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| explain(&error, arguments))?;
    let (path, innermost) = innermost(&matches);
    let configured = configured(&grammar, &config, &path);
    let matches = innermost.clone();
    Ok(Invocation {
        cli,
        matches,
        configured,
        config,
    })
}

fn run(invocation: Invocation) -> ExitCode {
    let Invocation {
        cli,
        matches,
        configured,
        config,
    } = invocation;
    let given = Given::new(&matches, &configured);
    let json = cli.global.print.is_json();
    let app = match App::new(&cli.global, &given, config) {
        Ok(app) => app,
        Err(failure) => return report(&failure, json, false),
    };
    let result = logging::start(&cli.command, app.verbose, app.paint_err).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
        let result = runtime.block_on(commands::dispatch(&app, cli.command, &given));
        // What still runs on blocking threads ends with the process.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, json, app.paint_err),
    }
}

/// Says what failed, and gives the exit code.
fn report(failure: &Failure, json: bool, painted: bool) -> ExitCode {
    let text = if json {
        failure.render_json()
    } else {
        failure.render_text(painted)
    };
    // If nobody reads it, the exit code still tells.
    let _unread = std::io::stderr().lock().write_all(text.as_bytes());
    ExitCode::from(failure.exit)
}

/// Help goes to standard output and is no failure; all else is wrong usage.
fn explain(error: &clap::Error, arguments: &[OsString]) -> Parsed {
    if !error.use_stderr() {
        // A pipe that was closed early is no failure.
        let _unread = error.print();
        return Parsed::Text(ExitCode::SUCCESS);
    }
    if asks_json(arguments) {
        let text = error.to_string();
        let message = text.split("\n\n").next().unwrap_or_default();
        let message = message.trim_start_matches("error: ");
        return Parsed::Failed(Failure::usage(message).hint("see --help"));
    }
    let _unread = error.print();
    Parsed::Text(ExitCode::from(exit::USAGE))
}

/// Whether JSON is asked for, told without clap: what it refused may be what
/// stands before the flag.
fn asks_json(arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let value_is_json = |word: &str| ["json", "ndjson"].contains(&word);
    let typed = words.iter().enumerate().any(|(index, word)| {
        let next = words.get(index + 1).copied().unwrap_or_default();
        match *word {
            "-o" | "--print" => value_is_json(next),
            other => other
                .strip_prefix("--print=")
                .or_else(|| other.strip_prefix("-o="))
                .or_else(|| other.strip_prefix("-o"))
                .is_some_and(value_is_json),
        }
    });
    typed || std::env::var("VIVAT_PRINT").is_ok_and(|value| value_is_json(&value))
}

fn innermost(matches: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let mut path = Vec::new();
    let mut at = matches;
    while let Some((name, below)) = at.subcommand() {
        path.push(name.to_owned());
        at = below;
    }
    (path, at)
}

/// The ids of the flags that the config file set for a command or globally.
fn configured(grammar: &Command, config: &ConfigFile, path: &[String]) -> Vec<String> {
    config
        .entries
        .iter()
        .filter(|entry| entry.table.is_empty() || entry.table == path)
        .filter_map(|entry| config::flag_of(grammar, entry))
        .map(|arg| arg.get_id().to_string())
        .collect()
}
