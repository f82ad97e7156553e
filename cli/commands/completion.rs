//! `vivat completion SHELL`

use clap::CommandFactory;

use crate::app::App;
use crate::args::Cli;
use crate::failure::Failure;

/// Prints the script.
pub fn completion(app: &App, shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vivat", &mut script);
    app.data(&String::from_utf8_lossy(&script))
}
