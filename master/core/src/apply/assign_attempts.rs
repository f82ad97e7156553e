//! `AssignAttempts`: each grant is verified on its own, so a scheduler that saw
//! an older state wastes a proposal and breaks nothing (mistake 8). A backup is a
//! second attempt of a running map or reduce, and is verified to be one: the first
//! accepted outcome wins (S2), and the other attempt is revoked with it.

use vivat_shared::ids::{AttemptId, TaskId, TaskKind};

use super::Context;
use crate::command::{Event, Grant, Rejection, Reply};
use crate::scheduler;
use crate::state::{Job, State, TaskState, TaskTable, Worker};

pub(super) fn apply(
    context: &mut Context<'_>,
    term: u64,
    grants: &[Grant],
) -> Result<Reply, Rejection> {
    context.state.check_term(term)?;
    #[cfg(vivat_seeded_bug = "second-entry")]
    super::finish_attempt::begin_due_commits(context);
    let answers = grants.iter().map(|grant| assign(context, *grant)).collect();
    Ok(Reply::Assigned(answers))
}

fn assign(context: &mut Context<'_>, grant: Grant) -> Result<AttemptId, Rejection> {
    let Grant {
        task,
        worker,
        backup,
    } = grant;
    if task.kind == TaskKind::Notify {
        return assign_notice(context, grant);
    }
    verify(context.state, grant)?;
    let (now_ms, age_ms) = (context.state.now_ms, context.state.age_ms);
    let id = task.round.job;
    let local = is_local(context.state, grant);
    let job = context.state.job_mut(id).ok_or(Rejection::UnknownJob(id))?;
    let at_ms = job.since_submission_ms(age_ms);
    let active = job.active_mut().ok_or(Rejection::JobEnded(id))?;
    let table = active
        .table_mut(task)
        .ok_or(Rejection::NotGrantable(task))?;
    // A backup of a rerun is not another rerun.
    let rerun = table.was_completed(task.index) && !backup;
    let number = if backup {
        table.grant_backup(task.index, worker, at_ms)
    } else {
        table.grant(task.index, worker, at_ms)
    };
    let number = number.ok_or(Rejection::NotGrantable(task))?;
    active.running += 1;
    if local && !backup {
        active.local_age_ms = age_ms;
    }
    job.counts.started += 1;
    job.counts.reruns_of_completed += u64::from(rerun);
    let starts = job.started_at_ms.is_none();
    // A clock that went back must not show a start before the submission.
    let start_ms = now_ms.max(job.submitted_at_ms);
    job.started_at_ms.get_or_insert(start_ms);
    let attempt = AttemptId { task, number };
    if let Some(holder) = context.state.worker_mut(worker.worker) {
        holder.running.insert(attempt);
    }
    if starts {
        context.events.push(Event::JobChanged { job: id });
    }
    let granted = Event::AttemptGranted { attempt, worker };
    context.events.push(granted);
    Ok(attempt)
}

/// A try to tell of a job's end; jobs' own attempts are not counted with it.
fn assign_notice(context: &mut Context<'_>, grant: Grant) -> Result<AttemptId, Rejection> {
    let Grant { task, worker, .. } = grant;
    let id = task.round.job;
    let (state, age_ms) = (&*context.state, context.state.age_ms);
    let holder = state.check_worker(worker)?;
    let job = state.job(id).ok_or(Rejection::UnknownJob(id))?;
    let due = job
        .notice
        .as_ref()
        .is_some_and(|notice| notice.task(id) == task && notice.is_due(age_ms));
    let takes = holder.held() < holder.held_max()
        && is_control_free(task, holder)
        && holder.may_tell_of(job)
        && holder.accepts_work();
    if grant.backup || !due || !takes {
        return Err(Rejection::NotGrantable(task));
    }
    let notice = context
        .state
        .job_mut(id)
        .and_then(|job| job.notice.as_mut());
    let number = notice.and_then(|notice| notice.grant(worker));
    let number = number.ok_or(Rejection::NotGrantable(task))?;
    let attempt = AttemptId { task, number };
    if let Some(holder) = context.state.worker_mut(worker.worker) {
        holder.running.insert(attempt);
    }
    let granted = Event::AttemptGranted { attempt, worker };
    context.events.push(granted);
    Ok(attempt)
}

/// Whether a map goes to a worker that has its block.
fn is_local(state: &State, grant: Grant) -> bool {
    let TaskId { round, kind, index } = grant.task;
    kind == TaskKind::Map
        && state
            .job(round.job)
            .is_some_and(|job| scheduler::holders(state, job, index).contains(&grant.worker.worker))
}

fn verify(state: &State, grant: Grant) -> Result<(), Rejection> {
    let Grant { task, worker, .. } = grant;
    let holder = state.check_worker(worker)?;
    let id = task.round.job;
    let job = state.job(id).ok_or(Rejection::UnknownJob(id))?;
    let active = job.active().ok_or(Rejection::JobEnded(id))?;
    let takes = |table: &TaskTable| {
        if grant.backup {
            may_have_backup(job, table, grant)
        } else {
            is_grantable(table.state(task.index))
        }
    };
    let idle = active.wants(task.kind) && active.table(task).is_some_and(takes);
    let fetchable = task.kind != TaskKind::Reduce || active.round().may_fetch();
    if !idle || !fetchable || !may_hold(job, task, holder) {
        return Err(Rejection::NotGrantable(task));
    }
    let held_max = holder.held_max();
    if holder.held() >= held_max {
        return Err(Rejection::Limit {
            limit: format!("{held_max} attempts of {}", holder.id),
        });
    }
    Ok(())
}

/// Whether a task wants an attempt. Without the look at it a batch that is
/// proposed twice grants everything twice: mistake 8.
fn is_grantable(state: Option<TaskState>) -> bool {
    state == Some(TaskState::Idle) || cfg!(vivat_seeded_bug = "unverified-grant")
}

/// Whether a second attempt is allowed, and there is exactly one, elsewhere.
fn may_have_backup(job: &Job, table: &TaskTable, grant: Grant) -> bool {
    let Grant { task, worker, .. } = grant;
    job.spec.speculation && !task.kind.is_control() && table.takes_backup(task.index, worker)
}

/// Whether the worker takes new work, and sees the job's paths.
fn may_hold(job: &Job, task: TaskId, worker: &Worker) -> bool {
    is_control_free(task, worker) && worker.sees_paths_of(job) && worker.accepts_work()
}

/// Whether the worker has no other control task.
fn is_control_free(task: TaskId, worker: &Worker) -> bool {
    let mut running = worker.running.iter();
    !task.kind.is_control() || !running.any(|attempt| attempt.task.kind.is_control())
}
