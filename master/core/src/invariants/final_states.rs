//! S1 and S3: an accepted job stays until it ended and was forgotten, and its
//! end never changes.

use super::Violation;
use crate::state::{Job, Stage, State};

pub(super) fn check(before: &State, after: &State) -> Vec<Violation> {
    before
        .jobs()
        .filter_map(|old| check_job(old, after.job(old.id)))
        .collect()
}

fn check_job(old: &Job, new: Option<&Job>) -> Option<Violation> {
    let violation = |id, what: &str| {
        Some(Violation {
            id,
            detail: format!("{} {what}", old.id),
        })
    };
    match (&old.stage, new.map(|new| &new.stage)) {
        (Stage::Active(_), None) => violation("S1", "vanished before it ended"),
        (Stage::Ended(was), Some(Stage::Ended(is))) if was != is => {
            violation("S3", "ended a second time")
        }
        (Stage::Ended(_), Some(Stage::Active(_))) => violation("S3", "runs after its end"),
        (Stage::Ended(_), None | Some(Stage::Ended(_))) | (Stage::Active(_), Some(_)) => None,
    }
}
