//! `ReportFetchFailure`: a reducer's word alone moves nothing. The segment
//! becomes suspected, and probing its holder is a duty (mistake 11).

use std::collections::{BTreeMap, BTreeSet};

use vivat_shared::attempt::FetchFailure;
use vivat_shared::ids::{TaskKind, WorkerEpoch};

use super::Context;
use crate::command::{Event, Rejection, Reply};
use crate::state::{Active, Running, Suspicion};

pub(super) fn apply(
    context: &mut Context<'_>,
    worker: WorkerEpoch,
    failure: &FetchFailure,
) -> Result<Reply, Rejection> {
    let active = context.state.check_live(failure.reducer, worker)?;
    if !concerns(active, failure) {
        return Ok(Reply::Done);
    }
    let map = failure.segment.attempt;
    let holder = failure.holder;
    let Some(active) = context.state.active_mut(map.job()) else {
        return Ok(Reply::Done);
    };
    let suspicion = active
        .round_mut()
        .suspicions
        .entry(map.task.index)
        .or_insert_with(|| Suspicion {
            number: map.number,
            holder,
            reporters: BTreeSet::new(),
            readers: BTreeMap::new(),
            healthy: 0,
            probe_due: false,
        });
    // A second opinion is looked into anew; later ones add nothing to it, or a
    // hundred workers would put the verdict off a hundred times.
    if suspicion.reporters.insert(worker.worker) && suspicion.reporters.len() == 2 {
        suspicion.healthy = 0;
    }
    suspicion
        .readers
        .insert(failure.reducer.task.index, failure.reducer.number);
    if !suspicion.probe_due {
        suspicion.probe_due = true;
        context.events.push(Event::SegmentSuspected { map, holder });
    }
    Ok(Reply::Done)
}

/// Whether the report is about a segment for its own partition that the state
/// holds to be there. Reports that come late, or name what is not theirs (S12),
/// are not.
fn concerns(active: &Active, failure: &FetchFailure) -> bool {
    let map = failure.segment.attempt;
    let reducer = failure.reducer;
    let there = Running {
        number: map.number,
        worker: failure.holder,
    };
    reducer.task.kind == TaskKind::Reduce
        && map.task.kind == TaskKind::Map
        && map.task.round == reducer.task.round
        && failure.segment.partition == reducer.task.index
        && active.round().maps.accepted(map.task.index) == Some(there)
}
