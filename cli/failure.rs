//! How a command ends badly: what failed, what to type next, and the exit code
//! that scripts rely on.

use std::fmt::Write as _;
use std::io;

use serde_json::json;
use vivat_client::data::DataError;
use vivat_client::{ClientError, Refusal};
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::cause::{FailureCause, JobFailure};
use vivat_shared::ids::{DatasetId, JobId};
use vivat_shared::shown::shown;

/// Exit codes, an interface: see the README.
pub mod exit {
    /// The job failed, or something did that has no code of its own.
    pub const FAILED: u8 = 1;
    /// Wrong usage.
    pub const USAGE: u8 = 2;
    /// Input, program, job or worker not found.
    pub const NOT_FOUND: u8 = 3;
    /// Key, output, port or directory taken; too late.
    pub const CONFLICT: u8 = 4;
    /// A retry may help.
    pub const TEMPORARY: u8 = 5;
    /// Not allowed.
    pub const NOT_ALLOWED: u8 = 6;
    /// The job was cancelled.
    pub const CANCELLED: u8 = 7;
    /// A master's or worker's own core failed; its supervisor starts it again.
    pub const FATAL: u8 = 70;
    /// `--timeout` passed.
    pub const TIMEOUT: u8 = 124;
    /// Ended by Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
}

/// Why a command ends with another code than 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For scripts: lower case, words joined by `-`.
    pub code: &'static str,
    /// What failed, on which thing.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// The process' exit code.
    pub exit: u8,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: &'static str, exit: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: String::new(),
            exit,
        }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new("usage", exit::USAGE, message)
    }

    /// Nothing has that name.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new("not-found", exit::NOT_FOUND, message)
    }

    /// Something is in the way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new("conflict", exit::CONFLICT, message)
    }

    /// Anything that has no code of its own.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new("failed", exit::FAILED, message)
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// An operation on a file or directory of this machine that failed.
    pub fn file(what: &str, path: &std::path::Path, error: &io::Error) -> Self {
        let (code, exit) = match error.kind() {
            io::ErrorKind::NotFound => ("not-found", exit::NOT_FOUND),
            io::ErrorKind::AlreadyExists | io::ErrorKind::AddrInUse => ("conflict", exit::CONFLICT),
            io::ErrorKind::PermissionDenied => ("not-allowed", exit::NOT_ALLOWED),
            _ => ("failed", exit::FAILED),
        };
        Self::new(
            code,
            exit,
            format!("cannot {what} {}: {error}", shown(&path.to_string_lossy())),
        )
    }

    /// Standard output cannot be written. A closed pipe is no failure: whoever
    /// read has read enough.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new("broken-pipe", 0, "");
        }
        Self::failed(format!("cannot write the output: {error}"))
    }

    /// A job that ended badly.
    pub fn job(job: JobId, failure: Option<&JobFailure>, reason: &str) -> Self {
        let Some(failure) = failure else {
            return Self::new(
                "job-failed",
                exit::FAILED,
                format!("{job} failed: {reason}"),
            );
        };
        let (code, exit) = cause_code(&failure.cause);
        let mut message = failure.describe(job);
        let tail = failure.output_tail.trim_end();
        if !tail.is_empty() {
            let _infallible = write!(message, "\nthe end of the attempt's output:\n{tail}");
        }
        Self::new(code, exit, message).hint(failure.cause.hint())
    }

    /// Ends a job's wait with the code of its end.
    pub fn cancelled(job: JobId) -> Self {
        Self::new("cancelled", exit::CANCELLED, format!("{job} was cancelled"))
    }

    /// `--timeout` passed.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new("timeout", exit::TIMEOUT, message)
    }

    /// The text for people; a closed pipe says nothing.
    pub fn render_text(&self, painted: bool) -> String {
        if self.message.is_empty() {
            return String::new();
        }
        let (red, dim, end) = if painted {
            ("\x1b[1;31m", "\x1b[36m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        let mut text = format!("{red}error:{end} {}\n", self.message.trim_end());
        if !self.hint.is_empty() {
            let _infallible = writeln!(text, "  {dim}hint:{end} {}", self.hint);
        }
        text
    }

    /// The object for scripts, one line.
    pub fn render_json(&self) -> String {
        if self.message.is_empty() {
            return String::new();
        }
        let error = json!({"error": {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "exit": self.exit,
        }});
        format!("{error}\n")
    }
}

/// An error with all its sources, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // A transparent error says what its source says.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// Code and exit code of a failed job, by its typed cause.
pub fn cause_code(cause: &FailureCause) -> (&'static str, u8) {
    match cause {
        FailureCause::InputNotFound { .. } => ("input-not-found", exit::NOT_FOUND),
        FailureCause::InputIsDirectory { .. } => ("input-is-directory", exit::USAGE),
        FailureCause::InputUnreadable { .. } => ("input-unreadable", exit::NOT_ALLOWED),
        FailureCause::InputUnreachable { .. } => ("input-unreachable", exit::FAILED),
        FailureCause::InputChanged { .. } => ("input-changed", exit::FAILED),
        FailureCause::InvalidInput { .. } => ("invalid-input", exit::FAILED),
        FailureCause::PlanTooLarge { .. } => ("plan-too-large", exit::FAILED),
        FailureCause::ProgramNotFound { .. } => ("program-not-found", exit::NOT_FOUND),
        FailureCause::CommandNotFound { .. } => ("command-not-found", exit::NOT_FOUND),
        FailureCause::InvalidParameter { .. } => ("invalid-parameter", exit::USAGE),
        FailureCause::OutputExists { .. } => ("output-exists", exit::CONFLICT),
        FailureCause::OutputUnwritable { .. } => ("output-unwritable", exit::FAILED),
        FailureCause::Program { .. } => ("program-failed", exit::FAILED),
        FailureCause::Panicked { .. } => ("program-panicked", exit::FAILED),
        FailureCause::WorkerCrashed => ("worker-crashed", exit::FAILED),
        FailureCause::DiskFull { .. } => ("disk-full", exit::FAILED),
        FailureCause::Storage { .. } => ("storage", exit::FAILED),
        FailureCause::LostTooOften { .. } => ("lost-too-often", exit::FAILED),
        FailureCause::JobTimeout { .. } => ("job-timeout", exit::FAILED),
        FailureCause::TooManySkipped { .. } => ("too-many-skipped", exit::FAILED),
        FailureCause::Internal { .. } => ("internal", exit::FAILED),
    }
}

/// A cause found on this side, before any job was submitted.
impl From<&FailureCause> for Failure {
    fn from(cause: &FailureCause) -> Self {
        let (code, exit) = cause_code(cause);
        Self::new(code, exit, cause.to_string()).hint(cause.hint())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        let message = chain(&error);
        let temporary = error.is_temporary();
        match error {
            DataError::Leader(error) => error.into(),
            DataError::Unreadable { .. } if temporary => {
                Self::new("block-unreachable", exit::TEMPORARY, message)
                    .hint("a worker that has it may come back: `vivat node list`; then again")
            }
            DataError::Unreadable { .. } => Self::new("block-lost", exit::FAILED, message)
                .hint("nobody has these bytes any more: put the dataset again"),
            DataError::NoTaker { .. } => Self::new("no-worker", exit::TEMPORARY, message)
                .hint("`vivat node list` shows the workers; nothing of the dataset stays"),
            DataError::Inconsistent { .. } => Self::failed(message),
            DataError::GivenUp => Self::new("cancelled", exit::CANCELLED, message),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let detail = error.detail();
        match (&error, detail) {
            (ClientError::NoLeader { .. }, _) => Self::new(
                "no-leader",
                exit::TEMPORARY,
                error.to_string(),
            )
            .hint(
                "check --cluster, and that a majority of the masters runs: `vivat cluster status`",
            ),
            (ClientError::BadAnswer { .. }, _) => Self::failed(error.to_string())
                .hint("client and cluster may be of different versions: `vivat --version`"),
            (ClientError::Refused(_), Some(kind)) => refusal(&kind, error.to_string()),
            (ClientError::Refused(_), None) => refusal_without_detail(&error),
        }
    }
}

fn refusal(kind: &Kind, message: String) -> Failure {
    match kind {
        Kind::KeyConflict(conflict) => Failure::new(
            "key-conflict",
            exit::CONFLICT,
            format!(
                "key `{}` belongs to {}, which has another specification",
                conflict.key,
                JobId(conflict.job)
            ),
        )
        .hint("choose another --key, or submit exactly what was submitted"),
        Kind::UnknownJob(unknown) => Failure::new(
            "job-not-found",
            exit::NOT_FOUND,
            format!("{} does not exist", JobId(unknown.job)),
        )
        .hint("`vivat job list` shows the jobs; finished ones are forgotten after a time"),
        Kind::UnknownWorker(_) => Failure::new("worker-not-found", exit::NOT_FOUND, message)
            .hint("`vivat node list` shows the workers"),
        Kind::NotRetryable(not) => Failure::new(
            "not-retryable",
            exit::CONFLICT,
            format!("{} cannot be retried: {}", JobId(not.job), not.problem),
        )
        .hint("only jobs that failed or were cancelled are retried"),
        Kind::TooLate(late) => Failure::new(
            "too-late",
            exit::CONFLICT,
            format!(
                "{} is writing its output: too late to cancel",
                JobId(late.job)
            ),
        ),
        Kind::JobEnded(ended) => Failure::new(
            "job-ended",
            exit::CONFLICT,
            format!("{} has ended: too late to cancel", JobId(ended.job)),
        ),
        Kind::InvalidSpec(invalid) => Failure::new(
            "invalid-job",
            exit::USAGE,
            format!("{}: {}", invalid.field, invalid.problem),
        ),
        Kind::Limit(_) => Failure::new("limit-reached", exit::TEMPORARY, message),
        Kind::OutcomeUnknown(_) | Kind::NotLeader(_) => {
            Failure::new("no-leader", exit::TEMPORARY, message)
        }
        Kind::DatasetExists(_)
        | Kind::UnknownDataset(_)
        | Kind::DatasetInUse(_)
        | Kind::InvalidBlocks(_)
        | Kind::NoRoom(_)
        | Kind::BlockGone(_)
        | Kind::BlockDamaged(_)
        | Kind::OtherWorker(_)
        | Kind::UnknownValue(_)
        | Kind::VersionConflict(_) => data_refusal(kind, message),
        Kind::StaleEpoch(_) | Kind::SegmentGone(_) | Kind::SegmentDamaged(_) => {
            Failure::failed(message)
        }
    }
}

fn data_refusal(kind: &Kind, message: String) -> Failure {
    match kind {
        Kind::DatasetExists(exists) => Failure::new(
            "dataset-exists",
            exit::CONFLICT,
            format!("dataset `{}` exists", shown(&exists.name)),
        )
        .hint("choose another name, or remove it: `vivat data rm NAME`"),
        Kind::UnknownDataset(unknown) => {
            let which = match unknown.name.as_str() {
                "" => DatasetId(unknown.dataset).to_string(),
                name => format!("dataset `{}`", shown(name)),
            };
            Failure::new(
                "dataset-not-found",
                exit::NOT_FOUND,
                format!("{which} does not exist"),
            )
            .hint("`vivat data ls` shows the datasets")
        }
        Kind::DatasetInUse(used) => Failure::new(
            "dataset-in-use",
            exit::CONFLICT,
            format!(
                "dataset `{}` is read by {}",
                shown(&used.name),
                JobId(used.job)
            ),
        )
        .hint(format!(
            "`vivat job wait {0}` waits for its end, `vivat job cancel {0}` ends it",
            JobId(used.job)
        )),
        Kind::UnknownValue(unknown) => Failure::new(
            "value-not-found",
            exit::NOT_FOUND,
            format!("value `{}` does not exist", shown(&unknown.name)),
        )
        .hint("`vivat value ls` shows the values"),
        Kind::VersionConflict(conflict) => {
            let name = shown(&conflict.name);
            let text = match conflict.version {
                0 => format!("there is no value `{name}`"),
                version => format!("value `{name}` has version {version}"),
            };
            Failure::new("version-conflict", exit::CONFLICT, text)
                .hint("read it again, and decide on what it is now: `vivat value get NAME`")
        }
        Kind::NoRoom(_) => Failure::new("no-room", exit::TEMPORARY, message)
            .hint("`vivat node list -o wide` shows the workers and their disks"),
        Kind::OtherWorker(_) => Failure::new("temporary", exit::TEMPORARY, message),
        Kind::InvalidBlocks(_) | Kind::BlockGone(_) | Kind::BlockDamaged(_) => {
            Failure::failed(message)
        }
        Kind::NotLeader(_)
        | Kind::StaleEpoch(_)
        | Kind::KeyConflict(_)
        | Kind::UnknownJob(_)
        | Kind::TooLate(_)
        | Kind::NotRetryable(_)
        | Kind::JobEnded(_)
        | Kind::InvalidSpec(_)
        | Kind::Limit(_)
        | Kind::UnknownWorker(_)
        | Kind::OutcomeUnknown(_)
        | Kind::SegmentGone(_)
        | Kind::SegmentDamaged(_) => Failure::failed(message),
    }
}

fn refusal_without_detail(error: &ClientError) -> Failure {
    let message = format!("the cluster refused: {error}");
    match error.refusal() {
        Refusal::Invalid => Failure::usage(message),
        Refusal::NotFound => Failure::not_found(message),
        Refusal::Conflict => Failure::conflict(message),
        Refusal::NotAllowed => Failure::new("not-allowed", exit::NOT_ALLOWED, message),
        Refusal::Temporary => Failure::new("temporary", exit::TEMPORARY, message),
        Refusal::Failed => Failure::failed(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_exits_by_its_typed_cause() {
        let path = || "books/*.txt".to_owned();
        let cases = [
            (FailureCause::InputNotFound { path: path() }, 3),
            (FailureCause::InputIsDirectory { path: path() }, 2),
            (FailureCause::OutputExists { path: path() }, 4),
            (FailureCause::ProgramNotFound { program: path() }, 3),
            (FailureCause::WorkerCrashed, 1),
        ];
        for (cause, exit) in cases {
            assert_eq!(cause_code(&cause).1, exit, "{cause}");
        }
        let unreadable = FailureCause::InputUnreadable {
            path: path(),
            detail: "permission denied".to_owned(),
        };
        assert_eq!(Failure::from(&unreadable).exit, 6);
    }

    #[test]
    fn json_form_has_the_four_fields_of_the_contract() {
        let failure = Failure::usage("no such flag").hint("see --help");
        let value: serde_json::Value = serde_json::from_str(&failure.render_json()).unwrap();
        assert_eq!(
            value,
            json!({"error": {
                "code": "usage",
                "message": "no such flag",
                "hint": "see --help",
                "exit": 2,
            }})
        );
    }

    #[test]
    fn closed_pipe_is_silent_and_no_failure() {
        let failure = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(
            (failure.exit, failure.render_text(true)),
            (0, String::new())
        );
    }
}
