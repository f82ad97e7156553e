//! `JudgeSegment`: the probe's verdict on a suspected segment.
//!
//! Gone: the map runs again. Whole, twice: the reduces that cannot reach it are
//! placed elsewhere, preferably where the segment is. A map that is whole runs
//! again only when a second worker cannot reach it either, and two more probes
//! do: so a lying reducer costs two probes and no healthy map, however often its
//! worker complains (mistake 11). Or when there is no worker to place the reduces
//! on that did not complain: then what that worker cannot have it has to make.

use std::collections::BTreeSet;

use vivat_shared::ids::{AttemptId, TaskId, TaskKind, WorkerEpoch, WorkerId};

use super::Context;
use super::effects::{Lost, charge_loss, lose_map, revoke};
use crate::command::{Event, Rejection, Reply};
use crate::limits::HEALTHY_PROBES_MAX;
use crate::state::{Active, Fate, Job, State, Suspicion};

pub(super) fn apply(
    context: &mut Context<'_>,
    term: u64,
    map: AttemptId,
    holder: WorkerEpoch,
    healthy: bool,
) -> Result<Reply, Rejection> {
    context.state.check_term(term)?;
    let judged = context
        .state
        .job(map.job())
        .and_then(Job::active)
        .and_then(|active| suspicion(active, map, holder));
    if judged.is_none() {
        return Ok(Reply::Done);
    }
    if !healthy {
        lose_map(context, map, holder, false);
        return Ok(Reply::Done);
    }
    let Some(active) = context.state.active_mut(map.job()) else {
        return Ok(Reply::Done);
    };
    let Some(suspicion) = active.round_mut().suspicions.get_mut(&map.task.index) else {
        return Ok(Reply::Done);
    };
    suspicion.healthy = suspicion.healthy.saturating_add(1);
    if suspicion.healthy < HEALTHY_PROBES_MAX {
        return Ok(Reply::Done);
    }
    let reporters = suspicion.reporters.clone();
    let readers = begin_move(suspicion);
    if reporters.len() > 1 || !has_others(context.state, map, &reporters) {
        lose_map(context, map, holder, false);
        return Ok(Reply::Done);
    }
    for (partition, number) in readers {
        move_reader(context, map.task, partition, number, holder.worker);
    }
    Ok(Reply::Done)
}

/// Whether a worker that did not complain could take the reduces.
fn has_others(state: &State, map: AttemptId, reporters: &BTreeSet<WorkerId>) -> bool {
    let Some(job) = state.job(map.job()) else {
        return false;
    };
    let mut workers = state.workers();
    workers.any(|worker| {
        worker.accepts_work() && worker.sees_paths_of(job) && !reporters.contains(&worker.id)
    })
}

/// The suspicion that a verdict is about, while a probe is due.
fn suspicion(active: &Active, map: AttemptId, holder: WorkerEpoch) -> Option<&Suspicion> {
    let round = active.round();
    if map.task.round != round.id || map.task.kind != TaskKind::Map {
        return None;
    }
    let suspicion = round.suspicions.get(&map.task.index)?;
    let same = suspicion.number == map.number && suspicion.holder == holder;
    (same && suspicion.probe_due).then_some(suspicion)
}

/// Who complained stays known: the next word of the same worker is one more
/// probe and one more move, and not a second opinion.
fn begin_move(suspicion: &mut Suspicion) -> Vec<(u32, u16)> {
    suspicion.probe_due = false;
    suspicion
        .readers
        .iter()
        .map(|(partition, number)| (*partition, *number))
        .collect()
}

fn move_reader(
    context: &mut Context<'_>,
    map: TaskId,
    partition: u32,
    number: u16,
    holder: WorkerId,
) {
    let task = TaskId {
        round: map.round,
        kind: TaskKind::Reduce,
        index: partition,
    };
    let Some(active) = context.state.active_mut(map.round.job) else {
        return;
    };
    let round = active.round_mut();
    let reader = round.reduces.live(partition).iter().copied();
    let Some(reader) = reader.into_iter().find(|live| live.number == number) else {
        return;
    };
    round.preferred.insert(partition, holder);
    let attempt = AttemptId { task, number };
    let idle = revoke(context, attempt, reader.worker);
    let lost = Lost {
        attempt,
        worker: reader.worker,
        fate: Some(Fate::Moved),
    };
    if !charge_loss(context, lost) && idle {
        context.events.push(Event::TaskIdle { task });
    }
}
