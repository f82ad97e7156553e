//! Clients: they submit, repeat, cancel and read, and write down every call.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use vivat_client::{ClientOptions, LeaderClient};
use vivat_proto::error::detail_of;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::view::{JobState, JobView};
use vivat_testkit::dice::Dice;
use vivat_testkit::linearize::{JobAnswer, JobOp, Seen};

use crate::evidence::Fact;
use crate::jobs;
use crate::network;
use crate::town::{Phase, Town};

const BUDGET: Duration = Duration::from_secs(6);
const PER_TRY: Duration = Duration::from_secs(2);
/// Jobs of one client.
const JOBS_MAX: u64 = 5;
/// Between two calls, in milliseconds.
const PAUSE_MS: (u64, u64) = (20, 900);
/// Between two looks at jobs that are waited for.
const LOOK: Duration = Duration::from_millis(400);
/// For a job that is submitted when nothing is wrong.
const FRESH_DEADLINE: Duration = Duration::from_secs(45);

/// A client's host.
pub fn name(number: u64) -> String {
    format!("c{number}")
}

/// One client.
pub struct Client {
    number: u64,
    leader: LeaderClient,
    dice: Dice,
    town: Town,
    keys: Vec<String>,
}

impl Client {
    /// A client that has asked for nothing yet.
    pub fn new(number: u64, dice: Dice, town: Town) -> Self {
        let options = ClientOptions {
            transport: network::transport(&name(number), &town),
            ..ClientOptions::default()
        };
        Self {
            number,
            leader: LeaderClient::new(crate::hosts::endpoints(), options),
            dice,
            town,
            keys: Vec::new(),
        }
    }

    /// Does what it likes while everything goes wrong, then waits for the ends
    /// of its jobs; the first client then submits one more.
    pub async fn run(mut self) -> turmoil::Result {
        while self.town.phase() == Phase::Faults {
            self.act().await;
            let pause = self.dice.between(PAUSE_MS.0, PAUSE_MS.1);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        for key in self.keys.clone() {
            while self.submit(&key).await.is_none() {
                tokio::time::sleep(LOOK).await;
            }
        }
        while !self.own_jobs_ended().await {
            tokio::time::sleep(LOOK).await;
        }
        self.town.client_waits();
        if self.number == 0 {
            while self.town.phase() != Phase::Fresh {
                tokio::time::sleep(LOOK).await;
            }
            self.submit_fresh().await;
        }
        Ok(())
    }

    async fn act(&mut self) {
        let made = self.keys.len() as u64;
        match self.dice.up_to(9) {
            0..=2 if made < JOBS_MAX => {
                let key = jobs::key(self.number, made);
                self.keys.push(key.clone());
                self.submit(&key).await;
            }
            0..=3 => {
                if let Some(key) = self.dice.pick(&self.keys.clone()) {
                    self.town.note(Fact::SubmissionRepeated);
                    self.submit(key).await;
                }
            }
            4 => {
                if let Some(id) = self.some_job() {
                    self.cancel(id).await;
                }
            }
            5 => self.list().await,
            _ => {
                if let Some(id) = self.some_job() {
                    self.get(id).await;
                }
            }
        }
    }

    /// Any job that anybody was told of.
    fn some_job(&mut self) -> Option<u64> {
        let known: Vec<u64> = self.town.jobs().into_keys().collect();
        self.dice.pick(&known).copied()
    }

    async fn own_jobs_ended(&self) -> bool {
        for (id, job) in self.town.jobs() {
            if self.keys.contains(&job.key) {
                match self.get(id).await {
                    Some(view) if view.state.is_final() => {}
                    Some(_) | None => return false,
                }
            }
        }
        true
    }

    async fn submit_fresh(&self) {
        let key = "fresh";
        let done = async {
            let id = loop {
                if let Some(id) = self.submit(key).await {
                    break id;
                }
                tokio::time::sleep(LOOK).await;
            };
            loop {
                if let Some(view) = self.get(id).await
                    && view.state.is_final()
                {
                    break view;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(FRESH_DEADLINE, done).await {
            Ok(view) if view.state == JobState::Succeeded => {}
            Ok(view) => {
                let detail = format_args!("a job after all faults ended so: {view:?}");
                self.town.violate("L1", detail);
            }
            Err(_elapsed) => self
                .town
                .violate("L1", "a job after all faults did not end in time"),
        }
    }

    /// The id of the key's job, if a leader said.
    async fn submit(&self, key: &str) -> Option<u64> {
        let request = v1::SubmitJobRequest {
            key: key.to_owned(),
            spec: Some(jobs::spec(key).into()),
        };
        let answer = self
            .call(
                JobOp::Submit {
                    key: key.to_owned(),
                },
                |channel, timeout| {
                    let mut request = Request::new(request.clone());
                    request.set_timeout(timeout);
                    async move { vivat_client::job_service(channel).submit_job(request).await }
                },
                |answer: &v1::SubmitJobResponse| match answer.created {
                    true => JobAnswer::Created(answer.job),
                    false => JobAnswer::Existing(answer.job),
                },
            )
            .await?;
        if !answer.created {
            self.town.note(Fact::SubmissionFoundAgain);
        }
        self.town.submitted(answer.job, key);
        Some(answer.job)
    }

    async fn get(&self, id: u64) -> Option<JobView> {
        let answer = self
            .call(
                JobOp::Get { id },
                |channel, timeout| async move {
                    let mut request = Request::new(v1::GetJobRequest { job: id });
                    request.set_timeout(timeout);
                    vivat_client::job_service(channel).get_job(request).await
                },
                |answer: &v1::GetJobResponse| match answer.job.clone().map(JobView::try_from) {
                    Some(Ok(view)) => JobAnswer::State(seen(view.state)),
                    Some(Err(_)) | None => JobAnswer::NotFound,
                },
            )
            .await?;
        self.town.note(Fact::ReadAnswered);
        answer.job?.try_into().ok()
    }

    async fn cancel(&self, id: u64) {
        self.call(
            JobOp::Cancel { id },
            |channel, timeout| async move {
                let mut request = Request::new(v1::CancelJobRequest { job: id });
                request.set_timeout(timeout);
                vivat_client::job_service(channel).cancel_job(request).await
            },
            |_: &v1::CancelJobResponse| JobAnswer::Cancelled,
        )
        .await;
    }

    /// A list is a read of every job that was known when it was asked for.
    async fn list(&self) {
        let known: Vec<u64> = self.town.jobs().into_keys().collect();
        let ask = |channel: Channel| {
            let town = self.town.clone();
            let number = self.number;
            let known = known.clone();
            async move {
                let invoke = |id: &u64| (*id, town.invoke(number, JobOp::Get { id: *id }));
                let calls: Vec<_> = known.iter().map(invoke).collect();
                let mut request = Request::new(v1::ListJobsRequest { limit: 1_000 });
                request.set_timeout(PER_TRY);
                let mut service = vivat_client::job_service(channel);
                let answer = service.list_jobs(request).await?.into_inner();
                let views = answer.jobs.into_iter().map(JobView::try_from);
                let states: BTreeMap<u64, JobState> = views
                    .flatten()
                    .map(|view| (view.job_id.0, view.state))
                    .collect();
                for (id, call) in calls {
                    let answer = match states.get(&id) {
                        Some(state) => JobAnswer::State(seen(*state)),
                        None => JobAnswer::NotFound,
                    };
                    town.complete(call, answer);
                }
                Ok::<_, Status>(())
            }
        };
        // What was not answered stands in the history as such.
        let _told = self.leader.call(BUDGET, PER_TRY, ask).await;
    }

    /// A call to the leader; each try of it is an operation of its own.
    async fn call<T, F, Fut>(
        &self,
        op: JobOp,
        call: F,
        answer: impl Fn(&T) -> JobAnswer,
    ) -> Option<T>
    where
        F: Fn(Channel, Duration) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let tried = self.leader.call(BUDGET, PER_TRY, |channel| {
            let id = self.town.invoke(self.number, op.clone());
            let called = call(channel, PER_TRY);
            let (town, answer) = (&self.town, &answer);
            async move {
                let outcome = called.await.map(Response::into_inner);
                match &outcome {
                    Ok(value) => town.complete(id, answer(value)),
                    Err(status) => match refusal(status) {
                        Some(refused) => town.complete(id, refused),
                        None => note_miss(town, status),
                    },
                }
                outcome
            }
        });
        let outcome = tried.await;
        let word = if outcome.is_ok() {
            "answered"
        } else {
            "not answered"
        };
        self.town
            .tell(format_args!("c{} {op:?} {word}", self.number));
        match (&op, &outcome) {
            (JobOp::Cancel { .. }, Ok(_)) => self.town.note(Fact::JobCancelled),
            (JobOp::Cancel { .. }, Err(error)) if error.detail().is_some_and(is_too_late) => {
                self.town.note(Fact::CancelTooLate);
            }
            (JobOp::Cancel { .. } | JobOp::Get { .. } | JobOp::Submit { .. }, _) => {}
        }
        outcome.ok()
    }
}

fn note_miss(town: &Town, status: &Status) {
    match detail_of(status) {
        Some(Kind::NotLeader(_)) => town.note(Fact::CallRefusedByFollower),
        Some(_) | None => town.note(Fact::CallMissed),
    }
}

fn is_too_late(kind: Kind) -> bool {
    matches!(kind, Kind::TooLate(_) | Kind::JobEnded(_))
}

/// A refusal that is an answer.
fn refusal(status: &Status) -> Option<JobAnswer> {
    match detail_of(status)? {
        Kind::TooLate(_) | Kind::JobEnded(_) => Some(JobAnswer::TooLate),
        Kind::UnknownJob(_) => Some(JobAnswer::NotFound),
        _other => None,
    }
}

fn seen(state: JobState) -> Seen {
    match state {
        JobState::Queued => Seen::Queued,
        JobState::Running => Seen::Running,
        JobState::Succeeded => Seen::Succeeded,
        JobState::Failed => Seen::Failed,
        JobState::Cancelled => Seen::Cancelled,
    }
}
