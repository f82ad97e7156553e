//! One try to tell somebody that a job ended.
//!
//! The event is the same in every try, its id too: who is told at least once can
//! tell a repetition by it.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use vivat_shared::attempt::Outcome;
use vivat_shared::cause::FailureCause;
use vivat_shared::notify::{JobEvent, Notify};

use super::{Fault, LOOK_INTERVAL, Runner};
use crate::held::Grant;
use crate::remote::RemoteError;

/// Of a whole request.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// After which a command is killed.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// An event as it goes out.
#[derive(Serialize)]
struct Message<'t> {
    event_id: String,
    job_id: String,
    name: &'t str,
    state: &'t str,
    reason: &'t str,
    /// Milliseconds since 1970.
    at: u64,
    output: &'t str,
}

impl Message<'_> {
    fn environment(&self) -> [(&'static str, String); 7] {
        [
            ("VIVAT_EVENT_ID", self.event_id.clone()),
            ("VIVAT_JOB_ID", self.job_id.clone()),
            ("VIVAT_JOB_NAME", self.name.to_owned()),
            ("VIVAT_JOB_STATE", self.state.to_owned()),
            ("VIVAT_JOB_REASON", self.reason.replace('\0', " ")),
            ("VIVAT_JOB_AT", self.at.to_string()),
            ("VIVAT_JOB_OUTPUT", self.output.to_owned()),
        ]
    }
}

impl Runner {
    pub(super) fn notify(
        &self,
        grant: &Grant,
        notify: &Notify,
        event: &JobEvent,
    ) -> Result<Outcome, Fault> {
        let message = Message {
            event_id: event.id.to_string(),
            job_id: event.id.job.to_string(),
            name: &event.name,
            state: event.state.word(),
            reason: &event.reason,
            at: event.at_ms,
            output: &event.output,
        };
        let body = serde_json::to_vec(&message).map_err(|error| problem(&error.to_string()))?;
        match notify {
            Notify::Webhook { url } => self.post(grant, url, body)?,
            Notify::Command { argv } => run(grant, argv, &message, &body)?,
        }
        Ok(Outcome::Notified)
    }

    fn post(&self, grant: &Grant, url: &str, body: Vec<u8>) -> Result<(), Fault> {
        // Whoever is first in the process wins; it is the same one everywhere.
        let _taken = rustls::crypto::ring::default_provider().install_default();
        let sent = async {
            let client = reqwest::Client::builder()
                .timeout(WEBHOOK_TIMEOUT)
                .build()?;
            let request = client.post(url).header("content-type", "application/json");
            request.body(body).send().await
        };
        match self.waiting(grant).wait(sent) {
            Err(RemoteError::Unsupported) => Err(problem("a simulation tells nobody")),
            Err(_) => Err(Fault::Stopped),
            // Without the URL, which may hold a secret.
            Ok(Err(error)) => Err(problem(&told(&error.without_url()))),
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(problem(&format!(
                "the webhook answered {}",
                answer.status()
            ))),
        }
    }
}

/// An error with what caused it.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn problem(detail: &str) -> Fault {
    Fault::Cause(FailureCause::Program {
        detail: detail.to_owned(),
    })
}

fn run(grant: &Grant, argv: &[String], message: &Message<'_>, body: &[u8]) -> Result<(), Fault> {
    let [program, arguments @ ..] = argv else {
        return Err(problem("a command without a program"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .envs(message.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| problem(&format!("cannot start {program}: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        // The body is smaller than a pipe holds; who does not read it may not.
        let _unread = input.write_all(body);
    }
    let ended = wait(grant, &mut child);
    if !matches!(ended, Ok(Some(_))) {
        end_group(&mut child);
    }
    match ended {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(problem(&format!("{program} ended with {status}"))),
        Ok(None) => Err(problem(&format!(
            "{program} was killed: it took more than {} s",
            COMMAND_TIMEOUT.as_secs()
        ))),
        Err(fault) => Err(fault),
    }
}

/// None when its time was over.
fn wait(grant: &Grant, child: &mut Child) -> Result<Option<ExitStatus>, Fault> {
    let end = Instant::now() + COMMAND_TIMEOUT;
    loop {
        let ended = child.try_wait();
        if let Some(status) = ended.map_err(|error| problem(&error.to_string()))? {
            return Ok(Some(status));
        }
        if grant.cancel.is_cancelled() {
            return Err(Fault::Stopped);
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// The command and what it started.
fn end_group(child: &mut Child) {
    let group = i32::try_from(child.id()).ok();
    if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
        let signal = rustix::process::Signal::KILL;
        if let Err(error) = rustix::process::kill_process_group(group, signal) {
            tracing::debug!(error = %error, "the command is gone already");
        }
    }
    if let Err(error) = child.wait() {
        tracing::debug!(error = %error, "the command is gone already");
    }
}
