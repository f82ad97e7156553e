//! One file per command. Each takes the parsed arguments and the [`App`], and
//! ends with a [`Failure`] or without.

mod cluster;
mod cluster_check;
mod completion;
mod config_view;
mod confirm;
pub mod data;
mod dev;
mod r#gen;
mod job;
mod master;
mod mrjob;
mod node;
mod output;
mod program;
mod run;
mod submit;
mod value;
mod worker;

use crate::app::App;
use crate::args::{Command, ConfigCommand, Given};
use crate::failure::Failure;

/// Runs the command.
///
/// # Errors
///
/// Whatever the command failed with.
pub async fn dispatch(app: &App, command: Command, given: &Given<'_>) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(app, args, given).await,
        Command::Submit(args) => submit::submit(app, args, given).await,
        Command::Mrjob(args) => mrjob::mrjob(app, args, given).await,
        Command::Job { command } => job::job(app, command, given).await,
        Command::Program { command } => program::program(app, command),
        Command::Dev(args) => dev::dev(app, args).await,
        Command::Master(args) => master::master(app, args).await,
        Command::Worker(args) => worker::worker(app, args).await,
        Command::Cluster { command } => cluster::cluster(app, command).await,
        Command::Node { command } => node::node(app, command).await,
        Command::Data { command } => data::data(app, command).await,
        Command::Value { command } => value::value(app, command).await,
        Command::Gen { command } => r#gen::run(app, command),
        Command::Config { command } => match command {
            ConfigCommand::View { origin, only } => config_view::view(app, origin, only, given),
        },
        Command::Completion { shell } => completion::completion(app, shell),
    }
}
