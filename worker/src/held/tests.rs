//! The promises of the held set.

use super::*;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use vivat_engine::{CancelFlag, Progress};
use vivat_shared::attempt::{Broadcast, InputFile, InputOrigin, SplitRange};
use vivat_shared::ids::{ClusterId, Epoch, WorkerEpoch, WorkerId};
use vivat_shared::job::{InputFormat, JobSpec, OutputLocation, Policy, Visibility};
use vivat_shared::limits::PREFETCH_PER_SLOT_MAX;

fn id(text: &str) -> AttemptId {
    text.parse().unwrap()
}

fn spec() -> JobSpec {
    JobSpec {
        name: String::new(),
        comment: String::new(),
        inputs: Vec::new(),
        format: InputFormat::Text,
        split_bytes: 1,
        steps: Vec::new(),
        output: OutputLocation::Directory {
            path: "/out".to_owned(),
            display: "out".to_owned(),
            visibility: Visibility::Everyone,
        },
        overwrite: false,
        priority: 50,
        policy: Policy::Locality,
        attempts_max: 4,
        timeout_ms: None,
        speculation: true,
        skipped_max: 0,
        side_files: Vec::new(),
        notify: None,
        source: String::new(),
        size_hint_bytes: None,
    }
}

fn grant(text: &str) -> Arc<Grant> {
    let attempt = id(text);
    let file = InputFile {
        header: Vec::new(),
        path: "/a".to_owned(),
        display: "a".to_owned(),
        bytes: 1,
        origin: InputOrigin::FileSystem { modified_ns: 0 },
    };
    let split = SplitRange {
        file: 0,
        offset: 0,
        bytes: 1,
    };
    let work = match attempt.task.kind {
        vivat_shared::ids::TaskKind::Reduce => Work::Reduce {
            maps: 1,
            output: None,
            broadcast: Broadcast::None,
        },
        vivat_shared::ids::TaskKind::Map => Work::Map {
            file,
            split,
            splits: 1,
            blocks: Vec::new(),
            blocks_start: 0,
            broadcast: Broadcast::None,
        },
        vivat_shared::ids::TaskKind::Plan
        | vivat_shared::ids::TaskKind::Close
        | vivat_shared::ids::TaskKind::Commit
        | vivat_shared::ids::TaskKind::Notify => Work::Plan {
            datasets: Vec::new(),
            previous: None,
        },
    };
    Arc::new(Grant {
        attempt,
        side_datasets: Arc::default(),
        work,
        spec: Arc::new(spec()),
        worker: WorkerEpoch {
            worker: WorkerId(1),
            epoch: Epoch(1),
        },
        cluster: ClusterId(1),
        progress: Progress::default(),
        cancel: CancelFlag::default(),
        stopped: CancellationToken::new(),
    })
}

fn maps(numbers: std::ops::Range<u32>) -> Vec<Arc<Grant>> {
    numbers
        .map(|index| grant(&format!("job-1.0.0.map-{index}.1")))
        .collect()
}

#[test]
fn attempt_that_is_granted_again_runs_once() {
    let mut held = Held::new(2);
    held.take_in(maps(0..1));
    held.take_in(maps(0..1));
    let taken = held.next(SlotKind::Task).unwrap();
    held.take_in(maps(0..1));
    assert!(held.next(SlotKind::Task).is_none());
    held.finish(&taken, Outcome::Committed);
    held.take_in(maps(0..1));
    assert!(held.next(SlotKind::Task).is_none());
    assert_eq!(held.ids(), [taken.grant.attempt]);
}

#[test]
fn report_is_kept_until_a_leader_has_answered_it() {
    let mut held = Held::new(1);
    held.take_in(maps(0..1));
    let taken = held.next(SlotKind::Task).unwrap();
    assert!(held.finish(&taken, Outcome::Killed));
    let attempt = taken.grant.attempt;
    for _ in 0..2 {
        assert_eq!(held.reports(10), [(attempt, Outcome::Killed)]);
        assert_eq!(held.ids(), [attempt]);
    }
    held.reported(&HashSet::from([attempt]));
    assert!(held.reports(10).is_empty() && held.is_empty());
}

#[test]
fn kill_order_for_a_finished_attempt_leaves_it_to_its_report() {
    let mut held = Held::new(1);
    held.take_in(maps(0..1));
    let taken = held.next(SlotKind::Task).unwrap();
    held.finish(&taken, Outcome::Committed);
    held.kill(&[taken.grant.attempt]);
    assert_eq!(held.reports(10).len(), 1);
}

#[test]
fn killed_attempt_is_stopped_and_its_outcome_unwanted() {
    let mut held = Held::new(1);
    held.take_in(maps(0..2));
    let taken = held.next(SlotKind::Task).unwrap();
    held.kill(&[id("job-1.0.0.map-0.1"), id("job-1.0.0.map-1.1")]);
    assert!(taken.grant.cancel.is_cancelled());
    assert!(held.ids().is_empty());
    assert_eq!(held.busy_jobs(), HashSet::from([JobId(1)]));
    assert!(!held.finish(&taken, Outcome::Committed));
    assert!(held.is_empty() && held.reports(10).is_empty());
}

#[test]
fn only_what_has_not_started_is_handed_back() {
    let mut held = Held::new(1);
    held.take_in(maps(0..2));
    let taken = held.next(SlotKind::Task).unwrap();
    held.hand_back(&[id("job-1.0.0.map-0.1"), id("job-1.0.0.map-1.1")]);
    assert!(!taken.grant.cancel.is_cancelled());
    assert_eq!(
        held.reports(10),
        [(id("job-1.0.0.map-1.1"), Outcome::HandedBack)]
    );
    assert!(held.next(SlotKind::Task).is_none());
}

#[test]
fn new_registration_ends_everything_of_the_old_one() {
    let mut held = Held::new(2);
    held.take_in(maps(0..4));
    let first = held.next(SlotKind::Task).unwrap();
    let second = held.next(SlotKind::Task).unwrap();
    held.finish(&first, Outcome::Committed);
    held.abandon();
    assert!(held.ids().is_empty() && held.reports(10).is_empty());
    assert!(held.next(SlotKind::Task).is_none());
    assert!(second.grant.cancel.is_cancelled());
    assert!(!held.finish(&second, Outcome::Committed));
    assert!(held.room().want >= 2 && held.room().control_free);
}

#[test]
fn reduce_occupies_a_slot_only_once_it_has_its_segments() {
    let mut held = Held::new(1);
    let reduce = grant("job-1.0.0.reduce-0.1");
    assert_eq!(held.take_in(vec![reduce.clone()]).len(), 1);
    assert!(held.next(SlotKind::Task).is_none());
    held.fetched(reduce.attempt, Fetched::none_of(0));
    let taken = held.next(SlotKind::Task).unwrap();
    assert!(held.fetch_again(&taken));
    // Its slot is free for the map that must run again.
    held.take_in(maps(0..1));
    assert!(held.next(SlotKind::Task).is_some());
}

#[test]
fn control_work_never_waits_behind_tasks() {
    let mut held = Held::new(1);
    held.take_in(maps(0..3));
    held.next(SlotKind::Task).unwrap();
    assert!(held.room().control_free);
    held.take_in(vec![grant("job-2.0.0.plan-0.1")]);
    assert!(!held.room().control_free);
    let taken = held.next(SlotKind::Control).unwrap();
    assert!(!held.room().control_free);
    held.finish(&taken, Outcome::Committed);
    assert!(held.room().control_free);
}

#[test]
fn work_for_two_seconds_is_wanted_within_the_bounds() {
    let mut held = Held::new(2);
    assert_eq!(held.room().want, 2, "nothing is measured: one per slot");
    held.measure(Duration::from_secs(60));
    assert_eq!(held.room().want, 2);
    let mut held = Held::new(2);
    held.measure(Duration::from_millis(200));
    assert_eq!(held.room().want, 20);
    held.take_in(maps(0..5));
    assert_eq!(held.room().want, 15);
    let mut held = Held::new(2);
    held.measure(Duration::from_micros(10));
    assert_eq!(held.room().want, 2 * PREFETCH_PER_SLOT_MAX);
}

#[test]
fn short_attempts_are_asked_for_when_half_of_what_is_ahead_is_left() {
    let mut held = Held::new(1);
    held.measure(Duration::from_micros(100));
    let ahead = PREFETCH_PER_SLOT_MAX;
    assert_eq!(held.room().want, ahead);
    held.take_in(maps(0..ahead));
    for _ in 1..ahead / 2 {
        held.next(SlotKind::Task).unwrap();
        assert_eq!(held.room().want, 0);
    }
    held.next(SlotKind::Task).unwrap();
    assert_eq!(held.room().want, ahead / 2);
}

#[test]
fn longer_attempts_are_asked_for_one_by_one_so_that_an_election_is_bridged() {
    let mut held = Held::new(1);
    held.measure(Duration::from_millis(30));
    // Two seconds of them.
    held.take_in(maps(0..66));
    held.next(SlotKind::Task).unwrap();
    assert_eq!(held.room().want, 1);
}

#[test]
fn reports_of_short_attempts_wait_only_while_there_is_more_to_run() {
    let mut held = Held::new(1);
    held.measure(Duration::from_micros(100));
    held.take_in(maps(0..2));
    let first = held.next(SlotKind::Task).unwrap();
    held.finish(&first, Outcome::HandedBack);
    assert!(held.gathers());
    let last = held.next(SlotKind::Task).unwrap();
    assert!(!held.gathers(), "nothing else is there to run");
    held.finish(&last, Outcome::HandedBack);
    assert!(!held.gathers());
}

#[test]
fn reports_wait_neither_behind_a_plan_nor_for_long_attempts() {
    let mut held = Held::new(1);
    held.take_in(maps(0..3));
    let first = held.next(SlotKind::Task).unwrap();
    held.finish(&first, Outcome::HandedBack);
    assert!(!held.gathers(), "nothing is measured");
    held.measure(Duration::from_micros(100));
    assert!(held.gathers());
    held.take_in(vec![grant("job-2.0.0.plan-0.1")]);
    let plan = held.next(SlotKind::Control).unwrap();
    held.finish(&plan, Outcome::HandedBack);
    assert!(!held.gathers(), "a job waits for its plan");
}

#[test]
fn idle_slot_asks_for_work_however_many_reduces_are_fetching() {
    let mut held = Held::new(1);
    let reduces = (0..50).map(|index| grant(&format!("job-1.0.0.reduce-{index}.1")));
    held.take_in(reduces.collect());
    assert_eq!(held.room().want, 1);
    held.take_in(maps(0..1));
    assert_eq!(held.room().want, 0);
}

#[test]
fn pull_that_asked_for_nothing_is_outgrown_by_any_room() {
    let room = |want, control_free| Room { want, control_free };
    assert!(room(0, true).is_outgrown_by(room(1, true), 1));
    assert!(room(1, false).is_outgrown_by(room(1, true), 1));
    assert!(!room(1, true).is_outgrown_by(room(2, true), 1));
    assert!(!room(1, true).is_outgrown_by(room(0, false), 1));
    assert!(room(1, true).is_outgrown_by(room(9, true), 1));
    assert!(!room(32, true).is_outgrown_by(room(63, true), 1));
    assert!(room(32, true).is_outgrown_by(room(64, true), 1));
}

#[test]
fn closed_set_takes_nothing_and_hands_back_what_waits() {
    let mut held = Held::new(1);
    held.take_in(maps(0..2));
    held.next(SlotKind::Task).unwrap();
    held.close();
    assert_eq!(held.room().want, 0);
    assert_eq!(held.reports(10).len(), 1);
}

#[test]
fn slot_whose_code_does_not_stop_is_replaced_once_and_not_counted_twice() {
    let mut held = Held::new(1);
    held.take_in(vec![grant("job-1.0.0.map-0.1")]);
    let hung = held.next(SlotKind::Task).unwrap();
    held.kill(&[hung.grant.attempt]);
    let now = Instant::now();
    assert!(held.give_up_stuck(now).is_empty(), "it may stop yet");
    let later = now + STUCK_AFTER;
    assert_eq!(held.give_up_stuck(later), [SlotKind::Task]);
    assert!(held.give_up_stuck(later).is_empty());

    held.take_in(vec![grant("job-2.0.0.map-0.1")]);
    let next = held.next(SlotKind::Task).unwrap();
    // The code stops after all, while the stand-in works.
    assert!(!held.finish(&hung, Outcome::Killed));
    assert!(held.is_replaced(hung.grant.attempt));
    assert_eq!(held.running, 1, "the only slot is taken");
    assert!(held.finish(&next, Outcome::Committed));
    assert!(!held.is_replaced(next.grant.attempt));
}
