//! Heartbeats: renew the lease, tell what is held and how far it is, learn
//! what must stop and which jobs' files and datasets' blocks may go.

use std::convert::Infallible;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use vivat_proto::v1;
use vivat_shared::ids::{AttemptId, DatasetId, JobId};

use super::{Registration, Session, SessionEnd, after_error, blocking};
use crate::dir::WorkerDir;
use crate::held::Held;

const BEAT_TIMEOUT: Duration = Duration::from_secs(2);
/// Jobs asked about in one heartbeat; the rest are asked about when these went.
const JOBS_ASKED_MAX: usize = 10_000;

impl Session {
    pub(super) async fn beat(&self, registration: Registration) -> Result<Infallible, SessionEnd> {
        let mut ticks = tokio::time::interval(registration.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Deleting takes its time, and the lease does not wait for it.
        let mut deleting = None;
        loop {
            ticks.tick().await;
            self.runner.replace_stuck();
            let request = self.heartbeat(registration);
            let answer = self
                .call(
                    BEAT_TIMEOUT,
                    BEAT_TIMEOUT,
                    &request,
                    |mut client, request| async move { client.heartbeat(request).await },
                )
                .await;
            match answer {
                Ok(answer) => self.obey(answer, &mut deleting),
                Err(error) => after_error("heartbeat", error).await?,
            }
        }
    }

    fn heartbeat(&self, registration: Registration) -> v1::HeartbeatRequest {
        let (held, progress) = self.core.look(|held| (held.ids(), held.progress()));
        let jobs = self.dir.jobs();
        let usage = self.blocks.usage();
        v1::HeartbeatRequest {
            worker: Some(registration.worker.into()),
            held: held.into_iter().map(Into::into).collect(),
            progress: progress
                .into_iter()
                .map(|(attempt, bytes_done, records_done)| v1::AttemptProgress {
                    attempt: Some(attempt.into()),
                    bytes_done,
                    records_done,
                })
                .collect(),
            jobs: jobs
                .into_iter()
                .take(JOBS_ASKED_MAX)
                .map(|job| job.0)
                .collect(),
            datasets: self.blocks.some_datasets(),
            disk_bytes: usage.budget,
            // What is promised to writers is as good as taken.
            disk_used_bytes: usage.used.saturating_add(usage.reserved),
        }
    }

    fn obey(&self, answer: v1::HeartbeatResponse, deleting: &mut Option<JoinHandle<()>>) {
        let kill = attempts(answer.kill);
        if !kill.is_empty() {
            tracing::debug!(attempts = kill.len(), "told to stop attempts");
            self.core.change(|held| held.kill(&kill));
        }
        if !answer.gone_datasets.is_empty() {
            let gone = answer.gone_datasets.into_iter();
            self.blocks.forget(gone.map(DatasetId));
        }
        let at_it = deleting.as_ref().is_some_and(|task| !task.is_finished());
        if answer.ended_jobs.is_empty() || at_it {
            return;
        }
        // A job that something here still works for is asked about again.
        let busy = self.core.look(Held::busy_jobs);
        let ended = answer.ended_jobs.into_iter().map(JobId);
        let free: Vec<JobId> = ended.filter(|job| !busy.contains(job)).collect();
        self.runner.forget_jobs(&free);
        let dir = self.dir.clone();
        let deletion = blocking(dir.threads(), move || delete(&dir, &free));
        *deleting = Some(tokio::spawn(async {
            // A panic was told by its hook.
            let _done = deletion.await;
        }));
    }
}

fn delete(dir: &WorkerDir, ended: &[JobId]) {
    for &job in ended {
        match dir.remove_job(job) {
            Ok(()) => tracing::debug!(job_id = %job, "files of an ended job deleted"),
            Err(error) => tracing::warn!(job_id = %job, error = %error, "cannot delete files"),
        }
    }
}

/// Ids that do not decode name nothing that we hold.
pub(super) fn attempts(ids: Vec<v1::AttemptId>) -> Vec<AttemptId> {
    ids.into_iter()
        .filter_map(|id| id.try_into().ok())
        .collect()
}
