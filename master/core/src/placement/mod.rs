//! Where blocks go, and whether what workers have is what the directory says.
//!
//! Pure functions of the state and of what the leader sees of the disks. They may
//! be late or wrong about a disk: a worker without room refuses a block, and
//! `apply` verifies whatever becomes of an answer. A worker is only given blocks
//! once it has told how much room it has.

mod copies;
mod report;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use vivat_shared::ids::WorkerId;

use crate::state::{State, Worker};

pub use copies::{CopyBounds, CopyOrder, replication};
pub use report::{Report, compare_report, is_listed};

/// What the leader sees of the workers' disks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskView {
    /// Bytes that blocks may still take, of the workers that told of it.
    pub free: BTreeMap<WorkerId, u64>,
}

/// Where blocks are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish<'a> {
    /// Pipelines.
    pub count: usize,
    /// Hops of each.
    pub replicas: usize,
    /// The most bytes that a block will have.
    pub block_bytes: u64,
    /// Workers that did not answer.
    pub avoid: &'a BTreeSet<WorkerId>,
    /// A host whose worker comes first, if it has room.
    pub near_host: Option<&'a str>,
    /// Rises with every wish: the same workers do not come first each time.
    pub turn: u64,
}

/// A worker that may get blocks, and what this wish gave it.
struct Candidate<'a> {
    worker: &'a Worker,
    free: u64,
    blocks: u64,
    /// Its place in this wish's order.
    order: usize,
}

impl Candidate<'_> {
    fn has_room(&self, block_bytes: u64) -> bool {
        let taken = (self.blocks + 1).checked_mul(block_bytes);
        taken.is_some_and(|taken| taken <= self.free)
    }
}

/// Chooses pipelines, at most as many as wished for. Fewer hops than wished for
/// mean that there are no more workers with room, and no pipeline that there is
/// not one.
#[must_use]
pub fn place(state: &State, view: &DiskView, wish: &Wish<'_>) -> Vec<Vec<WorkerId>> {
    let mut candidates = candidates(state, view, wish);
    let mut pipelines = Vec::new();
    for _ in 0..wish.count {
        let mut hops: Vec<usize> = Vec::new();
        while hops.len() < wish.replicas {
            let Some(next) = next_hop(&candidates, &hops, wish) else {
                break;
            };
            candidates[next].blocks += 1;
            hops.push(next);
        }
        if hops.is_empty() {
            break;
        }
        let worker = |at: usize| candidates[at].worker.id;
        pipelines.push(hops.into_iter().map(worker).collect());
    }
    pipelines
}

fn candidates<'a>(state: &'a State, view: &DiskView, wish: &Wish<'_>) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'a>> = state
        .workers()
        .filter(|worker| worker.accepts_work() && !wish.avoid.contains(&worker.id))
        .filter_map(|worker| {
            Some(Candidate {
                worker,
                free: *view.free.get(&worker.id)?,
                blocks: 0,
                order: 0,
            })
        })
        .collect();
    let count = candidates.len();
    let turn = wish.turn.checked_rem(count as u64).unwrap_or(0);
    let turn = usize::try_from(turn).unwrap_or(0);
    for (at, candidate) in candidates.iter_mut().enumerate() {
        candidate.order = (at + count - turn) % count;
    }
    candidates
}

/// A worker of a host that has no copy yet before others, then one of those with
/// the most room: all that have half of it or more count the same, or one large
/// disk would get every block. Among these in turn.
fn next_hop(candidates: &[Candidate<'_>], hops: &[usize], wish: &Wish<'_>) -> Option<usize> {
    let hosts: Vec<_> = hops.iter().map(|&hop| host(&candidates[hop])).collect();
    let most = candidates.iter().map(|it| it.free).max().unwrap_or(0);
    (0..candidates.len())
        .filter(|at| !hops.contains(at) && candidates[*at].has_room(wish.block_bytes))
        .min_by_key(|&at| {
            let candidate = &candidates[at];
            let is_near = hops.is_empty() && wish.near_host == Some(host(candidate));
            let is_small = candidate.free < most / 2;
            (
                hosts.contains(&host(candidate)),
                Reverse(is_near),
                is_small,
                candidate.blocks,
                candidate.order,
            )
        })
}

fn host<'a>(candidate: &Candidate<'a>) -> &'a str {
    candidate.worker.info.host.0.as_str()
}

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
mod tests {
    use super::fixture::{view, world};
    use super::*;

    fn wish(avoid: &BTreeSet<WorkerId>, count: usize, turn: u64) -> Wish<'_> {
        Wish {
            count,
            replicas: 2,
            block_bytes: 10,
            avoid,
            near_host: None,
            turn,
        }
    }

    fn numbers(pipelines: &[Vec<WorkerId>]) -> Vec<Vec<u32>> {
        let number = |hops: &Vec<WorkerId>| hops.iter().map(|hop| hop.0).collect();
        pipelines.iter().map(number).collect()
    }

    #[test]
    fn replicas_go_to_different_hosts_while_there_are_some() {
        let state = world(&["a", "a", "b"]);
        let view = view(&[1_000, 1_000, 1_000]);
        let none = BTreeSet::new();
        for turn in 0..6 {
            for hops in place(&state, &view, &wish(&none, 4, turn)) {
                assert!(hops.contains(&WorkerId(3)) && hops.len() == 2, "{hops:?}");
            }
        }
        let three = Wish {
            replicas: 3,
            ..wish(&none, 1, 0)
        };
        let hops = place(&state, &view, &three).concat();
        assert_eq!(hops.len(), 3, "{hops:?}");
        let third: BTreeSet<WorkerId> = hops.into_iter().collect();
        assert_eq!(third.len(), 3);
    }

    #[test]
    fn load_spreads_over_workers_within_a_wish_and_from_one_to_the_next() {
        let state = world(&["a", "b", "c", "d"]);
        let view = view(&[1_000; 4]);
        let none = BTreeSet::new();
        let mut counts = BTreeMap::new();
        for turn in 0..4 {
            let pipelines = place(&state, &view, &wish(&none, 1, turn));
            *counts.entry(pipelines[0][0]).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 4, "each comes first once: {counts:?}");
        let hops = place(&state, &view, &wish(&none, 6, 0)).concat();
        for worker in 1..=4 {
            let given = hops.iter().filter(|hop| hop.0 == worker).count();
            assert_eq!(given, 3, "{hops:?}");
        }
    }

    #[test]
    fn worker_without_room_or_figures_or_that_did_not_answer_gets_nothing() {
        let state = world(&["a", "b", "c", "d"]);
        let mut view = view(&[1_000, 9, 1_000, 25]);
        view.free.remove(&WorkerId(3));
        let none = BTreeSet::new();
        // The fourth has room for two blocks, and the first for all.
        let pipelines = place(&state, &view, &wish(&none, 3, 0));
        assert_eq!(numbers(&pipelines), [vec![1, 4], vec![1, 4], vec![1]]);
        let silent = BTreeSet::from([WorkerId(1), WorkerId(4)]);
        assert!(place(&state, &view, &wish(&silent, 1, 0)).is_empty());
    }

    #[test]
    fn near_worker_comes_first_and_the_next_is_on_another_host() {
        let state = world(&["a", "b", "b", "c"]);
        let view = view(&[1_000; 4]);
        let none = BTreeSet::new();
        for turn in 0..8 {
            let near = Wish {
                near_host: Some("b"),
                ..wish(&none, 1, turn)
            };
            let hops = place(&state, &view, &near).concat();
            assert!([2, 3].contains(&hops[0].0), "{hops:?}");
            assert!([1, 4].contains(&hops[1].0), "{hops:?}");
        }
    }

    #[test]
    fn nearly_full_disk_comes_after_the_others() {
        let state = world(&["a", "b", "c"]);
        let view = view(&[100, 1_000, 900]);
        let none = BTreeSet::new();
        for turn in 0..3 {
            let hops = place(&state, &view, &wish(&none, 1, turn)).concat();
            assert!(!hops.contains(&WorkerId(1)), "{hops:?}");
        }
        // But it is better than one copy alone.
        let silent = BTreeSet::from([WorkerId(2)]);
        assert_eq!(place(&state, &view, &wish(&silent, 1, 0))[0].len(), 2);
    }
}
