//! The grammar of jobs.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};
use vivat_shared::ids::JobId;
use vivat_shared::job::{InputFormat, Policy};

use crate::quantity::{ByteSize, TimeSpan};

/// `vivat run`
#[derive(Debug, Args)]
#[command(
    long_about = "Run a job and print its result.\n\nWith no cluster given, one is started inside \
        this process: three masters on loopback, a worker per core, a temporary directory. The job \
        goes through it, the result is printed or written, everything else is cleaned up.",
    after_help = "Examples:\n  vivat run word-count data/*.txt\n  \
        vivat run grep -p pattern='whale' -p line-numbers=true 'books/*.txt'\n  \
        vivat run word-count data/*.txt --output out/words --cluster 127.0.0.1:7070\n  \
        vivat run job.toml --reducers 8"
)]
pub struct RunArgs {
    /// Program and inputs, or a job file.
    #[command(flatten)]
    pub what: WhatArgs,
    /// No cluster, one thread: the oracle's path
    #[arg(long)]
    pub sequential: bool,
    /// How to run it.
    #[command(flatten)]
    pub job: JobArgs,
}

/// `vivat submit`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    vivat submit word-count 'logs/*.txt' --output out/words\n  \
    vivat submit job.toml --key nightly-2026-11-20 --wait")]
pub struct SubmitArgs {
    /// Program and inputs, or a job file.
    #[command(flatten)]
    pub what: WhatArgs,
    /// Wait for the end, and exit by it
    #[arg(long)]
    pub wait: bool,
    /// How to run it.
    #[command(flatten)]
    pub job: JobArgs,
}

/// Program and inputs, or a job file.
#[derive(Debug, Args)]
pub struct WhatArgs {
    /// A program (`vivat program list`), or a job file that ends in .toml
    #[arg(value_name = "PROGRAM|JOB.toml")]
    pub program: String,
    /// Files or globs of this machine, or file:///PATH that every worker sees
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// The same as a flag: replaces the inputs of a job file
    #[arg(long = "input", value_name = "INPUT")]
    pub more_inputs: Vec<String>,
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".to_owned()),
    }
}

/// Flags of a job.
#[derive(Debug, Args)]
#[command(next_help_heading = "Job options")]
pub struct JobArgs {
    /// Directory for the result, which must not exist yet
    #[arg(long, value_name = "DEST")]
    pub output: Option<String>,
    /// A parameter of the program (`vivat program show NAME`)
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE")]
    pub params: Vec<Param>,
    /// Partitions, and so parts of the result
    #[arg(
        long,
        value_name = "N",
        default_value_t = vivat_shared::job::REDUCERS_DEFAULT,
        value_parser = clap::value_parser!(u32)
            .range(1..=i64::from(vivat_shared::limits::REDUCERS_MAX))
    )]
    pub reducers: u32,
    /// A name for people
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// A remark for people
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Where the input comes from, for people
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// How large the input is expected to be, for people and for `job plan`
    #[arg(long, value_name = "BYTES")]
    pub size_hint: Option<ByteSize>,
    /// text, csv, whole-file or fixed:N
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<InputFormat>,
    /// Bytes of input that one map task reads
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = ByteSize(vivat_shared::job::SPLIT_BYTES_DEFAULT)
    )]
    pub split_size: ByteSize,
    /// 0 to 100; higher goes first
    #[arg(
        long,
        value_name = "0..100",
        default_value_t = vivat_shared::job::PRIORITY_DEFAULT,
        value_parser = clap::value_parser!(u8).range(0..=100)
    )]
    pub priority: u8,
    /// Placement: locality, least-loaded, round-robin, random or score
    #[arg(long, value_name = "POLICY", default_value_t = Policy::Locality)]
    pub policy: Policy,
    /// Failures of one task that fail the job
    #[arg(
        long,
        value_name = "N",
        default_value_t = vivat_shared::job::ATTEMPTS_DEFAULT,
        value_parser = clap::value_parser!(u8).range(1..)
    )]
    pub max_attempts: u8,
    /// Bad records that may be skipped in all: those on which the program fails twice
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip_bad_records: u64,
    /// Whether a slow task may get a second attempt beside the first
    #[arg(
        long,
        value_name = "on|off",
        action = ArgAction::Set,
        default_value = "on",
        value_parser = switch
    )]
    pub speculation: bool,
    /// Replace an output that exists
    #[arg(
        long,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "BOOL"
    )]
    pub overwrite: bool,
    /// The same key gives the same job, however often it is submitted
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Wait at most so long; the job lives on
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<TimeSpan>,
    /// Fail the job after so long
    #[arg(long, value_name = "TIME")]
    pub job_timeout: Option<TimeSpan>,
    /// Tell of its end, at least once: a URL gets a POST, a command runs on a worker
    #[arg(long, value_name = "URL|CMD")]
    pub notify: Option<String>,
}

/// `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name of the parameter.
    pub key: String,
    /// Its value as text.
    pub value: String,
}

impl std::str::FromStr for Param {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| "KEY=VALUE is needed".to_owned())?;
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// `vivat job ...`
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// All jobs, newest first
    #[command(after_help = "Example:\n  vivat job list\n  vivat job list --limit 5 -o json")]
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// What a job would be, without running it: splits, bytes, parts, workers that fit
    #[command(
        after_help = "Examples:\n  vivat job plan word-count 'logs/*.txt' --output out/words\n  \
            vivat job plan job.toml -o json"
    )]
    Plan(Box<PlanArgs>),
    /// One job in full
    #[command(after_help = "Example:\n  vivat job show job-17 -o json")]
    Show(JobRef),
    /// Follow a job to its end; Ctrl-C leaves the job alive
    #[command(
        after_help = "Example:\n  vivat job watch job-17\n  vivat job watch job-17 -o ndjson"
    )]
    Watch(JobWait),
    /// Wait for a job's end, and exit by it
    #[command(after_help = "Example:\n  vivat job wait job-17 --timeout 10m")]
    Wait(JobWait),
    /// Why a job waits, per constraint
    #[command(after_help = "Example:\n  vivat job why job-17")]
    Why(JobRef),
    /// Cancel a job
    #[command(after_help = "Example:\n  vivat job cancel job-17")]
    Cancel {
        /// Which one.
        #[command(flatten)]
        job: JobRef,
        /// Taken for scripts that always give it; cancelling never asks
        #[arg(short, long)]
        yes: bool,
    },
    /// Let a job that failed or was cancelled go on from the step that did not end
    #[command(after_help = "Example:\n  vivat job retry job-17 --wait")]
    Retry(RetryArgs),
    /// Which worker ran which attempt, when
    #[command(after_help = "Example:\n  vivat job timeline job-17\n  \
            vivat job timeline job-17 --svg job-17.svg")]
    Timeline {
        /// Which one.
        #[command(flatten)]
        job: JobRef,
        /// Draw it into this file: attempts by worker over time
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// What the rounds of a job came to: errors, losses, distances
    #[command(after_help = "Example:\n  vivat job curve job-17\n  \
            vivat job curve job-17 --svg loss.svg")]
    Curve {
        /// Which one.
        #[command(flatten)]
        job: JobRef,
        /// Draw it into this file: a line for each metric over the rounds
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// What attempts wrote to their standard error, on workers that are gone too
    #[command(after_help = "Examples:\n  vivat job logs job-17\n  \
            vivat job logs job-17 --task map-3 --attempt 2 --tail")]
    Logs(LogsArgs),
    /// The sums of a job's attempts
    #[command(after_help = "Example:\n  vivat job counters job-17")]
    Counters(JobRef),
    /// The result: its parts, in order
    #[command(after_help = "Example:\n  vivat job output job-17 | sort -t'\t' -k2 -nr | head")]
    Output(JobRef),
}

/// `vivat job plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Program and inputs, or a job file.
    #[command(flatten)]
    pub what: WhatArgs,
    /// How it would run.
    #[command(flatten)]
    pub job: JobArgs,
}

/// Names a job.
#[derive(Debug, Clone, Copy, Args)]
pub struct JobRef {
    /// A job id like job-17
    #[arg(value_name = "JOB", value_parser = parse_job)]
    pub job: JobId,
}

/// `vivat job logs`
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// Which one.
    #[command(flatten)]
    pub job: JobRef,
    /// Of this task alone: its id, or the end of it like map-3
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Of the attempts of this number alone
    #[arg(long, value_name = "N")]
    pub attempt: Option<u16>,
    /// The end alone, some KiB of each
    #[arg(long)]
    pub tail: bool,
}

/// `vivat job retry`
#[derive(Debug, Clone, Args)]
pub struct RetryArgs {
    /// Which one.
    #[command(flatten)]
    pub job: JobRef,
    /// Wait for the end, and exit by it
    #[arg(long)]
    pub wait: bool,
    /// The same key retries it once, however often it is given
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Wait at most so long; the job lives on
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<TimeSpan>,
}

/// Names a job and a patience.
#[derive(Debug, Clone, Copy, Args)]
pub struct JobWait {
    /// Which one.
    #[command(flatten)]
    pub job: JobRef,
    /// Wait at most so long; the job lives on
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<TimeSpan>,
}

/// A job id as it is printed, or its number alone.
fn parse_job(text: &str) -> Result<JobId, String> {
    if let Ok(number) = text.parse() {
        return Ok(JobId(number));
    }
    text.parse()
        .map_err(|_| "a job id is needed, like job-17".to_owned())
}

/// Whether the first word of `run` and `submit` names a job file.
pub fn job_file(program: &str) -> Option<PathBuf> {
    program.ends_with(".toml").then(|| PathBuf::from(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_keeps_everything_after_the_first_equals_sign() {
        let param: Param = "pattern=a=b".parse().unwrap();
        assert_eq!(
            (param.key.as_str(), param.value.as_str()),
            ("pattern", "a=b")
        );
        assert!("pattern".parse::<Param>().is_err());
        assert!("=x".parse::<Param>().is_err());
    }

    #[test]
    fn job_is_named_by_its_id_or_its_number() {
        assert_eq!(parse_job("job-17"), Ok(JobId(17)));
        assert_eq!(parse_job("17"), Ok(JobId(17)));
        assert!(parse_job("nightly").is_err());
    }
}
