//! When a reduce asks, asks again, and complains.

use super::*;
use vivat_shared::ids::{Epoch, WorkerId};
use vivat_shared::size_code::SizeCode;

fn holder(worker: u32) -> WorkerEpoch {
    WorkerEpoch {
        worker: WorkerId(worker),
        epoch: Epoch(u64::from(worker) * 10),
    }
}

fn at(map: u32, attempt: u16, worker: u32) -> SegmentLocation {
    SegmentLocation {
        map,
        attempt,
        holder: holder(worker),
        size: SizeCode::of(100),
    }
}

fn output(map: u32, attempt: u16) -> MapOutput {
    MapOutput { map, attempt }
}

fn piece() -> Piece {
    Piece::Memory(Vec::new().into())
}

fn batch(gather: &mut Gather) -> Option<Vec<MapOutput>> {
    gather.next_batch(|_| false).map(|batch| batch.outputs)
}

#[test]
fn location_that_is_told_again_is_asked_once() {
    let mut gather = Gather::new(Fetched::none_of(1));
    gather.located(at(0, 1, 1));
    gather.located(at(0, 1, 1));
    assert_eq!(batch(&mut gather), Some(vec![output(0, 1)]));
    gather.located(at(0, 1, 1));
    assert_eq!(batch(&mut gather), None);
    gather.got(output(0, 1), piece());
    gather.located(at(0, 1, 1));
    assert!(gather.is_complete() && batch(&mut gather).is_none());
}

#[test]
fn segments_of_one_holder_travel_together_and_it_is_not_asked_twice_at_once() {
    let mut gather = Gather::new(Fetched::none_of(4));
    for map in 0..4 {
        gather.located(at(map, 1, map % 2));
    }
    let first = gather.next_batch(|_| false).unwrap();
    assert_eq!(first.outputs.len(), 2);
    let second = gather.next_batch(|holder| holder == first.holder).unwrap();
    assert_ne!(first.holder, second.holder);
}

#[test]
fn order_of_large_segments_ends_when_it_has_its_bytes() {
    let mut gather = Gather::new(Fetched::none_of(8));
    for map in 0..8 {
        let size = SizeCode::of(FETCH_ORDER_BYTES_MAX / 3);
        gather.located(SegmentLocation {
            size,
            ..at(map, 1, 1)
        });
    }
    let counts: Vec<_> =
        std::iter::from_fn(|| batch(&mut gather).map(|outputs| outputs.len())).collect();
    assert_eq!(counts, [3, 3, 2]);
}

#[test]
fn empty_segment_is_there_without_being_asked_for() {
    let mut gather = Gather::new(Fetched::none_of(1));
    let size = SizeCode::EMPTY;
    gather.located(SegmentLocation {
        size,
        ..at(0, 1, 1)
    });
    assert!(gather.is_complete());
    assert!(gather.into_fetched().sources().is_empty());
}

#[test]
fn leader_is_told_after_three_tries_and_again_no_sooner_than_two_seconds_later() {
    let mut gather = Gather::new(Fetched::none_of(1));
    let mut now = Instant::now();
    gather.located(at(0, 1, 1));
    let mut complaints = Vec::new();
    for _ in 0..5 {
        gather.wake(now);
        assert!(batch(&mut gather).is_some());
        let complaint = gather.failed(output(0, 1), holder(1), Failure::Unreachable, now);
        complaints.push(complaint.map(|complaint| complaint.gone));
        let next = gather.next_wake().unwrap();
        assert!(next > now);
        if complaint.is_some() {
            assert_eq!(next - now, RETRY_REPORTED);
        }
        now = next;
    }
    assert_eq!(
        complaints,
        [None, None, Some(false), Some(false), Some(false)]
    );
}

#[test]
fn segment_that_its_holder_does_not_have_is_reported_at_once() {
    let mut gather = Gather::new(Fetched::none_of(1));
    gather.located(at(0, 1, 1));
    batch(&mut gather);
    let complaint = gather.failed(output(0, 1), holder(1), Failure::Gone, Instant::now());
    assert!(complaint.is_some_and(|complaint| complaint.gone));
}

#[test]
fn damaged_segment_is_fetched_once_more_and_then_gone() {
    let mut gather = Gather::new(Fetched::none_of(1));
    gather.located(at(0, 1, 1));
    batch(&mut gather);
    let now = Instant::now();
    assert_eq!(gather.got_bad(output(0, 1), holder(1), now), None);
    assert_eq!(batch(&mut gather), Some(vec![output(0, 1)]));
    let complaint = gather.got_bad(output(0, 1), holder(1), now);
    assert!(complaint.is_some_and(|complaint| complaint.gone));
}

#[test]
fn segment_found_bad_by_the_reduce_counts_as_its_first_damage() {
    let mut gather = Gather::new(Fetched::none_of(1));
    gather.located(at(0, 1, 1));
    batch(&mut gather);
    gather.got(output(0, 1), piece());
    let mut fetched = gather.into_fetched();
    fetched.give_up(0);
    let mut gather = Gather::new(fetched);
    assert!(!gather.is_complete());
    gather.located(at(0, 1, 1));
    batch(&mut gather);
    let complaint = gather.got_bad(output(0, 1), holder(1), Instant::now());
    assert!(complaint.is_some_and(|complaint| complaint.gone));
}

#[test]
fn map_that_ran_again_is_fetched_from_where_it_is_now() {
    let mut gather = Gather::new(Fetched::none_of(1));
    gather.located(at(0, 1, 1));
    batch(&mut gather);
    gather.lost(output(0, 1));
    gather.located(at(0, 2, 2));
    // The old stream's failure is no word against the new holder.
    let complaint = gather.failed(output(0, 1), holder(1), Failure::Gone, Instant::now());
    assert_eq!(complaint, None);
    let asked = gather.next_batch(|_| false).unwrap();
    assert_eq!(
        (asked.holder, asked.outputs),
        (holder(2), vec![output(0, 2)])
    );
}

#[test]
fn lost_segment_is_not_asked_for_until_it_is_located_again() {
    let mut gather = Gather::new(Fetched::none_of(1));
    gather.located(at(0, 1, 1));
    gather.lost(output(0, 1));
    assert_eq!(batch(&mut gather), None);
    gather.lost(output(0, 7));
    gather.located(at(0, 2, 1));
    gather.lost(output(0, 1));
    assert_eq!(batch(&mut gather), Some(vec![output(0, 2)]));
}

#[test]
fn worker_that_restarted_serves_the_same_attempt_under_its_new_epoch() {
    let mut gather = Gather::new(Fetched::none_of(1));
    gather.located(at(0, 1, 1));
    batch(&mut gather);
    let now = Instant::now();
    gather.failed(output(0, 1), holder(1), Failure::Unreachable, now);
    let restarted = WorkerEpoch {
        epoch: Epoch(99),
        ..holder(1)
    };
    gather.located(SegmentLocation {
        holder: restarted,
        ..at(0, 1, 1)
    });
    let asked = gather.next_batch(|_| false).unwrap();
    assert_eq!(asked.holder, restarted);
}

#[test]
fn busy_holder_is_asked_again_and_no_word_is_said_against_it() {
    let mut gather = Gather::new(Fetched::none_of(1));
    gather.located(at(0, 1, 1));
    let mut now = Instant::now();
    for _ in 0..20 {
        assert_eq!(batch(&mut gather), Some(vec![output(0, 1)]));
        let complaint = gather.failed(output(0, 1), holder(1), Failure::Busy, now);
        assert_eq!(complaint, None);
        assert_eq!(batch(&mut gather), None, "not at once");
        now += RETRY_BUSY;
        gather.wake(now);
    }
}
