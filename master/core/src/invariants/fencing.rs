//! S4: every granted attempt is held by a current epoch, and the index by
//! worker names exactly the granted ones.

use std::collections::BTreeSet;

use super::{Violation, ensure};
use crate::state::{Job, State};

pub(super) fn check(state: &State) -> Vec<Violation> {
    let telling = state
        .jobs()
        .filter_map(|job| job.notice.as_ref()?.live(job.id));
    let granted: BTreeSet<_> = state
        .jobs()
        .filter_map(Job::active)
        .flat_map(crate::state::Active::live)
        .chain(telling)
        .collect();
    let held: BTreeSet<_> = state
        .workers()
        .flat_map(|worker| {
            let current = worker.current();
            worker
                .running
                .iter()
                .map(move |attempt| (*attempt, current))
        })
        .collect();
    let stale = granted
        .iter()
        .filter(|(_, worker)| state.check_worker(*worker).is_err())
        .map(|(attempt, worker)| Violation {
            id: "S4",
            detail: format!("{attempt} is granted to {worker}, which is not current"),
        });
    let apart = granted
        .symmetric_difference(&held)
        .map(|(attempt, worker)| Violation {
            id: "S4",
            detail: format!("{attempt} is granted to or held by {worker}, not both"),
        });
    let counts = state.jobs().filter_map(|job| {
        let active = job.active()?;
        let live = active.live().len();
        ensure(active.running as usize == live, "S4", || {
            format!("{} counts {} of {live} attempts", job.id, active.running)
        })
    });
    stale.chain(apart).chain(counts).collect()
}
