//! The columns of a table agree with one another: a task is idle, running or
//! completed and is counted as that.

use vivat_shared::view::TaskCounts;

use super::{Violation, ensure};
use crate::state::{Active, Job, State, TaskState, TaskTable};

pub(super) fn check(state: &State) -> Vec<Violation> {
    state
        .jobs()
        .filter_map(Job::active)
        .flat_map(check_active)
        .collect()
}

fn check_active(active: &Active) -> Vec<Violation> {
    let round = active.round();
    let tables = [
        &round.planning,
        &round.maps,
        &round.reduces,
        &round.close,
        &active.commit,
    ];
    tables
        .into_iter()
        .flat_map(|table| check_table(table, &round.id.to_string()))
        .collect()
}

fn check_table(table: &TaskTable, name: &str) -> Vec<Violation> {
    let mut counts = TaskCounts {
        total: table.len(),
        ..TaskCounts::default()
    };
    let mut idle = Vec::new();
    let mut violations = Vec::new();
    for index in 0..table.len() {
        let live = table.live(index).len();
        let state = table.state(index);
        let agrees = match state {
            Some(TaskState::Idle) => live == 0,
            Some(TaskState::Running) => live == 1 || live == 2,
            Some(TaskState::Completed) => live == 0 && table.was_completed(index),
            None => false,
        };
        violations.extend(ensure(agrees, "table", || {
            format!("task {index} of {name} is {state:?} with {live} attempts")
        }));
        match state {
            Some(TaskState::Idle) => idle.push(index),
            Some(TaskState::Running) => counts.running += 1,
            Some(TaskState::Completed) => counts.completed += 1,
            None => {}
        }
    }
    counts.idle = u32::try_from(idle.len()).unwrap_or(u32::MAX);
    violations.extend(ensure(counts == table.counts(), "table", || {
        format!("{name} has {counts:?}, counts {:?}", table.counts())
    }));
    let found: Vec<u32> =
        std::iter::successors(table.next_idle(0), |last| table.next_idle(last + 1)).collect();
    violations.extend(ensure(found == idle, "table", || {
        format!("{name} finds {found:?} idle, not {idle:?}")
    }));
    violations
}
