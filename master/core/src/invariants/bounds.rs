//! L4 and L8: what is counted stays below its bound, and what is kept does too.

use vivat_shared::limits::{COUNTERS_MAX, CRASHES_MAX, LOSSES_MAX};

use super::{Violation, ensure};
use crate::limits::{JOBS_ACTIVE_MAX, SPEC_BYTES_MAX, TIMELINE_ROWS_MAX, WORKERS_LOST_MAX};
use crate::state::{Job, State, TaskTable};

pub(super) fn check(state: &State) -> Vec<Violation> {
    let jobs = ensure(state.active.len() <= JOBS_ACTIVE_MAX, "L8", || {
        format!("{} active jobs", state.active.len())
    });
    let lost = ensure(state.lost.len() <= WORKERS_LOST_MAX, "L8", || {
        format!("{} lost workers", state.lost.len())
    });
    let specs = ensure(state.spec_bytes <= SPEC_BYTES_MAX, "L8", || {
        format!("{} bytes of specifications", state.spec_bytes)
    });
    let rows = ensure(state.timeline.rows() <= TIMELINE_ROWS_MAX, "L8", || {
        format!("{} rows of timelines", state.timeline.rows())
    });
    let logs = state.jobs().filter_map(check_logs);
    let tasks = state.jobs().filter_map(check_job);
    jobs.into_iter()
        .chain(lost)
        .chain(specs)
        .chain(rows)
        .chain(tasks)
        .chain(logs)
        .collect()
}

fn check_logs(job: &Job) -> Option<Violation> {
    ensure(job.logs.is_consistent(), "L8", || {
        format!("logs of {}", job.id)
    })
}

fn check_job(job: &Job) -> Option<Violation> {
    let active = job.active()?;
    let round = active.round();
    let tables = [&round.planning, &round.maps, &round.reduces, &active.commit];
    let bounded = |table: &TaskTable| {
        (0..table.len()).all(|index| {
            table.failures(index) < job.spec.attempts_max
                && table.losses(index) < LOSSES_MAX
                && table.crashes(index) < CRASHES_MAX
        })
    };
    let holds = job.counters.len() <= COUNTERS_MAX && tables.into_iter().all(bounded);
    ensure(holds, "L4", || {
        format!("{} goes on past a bound that fails it", job.id)
    })
}
