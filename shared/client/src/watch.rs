//! A job's changes as one stream that outlives leaders.

use std::time::Duration;

use tonic::Streaming;
use vivat_proto::v1::{WatchJobRequest, WatchJobResponse};
use vivat_shared::ids::JobId;
use vivat_shared::view::JobView;

use crate::error::{ClientError, Verdict, judge};
use crate::jobs;
use crate::leader::LeaderClient;

/// Pause before a stream that broke is opened anew, so that a leader which
/// closes its streams at once is not asked in a tight loop.
const REOPEN_PAUSE: Duration = Duration::from_millis(20);

/// A job at one moment.
#[derive(Debug, Clone)]
pub struct JobChange {
    /// The job.
    pub job: JobView,
    /// Term of the leader that says so.
    pub term: u64,
    /// Its seat.
    pub leader_seat: u32,
    /// Bytes of map input done by running attempts. Soft: begins at 0 again
    /// with a new leader.
    pub running_bytes: u64,
}

/// Follows one job. [`JobWatch::next`] is cancel-safe: a call that is dropped
/// loses no change, because a new stream begins with the job as it is.
#[derive(Debug)]
pub struct JobWatch {
    client: LeaderClient,
    job: JobId,
    stream: Option<Open>,
    ended: bool,
}

#[derive(Debug)]
struct Open {
    changes: Streaming<WatchJobResponse>,
    endpoint: Option<String>,
}

impl JobWatch {
    pub(crate) fn new(client: LeaderClient, job: JobId) -> Self {
        Self {
            client,
            job,
            stream: None,
            ended: false,
        }
    }

    /// The next change: the job as it is at first and after every change of the
    /// leader, then whenever something changed. None after the final state.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; the refusal is `UnknownJob`. Calling again
    /// after [`ClientError::NoLeader`] looks for a leader anew.
    pub async fn next(&mut self) -> Result<Option<JobChange>, ClientError> {
        if self.ended {
            return Ok(None);
        }
        loop {
            if self.stream.is_none() {
                self.stream = Some(self.open().await?);
            }
            let Some(open) = &mut self.stream else {
                continue;
            };
            match open.changes.message().await {
                Ok(Some(change)) => {
                    self.client.saw_term(change.term);
                    let job = jobs::view(change.job)?;
                    self.ended = job.state.is_final();
                    return Ok(Some(JobChange {
                        job,
                        term: change.term,
                        leader_seat: change.leader_seat,
                        running_bytes: change.running_bytes,
                    }));
                }
                Ok(None) => self.lost().await,
                Err(status) => match judge(&status) {
                    Verdict::Final => return Err(ClientError::Refused(Box::new(status))),
                    Verdict::NotLeader(_) | Verdict::Transport | Verdict::Again => {
                        self.lost().await;
                    }
                },
            }
        }
    }

    async fn open(&self) -> Result<Open, ClientError> {
        let job = self.job.0;
        let changes = self
            .client
            .call_leader(|channel, _timeout| async move {
                // No deadline in the request: it would end the stream, not the
                // opening of it.
                let request = WatchJobRequest { job };
                crate::job_service(channel).watch_job(request).await
            })
            .await?;
        let endpoint = self.client.leadership().borrow().endpoint.clone();
        Ok(Open { changes, endpoint })
    }

    async fn lost(&mut self) {
        if let Some(endpoint) = self.stream.take().and_then(|open| open.endpoint) {
            self.client.saw_no_leader(&endpoint, 0);
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}
