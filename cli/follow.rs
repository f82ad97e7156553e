//! Waiting for a job's end, with progress, through changes of the leader,
//! until the end, the patience or Ctrl-C.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vivat_client::{ClientError, JobChange, LeaderClient};
use vivat_shared::ids::JobId;
use vivat_shared::view::{JobState, JobView};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::signals::Interrupt;

/// Changes that wait to be shown; the stream waits when nobody shows them.
const CHANGES_QUEUED_MAX: usize = 64;
/// How often the clock of a missing leader is shown.
const TICK: Duration = Duration::from_millis(100);

/// How a wait ended.
#[derive(Debug)]
pub enum Ended {
    /// The job has its final state.
    Final(Box<JobView>),
    /// The patience is over; the job lives.
    TimedOut,
    /// Ctrl-C or SIGTERM; the job lives.
    Interrupted,
}

/// Follows a job to its end, to `timeout`, or to an interrupt. Every change
/// goes to `progress` and to `each`.
///
/// # Errors
///
/// The cluster's refusal, or that there is no leader for too long.
pub async fn follow(
    client: &LeaderClient,
    job: JobId,
    timeout: Option<Duration>,
    progress: &mut Progress,
    interrupt: &mut Interrupt,
    mut each: impl FnMut(&JobChange) -> Result<(), Failure>,
) -> Result<Ended, Failure> {
    let mut changes = Changes::start(client.clone(), job);
    let leadership = client.leadership();
    // A patience that cannot be reached is none.
    let patience = timeout.unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
    let deadline = tokio::time::sleep(patience);
    tokio::pin!(deadline);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            biased;
            change = changes.next() => {
                let change = change?;
                each(&change)?;
                progress.change(&change);
                if change.job.state.is_final() {
                    return Ok(Ended::Final(Box::new(change.job)));
                }
            }
            () = interrupt.wait() => return Ok(Ended::Interrupted),
            () = &mut deadline => return Ok(Ended::TimedOut),
            _ = ticks.tick() => {
                let view = leadership.borrow().clone();
                progress.tick(&view);
            }
        }
    }
}

/// The exit of a job that ended.
///
/// # Errors
///
/// Its failure, by its typed cause, or that it was cancelled.
pub fn verdict(job: &JobView) -> Result<(), Failure> {
    match job.state {
        JobState::Succeeded => Ok(()),
        JobState::Cancelled => Err(Failure::cancelled(job.job_id)),
        JobState::Failed => Err(Failure::job(job.job_id, job.failure.as_ref(), &job.reason)),
        JobState::Queued | JobState::Running => Err(Failure::failed(format!(
            "{} is {}, which is no end",
            job.job_id,
            job.state.word()
        ))),
    }
}

/// The watch in a task of its own: it is never dropped half-way through a
/// call, however often the screen is drawn.
struct Changes {
    queue: mpsc::Receiver<Result<JobChange, ClientError>>,
    task: JoinHandle<()>,
}

impl Changes {
    fn start(client: LeaderClient, job: JobId) -> Self {
        let (sender, queue) = mpsc::channel(CHANGES_QUEUED_MAX);
        let task = tokio::spawn(async move {
            let mut watch = client.watch_job(job);
            loop {
                let next = match watch.next().await {
                    Ok(Some(change)) => Ok(change),
                    Ok(None) => return,
                    Err(error) => Err(error),
                };
                let ends = next.is_err();
                if sender.send(next).await.is_err() || ends {
                    return;
                }
            }
        });
        Self { queue, task }
    }

    async fn next(&mut self) -> Result<JobChange, Failure> {
        match self.queue.recv().await {
            Some(Ok(change)) => Ok(change),
            Some(Err(error)) => Err(error.into()),
            None => Err(Failure::failed("the watch ended before the job did")),
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.task.abort();
    }
}
