//! The grammar of clusters and nodes.

use clap::Subcommand;
use vivat_shared::ids::Seat;

/// `vivat cluster ...`
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Leader, term, masters, workers, jobs: 0 if any master answers
    #[command(after_help = "Example:\n  vivat cluster status -o json")]
    Status,
    /// The masters alone
    #[command(after_help = "Example:\n  vivat cluster members -o wide")]
    Members,
    /// Compare the masters' states: 0 if they are the same at one index
    #[command(
        after_help = "Example:\n  vivat cluster check && echo all the same\n\n\
        Exit codes: 1 the states differ, 5 fewer than two masters can be compared now."
    )]
    Check,
    /// Hand leadership over to another master
    #[command(after_help = "Example:\n  vivat cluster transfer-leader --to 2")]
    TransferLeader {
        /// Seat that should lead [default: the most caught-up other]
        #[arg(long, value_name = "SEAT", value_parser = parse_seat)]
        to: Option<Seat>,
    },
}

/// `vivat node ...`
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// All workers
    #[command(after_help = "Example:\n  vivat node list -o wide")]
    List,
}

/// A seat's number, with or without its word.
pub fn parse_seat(text: &str) -> Result<Seat, String> {
    if let Ok(number) = text.parse() {
        return Ok(Seat(number));
    }
    text.parse()
        .map_err(|_| "a seat is needed, like 0".to_owned())
}
