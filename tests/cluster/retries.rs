//! `job retry`: a job of several steps goes on from the step that failed; what was
//! done is not done again.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::harness::{Cluster, JobView, Shape, describe, output_bytes, parse};

/// Two steps: words are counted, then the lines that a side file's pattern names are
/// kept. The pattern's file is not there yet when the second step runs.
fn submit(cluster: &Cluster) -> String {
    cluster.write_words("words.txt", 512 * 1024, 5);
    let gate = cluster.path("gate");
    let job = format!(
        r#"
            name = "two-steps"
            input = "words.txt"
            output = "out"
            split-size = 65536
            reducers = 2
            max-attempts = 2

            [[step]]
            program = "word-count"

            [[step]]
            program = "exec"
            [step.params]
            mapper = ["/bin/sh", "-c", "test -e {gate} && exec cat"]
        "#,
        gate = gate.display()
    );
    fs::write(cluster.path("job.toml"), job).expect("it is ours");
    let output = cluster.vivat(&["submit", "job.toml"]);
    assert!(output.status.success(), "{}", describe(&output));
    let id = String::from_utf8(output.stdout).expect("ids are text");
    id.trim_end().to_owned()
}

fn await_failure(cluster: &Cluster, id: &str) -> JobView {
    cluster.await_job(id, "failure", |view| view.state() == "failed")
}

fn assert_mended(cluster: &Cluster, id: &str, failed: &JobView) {
    let view = cluster.await_success(id);
    let maps_before = failed.0["counters"]["map.input.records"].clone();
    assert!(!maps_before.is_null(), "{}", failed.0);
    // None of the maps of the first step ran again.
    let spans = cluster.vivat(&["job", "timeline", id, "-o", "json"]);
    assert!(spans.status.success(), "{}", describe(&spans));
    let spans = parse(&spans);
    let spans = spans.as_array().expect("a list");
    let is_map = |span: &&Value| span["step"] == 0 && span["kind"] == "map";
    let maps: Vec<&Value> = spans.iter().filter(is_map).collect();
    let tasks: BTreeSet<&str> = maps.iter().filter_map(|map| map["task"].as_str()).collect();
    let accepted = maps.iter().filter(|map| map["result"] == "accepted");
    assert!(tasks.len() >= 8, "{spans:?}");
    assert_eq!(accepted.count(), tasks.len(), "{spans:?}");
    assert_eq!(view.0["retries"], 1, "{}", view.0);
    assert_eq!(view.attempts("reruns_of_completed"), 0, "{}", view.0);

    let reference = cluster.vivat(&[
        "run",
        "word-count",
        "words.txt",
        "--reducers",
        "2",
        "--output",
        "reference",
    ]);
    assert!(reference.status.success(), "{}", describe(&reference));
    let lines = |dir: &str| {
        let bytes = output_bytes(&cluster.path(dir));
        let text = String::from_utf8(bytes).expect("words are text");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines("out"), lines("reference"));
}

#[test]
fn a_retried_job_goes_on_with_the_step_that_failed() {
    let cluster = Cluster::start(Shape::default());
    let id = submit(&cluster);
    let failed = await_failure(&cluster, &id);
    assert_eq!(failed.0["step"], 1, "{}", failed.0);

    let early = cluster.vivat(&["job", "retry", "job-999"]);
    assert_eq!(early.status.code(), Some(3), "{}", describe(&early));

    fs::write(cluster.path("gate"), "").expect("it is ours");
    let retried = cluster.vivat(&["job", "retry", &id, "--wait"]);
    assert!(retried.status.success(), "{}", describe(&retried));
    assert_mended(&cluster, &id, &failed);

    let again = cluster.vivat(&["job", "retry", &id]);
    assert_eq!(again.status.code(), Some(4), "{}", describe(&again));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("it succeeded"), "{said}");
}

#[test]
fn a_retry_outlives_the_leader_and_counts_once_under_its_key() {
    let mut cluster = Cluster::start(Shape::default());
    let id = submit(&cluster);
    let failed = await_failure(&cluster, &id);
    fs::write(cluster.path("gate"), "").expect("it is ours");

    let first = cluster.vivat(&["job", "retry", &id, "--key", "once"]);
    assert!(first.status.success(), "{}", describe(&first));
    let kill = cluster.kill_leader();
    cluster.await_other_leader(kill);
    let again = cluster.vivat(&["job", "retry", &id, "--key", "once"]);
    assert!(again.status.success(), "{}", describe(&again));
    assert_mended(&cluster, &id, &failed);
    cluster.assert_serves_another_job();
}
