//! S1 and S3: an accepted job stays until it ended and was forgotten, and its
//! end never changes, unless it is retried, which a success is not.

use super::Violation;
use crate::state::{Job, JobEnd, Stage, State};

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
    let retried = new.is_some_and(|new| new.retries > old.retries);
    match (&old.stage, new.map(|new| &new.stage)) {
        (Stage::Active(_), None) => violation("S1", "vanished before it ended"),
        (Stage::Ended(was), Some(Stage::Ended(is)))
            if !retried && (&was.end, was.at_ms, was.round) != (&is.end, is.at_ms, is.round) =>
        {
            violation("S3", "ended a second time")
        }
        (Stage::Ended(_), Some(Stage::Active(_))) if !retried => {
            violation("S3", "runs after its end")
        }
        (Stage::Ended(was), Some(_)) if retried && was.end == JobEnd::Succeeded => {
            violation("S3", "was retried though it succeeded")
        }
        (Stage::Ended(_), None | Some(Stage::Ended(_) | Stage::Active(_)))
        | (Stage::Active(_), Some(_)) => None,
    }
}
