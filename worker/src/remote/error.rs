//! Why a store did not do what it was asked, by what must be done about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};
use vivat_client::Backoff;
use vivat_engine::InputError;
use vivat_shared::cause::FailureCause;

/// Tries of one call; with the pauses between them about four seconds.
const TRIES_MAX: u32 = 6;
/// Pauses between them.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Of what a server calls its error.
const CODE_BYTES_MAX: usize = 64;

/// Why a call failed. The words in it are ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RemoteError {
    /// Nothing is there.
    #[error("nothing is there")]
    NotFound,
    /// The credentials, or their absence, do not allow it.
    #[error("{detail}")]
    Denied { detail: String },
    /// It can never succeed as it was asked.
    #[error("{detail}")]
    Refused { detail: String },
    /// A condition does not hold: somebody else was there first.
    #[error("somebody else has written it")]
    Taken,
    /// The store has no such operation.
    #[error("the store cannot do that")]
    Unsupported,
    /// It may succeed the next time.
    #[error("{detail}")]
    Temporary { detail: String },
}

impl From<object_store::Error> for RemoteError {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as Of;
        let words = |what: &str| format!("{what}{}", Answer::of(&error));
        match &error {
            Of::NotFound { .. } => Self::NotFound,
            Of::PermissionDenied { .. } => Self::Denied {
                detail: words("permission denied by the server"),
            },
            Of::Unauthenticated { .. } => Self::Denied {
                detail: words("the server does not accept the worker's credentials"),
            },
            Of::Precondition { .. } | Of::AlreadyExists { .. } | Of::NotModified { .. } => {
                Self::Taken
            }
            Of::NotImplemented { .. } | Of::NotSupported { .. } => Self::Unsupported,
            Of::InvalidPath { .. } => Self::Refused {
                detail: "the name holds an empty part, `.` or `..`".to_owned(),
            },
            Of::UnknownConfigurationKey { .. } => Self::Refused {
                detail: "the worker's settings for this store cannot be used".to_owned(),
            },
            _ => match transport(&error) {
                Some(what) => Self::Temporary {
                    detail: what.to_owned(),
                },
                None => Answer::of(&error).error(),
            },
        }
    }
}

/// What broke, if it was not an answer.
fn transport(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut source = Some(error);
    while let Some(inner) = source {
        if let Some(http) = inner.downcast_ref::<HttpError>() {
            return Some(match http.kind() {
                HttpErrorKind::Connect => "cannot connect to the server",
                HttpErrorKind::Timeout => "the server did not answer in time",
                HttpErrorKind::Request
                | HttpErrorKind::Interrupted
                | HttpErrorKind::Decode
                | HttpErrorKind::Unknown => "the connection to the server broke",
                _ => "the connection to the server failed",
            });
        }
        source = inner.source();
    }
    None
}

/// What the server answered. The library tells of some calls nothing but its own
/// words; of these we take two fields of the protocol, the status and the store's
/// code, and nothing else: the rest may quote a signed request.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: Option<u16>,
    code: Option<String>,
}

impl Answer {
    fn of(error: &object_store::Error) -> Self {
        let text = error.to_string();
        let after = |start: &str| {
            let rest = &text[text.find(start)? + start.len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric())?;
            (1..=CODE_BYTES_MAX)
                .contains(&end)
                .then(|| rest[..end].to_owned())
        };
        Self {
            status: after("status code: ").and_then(|digits| digits.parse().ok()),
            code: after("<Code>"),
        }
    }

    /// What to do about it. Of what it does not know it says that another try may
    /// help: then it only takes longer to fail.
    fn error(&self) -> RemoteError {
        let detail = format!("the server answered with an error{self}");
        match self.status {
            Some(404) => RemoteError::NotFound,
            Some(401 | 403) => RemoteError::Denied {
                detail: format!("permission denied by the server{self}"),
            },
            Some(408 | 416 | 429) | None => RemoteError::Temporary { detail },
            Some(400..500) => RemoteError::Refused { detail },
            Some(_) => RemoteError::Temporary { detail },
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.status, &self.code) {
            (Some(status), Some(code)) => write!(f, " ({status} {code})"),
            (Some(status), None) => write!(f, " ({status})"),
            (None, Some(code)) => write!(f, " ({code})"),
            (None, None) => Ok(()),
        }
    }
}

impl RemoteError {
    /// What it means for a job that reads.
    pub(crate) fn of_input(self, display: &str) -> FailureCause {
        let path = display.to_owned();
        match self {
            Self::NotFound => FailureCause::InputNotFound { path },
            Self::Temporary { detail } => FailureCause::InputUnreachable { path, detail },
            Self::Denied { .. } | Self::Refused { .. } | Self::Taken | Self::Unsupported => {
                FailureCause::InputUnreadable {
                    path,
                    detail: self.to_string(),
                }
            }
        }
    }

    /// What it means for a job that writes.
    pub(crate) fn of_output(&self, display: &str) -> FailureCause {
        FailureCause::OutputUnwritable {
            path: display.to_owned(),
            detail: match self {
                Self::NotFound => "there is no such bucket".to_owned(),
                other => other.to_string(),
            },
        }
    }
}

impl From<RemoteError> for InputError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::NotFound => Self::Io(io::ErrorKind::NotFound.into()),
            RemoteError::Temporary { detail } => Self::Unreachable { detail },
            RemoteError::Denied { .. }
            | RemoteError::Refused { .. }
            | RemoteError::Taken
            | RemoteError::Unsupported => {
                let kind = io::ErrorKind::PermissionDenied;
                Self::Io(io::Error::new(kind, error.to_string()))
            }
        }
    }
}

/// What is answered when the attempt was told to stop meanwhile; its outcome is
/// that it was killed, and nobody reads this.
pub(crate) fn stopped() -> RemoteError {
    RemoteError::Temporary {
        detail: "the attempt was stopped".to_owned(),
    }
}

/// Calls until it succeeds, fails for good, or was tried often enough.
pub(crate) async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, RemoteError>
where
    F: Future<Output = Result<T, RemoteError>>,
{
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    let mut tries = 1;
    loop {
        match call().await {
            Err(RemoteError::Temporary { detail }) if tries == TRIES_MAX => {
                return Err(RemoteError::Temporary {
                    detail: format!("{detail}, {TRIES_MAX} times"),
                });
            }
            Err(RemoteError::Temporary { .. }) => tries += 1,
            ended => return ended,
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: text.into(),
        }
    }

    #[test]
    fn answer_is_told_by_its_status_and_code_and_holds_no_word_of_the_request() {
        let body = "Server returned non-2xx status code: 403 Forbidden: <Error><Code>\
            SignatureDoesNotMatch</Code><StringToSign>hunter2</StringToSign></Error>";
        let RemoteError::Denied { detail } = RemoteError::from(generic(body)) else {
            panic!("another kind");
        };
        assert!(detail.ends_with("(403 SignatureDoesNotMatch)"), "{detail}");
        for (status, expected) in [
            ("404 Not Found", "NotFound"),
            ("400 Bad Request", "Refused"),
            ("429 Too Many Requests", "Temporary"),
            ("503 Slow Down", "Temporary"),
            ("?", "Temporary"),
        ] {
            let error = RemoteError::from(generic(&format!("status code: {status}: hunter2")));
            let found = format!("{error:?}");
            assert!(
                found.starts_with(expected) && !found.contains("hunter2"),
                "{found}"
            );
        }
    }
}
