//! Sessions, by hand: no runtime, no state, time as an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use vivat_core::AttemptLiveness;
use vivat_core::command::Grant;
use vivat_shared::ids::{AttemptId, Epoch, JobId, RoundId, TaskId, TaskKind};
use vivat_shared::ids::{WorkerEpoch, WorkerId};

use super::{Delivery, LeasesLeft, Progress, PullEnd, Sessions};

const LEASE: Duration = Duration::from_secs(10);

fn worker(epoch: u64) -> WorkerEpoch {
    WorkerEpoch {
        worker: WorkerId(1),
        epoch: Epoch(epoch),
    }
}

fn task(kind: TaskKind, index: u32) -> TaskId {
    let round = RoundId {
        job: JobId(1),
        step: 0,
        round: 0,
    };
    TaskId { round, kind, index }
}

fn attempt(index: u32) -> AttemptId {
    AttemptId {
        task: task(TaskKind::Map, index),
        number: 1,
    }
}

fn sessions(now: Instant) -> Sessions {
    let mut sessions = Sessions::new(LEASE, 0);
    sessions.begin(worker(1), now);
    sessions
}

fn killing(attempt: AttemptId) -> Delivery {
    Delivery {
        kill: vec![attempt],
        ..Delivery::default()
    }
}

#[test]
fn room_that_a_proposal_fills_is_not_seen_until_it_was_answered() {
    let mut sessions = sessions(Instant::now());
    let _pull = sessions.wait(worker(1), Vec::new(), 3, true).unwrap();
    let grants = [
        Grant {
            task: task(TaskKind::Map, 0),
            worker: worker(1),
            backup: false,
        },
        Grant {
            task: task(TaskKind::Plan, 0),
            worker: worker(1),
            backup: false,
        },
    ];
    sessions.granting(&grants);
    let seen = sessions.liveness().workers[&WorkerId(1)];
    assert_eq!((seen.want, seen.control_free), (2, false));
    // A newer pull of the same worker does not make the room free either.
    let _pull = sessions.wait(worker(1), Vec::new(), 3, true).unwrap();
    let seen = sessions.liveness().workers[&WorkerId(1)];
    assert_eq!((seen.want, seen.control_free), (2, false));
    sessions.granted(&grants);
    let seen = sessions.liveness().workers[&WorkerId(1)];
    assert_eq!((seen.want, seen.control_free), (3, true));
}

#[test]
fn pull_whose_caller_went_away_has_no_room() {
    let mut sessions = sessions(Instant::now());
    let pull = sessions.wait(worker(1), Vec::new(), 3, true).unwrap();
    drop(pull);
    let seen = sessions.liveness().workers[&WorkerId(1)];
    assert_eq!((seen.want, seen.control_free), (0, false));
}

#[test]
fn answer_made_for_an_older_pull_does_not_reach_the_newer() {
    let mut sessions = sessions(Instant::now());
    let (old, mut older) = sessions.wait(worker(1), Vec::new(), 1, true).unwrap();
    let (new, mut newer) = sessions.wait(worker(1), Vec::new(), 1, true).unwrap();
    assert!(matches!(older.try_recv(), Ok(PullEnd::Superseded)));
    sessions.deliver(worker(1), old, killing(attempt(0)));
    assert!(newer.try_recv().is_err());
    sessions.deliver(worker(1), new, killing(attempt(0)));
    assert!(matches!(newer.try_recv(), Ok(PullEnd::Delivered(_))));
}

#[test]
fn pull_is_answered_with_the_orders_that_wait_and_not_without_any() {
    let mut sessions = sessions(Instant::now());
    let (number, mut end) = sessions.wait(worker(1), Vec::new(), 1, true).unwrap();
    sessions.deliver(worker(1), number, Delivery::default());
    assert!(end.try_recv().is_err());
    sessions.order_kill(worker(1), attempt(7));
    sessions.deliver(worker(1), number, Delivery::default());
    let Ok(PullEnd::Delivered(delivery)) = end.try_recv() else {
        panic!("not answered");
    };
    assert_eq!(delivery, killing(attempt(7)));
}

#[test]
fn lease_that_ran_out_is_named_once_until_its_expiry_failed() {
    let now = Instant::now();
    let mut sessions = sessions(now);
    let later = now + LEASE;
    assert_eq!(sessions.take_expired(later - Duration::from_millis(1)), []);
    assert_eq!(sessions.take_expired(later), [worker(1)]);
    assert_eq!(sessions.take_expired(later), []);
    assert!(sessions.liveness().workers.is_empty());
    sessions.retry_expiry(worker(1));
    assert_eq!(sessions.take_expired(later), [worker(1)]);
}

// L5: a leader whose quorum flickers opens again and again in its term.
#[test]
fn leader_that_keeps_closing_and_opening_expires_a_silent_worker_all_the_same() {
    let open_for = Duration::from_secs(1);
    let mut now = Instant::now();
    let mut left = LeasesLeft::new();
    for opening in 1..=LEASE.as_secs() {
        let mut sessions = sessions(now);
        sessions.resume_leases(&left, now);
        now += open_for;
        let expired = sessions.take_expired(now);
        let due = opening == LEASE.as_secs();
        assert_eq!(!expired.is_empty(), due, "opening {opening}");
        left = sessions.leases_left();
        // It is closed for a long time, in which nobody could have been heard.
        now += LEASE;
    }
}

#[test]
fn worker_that_is_heard_in_one_of_many_openings_is_believed_a_whole_lease_longer() {
    let now = Instant::now();
    let mut former = sessions(now);
    assert_eq!(former.take_expired(now + LEASE / 2), []);
    assert!(former.hear(worker(1), now + LEASE / 2));
    assert_eq!(former.take_expired(now + LEASE / 2), []);
    let later = now + 3 * LEASE;
    let mut sessions = sessions(later);
    sessions.resume_leases(&former.leases_left(), later);
    assert_eq!(
        sessions.take_expired(later + LEASE - Duration::from_millis(1)),
        []
    );
    assert_eq!(sessions.take_expired(later + LEASE), [worker(1)]);
}

#[test]
fn word_from_a_worker_never_shortens_an_extended_lease() {
    let now = Instant::now();
    let mut sessions = sessions(now);
    sessions.extend_leases(LEASE);
    assert!(sessions.hear(worker(1), now));
    assert_eq!(sessions.take_expired(now + LEASE), []);
    assert_eq!(sessions.take_expired(now + LEASE + LEASE), [worker(1)]);
}

#[test]
fn old_epoch_neither_renews_nor_waits_and_its_pull_ends() {
    let now = Instant::now();
    let mut sessions = sessions(now);
    let (_, mut end) = sessions.wait(worker(1), Vec::new(), 1, true).unwrap();
    sessions.begin(worker(2), now);
    assert!(matches!(end.try_recv(), Ok(PullEnd::StaleEpoch)));
    assert!(!sessions.hear(worker(1), now));
    assert!(sessions.wait(worker(1), Vec::new(), 1, true).is_none());
    // The expiry of the old epoch comes late and ends nothing.
    sessions.finish(worker(1));
    assert!(sessions.hear(worker(2), now));
}

#[test]
fn reported_attempts_are_not_asked_back() {
    let now = Instant::now();
    let mut sessions = sessions(now);
    let held = [attempt(0), attempt(1), attempt(2)];
    sessions.note_held(worker(1), &held);
    sessions.note_reported(worker(1), &held[..1]);
    let holders = sessions.holders(now);
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0].not_started, held[1..]);
}

#[test]
fn silence_counts_from_the_opening_and_one_word_ends_it() {
    let now = Instant::now();
    let mut sessions = sessions(now);
    let silence = Duration::from_secs(5);
    assert!(!sessions.is_silent(now, silence));
    assert!(sessions.is_silent(now + silence, silence));
    sessions.hear(worker(1), now + silence);
    assert!(!sessions.is_silent(now + silence, silence));
    assert!(!Sessions::new(LEASE, 0).is_silent(now + silence, silence));
}

#[test]
fn worker_whose_expiry_was_skipped_is_told_that_its_epoch_is_over() {
    let now = Instant::now();
    let mut sessions = sessions(now);
    let other = WorkerEpoch {
        worker: WorkerId(2),
        epoch: Epoch(2),
    };
    let (_, mut answer) = sessions.wait(worker(1), Vec::new(), 1, true).unwrap();
    assert_eq!(sessions.workers(), [worker(1)]);
    sessions.refresh(&[other], &[worker(1)], now);
    assert!(matches!(answer.try_recv(), Ok(PullEnd::StaleEpoch)));
    assert!(!sessions.hear(worker(1), now) && sessions.hear(other, now));
}

#[test]
fn progress_beyond_all_numbers_does_not_overflow() {
    let mut sessions = sessions(Instant::now());
    let progress = Progress {
        bytes_done: u64::MAX,
        records_done: 1,
    };
    let told = [(attempt(0), progress), (attempt(1), progress)];
    sessions.note_progress(worker(1), &told.into(), 0);
    assert_eq!(sessions.running_bytes(JobId(1)), u64::MAX);
}

#[test]
fn attempt_is_seen_from_its_first_heartbeat_and_moves_when_its_bytes_do() {
    let mut sessions = Sessions::new(LEASE, 7);
    sessions.begin(worker(1), Instant::now());
    let beat = |sessions: &mut Sessions, bytes_done, age_ms| {
        let progress = Progress {
            bytes_done,
            records_done: 0,
        };
        let told = BTreeMap::from([(attempt(0), progress)]);
        sessions.note_progress(worker(1), &told, age_ms);
    };
    beat(&mut sessions, 10, 1_000);
    beat(&mut sessions, 30, 2_000);
    beat(&mut sessions, 30, 3_000);
    let seen = sessions.liveness_of_attempts();
    assert_eq!(seen.since_age_ms, 7);
    let expected = AttemptLiveness {
        since_age_ms: 1_000,
        bytes_at_first: 10,
        bytes: 30,
        moved_age_ms: 2_000,
    };
    assert_eq!(seen.attempts, BTreeMap::from([(attempt(0), expected)]));
    // Not in a slot any more, or reported: there is nothing to judge.
    sessions.note_reported(worker(1), &[attempt(0)]);
    assert!(sessions.liveness_of_attempts().attempts.is_empty());
}
