//! The end of a worker's epoch, and all that follows from it at once.

use std::collections::BTreeSet;

use vivat_shared::ids::{AttemptId, DatasetId, JobId, TaskId, TaskKind, WorkerEpoch, WorkerId};
use vivat_shared::limits::CRASHES_MAX;
use vivat_shared::timeline::AttemptEnd;

use super::{
    Lost, Told, charge_loss, crash_failure, end_job, end_try, lose_map, lose_outputs, release,
};
use crate::apply::Context;
use crate::command::Event;
use crate::limits::{REASON_BYTES_MAX, WORKERS_LOST_MAX};
use crate::state::{Fate, Job, JobEnd, Presence, State};

/// Ends a current epoch. Attempts named in `crashed` ran when the process died.
///
/// Its running tasks become idle, and so do, all at once and not one by one as
/// reducers stumble over them (F21), its completed map tasks that an unfinished
/// reduce still needs. Completed reduces stay: their output is not on the worker.
pub(in crate::apply) fn expire(
    context: &mut Context<'_>,
    worker: WorkerEpoch,
    reason: &str,
    crashed: &[AttemptId],
) {
    let reason = prefix(reason, REASON_BYTES_MAX);
    let (running, forgotten) = mark_lost(context.state, worker, &reason);
    for dataset in forgotten {
        context.events.push(Event::DatasetChanged { dataset });
    }
    context.events.push(Event::WorkerExpired { worker, reason });
    for attempt in running {
        lose_attempt(context, attempt, worker, crashed.contains(&attempt));
    }
    let jobs: Vec<JobId> = context.state.active.iter().copied().collect();
    for job in jobs {
        lose_outputs(context, job, worker, None);
        lose_segments(context, job, worker);
    }
}

/// The longest prefix of a text that fits.
fn prefix(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

/// Marks the worker lost, forgets the oldest lost one beyond the bound, and
/// returns what was granted, and the datasets of which the forgotten one had blocks.
fn mark_lost(
    state: &mut State,
    worker: WorkerEpoch,
    reason: &str,
) -> (BTreeSet<AttemptId>, Vec<DatasetId>) {
    state.last_loss += 1;
    let order = state.last_loss;
    let Some(known) = state.worker_mut(worker.worker) else {
        return (BTreeSet::new(), Vec::new());
    };
    known.presence = Presence::Lost {
        reason: reason.to_owned(),
        order,
    };
    let running = std::mem::take(&mut known.running);
    state.lost.insert(order, worker.worker);
    let mut touched = Vec::new();
    if state.lost.len() > WORKERS_LOST_MAX {
        let oldest = state.lost.pop_first().map(|(_, oldest)| oldest);
        let forgotten = oldest.and_then(|oldest| state.workers.remove(&oldest));
        if let Some(forgotten) = forgotten {
            state.uids.remove(forgotten.info.uid.as_str());
            touched = state.directory.forget_worker(forgotten.id);
            forget_outputs(state, forgotten.id);
        }
    }
    (running, touched)
}

/// Takes a forgotten worker's copies of outputs that are not visible yet. They
/// were lost with the worker: whatever had no other was done again.
fn forget_outputs(state: &mut State, worker: WorkerId) {
    let has_some = |job: &JobId| {
        let active = state.job(*job).and_then(Job::active);
        let output = active.and_then(|active| active.output.as_ref());
        output.is_some_and(|output| output.is_held_by(worker))
    };
    let jobs: Vec<JobId> = state.active.iter().copied().filter(has_some).collect();
    for job in jobs {
        if let Some(output) = state
            .active_mut(job)
            .and_then(|active| active.output.as_mut())
        {
            output.forget(worker);
        }
    }
}

fn lose_attempt(context: &mut Context<'_>, attempt: AttemptId, worker: WorkerEpoch, crashed: bool) {
    if attempt.task.kind == TaskKind::Notify {
        context
            .events
            .push(Event::AttemptRevoked { attempt, worker });
        let lost = format!("lost with {}", worker.worker);
        end_try(context, attempt, worker, Told::Missed(lost));
        return;
    }
    let live = context
        .state
        .job(attempt.job())
        .and_then(Job::active)
        .is_some_and(|active| active.is_live(attempt, worker));
    if !live {
        // Its job ended because of another attempt of this same worker.
        return;
    }
    let idle = release(context.state, attempt, worker, Some(AttemptEnd::Lost));
    if let Some(job) = context.state.job_mut(attempt.job()) {
        job.counts.lost += 1;
    }
    let revoked = Event::AttemptRevoked { attempt, worker };
    context.events.push(revoked);
    let ended = if crashed {
        charge_crash(context, attempt, worker)
    } else {
        let fate = Some(Fate::Lost);
        let lost = Lost {
            attempt,
            worker,
            fate,
        };
        charge_loss(context, lost)
    };
    if idle && !ended {
        let task = attempt.task;
        context.events.push(Event::TaskIdle { task });
    }
}

/// Counts a crash. At the bound the task is to blame and its job fails (L7);
/// true then.
fn charge_crash(context: &mut Context<'_>, attempt: AttemptId, worker: WorkerEpoch) -> bool {
    let task = attempt.task;
    let crashes = context
        .state
        .active_mut(attempt.job())
        .and_then(|active| active.table_mut(task))
        .map_or(0, |table| {
            table.suffer(task.index, attempt.number, worker.worker, Fate::Crashed)
        });
    if crashes < CRASHES_MAX {
        return false;
    }
    let failure = crash_failure(context, attempt, worker);
    end_job(context, attempt.job(), JobEnd::Failed(Box::new(failure)));
    true
}

fn lose_segments(context: &mut Context<'_>, job: JobId, worker: WorkerEpoch) {
    let Some(active) = context.state.job(job).and_then(Job::active) else {
        return;
    };
    let round = active.round();
    // Maps that stay completed without their segments: mistake 11.
    if !round.needs_segments() || cfg!(vivat_seeded_bug = "kept-maps") {
        return;
    }
    let id = round.id;
    let lost: Vec<AttemptId> = round
        .maps
        .held_by(worker)
        .into_iter()
        .filter(|&index| round.has_segments(index))
        .filter_map(|index| {
            let task = TaskId {
                round: id,
                kind: TaskKind::Map,
                index,
            };
            let number = round.maps.accepted(index)?.number;
            Some(AttemptId { task, number })
        })
        .collect();
    for map in lost {
        lose_map(context, map, worker, true);
    }
}
