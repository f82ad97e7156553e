//! Why a job waits: a job never does so silently (L6). The reason comes from a
//! closed list; `explain` tells each constraint with its numbers.

use vivat_shared::ids::{JobId, TaskId, TaskKind, WorkerId};
use vivat_shared::view::WaitReason;

use crate::scheduler::{LivenessView, WorkerLiveness, holders};
use crate::state::{Active, Job, Phase, State, Worker, turn_of};

/// Why the next attempt of a job is not running. None when the job has ended,
/// when nothing of it is idle, when slots are busy with its own attempts, or
/// when there is room and the scheduler is about to use it.
#[must_use]
pub fn wait_reason(state: &State, job: JobId, liveness: &LivenessView) -> Option<WaitReason> {
    let job = state.job(job)?;
    let active = job.active()?;
    let next = next_task(active)?;
    let funnel = Funnel::of(state, job, active, next, liveness);
    let reason = funnel.reason()?;
    let runs = active.running > 0;
    (reason != WaitReason::SlotsBusy || !runs).then_some(reason)
}

/// Each constraint of the next attempt, in a sentence. Empty when the job is
/// unknown.
#[must_use]
pub fn explain(state: &State, job: JobId, liveness: &LivenessView) -> Vec<String> {
    let Some(job) = state.job(job) else {
        return Vec::new();
    };
    let Some(active) = job.active() else {
        return vec![format!("{} has ended: nothing of it waits", job.id)];
    };
    let Some(next) = next_task(active) else {
        return vec![format!(
            "no task of {} is idle: {} attempts are granted",
            job.id, active.running
        )];
    };
    let funnel = Funnel::of(state, job, active, next, liveness);
    // Control tasks and work have slots, and so queues, of their own.
    let own = turn_of(job);
    let before = state
        .turns
        .iter()
        .filter(|turn| own.is_some_and(|own| turn.lane == own.lane && **turn < own))
        .count();
    let mut lines = vec![
        format!("next task: {next}"),
        format!("workers registered and alive: {}", funnel.live.len()),
    ];
    if let Some(host) = &job.host {
        let seeing = funnel.seeing.len();
        lines.push(format!(
            "of those on the job's machine ({}): {seeing}",
            host.0
        ));
    }
    lines.push(format!("of those not draining: {}", funnel.accepting.len()));
    if !funnel.avoided.is_empty() {
        let avoided: Vec<String> = funnel.avoided.iter().map(WorkerId::to_string).collect();
        lines.push(format!(
            "of those it did not fail or crash on: {} (it did on {})",
            funnel.open.len(),
            avoided.join(", ")
        ));
    }
    lines.push(format!("of those with room now: {}", funnel.with_room));
    let holders = match next.kind {
        TaskKind::Map => holders(state, job, next.index),
        TaskKind::Plan
        | TaskKind::Reduce
        | TaskKind::Close
        | TaskKind::Commit
        | TaskKind::Notify => &[],
    };
    if !holders.is_empty() {
        let holders: Vec<String> = holders.iter().map(WorkerId::to_string).collect();
        let holders = holders.join(", ");
        lines.push(format!(
            "its block is at {holders}: it may wait a little for them"
        ));
    }
    lines.push(format!("jobs that have their turn before it: {before}"));
    lines.push(match funnel.reason() {
        Some(reason) => format!("reason: {}", reason.word()),
        None => "there is room: it is about to be granted".to_owned(),
    });
    lines
}

/// The task that the scheduler would place next.
fn next_task(active: &Active) -> Option<TaskId> {
    let round = active.round();
    let (kind, index) = match active.phase {
        Phase::Plan => (TaskKind::Plan, round.planning.next_idle(0)?),
        Phase::Close => (TaskKind::Close, round.close.next_idle(0)?),
        Phase::Commit => (TaskKind::Commit, active.commit.next_idle(0)?),
        Phase::Work => match round.maps.next_idle(0) {
            Some(index) => (TaskKind::Map, index),
            None if round.may_fetch() => (TaskKind::Reduce, round.reduces.next_idle(0)?),
            None => return None,
        },
    };
    Some(TaskId {
        round: round.id,
        kind,
        index,
    })
}

/// Workers that pass one constraint after another.
struct Funnel<'a> {
    live: Vec<(&'a Worker, WorkerLiveness)>,
    seeing: Vec<(&'a Worker, WorkerLiveness)>,
    accepting: Vec<(&'a Worker, WorkerLiveness)>,
    /// All accepting ones, if the task failed on all of them.
    open: Vec<(&'a Worker, WorkerLiveness)>,
    avoided: Vec<WorkerId>,
    with_room: usize,
    /// Room on workers that the task avoids.
    room_elsewhere: bool,
}

impl<'a> Funnel<'a> {
    fn of(
        state: &'a State,
        job: &Job,
        active: &Active,
        next: TaskId,
        liveness: &LivenessView,
    ) -> Self {
        let pass = |workers: &[(&'a Worker, WorkerLiveness)], keep: &dyn Fn(&Worker) -> bool| {
            let kept = workers.iter().filter(|(worker, _)| keep(worker));
            kept.copied().collect::<Vec<_>>()
        };
        let live: Vec<_> = state
            .workers()
            .filter_map(|worker| Some((worker, liveness.of(worker)?)))
            .collect();
        let seeing = pass(&live, &|worker| worker.sees_paths_of(job));
        let accepting = pass(&seeing, &Worker::accepts_work);
        let avoided: Vec<WorkerId> = active
            .table(next)
            .map_or_else(Vec::new, |table| table.avoided(next.index).collect());
        let mut open = pass(&accepting, &|worker| !avoided.contains(&worker.id));
        if open.is_empty() {
            open.clone_from(&accepting);
        }
        let has_room = |(_, seen): &&(&Worker, WorkerLiveness)| {
            if next.kind.is_control() {
                seen.control_free
            } else {
                seen.want > 0
            }
        };
        let with_room = open.iter().filter(has_room).count();
        let room_elsewhere = accepting.iter().any(|worker| has_room(&worker));
        Self {
            live,
            seeing,
            accepting,
            open,
            avoided,
            with_room,
            room_elsewhere,
        }
    }

    /// The first constraint that no worker passes.
    fn reason(&self) -> Option<WaitReason> {
        if self.live.is_empty() {
            Some(WaitReason::NoWorkers)
        } else if self.seeing.is_empty() {
            Some(WaitReason::NoWorkerSeesPaths)
        } else if self.accepting.is_empty() {
            Some(WaitReason::AllDraining)
        } else if self.with_room > 0 {
            None
        } else if self.room_elsewhere {
            Some(WaitReason::WorkersExcluded)
        } else {
            Some(WaitReason::SlotsBusy)
        }
    }
}
