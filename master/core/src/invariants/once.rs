//! S2: a partition has at most one accepted attempt, a job commits only when
//! every partition has exactly one, and nothing runs whose time is over. Two attempts
//! of a task are on two workers.

use super::{Violation, ensure};
use crate::state::{Job, Phase, State};

pub(super) fn check(state: &State) -> Vec<Violation> {
    state
        .jobs()
        .flat_map(|job| {
            let checks = [check_job(job), check_phase(job), check_backups(job)];
            checks.into_iter().flatten()
        })
        .collect()
}

fn check_phase(job: &Job) -> Option<Violation> {
    let active = job.active()?;
    let (late, _) = active
        .live()
        .into_iter()
        .find(|(attempt, _)| !active.wants(attempt.task.kind))?;
    let detail = format!("{late} is granted in phase {:?}", active.phase);
    Some(Violation { id: "S2", detail })
}

/// Two attempts of a task are on two workers, and only where the job allows it.
fn check_backups(job: &Job) -> Option<Violation> {
    let live = job.active()?.live();
    let wrong = live.windows(2).find(|pair| {
        let same_task = pair[0].0.task == pair[1].0.task;
        let same_worker = pair[0].1.worker == pair[1].1.worker;
        same_task && (same_worker || !job.spec.speculation)
    })?;
    let detail = format!("{} and {} are both granted", wrong[0].0, wrong[1].0);
    Some(Violation { id: "S2", detail })
}

fn check_job(job: &Job) -> Option<Violation> {
    let active = job.active()?;
    let round = active.round();
    let accepted = (0..round.reducers)
        .filter(|partition| round.reduces.accepted(*partition).is_some())
        .count();
    let whole = accepted == round.reducers as usize;
    let over = match active.phase {
        Phase::Plan | Phase::Work => false,
        Phase::Close | Phase::Commit => true,
    };
    ensure(over == whole, "S2", || {
        format!(
            "{} is in phase {:?} with {accepted} of {} partitions",
            job.id, active.phase, round.reducers
        )
    })
}
