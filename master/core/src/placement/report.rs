//! What a worker says that it has, against what the directory says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use vivat_shared::dataset::{BlockSummary, ReplicatedBlock};
use vivat_shared::ids::{BlockId, DatasetId, WorkerId};

use crate::query;
use crate::state::{BlockRow, BlockTable, Dataset, Job, State};

/// What follows from one page of a worker's report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The directory wants them and does not know that the worker has them.
    pub add: Vec<BlockSummary>,
    /// The directory says that the worker has them, and it has not.
    pub drop: Vec<BlockId>,
    /// Copies that nobody needs: enough others are there, their bytes are not
    /// those of the block, or no part of the dataset is made of them. They may go
    /// once the log does not say any more that the worker has them.
    pub surplus: Vec<BlockId>,
    /// Of datasets that will not come back.
    pub gone: Vec<BlockId>,
    /// Not in the directory: written and not yet recorded, or of another time.
    pub unknown: Vec<BlockId>,
}

/// Compares a page with the directory: blocks after `after`, up to the page's
/// last one, or all that follow if it is the last page.
///
/// A block that was written after the page was made and recorded before it came
/// looks as if it were missing. Nothing is lost by that: the next report adds it.
/// But a put could not be sealed, so what is still being written is not dropped.
#[must_use]
pub fn compare_report(
    state: &State,
    worker: WorkerId,
    after: Option<BlockId>,
    blocks: &[BlockSummary],
    last: bool,
) -> Report {
    let mut report = Report::default();
    for block in blocks {
        judge(state, worker, *block, &mut report);
    }
    let upper = match (last, blocks.last()) {
        (true, _) => Bound::Unbounded,
        (false, Some(block)) => Bound::Included(block.id),
        // A page without blocks that is not the last says nothing.
        (false, None) => return report,
    };
    let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
    let held: BTreeMap<BlockId, BlockSummary> =
        blocks.iter().map(|block| (block.id, *block)).collect();
    for block in listed(state, worker, (lower, upper)) {
        if held.get(&block.id) != Some(&block) {
            report.drop.push(block.id);
        }
    }
    report
}

/// Whether the directory counts on a worker's copy of a block.
#[must_use]
pub fn is_listed(state: &State, block: BlockId, worker: WorkerId) -> bool {
    if let Some(known) = state.directory().get(block.dataset) {
        return row(&known.blocks, block).is_some_and(|row| row.workers.contains(&worker));
    }
    let range = (Bound::Included(block), Bound::Included(block));
    parts(state, block.dataset).any(|part| is_in(range, part.summary.id) && has(part, worker))
}

fn judge(state: &State, worker: WorkerId, block: BlockSummary, report: &mut Report) {
    let id = block.id;
    let directory = state.directory();
    let Some(known) = directory.get(id.dataset) else {
        if state.is_gone(id.dataset) {
            report.gone.push(id);
        } else if !parts(state, id.dataset).any(|part| part.summary == block && has(part, worker)) {
            report.unknown.push(id);
        }
        return;
    };
    let position = known.blocks.position(id.index);
    let summary = position.and_then(|at| known.blocks.summary(known.id, at));
    let Some(summary) = summary else {
        // A sealed dataset gets no more blocks: an attempt wrote it that did not win.
        if known.sealed.is_some() && !state.still_grows(known.id) {
            report.surplus.push(id);
        } else {
            report.unknown.push(id);
        }
        return;
    };
    let is_whole = summary == block;
    if is_whole && !is_surplus(state, known, id, worker) {
        if !is_listed(state, id, worker) {
            report.add.push(block);
        }
    } else if is_whole || known.sealed.is_some() {
        report.surplus.push(id);
    } else {
        report.unknown.push(id);
    }
}

/// Whether enough other copies are there, on as many hosts as with this one.
fn is_surplus(state: &State, known: &Dataset, block: BlockId, worker: WorkerId) -> bool {
    if !query::is_surplus(state, block, worker) {
        return false;
    }
    let Some(row) = row(&known.blocks, block) else {
        return false;
    };
    let lasting = |id: &WorkerId| state.worker(*id).filter(|known| known.accepts_work());
    let host = |id: &WorkerId| lasting(id).map(|known| known.info.host.0.as_str());
    let others: BTreeSet<&str> = row
        .workers
        .iter()
        .filter(|holder| **holder != worker)
        .filter_map(host)
        .collect();
    let adds_host = host(&worker).is_some_and(|host| !others.contains(host));
    !adds_host || others.len() >= usize::from(known.spec.replicas)
}

/// What the directory says that a worker has, in order.
fn listed(
    state: &State,
    worker: WorkerId,
    range: (Bound<BlockId>, Bound<BlockId>),
) -> impl Iterator<Item = BlockSummary> {
    let of_datasets = state
        .directory()
        .between(datasets(range))
        .filter(move |known| known.sealed.is_some() && known.blocks.is_held_by(worker))
        .flat_map(move |known| {
            rows_in(known, range)
                .filter(move |(_, row)| row.workers.contains(&worker))
                .filter_map(|(position, _)| known.blocks.summary(known.id, position))
        });
    let of_outputs = state
        .directory()
        .outputs()
        .flat_map(|output| parts(state, output))
        .filter(move |part| has(part, worker))
        .map(|part| part.summary);
    of_datasets
        .chain(of_outputs)
        .filter(move |block| is_in(range, block.id))
}

/// The rows of a dataset from the first to the last that a range may have: a page
/// must not cost as much as the whole dataset.
fn rows_in(
    known: &Dataset,
    range: (Bound<BlockId>, Bound<BlockId>),
) -> impl Iterator<Item = (u32, &BlockRow)> {
    let rows = known.blocks.rows();
    let index_of = |bound: Bound<BlockId>| match bound {
        Bound::Included(block) | Bound::Excluded(block) => {
            (block.dataset == known.id).then_some(block.index)
        }
        Bound::Unbounded => None,
    };
    let first = index_of(range.0).map_or(0, |low| rows.partition_point(|row| row.index < low));
    let end = index_of(range.1).map_or(rows.len(), |high| {
        rows.partition_point(|row| row.index <= high)
    });
    let positions = u32::try_from(first).unwrap_or(u32::MAX)..;
    positions.zip(rows.get(first..end).unwrap_or(&[]))
}

fn datasets(range: (Bound<BlockId>, Bound<BlockId>)) -> (Bound<DatasetId>, Bound<DatasetId>) {
    // A page may begin and end in the middle of a dataset.
    let whole = |bound: Bound<BlockId>| match bound {
        Bound::Included(block) | Bound::Excluded(block) => Bound::Included(block.dataset),
        Bound::Unbounded => Bound::Unbounded,
    };
    (whole(range.0), whole(range.1))
}

fn is_in(range: (Bound<BlockId>, Bound<BlockId>), block: BlockId) -> bool {
    std::ops::RangeBounds::contains(&range, &block)
}

/// The blocks of an output that is not visible yet.
fn parts(state: &State, output: DatasetId) -> impl Iterator<Item = &ReplicatedBlock> {
    state
        .directory()
        .writer(output)
        .and_then(|job| state.job(job))
        .and_then(Job::active)
        .and_then(|active| active.output.as_ref())
        .into_iter()
        .flat_map(|output| output.parts.values().flatten())
}

fn has(part: &ReplicatedBlock, worker: WorkerId) -> bool {
    part.workers.contains(&worker)
}

fn row(blocks: &BlockTable, block: BlockId) -> Option<&BlockRow> {
    let position = blocks.position(block.index)?;
    blocks.rows().get(position as usize)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{block, dataset, drain, expire, open_dataset, run, world};
    use super::*;
    use crate::command::DataCommand;

    fn report(state: &State, worker: u32, blocks: &[BlockSummary]) -> Report {
        compare_report(state, WorkerId(worker), None, blocks, true)
    }

    #[test]
    fn copy_that_is_wanted_is_added_and_one_that_is_missing_is_dropped() {
        let mut state = world(&["a", "b", "c"]);
        let x = dataset(&mut state, "x", 2, &[&[1, 2], &[1]]);
        let y = dataset(&mut state, "y", 2, &[&[2, 3]]);
        let told = report(&state, 2, &[block(x, 1)]);
        let expected = Report {
            add: vec![block(x, 1)],
            drop: vec![block(x, 0).id, block(y, 0).id],
            ..Report::default()
        };
        assert_eq!(told, expected);
        assert_eq!(
            report(&state, 1, &[block(x, 0), block(x, 1)]),
            Report::default()
        );
    }

    #[test]
    fn page_speaks_only_of_the_blocks_between_its_ends() {
        let mut state = world(&["a"]);
        let x = dataset(&mut state, "x", 1, &[&[1], &[1], &[1], &[1]]);
        let worker = WorkerId(1);
        let first = compare_report(&state, worker, None, &[block(x, 1)], false);
        assert_eq!(first.drop, [block(x, 0).id]);
        let after = Some(block(x, 1).id);
        let middle = compare_report(&state, worker, after, &[], false);
        assert_eq!(middle, Report::default());
        let rest = compare_report(&state, worker, after, &[block(x, 2)], true);
        assert_eq!(rest.drop, [block(x, 3).id]);
        let empty = compare_report(&state, worker, after, &[], true);
        assert_eq!(empty.drop, [block(x, 2).id, block(x, 3).id]);
    }

    #[test]
    fn blocks_of_a_gone_dataset_may_go_and_those_of_an_unknown_one_stay() {
        let mut state = world(&["a"]);
        let gone = dataset(&mut state, "x", 1, &[&[1]]);
        let name = "x".to_owned();
        let remove = DataCommand::RemoveDataset {
            name,
            dataset: gone,
            when_unread: false,
        };
        run(&mut state, remove.into());
        let open = open_dataset(&mut state, "y", 1, &[&[1]]);
        let foreign = DatasetId(99);
        let blocks = [
            block(gone, 0),
            block(open, 0),
            block(open, 1),
            block(foreign, 0),
        ];
        let expected = Report {
            gone: vec![block(gone, 0).id],
            unknown: vec![block(open, 1).id, block(foreign, 0).id],
            ..Report::default()
        };
        assert_eq!(report(&state, 1, &blocks), expected);
    }

    #[test]
    fn copy_is_surplus_only_while_enough_others_last() {
        let mut state = world(&["a", "b", "c"]);
        let x = dataset(&mut state, "x", 2, &[&[1, 2, 3]]);
        assert_eq!(report(&state, 1, &[block(x, 0)]).surplus, [block(x, 0).id]);
        drain(&mut state, 2);
        assert_eq!(report(&state, 1, &[block(x, 0)]), Report::default());
        // Its own copy is not counted on, and two others would have to last.
        assert_eq!(report(&state, 2, &[block(x, 0)]).surplus, [block(x, 0).id]);
        expire(&mut state, 3);
        assert_eq!(report(&state, 2, &[block(x, 0)]), Report::default());
    }

    #[test]
    fn copy_on_a_host_of_its_own_is_not_surplus_before_two_on_one_host() {
        let mut state = world(&["a", "b", "b"]);
        let x = dataset(&mut state, "x", 2, &[&[1, 2, 3]]);
        assert_eq!(report(&state, 1, &[block(x, 0)]).surplus, []);
        assert_eq!(report(&state, 2, &[block(x, 0)]).surplus, [block(x, 0).id]);
    }

    #[test]
    fn block_of_an_open_dataset_is_not_dropped_for_a_page_that_is_older() {
        let mut state = world(&["a"]);
        open_dataset(&mut state, "x", 1, &[&[1]]);
        assert_eq!(report(&state, 1, &[]), Report::default());
    }

    #[test]
    fn damaged_copy_is_dropped_and_goes() {
        let mut state = world(&["a", "b"]);
        let x = dataset(&mut state, "x", 2, &[&[1, 2]]);
        let mut damaged = block(x, 0);
        damaged.crc32c += 1;
        let told = report(&state, 1, &[damaged, block(x, 5)]);
        assert_eq!(told.drop, [block(x, 0).id]);
        assert_eq!(told.surplus, [block(x, 0).id, block(x, 5).id]);
        assert!(is_listed(&state, block(x, 0).id, WorkerId(1)));
        assert!(!is_listed(&state, block(x, 5).id, WorkerId(1)));
    }
}
