//! `AppendBlocks`: acknowledged blocks of an open dataset. A repeated call finds
//! what it brought before and adds the holders that are new.

use std::collections::BTreeSet;

use vivat_shared::dataset::{BlockSummary, ReplicatedBlock};
use vivat_shared::ids::{DatasetId, WorkerId};
use vivat_shared::limits::{BLOCKS_APPENDED_MAX, BLOCKS_MAX, REPLICAS_MAX};

use super::Context;
use crate::command::{Event, Rejection, Reply};
use crate::limits::BLOCK_BYTES_MAX;
use crate::state::{BlockTable, Dataset, State};

pub(super) fn apply(
    context: &mut Context<'_>,
    dataset: DatasetId,
    first: u32,
    blocks: &[ReplicatedBlock],
) -> Result<Reply, Rejection> {
    let state = &mut *context.state;
    let known = open_dataset(state, dataset)?;
    check(state, known, first, blocks)?;
    let present: Vec<ReplicatedBlock> = blocks
        .iter()
        .map(|block| known_holders(state, block))
        .collect();
    let count = state.directory.update(dataset, |known| {
        for (position, block) in (first..).zip(&present) {
            if position >= known.blocks.len() {
                known.blocks.push(block);
                continue;
            }
            for worker in &block.workers {
                known.blocks.add_holder(position, *worker);
            }
        }
        known.blocks.len()
    });
    context.events.push(Event::DatasetChanged { dataset });
    Ok(Reply::Dataset {
        dataset,
        sealed: false,
        blocks: count.unwrap_or(0),
    })
}

/// A dataset that can be written to.
pub(super) fn open_dataset(state: &State, dataset: DatasetId) -> Result<&Dataset, Rejection> {
    let known = state
        .directory
        .get(dataset)
        .ok_or(Rejection::UnknownDataset(dataset))?;
    if known.sealed.is_some() {
        return Err(invalid(dataset, "it is sealed"));
    }
    Ok(known)
}

pub(super) fn invalid(dataset: DatasetId, problem: impl Into<String>) -> Rejection {
    Rejection::InvalidBlocks {
        dataset,
        problem: problem.into(),
    }
}

fn check(
    state: &State,
    known: &Dataset,
    first: u32,
    blocks: &[ReplicatedBlock],
) -> Result<(), Rejection> {
    let dataset = known.id;
    let there = known.blocks.len();
    if blocks.len() > BLOCKS_APPENDED_MAX {
        let problem = format!("{} blocks at once, of {BLOCKS_APPENDED_MAX}", blocks.len());
        return Err(invalid(dataset, problem));
    }
    if first > there {
        let problem = format!("block {first} comes after block {there}, which is not there");
        return Err(invalid(dataset, problem));
    }
    let new = (u64::from(first) + blocks.len() as u64).saturating_sub(u64::from(there));
    if u64::from(there) + new > u64::from(BLOCKS_MAX) {
        return Err(Rejection::Limit {
            limit: format!("{BLOCKS_MAX} blocks of one dataset"),
        });
    }
    state.directory.check_blocks(new)?;
    for (position, block) in (first..).zip(blocks) {
        check_block(state, &known.blocks, dataset, position, block)?;
    }
    Ok(())
}

fn check_block(
    state: &State,
    table: &BlockTable,
    dataset: DatasetId,
    position: u32,
    block: &ReplicatedBlock,
) -> Result<(), Rejection> {
    let BlockSummary { id, bytes, .. } = block.summary;
    // A block that is put has its position for a number: it never has another's.
    if id.dataset != dataset || id.index != u64::from(position) {
        return Err(invalid(dataset, format!("{id} at position {position}")));
    }
    if bytes == 0 || bytes > BLOCK_BYTES_MAX {
        return Err(invalid(dataset, format!("{id} has {bytes} bytes")));
    }
    if table
        .summary(dataset, position)
        .is_some_and(|there| there != block.summary)
    {
        return Err(invalid(dataset, format!("{id} is there with other bytes")));
    }
    check_holders(state, dataset, block)
}

/// S6: nothing is present without a holder.
pub(super) fn check_holders(
    state: &State,
    dataset: DatasetId,
    block: &ReplicatedBlock,
) -> Result<(), Rejection> {
    let id = block.summary.id;
    if block.workers.len() > usize::from(REPLICAS_MAX) {
        return Err(invalid(dataset, format!("{id} has too many holders")));
    }
    if block
        .workers
        .iter()
        .any(|worker| state.worker(*worker).is_some())
    {
        return Ok(());
    }
    Err(invalid(
        dataset,
        format!("{id} has no holder that is known"),
    ))
}

/// A block with its holders in order, each once, without those that are forgotten.
pub(super) fn known_holders(state: &State, block: &ReplicatedBlock) -> ReplicatedBlock {
    let is_known = |worker: &WorkerId| state.worker(*worker).is_some();
    let known: BTreeSet<WorkerId> = block.workers.iter().copied().filter(is_known).collect();
    ReplicatedBlock {
        summary: block.summary,
        workers: known.into_iter().collect(),
    }
}
