//! S14: specification, plan and number of partitions never change once they
//! are committed, and the tasks are those of the plan.

use super::{Violation, ensure};
use crate::state::{Job, Phase, State};

pub(super) fn check(state: &State) -> Vec<Violation> {
    state.jobs().flat_map(check_job).collect()
}

fn check_job(job: &Job) -> Option<Violation> {
    let active = job.active()?;
    let round = active.round();
    let expected = match &round.plan {
        None => (0, 0, 0),
        Some(plan) => {
            let reducers = round.reducers as usize;
            (plan.splits.len(), reducers, plan.splits.len() * reducers)
        }
    };
    let found = (
        round.maps.len() as usize,
        round.reduces.len() as usize,
        round.sizes.len(),
    );
    let planned = round.plan.is_some() != (active.phase == Phase::Plan);
    ensure(expected == found && planned, "S14", || {
        format!(
            "{} in phase {:?} has tasks {found:?}, its plan {expected:?}",
            job.id, active.phase
        )
    })
}

pub(super) fn check_step(before: &State, after: &State) -> Vec<Violation> {
    before
        .jobs()
        .filter_map(|old| Some((old, after.job(old.id)?)))
        .filter_map(|(old, new)| {
            let asked = old.spec == new.spec && old.key == new.key;
            let same_plan = match (old.active(), new.active()) {
                (Some(old), Some(new)) => {
                    let (old, new) = (old.round(), new.round());
                    old.id != new.id
                        || old.reducers == new.reducers
                            && (old.plan.is_none() || old.plan == new.plan)
                }
                (None | Some(_), None) | (None, Some(_)) => true,
            };
            ensure(asked && same_plan, "S14", || {
                format!("{} is not what was submitted or planned", old.id)
            })
        })
        .collect()
}
