//! The seven checks of the MIT MapReduce lab, on real processes.
//!
//! Word count, indexer, maps in parallel, reduces in parallel, every task
//! exactly once, output final before anyone says so, and crashes (S1, S2, L1).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::harness::{Cluster, DEADLINE, Job, JobView, Shape, assert_same_as_oracle};
use crate::lab_cluster::{FILES, Lab, REDUCERS};

/// Every map and every reduce, its first attempt and no other.
fn assert_each_ran_once(lab: &Lab, view: &JobView) {
    let once = |kind: &str, tasks: usize| -> Vec<String> {
        (0..tasks).map(|task| format!("{kind}-{task}-0")).collect()
    };
    let reducers = usize::try_from(REDUCERS).expect("few");
    assert_eq!(lab.marks("map-"), once("map", FILES), "{}", view.0);
    assert_eq!(lab.marks("reduce-"), once("reduce", reducers), "{}", view.0);
    for field in ["failed", "lost", "killed", "reruns_of_completed"] {
        assert_eq!(view.attempts(field), 0, "{field}: {}", view.0);
    }
}

#[test]
fn word_count_of_a_cluster_is_the_oracles() {
    let cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 512 * 1024, 21);
    let job = Job {
        input: "words.txt".to_owned(),
        output: "out".to_owned(),
        split_bytes: 64 * 1024,
        reducers: 5,
        key: None,
    };
    let id = cluster.submit(&job);
    cluster.await_success(&id);
    assert_same_as_oracle(&cluster, &job);
}

#[test]
fn index_of_a_cluster_is_the_oracles() {
    let lab = Lab::start();
    let id = lab.submit("plain");
    let view = lab.cluster.await_success(&id);
    assert_each_ran_once(&lab, &view);
    lab.assert_output();
}

/// Two tasks of a kind saw each other, and were not in one process.
fn assert_two_at_once(kind: &str) {
    let lab = Lab::start();
    let id = lab.submit(&format!("{kind}s-wait-for-company"));
    let view = lab.cluster.await_success(&id);
    // A mark that a lost attempt left behind would be no company.
    assert_each_ran_once(&lab, &view);
    let met = fs::read_to_string(lab.cluster.path("marks").join(format!("met-{kind}")));
    let met = met.expect("a task that met nobody fails");
    let processes: BTreeSet<&str> = met.split(' ').collect();
    assert_eq!(processes.len(), 2, "processes {met}");
    lab.assert_output();
}

#[test]
fn maps_run_at_the_same_time_on_different_workers() {
    assert_two_at_once("map");
}

#[test]
fn reduces_run_at_the_same_time_on_different_workers() {
    assert_two_at_once("reduce");
}

#[test]
fn every_task_runs_exactly_once_when_nothing_fails_however_slow_it_is() {
    let lab = Lab::start();
    let id = lab.submit("slow");
    let view = lab.cluster.await_success(&id);
    assert_each_ran_once(&lab, &view);
    lab.assert_output();
}

/// The names in a directory; none while it is not there.
fn listing(dir: &Path) -> Option<BTreeSet<String>> {
    let entries = fs::read_dir(dir).ok()?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("it can be listed").file_name();
        name.to_string_lossy().into_owned()
    };
    Some(entries.map(name).collect())
}

#[test]
fn output_is_final_when_it_appears_and_before_anyone_says_that_the_job_is_done() {
    let lab = Lab::start();
    let id = lab.submit("slow");
    let out = lab.cluster.path("out");
    let deadline = Instant::now() + DEADLINE;
    let mut looks = 0_u64;
    // As fast as it goes: what is sought is a moment in which it is not whole.
    let first = loop {
        if let Some(names) = listing(&out) {
            break names;
        }
        looks += 1;
        assert!(Instant::now() < deadline, "no output within {DEADLINE:?}");
        std::thread::yield_now();
    };
    lab.assert_output();
    assert!(looks > 0, "it was there before the first look");
    assert!(first.contains("_SUCCESS"), "{first:?}");
    let parts = first.iter().filter(|name| name.starts_with("part-"));
    let reducers = usize::try_from(REDUCERS).expect("few");
    assert_eq!(parts.count(), reducers, "{first:?}");
    lab.cluster.await_success(&id);
    assert_eq!(listing(&out), Some(first), "it changed after it appeared");
    lab.assert_output();
}

#[test]
fn a_job_whose_program_ends_its_workers_again_and_again_has_the_oracles_output() {
    let mut lab = Lab::start();
    let id = lab.submit("crash");
    let (view, ends) = lab.restart_workers_until_the_end(&id);
    assert_eq!(view.state(), "succeeded", "{}", view.0);
    // The first attempts of every third map and reduce end their process.
    let due = FILES.div_ceil(3) + usize::try_from(REDUCERS).expect("few").div_ceil(3);
    assert!(ends >= due, "{ends} processes ended, {due} had to");
    let again = lab.marks("map-0-1").len() + lab.marks("reduce-0-1").len();
    assert_eq!(again, 2, "a map and a reduce that crashed ran again");
    lab.assert_output();
    lab.cluster.assert_serves_another_job();
}
