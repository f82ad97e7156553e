//! Clients: each submits under a key until it is answered, sometimes once more
//! for luck, asks how the job is, and now and then cancels it. An operator
//! drains workers.

use vivat_core::command::Rejection;
use vivat_shared::ids::{JobId, WorkerId};
use vivat_shared::job::JobSpec;
use vivat_shared::view::JobState;

use crate::event::{
    CallId, Caller, ClientTimer, Event, MasterAt, Message, Request, Response, SubmissionAt,
};
use crate::evidence::Fact;
use crate::jobs;
use crate::world::World;

const CALL_TIMEOUT_MS: u64 = 1_500;
/// Between two looks at a job.
const STATUS_MS: u64 = 3_000;
/// Between two looks whether a dataset is there.
const DATA_MS: u64 = 400;
/// Between two looks whether the last moment has come.
const PATIENCE_MS: u64 = 100;
/// A submission that was answered is repeated so often, in thousands.
const REPEATS: u64 = 300;
const CANCELS: u64 = 150;
/// Jobs that are retried if they do not succeed, in thousands.
const RETRIES: u64 = 600;

/// What a pending call asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Submit,
    Cancel,
    Retry,
    Status,
}

/// One job, as a client sees it.
#[derive(Debug)]
pub struct Submission {
    pub key: String,
    pub spec: JobSpec,
    /// The first answer (S5).
    pub job: Option<JobId>,
    /// To be submitted once more after it was answered.
    repeats: bool,
    cancels: bool,
    /// Cancels at the last moment, and so sometimes after it.
    patient: bool,
    /// Whether a cancellation was answered.
    cancel_answered: bool,
    /// To be retried once, if it does not succeed.
    retries: bool,
    calls: Vec<(CallId, Asked)>,
    target: MasterAt,
}

impl Submission {
    /// Whether the client got all its answers.
    pub fn is_settled(&self) -> bool {
        let cancelled = !self.cancels || self.cancel_answered;
        self.job.is_some() && !self.repeats && cancelled && !self.retries
    }
}

/// Who drains workers.
#[derive(Debug, Default)]
pub struct Operator {
    calls: Vec<(CallId, WorkerId, bool)>,
}

impl Operator {
    pub fn is_settled(&self) -> bool {
        self.calls.is_empty()
    }
}

impl World {
    /// Lets a client submit a job after a while.
    pub fn add_submission(&mut self, spec: JobSpec, delay_ms: u64) {
        let at = self.submissions.len();
        let submission = Submission {
            key: format!("key-{at}"),
            spec,
            job: None,
            repeats: self.faulty && self.ground.dice.chance(REPEATS),
            cancels: self.faulty && self.ground.dice.chance(CANCELS),
            patient: self.ground.dice.chance(500),
            cancel_answered: false,
            retries: self.ground.dice.chance(RETRIES),
            calls: Vec::new(),
            target: self.ground.dice.index(self.masters.len()),
        };
        self.submissions.push(submission);
        self.client_timer(delay_ms, at, ClientTimer::Submit);
    }

    fn client_timer(&mut self, delay_ms: u64, submission: SubmissionAt, timer: ClientTimer) {
        self.ground
            .after(delay_ms, Event::Client { submission, timer });
    }

    pub fn on_client_timer(&mut self, at: SubmissionAt, timer: ClientTimer) {
        let submission = &self.submissions[at];
        match (timer, submission.job) {
            (ClientTimer::Submit, _) => {
                let key = submission.key.clone();
                let spec = Box::new(submission.spec.clone());
                self.ask(at, Asked::Submit, Request::Submit { key, spec });
            }
            (ClientTimer::Cancel, Some(job))
                if self.faulty && submission.patient && !self.oracle.is_closing(job) =>
            {
                self.client_timer(PATIENCE_MS, at, ClientTimer::Cancel);
            }
            (ClientTimer::Cancel, Some(job)) => {
                self.ask(at, Asked::Cancel, Request::Cancel { job });
            }
            (ClientTimer::Status, Some(job)) => {
                self.ask(at, Asked::Status, Request::Status { job });
                if !self.is_finishing() {
                    self.client_timer(STATUS_MS, at, ClientTimer::Status);
                }
            }
            (ClientTimer::Retry, Some(job)) => self.retry(at, job),
            (ClientTimer::Cancel | ClientTimer::Status | ClientTimer::Retry, None) => {}
            (ClientTimer::Timeout { call }, _) => self.client_call_failed(at, call, None),
        }
    }

    /// Asks for a retry once the job has ended otherwise than it should.
    fn retry(&mut self, at: SubmissionAt, job: JobId) {
        let submission = &mut self.submissions[at];
        let end = self.oracle.end_of(job);
        let waits = submission.cancels && !submission.cancel_answered;
        match end {
            Some(JobState::Succeeded) => submission.retries = false,
            Some(_) if !waits && submission.retries => {
                let key = format!("retry-{}", submission.key);
                self.ask(at, Asked::Retry, Request::Retry { key, job });
            }
            Some(_) | None => {
                let delay_ms = self.ground.dice.within(500..=4_000);
                self.client_timer(delay_ms, at, ClientTimer::Retry);
            }
        }
    }

    fn ask(&mut self, at: SubmissionAt, asked: Asked, body: Request) {
        self.calls += 1;
        let call = CallId(self.calls);
        let submission = &mut self.submissions[at];
        submission.calls.push((call, asked));
        let master = submission.target;
        self.client_timer(CALL_TIMEOUT_MS, at, ClientTimer::Timeout { call });
        let from = Caller::Client(at);
        self.ground.send(Message::Request {
            call,
            from,
            master,
            body,
        });
    }

    fn client_call_failed(&mut self, at: SubmissionAt, call: CallId, hint: Option<MasterAt>) {
        let masters = self.masters.len();
        let Some(asked) = self.take_asked(at, call) else {
            return;
        };
        let submission = &mut self.submissions[at];
        submission.target = hint.unwrap_or((submission.target + 1) % masters);
        let again = match asked {
            Asked::Submit => ClientTimer::Submit,
            Asked::Cancel => ClientTimer::Cancel,
            Asked::Retry => ClientTimer::Retry,
            // The next look is on the agenda.
            Asked::Status => return,
        };
        let pause_ms = self.ground.dice.within(20..=150);
        self.client_timer(pause_ms, at, again);
    }

    fn take_asked(&mut self, at: SubmissionAt, call: CallId) -> Option<Asked> {
        let calls = &mut self.submissions[at].calls;
        let position = calls.iter().position(|(known, _)| *known == call)?;
        Some(calls.swap_remove(position).1)
    }

    pub fn on_client_response(&mut self, at: SubmissionAt, call: CallId, body: Response) {
        match body {
            Response::NotLeader { hint } => self.client_call_failed(at, call, hint),
            Response::Unknown => self.client_call_failed(at, call, None),
            Response::Job { job } => {
                if self.take_asked(at, call).is_some() {
                    self.acknowledged(at, job);
                }
            }
            // The dataset that it reads is not put yet.
            Response::Refused(Rejection::UnknownDatasetName(_)) => {
                if self.take_asked(at, call) == Some(Asked::Submit) {
                    self.client_timer(DATA_MS, at, ClientTimer::Submit);
                }
            }
            Response::View
            | Response::Done
            | Response::Refused(_)
            | Response::Stale
            | Response::Registered(_)
            | Response::Beat { .. }
            | Response::Delivery(_)
            | Response::Verdicts(_)
            | Response::Dataset { .. }
            | Response::Place(_)
            | Response::BlockOrders(_)
            | Response::Located { .. } => {
                let asked = self.take_asked(at, call);
                if asked == Some(Asked::Cancel) {
                    self.cancel_answered(at, &body);
                }
                if asked == Some(Asked::Retry) {
                    self.retry_answered(at, &body);
                }
                if asked == Some(Asked::Submit) {
                    self.oracle.refused_submission(at, &body);
                }
            }
        }
    }

    fn acknowledged(&mut self, at: SubmissionAt, job: JobId) {
        let submission = &mut self.submissions[at];
        self.oracle
            .acknowledged(&submission.key, &submission.spec, job);
        if submission.job.is_some() {
            submission.repeats = false;
            return;
        }
        submission.job = Some(job);
        let (repeats, cancels) = (submission.repeats, submission.cancels);
        self.ground.say(|| format!("submission {at} is {job}"));
        if repeats {
            self.ground.note(Fact::SubmissionRepeated);
            let delay_ms = self.ground.dice.within(10..=20_000);
            self.client_timer(delay_ms, at, ClientTimer::Submit);
        }
        if cancels {
            let delay_ms = self.ground.dice.within(1..=12_000);
            self.client_timer(delay_ms, at, ClientTimer::Cancel);
        }
        self.client_timer(STATUS_MS, at, ClientTimer::Status);
        if self.submissions[at].retries {
            self.client_timer(STATUS_MS, at, ClientTimer::Retry);
        }
    }

    /// A retry is taken, or what it would read is gone.
    fn retry_answered(&mut self, at: SubmissionAt, body: &Response) {
        let submission = &mut self.submissions[at];
        let Some(job) = submission.job else {
            return;
        };
        submission.retries = false;
        match body {
            Response::Done => self.ground.note(Fact::JobRetried),
            Response::Refused(
                Rejection::NotRetryable { .. }
                | Rejection::DatasetExists { .. }
                | Rejection::UnknownJob(_),
            ) => {}
            other => self.oracle.refused_retry(job, other),
        }
    }

    fn cancel_answered(&mut self, at: SubmissionAt, body: &Response) {
        let submission = &mut self.submissions[at];
        submission.cancel_answered = true;
        let Some(job) = submission.job else {
            return;
        };
        let won = match body {
            Response::Done => true,
            Response::Refused(Rejection::TooLate(_)) => {
                self.ground.note(Fact::CancelTooLate);
                false
            }
            Response::Refused(_)
            | Response::View
            | Response::Stale
            | Response::Registered(_)
            | Response::Beat { .. }
            | Response::Delivery(_)
            | Response::Verdicts(_)
            | Response::Located { .. }
            | Response::Dataset { .. }
            | Response::Place(_)
            | Response::BlockOrders(_)
            | Response::NotLeader { .. }
            | Response::Unknown
            | Response::Job { .. } => false,
        };
        self.oracle.cancel_answered(job, won);
    }

    /// The operator drains a worker, or takes that back.
    pub fn drain(&mut self, worker: WorkerId, draining: bool) {
        self.calls += 1;
        let call = CallId(self.calls);
        self.operator.calls.push((call, worker, draining));
        let master = self.ground.dice.index(self.masters.len());
        self.ground
            .after(CALL_TIMEOUT_MS, Event::OperatorTimeout { call });
        let body = Request::Drain { worker, draining };
        self.ground.send(Message::Request {
            call,
            from: Caller::Operator,
            master,
            body,
        });
    }

    pub fn on_operator_timeout(&mut self, call: CallId) {
        let calls = &mut self.operator.calls;
        if let Some(position) = calls.iter().position(|(known, _, _)| *known == call) {
            let (_, worker, draining) = calls.swap_remove(position);
            self.drain(worker, draining);
        }
    }

    pub fn on_operator_response(&mut self, call: CallId, body: &Response) {
        // Those are tried again when their time is over.
        if !matches!(body, Response::NotLeader { .. } | Response::Unknown) {
            self.operator.calls.retain(|(known, _, _)| *known != call);
        }
    }

    /// A last job when all faults are off.
    pub fn submit_last(&mut self) {
        let number = self.submissions.len();
        self.add_submission(jobs::last(number), 0);
    }
}
