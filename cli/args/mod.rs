//! The grammar: every command and flag, in clap's terms.
//!
//! Nothing here acts. Flags that a job file may also set are told from their
//! defaults by [`crate::args::Given`], so that a flag wins over the file and
//! the file over the default.

pub mod cluster;
pub mod data;
pub mod job;
pub mod mrjob;
pub mod process;

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Parser, Subcommand, ValueEnum};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "vivat",
    version,
    about = "MapReduce that outlives its master",
    max_term_width = 100,
    after_help = "Examples:\n  vivat run word-count data/*.txt\n  vivat dev\n  \
        vivat submit word-count data/*.txt --output out/words --cluster 127.0.0.1:7070\n\n\
        Every flag can be set as VIVAT_<COMMAND>_<FLAG> in the environment, or in the config \
        file: `vivat config view --origin` shows which value holds and why."
)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Masters of the cluster, any subset of them; `embedded` is none
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT[,...]",
        value_delimiter = ',',
        env = "VIVAT_CLUSTER"
    )]
    pub cluster: Vec<String>,
    /// A [context.NAME] of the config file that names the cluster
    #[arg(long, global = true, value_name = "NAME", env = "VIVAT_CONTEXT")]
    pub context: Option<String>,
    /// How data is printed
    #[arg(
        short = 'o',
        long = "print",
        id = "print",
        global = true,
        value_name = "FORM",
        default_value = "table",
        env = "VIVAT_PRINT"
    )]
    pub print: Print,
    /// Only data and errors: no progress, no remarks
    #[arg(
        short,
        long,
        global = true,
        env = "VIVAT_QUIET",
        conflicts_with = "verbose"
    )]
    pub quiet: bool,
    /// Tell more; twice: what a developer would want
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        env = "VIVAT_COLOR"
    )]
    pub color: ColorChoice,
    /// Config file [default: $XDG_CONFIG_HOME/vivat/config.toml]
    #[arg(long, global = true, value_name = "FILE", env = "VIVAT_CONFIG")]
    pub config: Option<PathBuf>,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Print {
    /// For people
    Table,
    /// For people with wide terminals
    Wide,
    /// One JSON value
    Json,
    /// One JSON object a line
    Ndjson,
    /// Names alone, one a line
    Name,
}

impl Print {
    /// Whether a program reads it: no progress then, and errors are JSON too.
    pub fn is_json(self) -> bool {
        match self {
            Self::Json | Self::Ndjson => true,
            Self::Table | Self::Wide | Self::Name => false,
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a job and print its result
    Run(job::RunArgs),
    /// Submit a job and print its id
    Submit(job::SubmitArgs),
    /// Run an mrjob script, unchanged, and print its result
    Mrjob(mrjob::MrjobArgs),
    /// Jobs: list, show, watch, wait, cancel, counters, output
    #[command(after_help = "Example:\n  vivat job list\n  vivat job show job-17 -o json")]
    Job {
        /// What to do.
        #[command(subcommand)]
        command: job::JobCommand,
    },
    /// The catalogue of programs
    #[command(after_help = "Example:\n  vivat program list\n  vivat program show grep")]
    Program {
        /// What to do.
        #[command(subcommand)]
        command: ProgramCommand,
    },
    /// A real cluster of child processes on this machine
    Dev(process::DevArgs),
    /// A master: one of the replicas that keep the cluster's state
    Master(process::MasterArgs),
    /// A worker: runs the attempts of jobs
    Worker(process::WorkerArgs),
    /// The cluster's masters
    #[command(after_help = "Example:\n  vivat cluster status --cluster 127.0.0.1:7070")]
    Cluster {
        /// What to do.
        #[command(subcommand)]
        command: cluster::ClusterCommand,
    },
    /// The cluster's workers
    #[command(
        after_help = "Example:\n  vivat node list -o wide\n  vivat node drain worker-2 --wait"
    )]
    Node {
        /// What to do.
        #[command(subcommand)]
        command: cluster::NodeCommand,
    },
    /// Datasets: files in the cluster, each block on several workers
    #[command(after_help = "Example:\n  vivat data put books 'books/*.txt'\n  vivat data ls")]
    Data {
        /// What to do.
        #[command(subcommand)]
        command: data::DataCommand,
    },
    /// Small named values, kept by the masters
    #[command(after_help = "Example:\n  vivat value put rate 0.05\n  vivat value get rate")]
    Value {
        /// What to do.
        #[command(subcommand)]
        command: data::ValueCommand,
    },
    /// Sample data: the same bytes for the same seed
    #[command(after_help = "Example:\n  vivat gen words --size 1GiB --seed 7 words.txt")]
    Gen {
        /// What to do.
        #[command(subcommand)]
        command: GenCommand,
    },
    /// The settings in force
    #[command(after_help = "Example:\n  vivat config view --origin")]
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// A completion script for a shell
    #[command(after_help = "Example:\n  \
            vivat completion bash > ~/.local/share/bash-completion/completions/vivat")]
    Completion {
        /// Which shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
}

/// `vivat program ...`
#[derive(Debug, Subcommand)]
pub enum ProgramCommand {
    /// All programs
    #[command(after_help = "Example:\n  vivat program list")]
    List,
    /// One program: parameters with types and defaults, formats, an example
    #[command(after_help = "Example:\n  vivat program show word-count")]
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `vivat gen ...`
#[derive(Debug, Subcommand)]
pub enum GenCommand {
    /// Lines of words, some frequent, most rare
    #[command(
        after_help = "Example:\n  vivat gen words --size 256MiB --seed 7 words.txt\n  \
        vivat gen words --size 1MiB --seed 7 - | head"
    )]
    Words(GenArgs),
    /// A web server's log in the Combined Log Format
    #[command(after_help = "Example:\n  vivat gen access-log --size 256MiB --seed 7 access.log")]
    AccessLog(GenArgs),
    /// A season of basketball as CSV, a record for each player in each game
    #[command(
        after_help = "Example:\n  vivat gen game-logs --size 256MiB --seed 7 game-logs.csv\n  \
        vivat run group-by game-logs.csv --format csv -p key=POSITION -p aggregate='mean(PTS)'"
    )]
    GameLogs(GenArgs),
    /// Measures of drawn letters and which letters they are, to train with
    #[command(
        after_help = "Example:\n  vivat gen letters --size 1MiB --seed 7 letters.txt\n  \
        vivat run mlp-train letters.txt -p scale=true -p rounds=5"
    )]
    Letters(GenArgs),
    /// Pages and the pages that they link to, a page a line
    #[command(
        after_help = "Example:\n  vivat gen links --size 256MiB --seed 7 links.tsv\n  \
        vivat run reverse-links links.tsv --output linked-from"
    )]
    Links(GenArgs),
    /// Records of 100 bytes to sort, the first 10 of them a random key
    #[command(
        after_help = "Example:\n  vivat gen tera --size 512MiB --seed 7 tera.bin\n  \
        vivat run sort tera.bin --format fixed:100 -p key-bytes=10 --output sorted"
    )]
    Tera(GenArgs),
}

/// Flags of `gen`.
#[derive(Debug, Args)]
pub struct GenArgs {
    /// Bytes to write
    #[arg(long, value_name = "BYTES", default_value = "1MiB")]
    pub size: crate::quantity::ByteSize,
    /// The same seed gives the same bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// File to write; `-` is standard output
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
}

/// `vivat config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Every setting with its value
    #[command(after_help = "Example:\n  vivat config view\n  vivat config view --origin master")]
    View {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
        /// Only the settings of this command
        #[arg(value_name = "COMMAND")]
        only: Option<String>,
    },
}

/// Where the values of a command's flags come from.
#[derive(Debug)]
pub struct Given<'a> {
    matches: &'a ArgMatches,
    configured: &'a [String],
}

/// Where a value comes from, the stronger the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The config file.
    Config,
    /// The environment.
    Environment,
    /// The command line.
    Typed,
}

impl<'a> Given<'a> {
    /// Of these matches; `configured` are the ids that the config file set,
    /// which clap knows as defaults.
    pub fn new(matches: &'a ArgMatches, configured: &'a [String]) -> Self {
        Self {
            matches,
            configured,
        }
    }

    /// Where a flag's value comes from; none when it is the built-in default.
    pub fn rank(&self, id: &str) -> Option<Rank> {
        match self.matches.value_source(id) {
            Some(ValueSource::CommandLine) => Some(Rank::Typed),
            Some(ValueSource::EnvVariable) => Some(Rank::Environment),
            _ if self.configured.iter().any(|configured| configured == id) => Some(Rank::Config),
            _ => None,
        }
    }

    /// What was typed for a flag, as it was typed.
    pub fn raw(&self, id: &str) -> Vec<String> {
        self.matches
            .get_raw(id)
            .into_iter()
            .flatten()
            .map(|value| value.to_string_lossy().into_owned())
            .collect()
    }

    /// Whether the flag goes before a job file: it was typed or is in the
    /// environment.
    pub fn explicit(&self, id: &str) -> bool {
        self.rank(id) >= Some(Rank::Environment)
    }
}
