//! All of the one binary but its `main`: parses, wires, waits.
//!
//! It is a library for those who write programs of their own: a crate that depends
//! on it and on `vivat-mapreduce` builds a `vivat` that has them beside the built-in
//! ones. Masters, workers, `vivat dev` and `vivat run` of that binary are what they
//! always are, and any `vivat` can be a master of its workers, since masters run no
//! programs. `data/examples/own-program` is such a crate, whole.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use vivat::{Built, Parameters, ProgramEntry};
//! # mod line_lengths {
//! #     use vivat_mapreduce::prelude::*;
//! #     #[derive(Clone, Copy)]
//! #     pub struct LineLengths;
//! #     impl Program for LineLengths {
//! #         type Key = u64;
//! #         type Value = u64;
//! #         type Mapper<'t> = Self;
//! #         type Reducer<'t> = Self;
//! #         fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Self, ProgramError> {
//! #             Ok(Self)
//! #         }
//! #         fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Self, ProgramError> {
//! #             Ok(Self)
//! #         }
//! #     }
//! #     impl Mapper<u64, u64> for LineLengths {
//! #         fn map<E: Emit<u64, u64>>(
//! #             &mut self,
//! #             _: Record<'_>,
//! #             _: &mut E,
//! #         ) -> Result<(), ProgramError> {
//! #             Ok(())
//! #         }
//! #     }
//! #     impl Reducer<u64, u64> for LineLengths {
//! #         fn reduce<S: Values<u64>>(
//! #             &mut self,
//! #             _: u64,
//! #             _: &mut S,
//! #             _: &mut Output<'_>,
//! #         ) -> Result<(), ProgramError> {
//! #             Ok(())
//! #         }
//! #     }
//! # }
//! # use line_lengths::LineLengths;
//!
//! fn build(_: &Parameters) -> Built {
//!     vivat::built(LineLengths)
//! }
//!
//! fn main() -> ExitCode {
//!     let summary = "counts the lines of each length";
//!     vivat::with_programs([ProgramEntry::new("line-lengths", summary, build)]).run()
//! }
//! ```

mod allocator;
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
mod path_params;
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

/// What the binary allocates with: workers pass many small pieces between threads.
pub use mimalloc::MiMalloc as Allocator;
use vivat_programs::exec;
pub use vivat_programs::{
    Build, Built, Executable, Format, Oracle, OracleInput, ParameterError, ParameterKind,
    ParameterSpec, Parameters, ProgramEntry, Runner, built,
};

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    with_programs([]).run()
}

/// A `vivat` that has these programs beside the built-in ones.
pub fn with_programs(entries: impl IntoIterator<Item = ProgramEntry>) -> Vivat {
    Vivat {
        programs: entries.into_iter().collect(),
    }
}

/// A `vivat` that has yet to run.
#[derive(Debug)]
#[must_use = "it does nothing before it runs"]
pub struct Vivat {
    programs: Vec<ProgramEntry>,
}

impl Vivat {
    /// Runs the command that the process was started with. A program whose name is
    /// taken or none ends it with exit code 2.
    #[must_use]
    pub fn run(self) -> ExitCode {
        if std::env::args_os().nth(1).as_deref() == Some(exec::SUPERVISOR_ARGUMENT.as_ref()) {
            return exec::supervise();
        }
        if let Err(error) = vivat_programs::register(&self.programs) {
            let failure = Failure::usage(format!("this binary's own programs: {error}"));
            return report(&failure, false, false);
        }
        run_command()
    }
}

fn run_command() -> ExitCode {
    descriptors::raise();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match parse(&arguments) {
        Ok(invocation) => {
            if matches!(invocation.cli.command, args::Command::Worker(_)) {
                allocator::give_back_at_once(&arguments);
            }
            run(invocation)
        }
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
