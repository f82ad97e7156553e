//! Streams of a job's view.
//!
//! The view goes out at once and after every change, at most ten times a
//! second, and the stream ends after the final state, which waits for nothing. Progress between
//! completions comes from heartbeats and is looked at now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio::time::Instant;
use vivat_core::command::{Event, Rejection};
use vivat_shared::ids::JobId;
use vivat_shared::view::JobView;

use super::Leader;
use super::error::LeaderError;
use crate::raft::AppliedEvents;

/// Between two messages of one stream.
const PAUSE: Duration = Duration::from_millis(100);
/// Without an event, how often a view is looked at again: for bytes of running
/// attempts and for reasons to wait, which come from leases.
const LOOK: Duration = Duration::from_millis(500);
/// For a slow reader to take the last message.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Messages that wait for a slow reader.
const MESSAGES_MAX: usize = 2;

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobUpdate {
    /// The job now.
    pub view: JobView,
    /// Bytes of map input done by running attempts.
    pub running_bytes: u64,
}

/// What a caller reads from.
pub type JobStream = mpsc::Receiver<Result<JobUpdate, LeaderError>>;

impl Leader {
    /// Streams a job's view. The last item is an error when leadership closed.
    ///
    /// # Errors
    ///
    /// `Rejected(UnknownJob)`, `NotLeader`, `Overloaded`.
    pub async fn watch_job(self: &Arc<Self>, job: JobId) -> Result<JobStream, LeaderError> {
        let permit = Arc::clone(&self.job_streams)
            .try_acquire_owned()
            .map_err(|_| LeaderError::Overloaded {
                what: "streams of job views",
            })?;
        let events = self.raft.events();
        self.read_decided(|state, _| state.job(job).is_some())
            .await?
            .then_some(())
            .ok_or(LeaderError::Rejected(Rejection::UnknownJob(job)))?;
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        let stream = Stream {
            leader: Arc::clone(self),
            job,
            sender,
            _permit: permit,
        };
        self.tasks.spawn(stream.run(events));
        Ok(receiver)
    }

    fn look_at(&self, job: JobId) -> Option<JobUpdate> {
        let (liveness, running_bytes) = {
            let sessions = self.sessions();
            (sessions.liveness(), sessions.running_bytes(job))
        };
        let view = self
            .raft
            .read(|state| vivat_core::view::job(state, job, &liveness))?;
        Some(JobUpdate {
            view,
            running_bytes,
        })
    }
}

struct Stream {
    leader: Arc<Leader>,
    job: JobId,
    sender: mpsc::Sender<Result<JobUpdate, LeaderError>>,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    async fn run(self, mut events: broadcast::Receiver<Arc<AppliedEvents>>) {
        tokio::select! {
            () = self.leader.closed.cancelled() => {
                let last = self.sender.send(Err(LeaderError::NotLeader));
                // A reader that does not take it learns from the stream's end.
                let _slow = tokio::time::timeout(LAST_WORD, last).await;
            }
            () = self.serve(&mut events) => {}
        }
    }

    async fn serve(&self, events: &mut broadcast::Receiver<Arc<AppliedEvents>>) {
        let mut last: Option<JobUpdate> = None;
        loop {
            // Forgotten in between: it had ended, and was told so.
            let Some(update) = self.leader.look_at(self.job) else {
                return;
            };
            let ended = update.view.state.is_final();
            if last.as_ref() != Some(&update) {
                if self.sender.send(Ok(update.clone())).await.is_err() {
                    return;
                }
                last = Some(update);
            }
            if ended {
                return;
            }
            let sent_at = Instant::now();
            let pause = sent_at + PAUSE;
            let next = match self.wait_for(concerns, sent_at + LOOK, events).await {
                Next::Look => self.wait_for(ends, pause, events).await,
                next @ (Next::End | Next::Stop) => next,
            };
            if next == Next::Stop {
                return;
            }
            self.skip(events);
        }
    }

    /// Waits for an event of a kind, or until a time.
    async fn wait_for(
        &self,
        is_awaited: fn(&Event, JobId) -> bool,
        until: Instant,
        events: &mut broadcast::Receiver<Arc<AppliedEvents>>,
    ) -> Next {
        let look = tokio::time::sleep_until(until);
        tokio::pin!(look);
        loop {
            tokio::select! {
                () = &mut look => return Next::Look,
                () = self.sender.closed() => return Next::Stop,
                received = events.recv() => match received {
                    Ok(applied) => {
                        if applied.events.iter().any(|event| ends(event, self.job)) {
                            return Next::End;
                        }
                        if applied.events.iter().any(|event| is_awaited(event, self.job)) {
                            return Next::Look;
                        }
                    }
                    // The end may be among what was missed: look soon.
                    Err(RecvError::Lagged(_)) => return Next::Look,
                    Err(RecvError::Closed) => return Next::Stop,
                },
            }
        }
    }

    /// Forgets events that the next look covers.
    fn skip(&self, events: &mut broadcast::Receiver<Arc<AppliedEvents>>) {
        loop {
            match events.try_recv() {
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}

/// What a stream does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Looks at the job when its pause is over.
    Look,
    /// Looks at once: the job ended.
    End,
    /// Nobody reads, or the process ends.
    Stop,
}

fn ends(event: &Event, job: JobId) -> bool {
    matches!(event, Event::JobEnded { job: ended } if *ended == job)
}

fn concerns(event: &Event, job: JobId) -> bool {
    match event {
        Event::JobChanged { job: changed }
        | Event::JobEnded { job: changed }
        | Event::JobRetried { job: changed } => *changed == job,
        Event::AttemptGranted { attempt, .. }
        | Event::AttemptRevoked { attempt, .. }
        | Event::AttemptFinished { attempt, .. } => attempt.job() == job,
        Event::TaskIdle { task } => task.round.job == job,
        Event::SegmentsLocated { map, .. }
        | Event::SegmentsLost { map }
        | Event::SegmentSuspected { map, .. } => map.job() == job,
        Event::WorkerRegistered { .. } | Event::WorkerExpired { .. } => true,
        Event::TermOpened { .. } | Event::DatasetChanged { .. } => false,
    }
}
