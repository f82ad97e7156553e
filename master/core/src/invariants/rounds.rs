//! S2 and S3, for rounds: their numbers only rise, one that is committed is never
//! done again, and the line that tells of it never changes. S6, for what they hand
//! on: it is in the directory, whole, and its job is among its readers.

use super::{Violation, ensure};
use crate::state::{Active, HandedOn, Job, Phase, State};

pub(super) fn check(state: &State) -> Vec<Violation> {
    state
        .jobs()
        .flat_map(|job| {
            check_history(job)
                .into_iter()
                .chain(check_owned(state, job))
        })
        .collect()
}

fn check_history(job: &Job) -> Vec<Violation> {
    let rounds: Vec<(u16, u32)> = job.history.rounds().collect();
    let rising = rounds.is_sorted_by(|a, b| a < b) && job.history.is_consistent();
    let order = ensure(rising, "S3", || {
        format!("rounds of {} are not in order: {rounds:?}", job.id)
    });
    let repeated = job.active().and_then(|active| {
        let round = active.round().id;
        let current = (round.step, round.round);
        let last = rounds.last().copied();
        let new = match active.phase {
            // It is over, and its output becomes visible.
            Phase::Commit => last == Some(current),
            Phase::Plan | Phase::Work | Phase::Close => last.is_none_or(|last| last < current),
        };
        ensure(new, "S3", || {
            format!("{round} is the current round, after {last:?}")
        })
    });
    [order, repeated].into_iter().flatten().collect()
}

fn check_owned(state: &State, job: &Job) -> Vec<Violation> {
    let Some(active) = job.active() else {
        return Vec::new();
    };
    let missing = active.owned().filter_map(|dataset| {
        let known = state.directory().get(dataset);
        let there = known.is_some_and(|known| {
            let is_owned = known.job == Some(job.id) && known.readers.contains(&job.id);
            is_owned && known.sealed.as_ref().is_some_and(|sealed| !sealed.named)
        });
        ensure(there, "S6", || {
            format!("{dataset}, which {} wrote for itself, is not there", job.id)
        })
    });
    let broadcast = check_broadcast(state, job, active);
    let place = ensure(
        (active.phase == Phase::Close) <= active.close_output.is_some(),
        "S6",
        || {
            format!(
                "{} closes a round that has no place for a broadcast",
                job.id
            )
        },
    );
    missing.chain(broadcast).chain(place).collect()
}

/// A stored broadcast has blocks.
fn check_broadcast(state: &State, job: &Job, active: &Active) -> Option<Violation> {
    let HandedOn::Stored(dataset) = active.handed_on else {
        return None;
    };
    let known = state.directory().get(dataset);
    ensure(
        known.is_some_and(|known| !known.blocks.is_empty()),
        "S6",
        || format!("the broadcast of {} has no blocks", job.id),
    )
}

pub(super) fn check_step(before: &State, after: &State) -> Vec<Violation> {
    before
        .jobs()
        .filter_map(|old| check_progress(old, after.job(old.id)?))
        .collect()
}

fn check_progress(old: &Job, new: &Job) -> Option<Violation> {
    if old.retries != new.retries {
        // It may go back: what it had written for itself may be lost.
        return None;
    }
    let was = old.history.view();
    let is = new.history.view();
    // The oldest may have made room.
    let kept = was.last().is_none_or(|last| is.contains(last))
        && is
            .iter()
            .filter(|row| {
                was.iter()
                    .any(|old| (old.step, old.round) == (row.step, row.round))
            })
            .all(|row| was.contains(row));
    let rises = match (old.active(), new.active()) {
        (Some(old), Some(new)) => old.round().id <= new.round().id,
        (None | Some(_), None) | (None, Some(_)) => true,
    };
    ensure(kept && rises, "S3", || {
        format!("a round of {} is done again, or told otherwise", old.id)
    })
}
