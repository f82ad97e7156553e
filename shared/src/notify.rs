//! Telling somebody that a job ended: what was asked for, and what is told.
//!
//! An event is told at least once, under an id that stays the same whoever tells it
//! and however often; whoever must not act twice remembers the id.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ClusterId, JobId};
use crate::job::SpecError;
use crate::limits;
use crate::view::JobState;

/// Whom to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notify {
    /// An HTTP POST of the event as JSON.
    Webhook {
        /// `http://` or `https://`.
        url: String,
    },
    /// A command on a worker: the event as JSON on its standard input, and its
    /// fields in the environment.
    Command {
        /// Program and arguments; no shell reads them.
        argv: Vec<String>,
    },
}

impl Notify {
    /// Checks every bound.
    ///
    /// # Errors
    ///
    /// Says what it may be.
    pub fn validate(&self) -> Result<(), SpecError> {
        let fail = |problem: String| {
            Err(SpecError {
                field: "notify".to_owned(),
                problem,
            })
        };
        match self {
            Self::Webhook { url } => {
                let known = ["http://", "https://"].iter().any(|it| url.starts_with(it));
                let fits = url.len() <= limits::PATH_BYTES_MAX;
                if !known || !fits || url.chars().any(|c| c.is_control() || c == ' ') {
                    return fail(format!(
                        "an http:// or https:// URL of at most {} bytes",
                        limits::PATH_BYTES_MAX
                    ));
                }
            }
            Self::Command { argv } => {
                let bytes: usize = argv.iter().map(String::len).sum();
                let whole = argv.first().is_some_and(|program| !program.is_empty())
                    && argv.iter().all(|argument| !argument.contains('\0'));
                if !whole || bytes > limits::NOTIFY_COMMAND_BYTES_MAX {
                    return fail(format!(
                        "a command with its arguments, at most {} bytes, without NUL",
                        limits::NOTIFY_COMMAND_BYTES_MAX
                    ));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { url } => f.write_str(url),
            Self::Command { argv } => f.write_str(&argv.join(" ")),
        }
    }
}

/// One end of one job: a job that is retried ends more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventId {
    /// The cluster; other clusters have a job of the same number.
    pub cluster: ClusterId,
    /// The job.
    pub job: JobId,
    /// Which of its ends, from 0.
    pub ending: u32,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.cluster, self.job, self.ending)
    }
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent {
    /// The same for every try.
    pub id: EventId,
    /// The job's name.
    pub name: String,
    /// How it ended.
    pub state: JobState,
    /// Why, in a line; empty when it succeeded.
    pub reason: String,
    /// When, in milliseconds since 1970, by a leader's clock.
    pub at_ms: u64,
    /// Where its output is, as the user wrote it.
    pub output: String,
}

/// How far the telling is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotifyState {
    /// Not yet.
    Pending {
        /// Tries that came to nothing.
        tries: u32,
        /// What the last of them met; empty before any.
        problem: String,
    },
    /// Somebody took it.
    Delivered {
        /// Tries in all.
        tries: u32,
    },
    /// Nobody took it, and nobody will be asked again.
    GivenUp {
        /// Tries in all.
        tries: u32,
        /// What the last of them met.
        problem: String,
    },
}

impl fmt::Display for NotifyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending { tries: 0, .. } => f.write_str("pending"),
            Self::Pending { tries, problem } => {
                write!(f, "pending after {tries} tries: {problem}")
            }
            Self::Delivered { .. } => f.write_str("delivered"),
            Self::GivenUp { tries, problem } => {
                write!(f, "given up after {tries} tries: {problem}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_told_is_taken() {
        let webhook = |url: &str| {
            let url = url.to_owned();
            Notify::Webhook { url }.validate().is_ok()
        };
        assert!(webhook("http://127.0.0.1:1/hook?x=1") && webhook("https://example.org"));
        assert!(!webhook("ftp://example.org") && !webhook("http://a\nb") && !webhook(""));
        let command = |argv: &[&str]| {
            let argv = argv.iter().map(|word| (*word).to_owned()).collect();
            Notify::Command { argv }.validate().is_ok()
        };
        assert!(command(&["/bin/mail", ""]));
        assert!(!command(&[]) && !command(&[""]) && !command(&["a", "b\0"]));
    }

    #[test]
    fn event_of_every_end_has_an_id_of_its_own() {
        let id = EventId {
            cluster: ClusterId(1),
            job: JobId(3),
            ending: 2,
        };
        assert!(id.to_string().ends_with(".job-3.2"), "{id}");
    }
}
