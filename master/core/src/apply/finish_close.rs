//! The outcome of a close, and the parts of datasets that outcomes bring: checked
//! before anything of them is taken.

use vivat_shared::attempt::{ClosedBroadcast, Counters, Metrics};
use vivat_shared::cause::FailureCause;
use vivat_shared::dataset::{ReplicatedBlock, output_block};
use vivat_shared::ids::{AttemptId, DatasetId, TaskKind, WorkerEpoch};
use vivat_shared::limits::{
    BROADCAST_BYTES_MAX, BROADCAST_INLINE_BYTES_MAX, METRICS_MAX, NAME_BYTES_MAX,
    OUTPUT_BLOCKS_MAX, REPLICAS_MAX,
};

use super::Context;
use super::append_blocks::known_holders;
use super::effects::{accept, close_round};
use super::finish_attempt::{contradiction, expect_kind};
use crate::limits::BLOCK_BYTES_MAX;
use crate::state::{Job, State};

/// What a close said.
#[derive(Clone, Copy)]
pub(super) struct Verdict<'a> {
    pub broadcast: &'a ClosedBroadcast,
    pub metrics: &'a Metrics,
    pub again: bool,
}

pub(super) fn finish_close(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    verdict: Verdict<'_>,
) -> Result<(), FailureCause> {
    expect_kind(attempt, TaskKind::Close)?;
    check_metrics(verdict.metrics)?;
    let broadcast = match verdict.broadcast {
        ClosedBroadcast::Inline(bytes) if bytes.len() > BROADCAST_INLINE_BYTES_MAX => {
            return Err(contradiction("a broadcast too large to be inline"));
        }
        ClosedBroadcast::Inline(bytes) => ClosedBroadcast::Inline(bytes.clone()),
        ClosedBroadcast::Stored(blocks) => {
            check_stored(context.state, attempt, blocks)?;
            let known = blocks
                .iter()
                .map(|block| known_holders(context.state, block));
            ClosedBroadcast::Stored(known.collect())
        }
    };
    accept(context, attempt, worker, &Counters::new());
    let Verdict { metrics, again, .. } = verdict;
    close_round(context, attempt.job(), &broadcast, metrics, again);
    Ok(())
}

fn check_metrics(metrics: &Metrics) -> Result<(), FailureCause> {
    let fits = |name: &String| {
        (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
    };
    if metrics.len() <= METRICS_MAX && metrics.keys().all(fits) {
        return Ok(());
    }
    Err(contradiction(
        "more metrics than a round may have, or names that are none",
    ))
}

fn check_stored(
    state: &State,
    attempt: AttemptId,
    blocks: &[ReplicatedBlock],
) -> Result<(), FailureCause> {
    let active = state.job(attempt.job()).and_then(Job::active);
    let place = active.and_then(|active| Some((active.close_output?, active.round().reducers)));
    let Some((output, reducers)) = place else {
        return Err(contradiction("a broadcast that has no place"));
    };
    let bytes = check_blocks(state, output, reducers, attempt, blocks)?;
    if (1..=BROADCAST_BYTES_MAX).contains(&bytes) {
        return Ok(());
    }
    Err(contradiction("a broadcast that is empty or too large"))
}

/// Whether blocks are what an attempt may have written of a partition, and somebody
/// has each of them. Returns their bytes.
pub(super) fn check_blocks(
    state: &State,
    output: DatasetId,
    partition: u32,
    attempt: AttemptId,
    blocks: &[ReplicatedBlock],
) -> Result<u64, FailureCause> {
    let expected = |number: usize| {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        output_block(output, partition, attempt.number, number)
    };
    let in_order = blocks.iter().enumerate().all(|(number, block)| {
        let fits = (1..=BLOCK_BYTES_MAX).contains(&block.summary.bytes);
        block.summary.id == expected(number) && fits
    });
    if blocks.len() > OUTPUT_BLOCKS_MAX || !in_order {
        return Err(contradiction("the blocks of a part are not the part"));
    }
    if let Err(full) = state.directory.check_blocks(blocks.len() as u64) {
        let detail = format!("the directory is full: {full}");
        return Err(FailureCause::Storage { detail });
    }
    let is_held = |block: &ReplicatedBlock| {
        block.workers.len() <= usize::from(REPLICAS_MAX)
            && block
                .workers
                .iter()
                .any(|worker| state.is_registered(*worker))
    };
    if !blocks.iter().all(is_held) {
        return Err(FailureCause::Storage {
            detail: "every worker that a block of the output was written to is lost".to_owned(),
        });
    }
    let bytes = blocks.iter().map(|block| block.summary.bytes);
    Ok(bytes.fold(0, u64::saturating_add))
}
