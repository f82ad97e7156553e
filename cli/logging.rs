//! Logs: to standard error, for people on a terminal, compact elsewhere;
//! `VIVAT_LOG` filters.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::args::Command;
use crate::failure::Failure;

const VARIABLE: &str = "VIVAT_LOG";
/// What an operator wants to be told. openraft warns at every try to reach a
/// dead master, which our own lines say once.
const TELLING: &str =
    "warn,openraft=error,vivat=info,vivat_master=info,vivat_worker=info,vivat_client=info";

/// Begins to log, as this command should.
///
/// # Errors
///
/// Exit 2 when `VIVAT_LOG` is no filter.
pub fn start(command: &Command, verbose: u8, painted: bool) -> Result<(), Failure> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .map_err(|error| Failure::usage(format!("{VARIABLE} `{text}`: {error}")))?,
        _ => EnvFilter::new(usual(command, verbose)),
    };
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(painted);
    // A second subscriber is a defect of ours, and no reason to fail a command.
    let _already = if io::stderr().is_terminal() {
        tracing::subscriber::set_global_default(builder.finish())
    } else {
        tracing::subscriber::set_global_default(builder.compact().finish())
    };
    Ok(())
}

/// A master or worker tells what an operator wants to be told; any other
/// command speaks for itself unless asked for more.
fn usual(command: &Command, verbose: u8) -> &'static str {
    let is_process = matches!(command, Command::Master(_) | Command::Worker(_));
    match (is_process, verbose) {
        (true, 0) => TELLING,
        (false, 0) => "off",
        (false, 1) => TELLING,
        (true, 1) | (false, 2) => {
            "info,vivat=debug,vivat_master=debug,vivat_worker=debug,vivat_client=debug,\
             vivat_engine=debug"
        }
        (true | false, _) => "debug",
    }
}
