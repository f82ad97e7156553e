//! What attempts wrote to their standard error becomes blocks of a dataset of their
//! job's own, which goes when the job is forgotten.

use std::collections::BTreeSet;

use vivat_shared::dataset::{REPLICAS_DEFAULT, ReplicatedBlock};
use vivat_shared::ids::{AttemptId, JobId, WorkerEpoch};
use vivat_shared::limits::{LOG_BLOCKS_MAX, LOG_BYTES_MAX, REPLICAS_MAX};
use vivat_shared::logs::{AttemptLog, log_block, log_dataset};
use vivat_shared::timeline::AttemptEnd;

use super::output::owned;
use crate::apply::Context;
use crate::apply::append_blocks::known_holders;
use crate::command::Event;
use crate::limits::LOG_PROBLEM_BYTES_MAX;
use crate::state::{BlockTable, LogRow, State};

/// How an attempt ended, as far as its log is concerned.
pub(in crate::apply) struct LogOf<'a> {
    pub end: AttemptEnd,
    /// Why it failed; empty unless it did.
    pub problem: &'a str,
    pub tail: &'a str,
    pub log: Option<&'a AttemptLog>,
}

/// Keeps the log of an attempt whose outcome was taken, if there is room for it. A
/// log that is not what it should be costs nothing but the log.
pub(in crate::apply) fn keep_log(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    of: &LogOf<'_>,
) {
    if of.end != AttemptEnd::Failed && of.log.is_none() {
        return;
    }
    let job = attempt.job();
    let now_ms = context.state.now_ms;
    let room = |state: &State| state.job(job).map(|job| job.logs.has_room(of.end));
    if room(context.state) != Some(true) {
        return;
    }
    let blocks = of.log.map_or(0, |log| store(context, attempt, log));
    let problem = &of.problem[..of.problem.floor_char_boundary(LOG_PROBLEM_BYTES_MAX)];
    let row = LogRow {
        attempt,
        worker: worker.worker,
        at_ms: now_ms,
        end: of.end,
        bytes: of.log.map_or(0, |log| log.bytes),
        truncated: of.log.is_some_and(|log| log.truncated || blocks == 0),
        blocks,
        problem: problem.to_owned(),
        tail: of.tail.to_owned(),
    };
    if let Some(job) = context.state.job_mut(job) {
        job.logs.push(row);
    }
}

/// Makes the blocks those of the job's logs. Returns how many.
fn store(context: &mut Context<'_>, attempt: AttemptId, log: &AttemptLog) -> u16 {
    let job = attempt.job();
    let dataset = log_dataset(job);
    if !are_its(context.state, attempt, &log.blocks) {
        return 0;
    }
    let known = context.state.directory.get(dataset);
    let is_new = known.is_none();
    if is_new && context.state.directory.check_datasets().is_err() {
        return 0;
    }
    let blocks: Vec<ReplicatedBlock> = log
        .blocks
        .iter()
        .map(|block| known_holders(context.state, block))
        .collect();
    if is_new {
        let empty = BlockTable::default();
        let mut made = owned(context.state, job, dataset, empty, REPLICAS_DEFAULT);
        made.readers = BTreeSet::from([job]);
        context.state.directory.insert(made);
        if let Some(job) = context.state.job_mut(job) {
            job.logs.stored = true;
        }
    }
    context.state.directory.update(dataset, |known| {
        for block in &blocks {
            known.blocks.insert(block);
        }
        known.resize();
    });
    context.events.push(Event::DatasetChanged { dataset });
    u16::try_from(blocks.len()).unwrap_or(0)
}

/// Whether blocks are what the attempt may have written, are new, and somebody has
/// each of them.
fn are_its(state: &State, attempt: AttemptId, blocks: &[ReplicatedBlock]) -> bool {
    let bytes = blocks
        .iter()
        .map(|block| block.summary.bytes)
        .fold(0, u64::saturating_add);
    let known = state.directory.get(log_dataset(attempt.job()));
    let is_its = |(number, block): (u16, &ReplicatedBlock)| {
        let id = log_block(attempt, number);
        let held = block
            .workers
            .iter()
            .any(|worker| state.is_registered(*worker));
        block.summary.id == id
            && block.summary.bytes > 0
            && block.workers.len() <= usize::from(REPLICAS_MAX)
            && held
            && known.is_none_or(|known| known.blocks.position(id.index).is_none())
    };
    !blocks.is_empty()
        && blocks.len() <= LOG_BLOCKS_MAX
        && bytes <= LOG_BYTES_MAX
        && (0..).zip(blocks).all(is_its)
        && state.directory.check_blocks(blocks.len() as u64).is_ok()
}

/// The job is forgotten: nobody reads its logs any more, nor what it kept.
pub(in crate::apply) fn forget_kept(context: &mut Context<'_>, id: JobId) {
    let kept = context.state.job(id).map(crate::state::Job::reads);
    for dataset in kept.into_iter().flatten() {
        super::let_go(context, id, dataset);
    }
}
