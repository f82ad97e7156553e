//! Which worker ran which attempt of a job, and when.

use vivat_shared::ids::JobId;
use vivat_shared::timeline::AttemptSpan;

use crate::state::State;

/// Attempts of a job from a position on, at most `limit`, and whether there are
/// more; none when the job is unknown. Of a job that runs the positions shift as it
/// goes on: a caller tells rows apart by their attempts. Costs as much as the job's
/// current round has tasks, or as many rows as are kept.
#[must_use]
pub fn timeline(
    state: &State,
    job: JobId,
    from: usize,
    limit: usize,
) -> Option<(Vec<AttemptSpan>, bool)> {
    let job = state.job(job)?;
    let mut spans = state.timeline.spans(job).skip(from);
    let page = spans.by_ref().take(limit).collect();
    Some((page, spans.next().is_some()))
}
