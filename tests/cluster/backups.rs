//! Stragglers: a worker that drags, and a job that does not wait for it; workers
//! that are busy, and jobs that share them. F25, S2.

use std::fs;

use serde_json::Value;

use crate::faults::await_true;
use crate::harness::{Cluster, Extras, Job, JobView, Shape};
use crate::harness::{assert_same_as_oracle, describe, parse};
use crate::lab_cluster::{FILES, Lab, REDUCERS};

/// Attempts of a job in which every task has one: plan, maps, reduces, commit.
const ATTEMPTS: u64 = 2 + FILES as u64 + REDUCERS as u64;

/// The rows of a job's timeline with this result.
fn timeline(cluster: &Cluster, id: &str, result: &str) -> Vec<Value> {
    let output = cluster.vivat(&["job", "timeline", id, "-o", "json"]);
    assert!(output.status.success(), "{}", describe(&output));
    let rows = parse(&output);
    let rows = rows.as_array().expect("a list of attempts");
    let has_result = |row: &&Value| row["result"] == result;
    rows.iter().filter(has_result).cloned().collect()
}

fn assert_ended_consistently(view: &JobView) {
    let ends = ["succeeded", "failed", "lost", "killed"].map(|field| view.attempts(field));
    let started = view.attempts("started");
    assert_eq!(started, ends.iter().sum::<u64>(), "{}", view.0);
    assert_eq!(view.attempts("succeeded"), ATTEMPTS, "{}", view.0);
    assert_eq!(view.attempts("reruns_of_completed"), 0, "{}", view.0);
}

#[test]
fn a_job_ends_although_a_worker_drags_and_is_never_released() {
    let mut lab = Lab::start();
    let id = lab.submit("one-drags");
    // Nobody gives the sign: the maps on the first worker never end.
    let view = lab.cluster.await_success(&id);
    assert_ended_consistently(&view);
    for field in ["failed", "lost"] {
        assert_eq!(view.attempts(field), 0, "{field}: {}", view.0);
    }
    assert!(view.attempts("killed") >= 1, "{}", view.0);
    lab.assert_output();

    let accepted = timeline(&lab.cluster, &id, "accepted");
    let rows = u64::try_from(accepted.len()).expect("few");
    assert_eq!(rows, ATTEMPTS, "{accepted:?}");
    let killed = timeline(&lab.cluster, &id, "killed");
    let backed_up = killed.iter().any(|loser| {
        let same_task = |winner: &&Value| winner["task"] == loser["task"];
        let winner = accepted.iter().find(same_task).expect("all succeeded");
        winner["worker"] != loser["worker"] && winner["end_ms"] == loser["end_ms"]
    });
    assert!(backed_up, "no backup won: {killed:?}");
    let drawing = lab.cluster.path("job.svg");
    let path = drawing.to_string_lossy();
    let output = lab.cluster.vivat(&["job", "timeline", &id, "--svg", &path]);
    assert!(output.status.success(), "{}", describe(&output));
    let drawn = fs::read_to_string(&drawing).expect("it was written");
    assert!(drawn.contains(">worker-1<") && drawn.contains(">killed<"));

    fs::write(lab.cluster.path("marks").join("go"), "").expect("the directory is the test's");
    lab.assert_workers_live();
    lab.cluster.assert_serves_another_job();
}

#[test]
fn a_job_that_forbids_backups_waits_for_a_worker_that_drags() {
    let lab = Lab::start();
    let id = lab.submit_without_backups("one-drags");
    let maps = |view: &JobView, state: &str| view.0["map"][state].as_u64();
    let files = u64::try_from(FILES).expect("few");
    lab.cluster.await_job(&id, "all but one map", |view| {
        maps(view, "completed") == Some(files - 1)
    });
    fs::write(lab.cluster.path("marks").join("go"), "").expect("the directory is the test's");
    let view = lab.cluster.await_success(&id);
    assert_ended_consistently(&view);
    assert_eq!(view.attempts("killed"), 0, "{}", view.0);
    lab.assert_output();
}

#[test]
fn a_healthy_job_has_no_backups_and_its_workers_get_scores() {
    let lab = Lab::start();
    // Every task takes as long as the others.
    let id = lab.submit("slow");
    let view = lab.cluster.await_success(&id);
    assert_ended_consistently(&view);
    assert_eq!(view.attempts("started"), ATTEMPTS, "{}", view.0);
    lab.assert_output();
    await_true("a worker has a score", || {
        let output = lab.cluster.vivat(&["node", "list", "-o", "json"]);
        let nodes = parse(&output);
        let mut nodes = nodes.as_array().into_iter().flatten();
        nodes.any(|node| node["score"].as_u64() > Some(0))
    });
}

/// A word count over a file of its own, cut into so many splits.
fn count(cluster: &Cluster, name: &str, splits: usize, flags: &[&str]) -> (Job, String) {
    let input = format!("{name}.txt");
    cluster.write_words(&input, splits * 16 * 1024, 7);
    let job = Job {
        input,
        output: name.to_owned(),
        split_bytes: 16 * 1024,
        reducers: 1,
        key: None,
    };
    let id = cluster.submit_with(&job, flags);
    (job, id)
}

#[test]
fn jobs_share_busy_workers_and_an_urgent_one_goes_first() {
    let busy = Extras {
        worker_args: ["--load-probability", "1"].map(str::to_owned).to_vec(),
        ..Extras::default()
    };
    let cluster = Cluster::start_with(Shape::default(), &busy);
    // Every attempt is delayed by three seconds, so the first job takes a while.
    let first = count(&cluster, "first", 12, &[]);
    cluster.await_job(&first.1, "an attempt", |view| {
        view.0["map"]["running"].as_u64() > Some(0)
    });
    let second = count(&cluster, "second", 2, &[]);
    let urgent = count(&cluster, "urgent", 2, &["--priority", "90"]);
    let goes_on = |id: &str| !cluster.show(id).expect("the leader answers").is_final();
    cluster.await_success(&urgent.1);
    assert!(goes_on(&second.1), "the urgent job was not the first");
    cluster.await_success(&second.1);
    assert!(goes_on(&first.1), "the second job was starved by the first");
    cluster.await_success(&first.1);
    for (job, _) in [first, second, urgent] {
        assert_same_as_oracle(&cluster, &job);
    }
}

#[test]
fn busy_workers_hand_back_what_goes_by_load_and_that_is_no_failure() {
    let busy = Extras {
        worker_args: ["--load-probability", "0.5"].map(str::to_owned).to_vec(),
        ..Extras::default()
    };
    let cluster = Cluster::start_with(Shape::default(), &busy);
    let (job, id) = count(&cluster, "words", 6, &["--policy", "least-loaded"]);
    let view = cluster.await_success(&id);
    assert_same_as_oracle(&cluster, &job);
    for field in ["failed", "lost"] {
        assert_eq!(view.attempts(field), 0, "{field}: {}", view.0);
    }
    // What is handed back never began, but its number is used up.
    let accepted = timeline(&cluster, &id, "accepted");
    let later = |row: &&Value| row["attempt"].as_u64() > Some(1);
    assert!(accepted.iter().any(|row| later(&row)), "{accepted:?}");
}
