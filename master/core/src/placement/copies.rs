//! Which blocks want another copy, from whom and to whom.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::{BlockId, WorkerId};

use super::DiskView;
use crate::state::{BlockRow, Dataset, State, Worker};

/// Candidates that are kept of each number of holders, for each copy that may be
/// ordered: some find their targets busy.
const CANDIDATES_PER_ORDER: usize = 8;

/// A copy to be made: `to` fetches the block from `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOrder {
    /// What.
    pub block: BlockSummary,
    /// Has it.
    pub from: WorkerId,
    /// Will have it.
    pub to: WorkerId,
}

/// How much may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyBounds {
    /// Orders of one call.
    pub orders_max: usize,
    /// Copies to one worker, those under way included.
    pub to_one_max: usize,
}

/// A worker that can be asked for blocks.
struct End<'a> {
    worker: &'a Worker,
    /// Whether it will stay: it counts towards the wanted copies, and gets some.
    lasts: bool,
    free: u64,
    incoming: usize,
    outgoing: usize,
}

/// Registered workers, by number.
struct Ends<'a> {
    by_number: Vec<Option<End<'a>>>,
    /// Room of those that could get a block, in order.
    room: Vec<u64>,
}

struct Candidate<'a> {
    block: BlockSummary,
    row: &'a BlockRow,
}

/// Chooses the next copies: of blocks that some registered worker has and fewer
/// lasting ones than wanted, those with the fewest first. Blocks whose copy is
/// under way are left alone.
///
/// Looks at every block; a few milliseconds for a million.
#[must_use]
pub fn replication(
    state: &State,
    view: &DiskView,
    under_way: &BTreeMap<BlockId, WorkerId>,
    bounds: CopyBounds,
) -> Vec<CopyOrder> {
    let mut ends = Ends::new(state, view);
    for (block, to) in under_way {
        ends.expect(state, *block, *to);
    }
    ends.room.sort_unstable();
    let candidates = candidates(state, &ends, under_way, bounds);
    let mut orders = Vec::new();
    for candidate in candidates {
        if orders.len() >= bounds.orders_max {
            break;
        }
        orders.extend(ends.order(&candidate, bounds.to_one_max));
    }
    orders
}

/// Of each number of lasting holders some blocks, the fewest holders first.
fn candidates<'a>(
    state: &'a State,
    ends: &Ends<'_>,
    under_way: &BTreeMap<BlockId, WorkerId>,
    bounds: CopyBounds,
) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
    let kept_max = bounds.orders_max.saturating_mul(CANDIDATES_PER_ORDER);
    let mut by_holders: Vec<Vec<Candidate<'a>>> = Vec::new();
    for dataset in state.directory().iter() {
        let wanted = usize::from(dataset.spec.replicas);
        by_holders.resize_with(by_holders.len().max(wanted), Vec::new);
        for (position, row) in (0..).zip(dataset.blocks.rows()) {
            let lasting = ends.lasting(row);
            if lasting >= wanted || by_holders[lasting].len() >= kept_max {
                continue;
            }
            if let Some(candidate) = candidate(dataset, position, row)
                && ends.may_copy(&candidate)
                && !under_way.contains_key(&candidate.block.id)
            {
                by_holders[lasting].push(candidate);
            }
        }
    }
    by_holders.into_iter().flatten()
}

fn candidate<'a>(dataset: &'a Dataset, position: u32, row: &'a BlockRow) -> Option<Candidate<'a>> {
    let block = dataset.blocks.summary(dataset.id, position)?;
    Some(Candidate { block, row })
}

impl<'a> Ends<'a> {
    fn new(state: &'a State, view: &DiskView) -> Self {
        let registered = || state.workers().filter(|worker| worker.is_registered());
        let last = registered().last().map_or(0, |worker| worker.id.0);
        let mut by_number: Vec<Option<End<'a>>> = Vec::new();
        by_number.resize_with(last as usize + 1, || None);
        let mut room = Vec::new();
        for worker in registered() {
            let lasts = worker.accepts_work();
            let free = view.free.get(&worker.id).copied().unwrap_or(0);
            if lasts {
                room.push(free);
            }
            by_number[worker.id.0 as usize] = Some(End {
                worker,
                lasts,
                free,
                incoming: 0,
                outgoing: 0,
            });
        }
        Self { by_number, room }
    }

    fn of(&self, worker: WorkerId) -> Option<&End<'a>> {
        self.by_number.get(worker.0 as usize)?.as_ref()
    }

    fn of_mut(&mut self, worker: WorkerId) -> Option<&mut End<'a>> {
        self.by_number.get_mut(worker.0 as usize)?.as_mut()
    }

    /// A copy is on its way to a worker.
    fn expect(&mut self, state: &State, block: BlockId, to: WorkerId) {
        let bytes = state.directory().get(block.dataset).and_then(|dataset| {
            let position = dataset.blocks.position(block.index)?;
            Some(dataset.blocks.summary(dataset.id, position)?.bytes)
        });
        if let Some(end) = self.of_mut(to) {
            end.incoming += 1;
            end.free = end.free.saturating_sub(bytes.unwrap_or(0));
        }
    }

    fn lasting(&self, row: &BlockRow) -> usize {
        let lasts = |worker: &&WorkerId| self.of(**worker).is_some_and(|end| end.lasts);
        row.workers.iter().filter(lasts).count()
    }

    /// Whether somebody has it and somebody else has room for it.
    fn may_copy(&self, candidate: &Candidate<'_>) -> bool {
        let bytes = candidate.block.bytes;
        let holders = || candidate.row.workers.iter().filter_map(|id| self.of(*id));
        let roomy = self.room.len() - self.room.partition_point(|free| *free < bytes);
        let taken = holders().filter(|end| end.lasts && end.free >= bytes);
        roomy > taken.count() && holders().next().is_some()
    }

    fn order(&mut self, candidate: &Candidate<'_>, to_one_max: usize) -> Option<CopyOrder> {
        let Candidate { block, row } = candidate;
        let holders = || row.workers.iter().filter_map(|id| self.of(*id));
        let hosts: BTreeSet<&str> = holders()
            .filter(|end| end.lasts)
            .map(|end| end.worker.info.host.0.as_str())
            .collect();
        let to = self
            .by_number
            .iter()
            .flatten()
            .filter(|end| end.lasts && end.free >= block.bytes && end.incoming < to_one_max)
            .filter(|end| !row.workers.contains(&end.worker.id))
            .min_by_key(|end| {
                let same_host = hosts.contains(end.worker.info.host.0.as_str());
                (same_host, end.incoming, Reverse(end.free))
            })?
            .worker
            .id;
        let from = holders().min_by_key(|end| end.outgoing)?.worker.id;
        if let Some(end) = self.of_mut(to) {
            end.incoming += 1;
            end.free -= block.bytes;
        }
        if let Some(end) = self.of_mut(from) {
            end.outgoing += 1;
        }
        let block = *block;
        Some(CopyOrder { block, from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{block, dataset, drain, expire, view, world};
    use super::*;

    const BOUNDS: CopyBounds = CopyBounds {
        orders_max: 10,
        to_one_max: 10,
    };

    fn orders(state: &State, free: &[u64]) -> Vec<(u64, u32, u32)> {
        under_bounds(state, free, &BTreeMap::new(), BOUNDS)
    }

    fn under_bounds(
        state: &State,
        free: &[u64],
        under_way: &BTreeMap<BlockId, WorkerId>,
        bounds: CopyBounds,
    ) -> Vec<(u64, u32, u32)> {
        replication(state, &view(free), under_way, bounds)
            .into_iter()
            .map(|order| (order.block.id.index, order.from.0, order.to.0))
            .collect()
    }

    #[test]
    fn block_with_the_fewest_lasting_holders_is_copied_first() {
        let mut state = world(&["a", "b", "c", "d"]);
        dataset(&mut state, "x", 3, &[&[1, 2, 4], &[1, 2], &[1, 4], &[2, 4]]);
        expire(&mut state, 4);
        assert_eq!(
            orders(&state, &[100; 4]),
            [(2, 1, 2), (3, 2, 1), (0, 1, 3), (1, 2, 3)]
        );
    }

    #[test]
    fn block_that_nobody_has_is_not_copied() {
        let mut state = world(&["a", "b"]);
        dataset(&mut state, "x", 2, &[&[1]]);
        expire(&mut state, 1);
        assert_eq!(orders(&state, &[100; 2]), []);
    }

    #[test]
    fn draining_holder_is_a_source_and_does_not_count() {
        let mut state = world(&["a", "b", "c"]);
        dataset(&mut state, "x", 1, &[&[1]]);
        assert_eq!(orders(&state, &[100; 3]), []);
        drain(&mut state, 1);
        drain(&mut state, 2);
        assert_eq!(orders(&state, &[100; 3]), [(0, 1, 3)]);
    }

    #[test]
    fn copy_goes_to_another_host_when_there_is_a_choice() {
        let mut state = world(&["a", "a", "b"]);
        dataset(&mut state, "x", 2, &[&[1]]);
        assert_eq!(orders(&state, &[100, 200, 100]), [(0, 1, 3)]);
        assert_eq!(orders(&state, &[100, 200, 9]), [(0, 1, 2)]);
        assert_eq!(orders(&state, &[100, 9]), []);
    }

    #[test]
    fn copies_under_way_are_not_ordered_again_and_count_towards_the_bounds() {
        let mut state = world(&["a", "b", "c"]);
        let x = dataset(&mut state, "x", 2, &[&[1], &[1], &[1], &[1], &[1]]);
        let under_way = BTreeMap::from([(block(x, 0).id, WorkerId(2))]);
        let bounds = CopyBounds {
            orders_max: 3,
            to_one_max: 2,
        };
        assert_eq!(
            under_bounds(&state, &[100; 3], &under_way, bounds),
            [(1, 1, 3), (2, 1, 2), (3, 1, 3)]
        );
        // The one under way takes the room of another.
        assert_eq!(under_bounds(&state, &[100, 15, 0], &under_way, bounds), []);
    }

    #[test]
    fn disk_is_not_filled_past_its_room() {
        let mut state = world(&["a", "b"]);
        dataset(&mut state, "x", 2, &[&[1], &[1], &[1]]);
        assert_eq!(orders(&state, &[0, 25]), [(0, 1, 2), (1, 1, 2)]);
    }

    #[test]
    fn sources_share_the_work() {
        let mut state = world(&["a", "b", "c"]);
        dataset(&mut state, "x", 3, &[&[1, 2], &[1, 2]]);
        assert_eq!(orders(&state, &[100; 3]), [(0, 1, 3), (1, 2, 3)]);
    }
}
