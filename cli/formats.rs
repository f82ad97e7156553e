//! What users write for us, judged without a command: for whoever checks the
//! decoders.

use std::path::Path;

use clap::CommandFactory;

use crate::args::Cli;
use crate::{config, environment, job_file};

/// Reads a job file; says what is wrong with it.
///
/// # Errors
///
/// The message that a user would read.
pub fn job(text: &str) -> Result<(), String> {
    let file = job_file::parse(text, Path::new("job.toml"));
    file.map(drop).map_err(|failure| failure.message)
}

/// Reads a config file and makes it the defaults of the command line; says
/// what is wrong with it.
///
/// # Errors
///
/// The message that a user would read.
pub fn config(text: &str) -> Result<(), String> {
    let grammar = environment::name_all(Cli::command());
    let file = config::parse(text, Path::new("config.toml"), &grammar);
    let file = file.map_err(|failure| failure.message)?;
    // clap checks the grammar when it parses; values were checked before.
    let matches = config::inject(grammar, &file).try_get_matches_from(["vivat", "program", "list"]);
    match matches {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
