//! `FinishAttempt`: applied iff (job, round, task, attempt, worker, epoch) is a
//! live grant (S4). The first accepted outcome of a task wins (S2); whoever
//! repeats a report, or comes late, is refused and changes nothing.

use std::sync::Arc;

use vivat_shared::attempt::{
    AttemptFailure, Counters, Outcome, OutputIdentity, PartOutput, SkippedRecord,
};
use vivat_shared::cause::{FailureCause, JobFailure};
use vivat_shared::dataset::ReplicatedBlock;
use vivat_shared::ids::{AttemptId, TaskKind, WorkerEpoch};
use vivat_shared::limits::{
    OUTPUT_TAIL_BYTES_MAX, SKIPPED_BYTES_MAX, SKIPPED_RECORDS_MAX, SKIPPED_TEXT_BYTES_MAX,
};
use vivat_shared::size_code::SizeCode;
use vivat_shared::timeline::AttemptEnd;

use super::Context;
use super::append_blocks::known_holders;
use super::effects::{
    LogOf, Lost, accept, charge_loss, end_job, end_work, fail_job, input_of, keep_log, release,
};
use super::finish_close::{Verdict, check_blocks, finish_close};
use super::finish_notice::finish_notice;
use crate::command::{Event, Rejection, Reply};
use crate::limits::SEGMENTS_MAX;
use crate::state::{Fate, Job, JobEnd, Phase, Plan, PlanDraft, State};

pub(super) fn apply(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    outcome: &Outcome,
) -> Result<Reply, Rejection> {
    if context.state.is_telling(attempt, worker) {
        return Ok(finish_notice(context, attempt, worker, outcome));
    }
    context.state.check_live(attempt, worker)?;
    keep_log_of(context, attempt, worker, outcome);
    // An outcome that contradicts its task is a defect of the worker: it costs
    // the attempt, because nothing else would ever end it.
    if let Err(cause) = take(context, attempt, worker, outcome) {
        let failure = AttemptFailure {
            log: None,
            cause,
            input: None,
            output_tail: String::new(),
        };
        fail(context, attempt, worker, &failure);
    }
    Ok(Reply::Done)
}

fn take(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    outcome: &Outcome,
) -> Result<(), FailureCause> {
    match outcome {
        Outcome::Planned {
            chunks,
            files,
            splits,
            crc32c,
            replaces,
        } => {
            let seal = Seal {
                chunks: *chunks,
                files: *files,
                splits: *splits,
                crc32c: *crc32c,
            };
            finish_plan(context, attempt, worker, seal, replaces.as_ref())
        }
        Outcome::Mapped {
            segments,
            counters,
            skipped,
            log: _,
        } => finish_map(context, attempt, worker, segments, counters)
            .map(|()| note_skipped(context, attempt, skipped)),
        Outcome::Reduced {
            output,
            blocks,
            counters,
            skipped,
            log: _,
        } => check_part(context.state, attempt, output, blocks).map(|()| {
            finish_reduce(context, attempt, worker, *output, blocks, counters);
            note_skipped(context, attempt, skipped);
            end_whole_work(context, attempt);
        }),
        Outcome::Closed {
            broadcast,
            metrics,
            again,
        } => {
            let verdict = Verdict {
                broadcast,
                metrics,
                again: *again,
            };
            finish_close(context, attempt, worker, verdict)
        }
        Outcome::Committed => finish_commit(context, attempt, worker),
        Outcome::Notified => Err(contradiction("nobody was to be told")),
        Outcome::Failed(failure) => {
            fail(context, attempt, worker, failure);
            Ok(())
        }
        Outcome::Killed => {
            stop(context, attempt, worker);
            Ok(())
        }
        Outcome::HandedBack => {
            take_back(context, attempt, worker);
            Ok(())
        }
    }
}

/// What an attempt wrote stays readable when its worker is gone.
fn keep_log_of(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    outcome: &Outcome,
) {
    let of = match outcome {
        Outcome::Mapped { log, .. } | Outcome::Reduced { log, .. } => LogOf {
            end: AttemptEnd::Accepted,
            problem: "",
            tail: "",
            log: log.as_ref(),
        },
        Outcome::Failed(failure) => LogOf {
            end: AttemptEnd::Failed,
            problem: &failure.cause.to_string(),
            tail: tail(&failure.output_tail),
            log: failure.log.as_ref(),
        },
        Outcome::Planned { .. }
        | Outcome::Closed { .. }
        | Outcome::Committed
        | Outcome::Notified
        | Outcome::Killed
        | Outcome::HandedBack => return,
    };
    keep_log(context, attempt, worker, &of);
}

pub(super) fn contradiction(detail: &str) -> FailureCause {
    FailureCause::Internal {
        detail: detail.to_owned(),
    }
}

pub(super) fn expect_kind(attempt: AttemptId, kind: TaskKind) -> Result<(), FailureCause> {
    if attempt.task.kind == kind {
        return Ok(());
    }
    Err(contradiction("the outcome is one of another kind of task"))
}

/// What the sealing entry says of the chunks.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seal {
    chunks: u32,
    files: u32,
    splits: u32,
    crc32c: u32,
}

impl Seal {
    fn of(draft: &PlanDraft) -> Self {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        Self {
            chunks: count(draft.chunks.len()),
            files: count(draft.files.len()),
            splits: count(draft.splits.len()),
            crc32c: draft.crc32c,
        }
    }
}

fn finish_plan(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    seal: Seal,
    replaces: Option<&OutputIdentity>,
) -> Result<(), FailureCause> {
    expect_kind(attempt, TaskKind::Plan)?;
    let age_ms = context.state.age_ms;
    let Some(active) = context.state.active_mut(attempt.job()) else {
        return Ok(());
    };
    let round = active.round_mut();
    let segments = u64::from(seal.splits) * u64::from(round.reducers);
    if segments > SEGMENTS_MAX {
        let detail = format!(
            "{} splits for {} reducers make more than {SEGMENTS_MAX} segments",
            seal.splits, round.reducers
        );
        return Err(FailureCause::PlanTooLarge { detail });
    }
    let mut draft = round.drafts.remove(&attempt.number).unwrap_or_default();
    if Seal::of(&draft) != seal {
        return Err(contradiction("the plan's seal does not fit its chunks"));
    }
    draft.splits.shrink_to_fit();
    let input_bytes = draft.input_bytes;
    round.start(Arc::new(Plan {
        files: draft.files,
        splits: draft.splits,
        input_bytes,
    }));
    active.phase = Phase::Work;
    active.local_age_ms = age_ms;
    // The first plan speaks for the job: of what it reads, and of what stood where
    // its output goes.
    if attempt.task.round.step == 0 {
        active.replaces = replaces.cloned();
        if let Some(job) = context.state.job_mut(attempt.job()) {
            job.input_bytes = input_bytes;
        }
    }
    accept(context, attempt, worker, &Counters::new());
    let job = attempt.job();
    context.events.push(Event::JobChanged { job });
    Ok(())
}

fn finish_map(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    segments: &[SizeCode],
    counters: &Counters,
) -> Result<(), FailureCause> {
    expect_kind(attempt, TaskKind::Map)?;
    let Some(active) = context.state.active_mut(attempt.job()) else {
        return Ok(());
    };
    let round = active.round_mut();
    if segments.len() != round.reducers as usize {
        return Err(contradiction("a map needs one segment for each partition"));
    }
    round.set_sizes(attempt.task.index, segments);
    accept(context, attempt, worker, counters);
    context.events.push(Event::SegmentsLocated {
        map: attempt,
        holder: worker,
    });
    Ok(())
}

fn finish_reduce(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    part: PartOutput,
    blocks: &[ReplicatedBlock],
    counters: &Counters,
) {
    accept(context, attempt, worker, counters);
    let partition = attempt.task.index;
    let blocks: Vec<ReplicatedBlock> = blocks
        .iter()
        .map(|block| known_holders(context.state, block))
        .collect();
    let count = blocks.len() as u64;
    let Some(active) = context.state.active_mut(attempt.job()) else {
        return;
    };
    let dataset = active.output.as_mut().map(|output| {
        output.parts.insert(partition, blocks);
        output.dataset
    });
    let round = active.round_mut();
    round.outputs[partition as usize] = part;
    round.preferred.remove(&partition);
    for suspicion in round.suspicions.values_mut() {
        suspicion.readers.remove(&partition);
    }
    round
        .suspicions
        .retain(|_, suspicion| !suspicion.readers.is_empty());
    if let Some(output) = dataset {
        context.state.directory.change_output(output, count, 0);
    }
}

/// What comes after the last partition comes with it. Left to an entry that comes
/// later, or never: mistake 12.
fn end_whole_work(context: &mut Context<'_>, attempt: AttemptId) {
    let active = context.state.job(attempt.job()).and_then(Job::active);
    let whole = active.is_some_and(|active| active.round().reduces.all_completed());
    if whole && !cfg!(vivat_seeded_bug = "second-entry") {
        end_work(context, attempt.job());
    }
}

/// Remembers the first records that were skipped. A job that skipped more than it
/// may fails.
fn note_skipped(context: &mut Context<'_>, attempt: AttemptId, skipped: &[SkippedRecord]) {
    let Some(job) = context.state.job_mut(attempt.job()) else {
        return;
    };
    for record in skipped {
        if job.skipped.len() >= SKIPPED_RECORDS_MAX {
            break;
        }
        let record = bounded(record);
        // A rerun and the next round step over the same ones.
        if !job.skipped.contains(&record) {
            job.skipped.push(record);
        }
    }
    let (skipped, skipped_max) = (job.skipped_records, job.spec.skipped_max);
    if skipped > skipped_max {
        let cause = FailureCause::TooManySkipped {
            skipped,
            skipped_max,
        };
        fail_job(context, attempt.job(), cause);
    }
}

fn bounded(record: &SkippedRecord) -> SkippedRecord {
    let text = |text: &String| {
        let end = text.floor_char_boundary(SKIPPED_TEXT_BYTES_MAX);
        text[..end].to_owned()
    };
    let bytes = record.bytes.len().min(SKIPPED_BYTES_MAX);
    SkippedRecord {
        display: text(&record.display),
        offset: record.offset,
        bytes: record.bytes[..bytes].to_vec(),
        problem: text(&record.problem),
    }
}

/// Whether a part's blocks are what the attempt may have written, and somebody
/// has each of them.
fn check_part(
    state: &State,
    attempt: AttemptId,
    part: &PartOutput,
    blocks: &[ReplicatedBlock],
) -> Result<(), FailureCause> {
    expect_kind(attempt, TaskKind::Reduce)?;
    let output = state
        .job(attempt.job())
        .and_then(Job::active)
        .and_then(|active| active.output.as_ref());
    let Some(output) = output else {
        return if blocks.is_empty() {
            Ok(())
        } else {
            Err(contradiction("blocks of an output that is no dataset"))
        };
    };
    let AttemptId { task, .. } = attempt;
    let bytes = check_blocks(state, output.dataset, task.index, attempt, blocks)?;
    if bytes == part.bytes {
        return Ok(());
    }
    Err(contradiction("the blocks of a part are not the part"))
}

/// The later entry of mistake 12.
#[cfg(vivat_seeded_bug = "second-entry")]
pub(super) fn begin_due_commits(context: &mut Context<'_>) {
    let jobs: Vec<_> = context.state.active.iter().copied().collect();
    for job in jobs {
        let active = context.state.job(job).and_then(Job::active);
        let due = active.is_some_and(|active| {
            let round = active.round();
            active.phase == Phase::Work && round.reduces.all_completed()
        });
        if due {
            end_work(context, job);
        }
    }
}

fn finish_commit(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
) -> Result<(), FailureCause> {
    expect_kind(attempt, TaskKind::Commit)?;
    accept(context, attempt, worker, &Counters::new());
    end_job(context, attempt.job(), JobEnd::Succeeded);
    Ok(())
}

fn fail(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    failure: &AttemptFailure,
) {
    let idle = release(context.state, attempt, worker, Some(AttemptEnd::Failed));
    context.events.push(Event::AttemptFinished {
        attempt,
        worker,
        accepted: false,
    });
    let Some(job) = context.state.job_mut(attempt.job()) else {
        return;
    };
    job.counts.failed += 1;
    let attempts_max = job.spec.attempts_max;
    let AttemptId { task, number } = attempt;
    let failures = job
        .active_mut()
        .and_then(|active| active.table_mut(task))
        .map_or(0, |table| {
            table.suffer(task.index, number, worker.worker, Fate::Failed)
        });
    if failure.cause.is_final() || failures >= attempts_max {
        let failure = JobFailure {
            cause: failure.cause.clone(),
            attempt: Some(attempt),
            worker: Some(worker.worker),
            input: failure
                .input
                .clone()
                .or_else(|| input_of(context.state, task)),
            failures: u32::from(failures),
            output_tail: tail(&failure.output_tail).to_owned(),
        };
        end_job(context, task.round.job, JobEnd::Failed(Box::new(failure)));
    } else if idle {
        context.events.push(Event::TaskIdle { task });
    }
}

/// The longest end of a text that is kept.
fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(OUTPUT_TAIL_BYTES_MAX);
    &text[text.ceil_char_boundary(start)..]
}

/// Ends an attempt without a result and without blame. Returns whether its task
/// is idle now.
fn give_up(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    end: Option<AttemptEnd>,
) -> bool {
    let idle = release(context.state, attempt, worker, end);
    context.events.push(Event::AttemptFinished {
        attempt,
        worker,
        accepted: false,
    });
    idle
}

/// Handed back before it began: nothing was done, so it does not count as
/// started, and nothing is charged, or a drain or an idle worker would fail
/// jobs. What bounds it is the attempt's number: a task without another one
/// could never be granted again (L1).
fn take_back(context: &mut Context<'_>, attempt: AttemptId, worker: WorkerEpoch) {
    let idle = give_up(context, attempt, worker, None);
    let AttemptId { task, number } = attempt;
    if let Some(job) = context.state.job_mut(attempt.job()) {
        let table = job.active().and_then(|active| active.table(task));
        // While a backup of it is left, the rerun goes on.
        let rerun = idle && table.is_some_and(|table| table.was_completed(task.index));
        job.counts.started -= 1;
        let reruns = &mut job.counts.reruns_of_completed;
        *reruns = reruns.saturating_sub(u64::from(rerun));
    }
    if number == u16::MAX {
        let failure = JobFailure {
            cause: contradiction("handed back until the numbers of its attempts were used up"),
            attempt: Some(attempt),
            worker: Some(worker.worker),
            input: input_of(context.state, task),
            failures: 0,
            output_tail: String::new(),
        };
        end_job(context, task.round.job, JobEnd::Failed(Box::new(failure)));
    } else if idle {
        context.events.push(Event::TaskIdle { task });
    }
}

/// Stopped while it ran: costs no retry, but is bounded like a loss.
fn stop(context: &mut Context<'_>, attempt: AttemptId, worker: WorkerEpoch) {
    let idle = give_up(context, attempt, worker, Some(AttemptEnd::Killed));
    if let Some(job) = context.state.job_mut(attempt.job()) {
        job.counts.killed += 1;
    }
    let lost = Lost {
        attempt,
        worker,
        fate: None,
    };
    if !charge_loss(context, lost) && idle {
        let task = attempt.task;
        context.events.push(Event::TaskIdle { task });
    }
}
