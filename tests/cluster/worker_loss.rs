//! A worker dies with finished maps on it (F21).
//!
//! Its finished maps run again, all of them and nothing else; the job ends with
//! the oracle's bytes; the cluster goes on with the workers that are left.

use std::fs;
use std::path::Path;

use crate::harness::{Cluster, Job, JobView, Shape, assert_same_as_oracle};

/// Finished map outputs on a worker's disk, which is where they are lost from.
fn segments_of(worker_dir: &Path, job: &str) -> u64 {
    let dir = worker_dir.join("segments").join(job);
    let Ok(entries) = fs::read_dir(&dir) else {
        return 0;
    };
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let count = names
        .filter(|name| name.to_string_lossy().ends_with(".seg"))
        .count();
    u64::try_from(count).expect("few")
}

#[test]
fn worker_killed_with_finished_maps_costs_exactly_those_maps() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 4 * 1024 * 1024 - 8 * 1024, 11);
    let job = Job {
        input: "words.txt".to_owned(),
        output: "out".to_owned(),
        split_bytes: 64 * 1024,
        reducers: 1_000,
        key: None,
    };
    let id = cluster.submit(&job);
    // All maps are done, so what lies on the disks is what was accepted.
    let before = cluster.await_job(&id, "some reduces done, some not", JobView::is_amid_reduces);
    let lost = segments_of(&cluster.path("worker-0"), &id);
    let kept = segments_of(&cluster.path("worker-1"), &id);
    assert_eq!(lost + kept, before.map("total"), "{}", before.0);
    assert!(lost > 0 && kept > 0, "{lost} on one, {kept} on the other");
    let killed_at = jiff::Timestamp::now();
    cluster.kill_worker(0);

    let view = cluster.await_success(&id);
    assert!(
        view.finished_at() > killed_at,
        "ended before the kill: {}",
        view.0
    );
    assert_eq!(view.attempts("reruns_of_completed"), lost, "{}", view.0);
    assert_eq!(
        view.attempts("failed"),
        0,
        "a loss is no failure: {}",
        view.0
    );
    // Whatever was started was accepted once, or lost with the worker.
    let tasks = 2 + view.map("total") + view.reduce("total");
    let (succeeded, gone) = (view.attempts("succeeded"), view.attempts("lost"));
    assert_eq!(succeeded, tasks + lost, "{}", view.0);
    let started = view.attempts("started");
    assert_eq!(
        started,
        succeeded + gone + view.attempts("killed"),
        "{}",
        view.0
    );
    let status = cluster.await_status("one worker lost", |status| status.workers_lost() == 1);
    assert_eq!(status.workers_live(), 1, "{}", status.0);

    assert_same_as_oracle(&cluster, &job);
    cluster.assert_serves_another_job();
}

#[test]
fn a_job_without_workers_waits_visibly_and_runs_when_one_comes() {
    let mut cluster = Cluster::start(Shape {
        workers: 0,
        ..Shape::default()
    });
    cluster.write_words("words.txt", 64 * 1024, 12);
    let job = Job {
        input: "words.txt".to_owned(),
        output: "out".to_owned(),
        split_bytes: 16 * 1024,
        reducers: 3,
        key: None,
    };
    let id = cluster.submit(&job);
    let view = cluster.await_job(&id, "a reason", |view| {
        view.0["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("WAITING_FOR_WORKERS"))
    });
    assert_eq!(view.state(), "queued", "{}", view.0);
    let why = cluster.vivat(&["job", "why", &id]);
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("WAITING_FOR_WORKERS"), "{why}");

    cluster.add_worker();
    cluster.await_success(&id);
    assert_same_as_oracle(&cluster, &job);
    cluster.assert_serves_another_job();
}
