//! Why an attempt or a job failed, typed to the end.
//!
//! A cause says by its variant what must be done: [`FailureCause::is_final`]
//! tells whether another attempt could help, [`FailureCause::hint`] what a
//! person can do, and the command line derives its exit code from the variant.
//! No cause is ever recognised by its text.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, JobId, WorkerId};
use crate::shown::shown;

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FailureCause {
    /// Nothing is at the path, or the glob matches nothing.
    #[error("input not found: {}", shown(.path))]
    InputNotFound {
        /// As the user wrote it.
        path: String,
    },
    /// A directory stands where files are meant.
    #[error("input is a directory: {}", shown(.path))]
    InputIsDirectory {
        /// As the user wrote it.
        path: String,
    },
    /// The file is there and may not be read.
    #[error("cannot read input {}: {detail}", shown(.path))]
    InputUnreadable {
        /// As the user wrote it.
        path: String,
        /// The operating system's words.
        detail: String,
    },
    /// The file is not what the plan saw.
    #[error("input changed since it was planned: {}: {detail}", shown(.path))]
    InputChanged {
        /// As the user wrote it.
        path: String,
        /// What differs: size or time.
        detail: String,
    },
    /// The bytes are not in the declared format, or a record passes a limit.
    #[error("invalid input in {}: {detail}", shown(.path))]
    InvalidInput {
        /// As the user wrote it.
        path: String,
        /// Where, and what is wrong there.
        detail: String,
    },
    /// More splits, files or bytes of names than a plan may hold.
    #[error("the plan is too large: {detail}")]
    PlanTooLarge {
        /// What passed which limit.
        detail: String,
    },
    /// The worker's catalogue has no such program.
    #[error("unknown program: {program}")]
    ProgramNotFound {
        /// The name asked for.
        program: String,
    },
    /// The program refuses a parameter.
    #[error("parameter `{parameter}` of {program}: {detail}")]
    InvalidParameter {
        /// The program.
        program: String,
        /// The parameter.
        parameter: String,
        /// What it takes instead.
        detail: String,
    },
    /// Something is where the output should go.
    #[error("output exists: {}", shown(.path))]
    OutputExists {
        /// As the user wrote it.
        path: String,
    },
    /// The output cannot be written.
    #[error("cannot write output {}: {detail}", shown(.path))]
    OutputUnwritable {
        /// As the user wrote it.
        path: String,
        /// The operating system's words.
        detail: String,
    },
    /// The program returned an error.
    #[error("the program failed: {detail}")]
    Program {
        /// Its words.
        detail: String,
    },
    /// The program panicked.
    #[error("the program panicked: {message}")]
    Panicked {
        /// The panic's message and place.
        message: String,
    },
    /// The worker's process died while it ran the task, again and again.
    #[error("the worker process died while it ran this task")]
    WorkerCrashed,
    /// No space on the worker's disk.
    #[error("no space left for {}", shown(.what))]
    DiskFull {
        /// Spill, segment, output.
        what: String,
    },
    /// The worker's disk failed.
    #[error("storage error on the worker: {detail}")]
    Storage {
        /// Operation and the operating system's words.
        detail: String,
    },
    /// The task was lost with its workers more often than allowed.
    #[error("lost with its worker {losses} times")]
    LostTooOften {
        /// How often.
        losses: u32,
    },
    /// `--job-timeout` passed.
    #[error("the job's time of {limit_ms} ms passed")]
    JobTimeout {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// A defect of ours, with what is needed to report it.
    #[error("internal error: {detail}")]
    Internal {
        /// What happened.
        detail: String,
    },
    /// More bad records were skipped than the job allows.
    #[error("{skipped} bad records were skipped, {skipped_max} may be")]
    TooManySkipped {
        /// How many were.
        skipped: u64,
        /// How many may be.
        skipped_max: u64,
    },
    /// Whoever has the input did not give it, for now.
    #[error("input out of reach: {}: {detail}", shown(.path))]
    InputUnreachable {
        /// As the user wrote it.
        path: String,
        /// Who did not answer, and how often it was asked.
        detail: String,
    },
    /// A command that the program runs is not there.
    #[error("command not found: {}: {detail}", shown(.command))]
    CommandNotFound {
        /// As the user wrote it.
        command: String,
        /// Where it was looked for.
        detail: String,
    },
}

impl FailureCause {
    /// Whether another attempt, on any worker, would fail the same way.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::InputNotFound { .. }
            | Self::InputIsDirectory { .. }
            | Self::InputUnreadable { .. }
            | Self::InputChanged { .. }
            | Self::InvalidInput { .. }
            | Self::PlanTooLarge { .. }
            | Self::ProgramNotFound { .. }
            | Self::InvalidParameter { .. }
            | Self::OutputExists { .. }
            | Self::LostTooOften { .. }
            | Self::JobTimeout { .. }
            | Self::CommandNotFound { .. }
            | Self::TooManySkipped { .. } => true,
            Self::OutputUnwritable { .. }
            | Self::Program { .. }
            | Self::Panicked { .. }
            | Self::WorkerCrashed
            | Self::DiskFull { .. }
            | Self::Storage { .. }
            | Self::Internal { .. }
            | Self::InputUnreachable { .. } => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InputNotFound { .. } => {
                "check the path; quote globs so that the plan expands them"
            }
            Self::InputIsDirectory { .. } => "name the files in it, for example with a glob: DIR/*",
            Self::InputUnreadable { .. } => "let the workers' user read the file",
            Self::InputChanged { .. } => "submit again once nothing writes to the input",
            Self::InvalidInput { .. } => "mend the input, or choose the --format that it has",
            Self::PlanTooLarge { .. } => "use larger splits (--split-size) or fewer files",
            Self::ProgramNotFound { .. } => "`vivat program list` shows what there is",
            Self::InvalidParameter { .. } => "`vivat program show NAME` lists the parameters",
            Self::OutputExists { .. } => "choose another --output, or add --overwrite",
            Self::OutputUnwritable { .. } => "check the path, its permissions and free space",
            Self::Program { .. } | Self::Panicked { .. } => {
                "run the failing input alone with the program's parameters to see more"
            }
            Self::WorkerCrashed => "the task kills its worker: look for memory or a fatal signal",
            Self::DiskFull { .. } => {
                "free space on the disk that is named, or give the worker a larger one"
            }
            Self::Storage { .. } => "check the worker's disk and its log",
            Self::LostTooOften { .. } => "workers vanish again and again: see `vivat node list`",
            Self::JobTimeout { .. } => "raise --job-timeout or make the job smaller",
            Self::Internal { .. } => {
                "please report this with the logs of the worker and the leader"
            }
            Self::TooManySkipped { .. } => {
                "mend the records that `vivat job show` lists, or raise --skip-bad-records"
            }
            Self::CommandNotFound { .. } => {
                "install it on every worker, or bring it along as a side file that may be executed"
            }
            Self::InputUnreachable { .. } => {
                "check that the workers reach whoever has the input, then submit again"
            }
        }
    }
}

/// The slice of input that an attempt was reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRange {
    /// As the user wrote it.
    pub path: String,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

impl fmt::Display for InputRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes {}..{}",
            shown(&self.path),
            self.offset,
            self.offset + self.bytes
        )
    }
}

/// Why a job failed: what a person is told and a script can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// The cause of the last failed attempt.
    pub cause: FailureCause,
    /// That attempt; none when the job as a whole failed (time passed).
    pub attempt: Option<AttemptId>,
    /// Where it ran.
    pub worker: Option<WorkerId>,
    /// What it read.
    pub input: Option<InputRange>,
    /// Failed attempts of the task.
    pub failures: u32,
    /// The tail of the attempt's output, at most
    /// [`crate::limits::OUTPUT_TAIL_BYTES_MAX`].
    pub output_tail: String,
}

impl JobFailure {
    /// One line: what failed, on which attempt, worker and input range.
    #[must_use]
    pub fn describe(&self, job: JobId) -> String {
        let mut text = format!("{job} failed");
        if let Some(attempt) = &self.attempt {
            text.push_str(&format!(": {} {}", attempt.task.kind, attempt));
        }
        if let Some(worker) = &self.worker {
            text.push_str(&format!(" on {worker}"));
        }
        if let Some(input) = &self.input {
            text.push_str(&format!(" ({input})"));
        }
        text.push_str(&format!(": {}", self.cause));
        if self.failures > 1 {
            text.push_str(&format!(" (after {} attempts)", self.failures));
        }
        text
    }
}
