//! Telling of a job's end.

use vivat_shared::attempt::Work;
use vivat_shared::ids::JobId;
use vivat_shared::notify::{EventId, JobEvent, Notify, NotifyState};

use super::view::job_state;
use crate::error::{WireError, required};
use crate::v1;

impl From<Notify> for v1::job_spec::Notify {
    fn from(notify: Notify) -> Self {
        match notify {
            Notify::Webhook { url } => Self::NotifyWebhook(url),
            Notify::Command { argv } => Self::NotifyCommand(v1::NotifyCommand { argv }),
        }
    }
}

impl From<v1::job_spec::Notify> for Notify {
    fn from(notify: v1::job_spec::Notify) -> Self {
        match notify {
            v1::job_spec::Notify::NotifyWebhook(url) => Self::Webhook { url },
            v1::job_spec::Notify::NotifyCommand(command) => Self::Command { argv: command.argv },
        }
    }
}

pub(super) fn work_to_wire(notify: Notify, event: JobEvent) -> v1::NotifyWork {
    use v1::notify_work::Notify as Wire;
    let notify = match notify {
        Notify::Webhook { url } => Wire::Webhook(url),
        Notify::Command { argv } => Wire::Command(v1::NotifyCommand { argv }),
    };
    v1::NotifyWork {
        notify: Some(notify),
        cluster_id: event.id.cluster.to_string(),
        job: event.id.job.0,
        ending: event.id.ending,
        name: event.name,
        state: v1::JobState::from(event.state).into(),
        reason: event.reason,
        at_ms: event.at_ms,
        output: event.output,
    }
}

pub(super) fn work_from_wire(told: v1::NotifyWork) -> Result<Work, WireError> {
    use v1::notify_work::Notify as Wire;
    let notify = match required(told.notify, "notify")? {
        Wire::Webhook(url) => Notify::Webhook { url },
        Wire::Command(command) => Notify::Command { argv: command.argv },
    };
    let cluster = told.cluster_id.parse();
    let event = JobEvent {
        id: EventId {
            cluster: cluster.map_err(|_| WireError::Missing {
                field: "cluster_id",
            })?,
            job: JobId(told.job),
            ending: told.ending,
        },
        name: told.name,
        state: job_state(told.state)?,
        reason: told.reason,
        at_ms: told.at_ms,
        output: told.output,
    };
    Ok(Work::Notify { notify, event })
}

impl From<NotifyState> for v1::NotifyState {
    fn from(state: NotifyState) -> Self {
        use v1::notify_state::Kind;
        let (kind, tries, problem) = match state {
            NotifyState::Pending { tries, problem } => (Kind::Pending, tries, problem),
            NotifyState::Delivered { tries } => (Kind::Delivered, tries, String::new()),
            NotifyState::GivenUp { tries, problem } => (Kind::GivenUp, tries, problem),
        };
        Self {
            kind: kind.into(),
            tries,
            problem,
        }
    }
}

impl TryFrom<v1::NotifyState> for NotifyState {
    type Error = WireError;

    fn try_from(state: v1::NotifyState) -> Result<Self, WireError> {
        use v1::notify_state::Kind;
        let v1::NotifyState {
            kind,
            tries,
            problem,
        } = state;
        match Kind::try_from(kind) {
            Ok(Kind::Pending) => Ok(Self::Pending { tries, problem }),
            Ok(Kind::Delivered) => Ok(Self::Delivered { tries }),
            Ok(Kind::GivenUp) => Ok(Self::GivenUp { tries, problem }),
            Ok(Kind::Unspecified) | Err(_) => Err(WireError::UnknownValue {
                field: "kind",
                value: kind,
            }),
        }
    }
}
