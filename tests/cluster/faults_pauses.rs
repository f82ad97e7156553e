//! Processes that stop longer than their lease and wake with an old belief, all
//! workers gone for a while, and a cancellation that meets a failover.
//! F4, F5, F22; S3, S4, S10, S11, L1, L6.

use std::thread;

use crate::faults::{
    SHAPE, assert_accounted, assert_ended_after, assert_nothing_again, assert_sound, await_true,
    begin, begin_reduces, leader_of, many_maps, many_reduces,
};
use crate::harness::{Cluster, Job, JobView, assert_same_as_oracle, describe, parse, vivat};
use crate::zombie::{assert_files_gone, assert_refused, epoch_of, map_on_disk};

/// Clients that wait at the stopped leader's door when it wakes.
const CLIENTS: usize = 4;
const EXIT_CONFLICT: i32 = 4;
const EXIT_TEMPORARY: i32 = 5;

#[test]
fn a_leader_stopped_past_its_lease_answers_nothing_from_the_past() {
    let mut cluster = Cluster::start(SHAPE);
    let job = many_maps("out");
    let id = begin(&cluster, &job, 51);

    let (old, term) = leader_of(&cluster);
    let stopped_at = jiff::Timestamp::now();
    cluster.master(old).pause();
    cluster.await_status("another leader in a later term", |status| {
        status.leader().is_some_and(|seat| seat != old) && status.term() > term
    });
    // A job that the stopped one cannot know: "not found" is an answer of old.
    let second = Job {
        split_bytes: 64 * 1024,
        ..many_maps("second")
    };
    let unknown = cluster.submit(&second);
    let (dir, address) = (cluster.path("."), cluster.address_of(old).to_owned());
    let answers: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let args = ["job", "show", unknown.as_str(), "-o", "json"];
                let (dir, address) = (&dir, &address);
                scope.spawn(move || vivat(dir, Some(address), &args))
            })
            .collect();
        // Their requests may wait in its socket by now; if not, they come next.
        cluster.master(old).resume();
        clients
            .into_iter()
            .map(|client| client.join().expect("a client's thread ends"))
            .collect()
    });
    for answer in &answers {
        match answer.status.code() {
            Some(0) => assert_eq!(parse(answer)["job_id"], unknown.as_str()),
            code => assert_eq!(code, Some(EXIT_TEMPORARY), "S10: {}", describe(answer)),
        }
    }
    await_true("the old leader sends its clients on", || {
        let answer = cluster.ask(old, &["job", "show", &unknown, "-o", "json"]);
        answer.status.success()
    });
    let view = cluster.await_success(&id);
    // Had it granted or taken reports, an attempt would be there twice.
    assert_nothing_again(&view, stopped_at);
    cluster.await_success(&unknown);
    assert_same_as_oracle(&cluster, &job);
    assert_same_as_oracle(&cluster, &second);
    assert_sound(&cluster);
}

#[test]
fn a_worker_stopped_past_its_lease_is_replaced_and_its_late_report_refused() {
    let mut cluster = Cluster::start(SHAPE);
    let job = many_maps("out");
    let id = begin(&cluster, &job, 52);

    let zombie = epoch_of(&mut cluster, 0);
    let map = map_on_disk(&cluster, &id);
    let stopped_at = jiff::Timestamp::now();
    cluster.worker(0).pause();
    cluster.await_status("one worker lost", |status| {
        status.workers_lost() == 1 && status.workers_live() == 2
    });
    cluster.worker(0).resume();
    await_true("the zombie is told that its registration is stale", || {
        let log = cluster.worker(0).log();
        log.contains("registration is stale")
    });
    assert_refused(&cluster, zombie, map);
    cluster.await_status("it is back under another epoch", |status| {
        status.workers_live() == 3
    });
    assert!(epoch_of(&mut cluster, 0).epoch > zombie.epoch);
    let view = cluster.await_success(&id);
    assert_ended_after(&view, stopped_at);
    assert_accounted(&view);
    assert!(
        view.attempts("lost") > 0,
        "it held nothing when it was stopped: {}",
        view.0
    );
    assert_eq!(
        view.attempts("failed"),
        0,
        "a loss is no failure: {}",
        view.0
    );
    assert_same_as_oracle(&cluster, &job);
    assert_files_gone(&cluster, &id);
    assert_sound(&cluster);
}

#[test]
fn a_job_whose_workers_are_all_killed_says_so_and_ends_when_they_return() {
    let mut cluster = Cluster::start(SHAPE);
    let job = many_reduces("out");
    let id = begin_reduces(&cluster, &job, 53);

    let killed_at = jiff::Timestamp::now();
    for worker in 0..SHAPE.workers {
        cluster.kill_worker(worker);
    }
    cluster.await_status("all workers lost", |status| {
        status.workers_live() == 0 && status.workers_lost() == 3
    });
    await_true("`job why` says that workers are missing", || {
        let why = cluster.vivat(&["job", "why", &id, "-o", "json"]);
        why.status.success() && parse(&why)["reason"] == "WAITING_FOR_WORKERS"
    });
    let waiting = cluster.show(&id).expect("the masters are well");
    assert!(!waiting.is_final(), "{}", waiting.0);
    for worker in 0..SHAPE.workers {
        cluster.restart_worker(worker);
    }
    let view = cluster.await_success(&id);
    assert_ended_after(&view, killed_at);
    assert_accounted(&view);
    assert_eq!(
        view.attempts("failed"),
        0,
        "a loss is no failure: {}",
        view.0
    );
    assert_same_as_oracle(&cluster, &job);
    assert_sound(&cluster);
}

#[test]
fn a_job_cancelled_amid_a_failover_has_one_end_for_every_client() {
    let mut cluster = Cluster::start(SHAPE);
    let job = many_maps("out");
    let id = begin(&cluster, &job, 54);

    let kill = cluster.kill_leader();
    let addresses = cluster.addresses();
    let dir = cluster.path(".");
    let codes: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let args = ["job", "cancel", id.as_str()];
                let (dir, addresses) = (&dir, &addresses);
                scope.spawn(move || vivat(dir, Some(addresses), &args).status.code())
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("a client's thread ends"))
            .collect()
    });
    cluster.await_other_leader(kill);
    let mut end = None;
    await_true("an end", || {
        end = cluster.show(&id);
        end.as_ref().is_some_and(JobView::is_final)
    });
    let end = end.expect("awaited just now");
    // Not one client is told that it cancelled a job which then succeeds, nor
    // that it was too late for one that is cancelled.
    let told = if end.state() == "cancelled" {
        0
    } else {
        EXIT_CONFLICT
    };
    for code in &codes {
        assert!(
            *code == Some(told) || *code == Some(EXIT_TEMPORARY),
            "S11: clients heard {codes:?} of {}",
            end.0
        );
    }
    assert_eq!(end.state(), "cancelled", "{codes:?}, and {}", end.0);
    assert!(end.finished_at() > kill.at, "{}", end.0);
    cluster.restart_master(kill.seat);
    // Long enough for its log to have hashes to compare.
    let after = many_maps("after");
    let next = cluster.submit(&after);
    cluster.await_success(&next);
    assert_same_as_oracle(&cluster, &after);
    assert_sound(&cluster);
    for seat in 0..SHAPE.masters {
        let seen = cluster.ask(seat, &["job", "show", &id, "-o", "json"]);
        assert!(seen.status.success(), "seat {seat}: {}", describe(&seen));
        let seen = JobView(parse(&seen));
        assert_eq!(seen.state(), "cancelled", "S3, seat {seat}: {}", seen.0);
        assert_eq!(seen.finished_at(), end.finished_at(), "seat {seat}");
    }
    let result = cluster.path("out").join("_SUCCESS");
    assert!(!result.exists(), "a cancelled job left a result");
}
