//! S2: a partition has at most one accepted attempt, a job commits only when
//! every partition has exactly one, and nothing runs whose time is over.

use super::{Violation, ensure};
use crate::state::{Job, Phase, State};

pub(super) fn check(state: &State) -> Vec<Violation> {
    state
        .jobs()
        .flat_map(|job| check_job(job).into_iter().chain(check_phase(job)))
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

fn check_job(job: &Job) -> Option<Violation> {
    let active = job.active()?;
    let round = active.round();
    let accepted = (0..round.reducers)
        .filter(|partition| round.reduces.accepted(*partition).is_some())
        .count();
    let whole = accepted == round.reducers as usize;
    ensure((active.phase == Phase::Commit) == whole, "S2", || {
        format!(
            "{} is in phase {:?} with {accepted} of {} partitions",
            job.id, active.phase, round.reducers
        )
    })
}
