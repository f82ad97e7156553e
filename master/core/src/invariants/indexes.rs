//! What can be derived is what is kept: keys (S5), active and ended jobs, turns,
//! timeouts, suspicions, uids and lost workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vivat_shared::ids::JobId;

use super::{Violation, ensure};
use crate::state::{Job, Notice, Presence, State, turn_of};

pub(super) fn check(state: &State) -> Vec<Violation> {
    check_jobs(state)
        .into_iter()
        .chain(check_workers(state))
        .collect()
}

fn ids<'a>(jobs: impl Iterator<Item = &'a Job>) -> BTreeSet<JobId> {
    jobs.map(|job| job.id).collect()
}

fn check_jobs(state: &State) -> Vec<Violation> {
    let keys: BTreeMap<Arc<str>, JobId> = state
        .jobs()
        .map(|job| (Arc::clone(&job.key), job.id))
        .collect();
    let active = ids(state.jobs().filter(|job| job.active().is_some()));
    let ended = ids(state.jobs().filter(|job| job.active().is_none()));
    let suspected = ids(state.jobs().filter(|job| {
        job.active()
            .is_some_and(|active| !active.round().suspicions.is_empty())
    }));
    let timeouts = state
        .jobs()
        .filter(|job| job.active().is_some())
        .filter_map(|job| Some((job.deadline_age_ms()?, job.id)))
        .collect::<BTreeSet<_>>();
    let owed = ids(state
        .jobs()
        .filter(|job| job.notice.as_ref().is_some_and(Notice::is_owed)));
    let spec_bytes: u64 = state.jobs().map(|job| u64::from(job.spec_bytes)).sum();
    let checks = [
        ("spec bytes", spec_bytes == state.spec_bytes),
        ("S5 keys", keys == state.keys),
        ("active", active == state.active),
        ("ended", ended == state.ended.iter().copied().collect()),
        ("ended once", ended.len() == state.ended.len()),
        ("suspected", suspected == state.suspected),
        ("owed", owed == state.owed),
        ("timeouts", timeouts == state.timeouts),
        (
            "turns",
            state.jobs().filter_map(turn_of).collect::<BTreeSet<_>>() == state.turns,
        ),
    ];
    report(&checks)
}

fn check_workers(state: &State) -> Vec<Violation> {
    let uids = state
        .workers()
        .map(|worker| (Arc::from(worker.info.uid.as_str()), worker.id))
        .collect::<BTreeMap<Arc<str>, _>>();
    let lost = state
        .workers()
        .filter_map(|worker| match worker.presence {
            Presence::Registered { .. } => None,
            Presence::Lost { order, .. } => Some((order, worker.id)),
        })
        .collect::<BTreeMap<_, _>>();
    let epochs: BTreeSet<_> = state.workers().map(|worker| worker.epoch).collect();
    let checks = [
        ("uids", uids == state.uids),
        ("lost", lost == state.lost),
        ("S4 epochs", epochs.len() == state.workers().count()),
    ];
    report(&checks)
}

fn report(checks: &[(&'static str, bool)]) -> Vec<Violation> {
    checks
        .iter()
        .filter_map(|(name, holds)| {
            ensure(*holds, "index", || {
                format!("`{name}` is not what jobs and workers say")
            })
        })
        .collect()
}
