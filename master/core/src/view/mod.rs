//! What people and scripts see. Reads only; what it cannot know (the age of a
//! heartbeat) the leader fills in.

mod timeline;
mod waiting;

use vivat_shared::ids::JobId;
use vivat_shared::view::{JobState, JobView, TaskCounts, WorkerState, WorkerView};

use crate::scheduler::LivenessView;
use crate::state::{Active, Ended, Job, JobEnd, Notice, Phase, Presence, Stage, State, Worker};

pub use timeline::timeline;
pub use waiting::{explain, wait_reason};

/// One job; none when it is unknown or forgotten.
#[must_use]
pub fn job(state: &State, job: JobId, liveness: &LivenessView) -> Option<JobView> {
    Some(view_of(state, state.job(job)?, liveness))
}

/// The newest jobs, newest first, at most `limit`. Why each waits is looked up,
/// which costs as much as there are workers, while entries wait for the reader.
#[must_use]
pub fn newest_jobs(state: &State, liveness: &LivenessView, limit: usize) -> Vec<JobView> {
    state
        .jobs()
        .rev()
        .take(limit)
        .map(|job| JobView {
            // A thousand histories would be too much for one answer.
            rounds: Vec::new(),
            skipped: Vec::new(),
            ..view_of(state, job, liveness)
        })
        .collect()
}

fn view_of(state: &State, job: &Job, liveness: &LivenessView) -> JobView {
    let progress = match &job.stage {
        Stage::Active(active) => active_progress(active),
        Stage::Ended(ended) => ended_progress(ended),
    };
    let failure = match &job.stage {
        Stage::Active(_) => None,
        Stage::Ended(ended) => match &ended.end {
            JobEnd::Failed(failure) => Some(failure.as_ref().clone()),
            JobEnd::Succeeded | JobEnd::Cancelled => None,
        },
    };
    let unsettled = unsettled(job);
    let reason = match (&failure, job.state()) {
        (Some(failure), _) if unsettled.is_empty() => failure.describe(job.id),
        (Some(failure), _) => format!("{}; {unsettled}", failure.describe(job.id)),
        (None, JobState::Queued | JobState::Running) => wait_reason(state, job.id, liveness)
            .map_or_else(String::new, |reason| reason.word().to_owned()),
        (None, JobState::Succeeded | JobState::Failed | JobState::Cancelled) => unsettled,
    };
    JobView {
        job_id: job.id,
        name: job.spec.name.clone(),
        programs: job
            .spec
            .steps
            .iter()
            .map(|step| step.program.clone())
            .collect(),
        state: job.state(),
        reason,
        failure,
        submitted_at_ms: job.submitted_at_ms,
        started_at_ms: job.started_at_ms,
        finished_at_ms: progress.finished_at_ms,
        step: progress.step,
        round: progress.round,
        phase: progress.phase.to_owned(),
        map: progress.maps,
        reduce: progress.reduces,
        attempts: job.counts,
        counters: job.counters.clone(),
        input_bytes: job.input_bytes,
        output: job.spec.output.display(job.id),
        output_path: job.spec.output.path().unwrap_or_default().to_owned(),
        priority: job.spec.priority,
        rounds: job.history.view(),
        skipped: job.skipped.clone(),
        retries: job.retries,
        notify: job.notice.as_ref().map(Notice::view),
    }
}

/// What is not known of an ended job's output; empty when all is known.
fn unsettled(job: &Job) -> String {
    let Stage::Ended(ended) = &job.stage else {
        return String::new();
    };
    ended.unsettled_commit.map_or_else(String::new, |attempt| {
        format!("the output may be visible all the same: {attempt} was lost while it committed")
    })
}

/// How far a job is.
struct Progress {
    step: u16,
    round: u32,
    phase: &'static str,
    maps: TaskCounts,
    reduces: TaskCounts,
    finished_at_ms: Option<u64>,
}

fn active_progress(active: &Active) -> Progress {
    let round = active.round();
    let phase = match active.phase {
        Phase::Plan => "plan",
        Phase::Work if round.maps.all_completed() => "reduce",
        Phase::Work => "map",
        Phase::Close => "close",
        Phase::Commit => "commit",
    };
    Progress {
        step: round.id.step,
        round: round.id.round,
        phase,
        maps: round.maps.counts(),
        reduces: round.reduces.counts(),
        finished_at_ms: None,
    }
}

fn ended_progress(ended: &Ended) -> Progress {
    Progress {
        step: ended.round.step,
        round: ended.round.round,
        phase: "",
        maps: ended.maps,
        reduces: ended.reduces,
        finished_at_ms: Some(ended.at_ms),
    }
}

/// All workers that are remembered. `last_heartbeat_ms` is none:
/// it is the leader's to fill.
#[must_use]
pub fn workers(state: &State) -> Vec<WorkerView> {
    state.workers().map(worker_view).collect()
}

fn worker_view(worker: &Worker) -> WorkerView {
    let (state, reason) = match &worker.presence {
        Presence::Registered { draining: false } => (WorkerState::Live, String::new()),
        Presence::Registered { draining: true } => (WorkerState::Draining, String::new()),
        Presence::Lost { reason, .. } => (WorkerState::Lost, reason.clone()),
    };
    WorkerView {
        worker_id: worker.id,
        epoch: worker.epoch,
        state,
        address: worker.info.address.clone(),
        pid: worker.info.pid,
        slots: worker.info.slots,
        busy: worker.held(),
        last_heartbeat_ms: None,
        score: worker.pace.score(),
        labels: worker.info.labels.clone(),
        reason,
    }
}
