//! The jobs' service, in domain types.

use std::collections::BTreeMap;

use tonic::Request;
use vivat_proto::v1;
use vivat_shared::ids::JobId;
use vivat_shared::job::JobSpec;
use vivat_shared::logs::LogEntry;
use vivat_shared::timeline::AttemptSpan;
use vivat_shared::view::JobView;

use crate::error::ClientError;
use crate::leader::LeaderClient;
use crate::watch::JobWatch;

/// A submission that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The job.
    pub job: JobId,
    /// False when the key was known: the job is the one of the first call.
    pub created: bool,
}

/// Why a job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Word of the closed list; empty when the job does not wait.
    pub reason: String,
    /// One line per constraint.
    pub lines: Vec<String>,
}

impl LeaderClient {
    /// Submits a job. Every try carries the same key, so a try whose answer was
    /// lost makes no second job.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; refusals are `KeyConflict`, `InvalidSpec` and
    /// `Limit`.
    pub async fn submit_job(&self, key: &str, spec: &JobSpec) -> Result<Submitted, ClientError> {
        let request = v1::SubmitJobRequest {
            key: key.to_owned(),
            spec: Some(spec.clone().into()),
        };
        let answer = self
            .call_leader(|channel, timeout| {
                let request = timed(request.clone(), timeout);
                async move { crate::job_service(channel).submit_job(request).await }
            })
            .await?;
        Ok(Submitted {
            job: JobId(answer.job),
            created: answer.created,
        })
    }

    /// A job as it is now.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; the refusal is `UnknownJob`.
    pub async fn get_job(&self, job: JobId) -> Result<JobView, ClientError> {
        let answer = self
            .call_leader(|channel, timeout| async move {
                let request = timed(v1::GetJobRequest { job: job.0 }, timeout);
                crate::job_service(channel).get_job(request).await
            })
            .await?;
        view(answer.job)
    }

    /// Jobs, newest first; `limit` 0 for the server's default.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`].
    pub async fn list_jobs(&self, limit: u32) -> Result<Vec<JobView>, ClientError> {
        let answer = self
            .call_leader(|channel, timeout| async move {
                let request = timed(v1::ListJobsRequest { limit }, timeout);
                crate::job_service(channel).list_jobs(request).await
            })
            .await?;
        answer.jobs.into_iter().map(|job| view(Some(job))).collect()
    }

    /// Follows a job to its end, through changes of the leader.
    #[must_use]
    pub fn watch_job(&self, job: JobId) -> JobWatch {
        JobWatch::new(self.clone(), job)
    }

    /// Cancels a job; repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; refusals are `UnknownJob`, `TooLate` and
    /// `JobEnded`.
    pub async fn cancel_job(&self, job: JobId) -> Result<(), ClientError> {
        self.call_leader(|channel, timeout| async move {
            let request = timed(v1::CancelJobRequest { job: job.0 }, timeout);
            crate::job_service(channel).cancel_job(request).await
        })
        .await?;
        Ok(())
    }

    /// Lets a job that failed or was cancelled go on. Every try carries the same key,
    /// so a try whose answer was lost retries it once. Returns the step that it goes
    /// on with.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; refusals are `UnknownJob` and `NotRetryable`.
    pub async fn retry_job(&self, key: &str, job: JobId) -> Result<u32, ClientError> {
        let message = v1::RetryJobRequest {
            job: job.0,
            key: key.to_owned(),
        };
        let answer = self
            .call_leader(|channel, timeout| {
                let request = timed(message.clone(), timeout);
                async move { crate::job_service(channel).retry_job(request).await }
            })
            .await?;
        Ok(answer.step)
    }

    /// Attempts of a job that failed or left a log, in the order in which they ended,
    /// with where their full texts are.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; the refusal is `UnknownJob`.
    pub async fn list_logs(&self, job: JobId) -> Result<Vec<LogEntry>, ClientError> {
        let mut entries = Vec::new();
        loop {
            let from = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let answer = self
                .call_leader(|channel, timeout| async move {
                    let message = v1::ListLogsRequest {
                        job: job.0,
                        from,
                        limit: 0,
                    };
                    let request = timed(message, timeout);
                    crate::job_service(channel).list_logs(request).await
                })
                .await?;
            let count = answer.entries.len();
            for entry in answer.entries {
                entries.push(LogEntry::try_from(entry).map_err(ClientError::bad_answer)?);
            }
            if !answer.more || count == 0 {
                return Ok(entries);
            }
        }
    }

    /// Why a job waits.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; the refusal is `UnknownJob`.
    pub async fn explain_job(&self, job: JobId) -> Result<Explanation, ClientError> {
        let answer = self
            .call_leader(|channel, timeout| async move {
                let request = timed(v1::ExplainJobRequest { job: job.0 }, timeout);
                crate::job_service(channel).explain_job(request).await
            })
            .await?;
        Ok(Explanation {
            reason: answer.reason,
            lines: answer.lines,
        })
    }

    /// Which worker ran which attempt of a job, and when: all that is still known.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; the refusal is `UnknownJob`.
    pub async fn timeline(&self, job: JobId) -> Result<Vec<AttemptSpan>, ClientError> {
        // By attempt: positions of a running job shift between two pages.
        let mut spans = BTreeMap::new();
        let mut from = 0_u32;
        loop {
            let answer = self
                .call_leader(|channel, timeout| async move {
                    let message = v1::GetTimelineRequest {
                        job: job.0,
                        from,
                        limit: 0,
                    };
                    let request = timed(message, timeout);
                    crate::job_service(channel).get_timeline(request).await
                })
                .await?;
            let count = answer.spans.len();
            for span in answer.spans {
                let span = AttemptSpan::try_from(span).map_err(ClientError::bad_answer)?;
                spans.insert(span.attempt, span);
            }
            if !answer.more || count == 0 {
                return Ok(spans.into_values().collect());
            }
            from = from.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }
}

/// A request with its deadline, which the server sees too.
pub(crate) fn timed<T>(message: T, timeout: std::time::Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// A job that must be there and readable.
pub(crate) fn view(job: Option<v1::Job>) -> Result<JobView, ClientError> {
    job.ok_or_else(|| ClientError::bad_answer("the job is missing"))?
        .try_into()
        .map_err(ClientError::bad_answer)
}
