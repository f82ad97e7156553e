//! The grammar of clusters and nodes.

use clap::{Args, Subcommand};
use vivat_shared::ids::{Seat, WorkerId};

use crate::quantity::TimeSpan;

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
    /// One worker, and what it still holds
    #[command(after_help = "Example:\n  vivat node show worker-2 -o json")]
    Show(WorkerRef),
    /// Give a worker nothing new, and copy away what only it has
    #[command(after_help = "Examples:\n  vivat node drain worker-2 --wait\n  \
            vivat node drain worker-2 --wait --deadline 5m --timeout 30m\n\n\
            Without --wait it says so and ends; `vivat node show` tells when the worker may go.\n\
            Exit codes: 3 no such worker; 124 --timeout passed; the draining goes on.")]
    Drain {
        /// Which one.
        #[command(flatten)]
        worker: WorkerRef,
        /// Wait until the worker may go
        #[arg(long)]
        wait: bool,
        /// Wait at most so long; the draining goes on
        #[arg(long, value_name = "TIME", requires = "wait")]
        timeout: Option<TimeSpan>,
        /// Hand attempts back that still run after so long [default: they end in their own time]
        #[arg(long, value_name = "TIME")]
        deadline: Option<TimeSpan>,
    },
    /// Take a worker back into service
    #[command(after_help = "Example:\n  vivat node resume worker-2")]
    Resume(WorkerRef),
}

/// Names a worker.
#[derive(Debug, Clone, Copy, Args)]
pub struct WorkerRef {
    /// A worker id like worker-2
    #[arg(value_name = "WORKER", value_parser = parse_worker)]
    pub worker: WorkerId,
}

/// A worker's id as it is printed, or its number alone.
fn parse_worker(text: &str) -> Result<WorkerId, String> {
    if let Ok(number) = text.parse() {
        return Ok(WorkerId(number));
    }
    text.parse()
        .map_err(|_| "a worker id is needed, like worker-2".to_owned())
}

/// A seat's number, with or without its word.
pub fn parse_seat(text: &str) -> Result<Seat, String> {
    if let Ok(number) = text.parse() {
        return Ok(Seat(number));
    }
    text.parse()
        .map_err(|_| "a seat is needed, like 0".to_owned())
}
