//! `AddReplicas` and `DropReplicas`: who has which block. Believed of a worker
//! under its present registration alone.

use std::collections::{BTreeMap, BTreeSet};

use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::{BlockId, DatasetId, JobId, WorkerEpoch, WorkerId};

use super::Context;
use super::effects::lose_outputs;
use crate::command::{Event, Rejection, Reply};
use crate::query;
use crate::state::{DatasetOutput, State};

pub(super) fn add(
    context: &mut Context<'_>,
    worker: WorkerEpoch,
    blocks: &[BlockSummary],
) -> Result<Reply, Rejection> {
    // What a former life of the worker had may be gone with its disk: mistake 19.
    if !cfg!(vivat_seeded_bug = "stale-replicas") {
        context.state.check_worker(worker)?;
    }
    let mut wanted: BTreeMap<DatasetId, Vec<u32>> = BTreeMap::new();
    for block in blocks {
        if let Some(position) = position_of(context.state, block) {
            let positions = wanted.entry(block.id.dataset).or_default();
            positions.push(position);
        }
    }
    for (dataset, positions) in wanted {
        let changed = context.state.directory.update(dataset, |known| {
            let add = |position| known.blocks.add_holder(position, worker.worker);
            positions
                .into_iter()
                .map(add)
                .filter(|added| *added)
                .count()
        });
        if changed.is_some_and(|changed| changed > 0) {
            context.events.push(Event::DatasetChanged { dataset });
        }
    }
    Ok(Reply::Done)
}

/// Where a block stands, if it has these bytes in the directory.
fn position_of(state: &State, block: &BlockSummary) -> Option<u32> {
    let known = state.directory.get(block.id.dataset)?;
    let position = known.blocks.position(block.id.index)?;
    (known.blocks.summary(known.id, position) == Some(*block)).then_some(position)
}

pub(super) fn drop(
    context: &mut Context<'_>,
    worker: WorkerEpoch,
    blocks: &[BlockId],
    surplus: bool,
) -> Result<Reply, Rejection> {
    context.state.check_worker(worker)?;
    let mut changed: BTreeSet<DatasetId> = BTreeSet::new();
    let mut outputs: BTreeMap<JobId, BTreeSet<u32>> = BTreeMap::new();
    for block in blocks {
        if surplus && !may_go(context.state, *block, worker.worker) {
            continue;
        }
        if drop_one(context.state, *block, worker.worker) {
            changed.insert(block.dataset);
        } else if !surplus {
            let of_output = drop_of_output(context.state, *block, worker.worker);
            if let Some((job, part)) = of_output {
                outputs.entry(job).or_default().insert(part);
            }
        }
    }
    for dataset in changed {
        context.events.push(Event::DatasetChanged { dataset });
    }
    for (job, parts) in outputs {
        lose_outputs(context, job, worker, Some(&parts));
    }
    Ok(Reply::Done)
}

/// Whether enough other copies last. Without the look at them two holders of three
/// go at once, each because of the other: mistake 19.
fn may_go(state: &State, block: BlockId, worker: WorkerId) -> bool {
    query::is_surplus(state, block, worker) || cfg!(vivat_seeded_bug = "unverified-surplus")
}

fn drop_one(state: &mut State, block: BlockId, worker: WorkerId) -> bool {
    let dropped = state.directory.update(block.dataset, |known| {
        let position = known.blocks.position(block.index);
        position.is_some_and(|at| known.blocks.drop_holder(at, worker))
    });
    dropped == Some(true)
}

/// A block of an output that is not visible yet: its job and partition.
fn drop_of_output(state: &mut State, block: BlockId, worker: WorkerId) -> Option<(JobId, u32)> {
    let job = state.directory.writer(block.dataset)?;
    let output = state.active_mut(job)?.output.as_mut()?;
    output.drop_holder(block, worker);
    Some((job, DatasetOutput::part_of(block)?))
}
