//! Tries to tell of a job's end.

use vivat_shared::ids::{AttemptId, JobId, WorkerEpoch};

use crate::apply::Context;
use crate::command::Event;
use crate::limits::REASON_BYTES_MAX;
use crate::state::{Notice, NoticeStage, State};

/// A job has ended: from now on somebody is to be told, if anybody.
pub(super) fn owe(state: &mut State, id: JobId) {
    let age_ms = state.age_ms;
    let Some(job) = state.job_mut(id) else {
        return;
    };
    let ending = job.endings;
    job.endings = job.endings.saturating_add(1);
    if job.spec.notify.is_some() {
        job.notice = Some(Notice::new(ending, age_ms));
    }
}

/// Nobody is told of an end that is taken back.
pub(in crate::apply) fn drop_notice(context: &mut Context<'_>, id: JobId) {
    let live = context
        .state
        .job(id)
        .and_then(|job| job.notice.as_ref()?.live(id));
    if let Some((attempt, worker)) = live {
        context.state.unlink(attempt, worker);
        let revoked = Event::AttemptRevoked { attempt, worker };
        context.events.push(revoked);
    }
    if let Some(job) = context.state.job_mut(id) {
        job.notice = None;
    }
}

/// How a try ended.
pub(in crate::apply) enum Told {
    /// Somebody took it.
    Delivered,
    /// Nobody did; why.
    Missed(String),
    /// It was not tried.
    HandedBack,
}

/// Ends the try that is under way.
pub(in crate::apply) fn end_try(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    told: Told,
) {
    let age_ms = context.state.age_ms;
    context.state.unlink(attempt, worker);
    let job = attempt.job();
    let notice = context
        .state
        .job_mut(job)
        .and_then(|job| job.notice.as_mut());
    let Some(notice) = notice else {
        return;
    };
    match told {
        Told::Delivered => {
            notice.running = None;
            notice.tries += 1;
            notice.stage = NoticeStage::Delivered;
        }
        Told::Missed(problem) => {
            let end = problem.floor_char_boundary(REASON_BYTES_MAX);
            notice.miss(problem[..end].to_owned(), age_ms);
        }
        Told::HandedBack if notice.granted == u16::MAX => notice.miss(String::new(), age_ms),
        Told::HandedBack => notice.running = None,
    }
    context.events.push(Event::JobChanged { job });
}
