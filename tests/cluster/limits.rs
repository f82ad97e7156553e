//! Every bound of `docs/limits.md` that a user can meet: who passes one is told so
//! by its name, with the exit code of its kind, and nothing is tried again. What
//! takes a program of its own, damage or days to meet is tried where that is at
//! hand: see the table in `docs/testing.md`.

use std::fs::{self, File};
use std::process::Output;

use crate::harness::{Cluster, JobView, Shape, describe, vivat};

const GIB: u64 = 1024 * 1024 * 1024;
/// Commands that wait for one job, each as long as a command may take.
const WAITS_MAX: usize = 3;

fn small_cluster() -> Cluster {
    let cluster = Cluster::start(Shape {
        masters: 1,
        workers: 1,
        slots: 1,
    });
    fs::write(cluster.path("in.txt"), "one two two\n").expect("the directory is the test's");
    cluster
}

/// The code, and a message for a person that says all of `parts`.
fn assert_refused(what: &str, output: &Output, code: i32, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{what}: {}",
        describe(output)
    );
    assert!(output.stdout.is_empty(), "{what}: {}", describe(output));
    for part in parts {
        assert!(stderr.contains(part), "{what}: no {part}: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
}

/// Submits it, and sees one attempt fail for good.
fn assert_fails_once(cluster: &Cluster, args: &[&str], code: &str, parts: &[&str]) -> JobView {
    let submitted = cluster.vivat(&[&["submit"], args].concat());
    assert!(
        submitted.status.success(),
        "{args:?}: {}",
        describe(&submitted)
    );
    let id = String::from_utf8(submitted.stdout).expect("ids are text");
    let id = id.trim_end();
    // Millions of splits take their time where the machine is busy.
    let mut waits = (0..WAITS_MAX).map(|_| cluster.vivat(&["job", "wait", id]));
    let waited = waits.find(|waited| waited.status.code().is_some());
    let waited = waited.unwrap_or_else(|| panic!("{args:?} goes on and on"));
    assert_refused(args[0], &waited, 1, parts);
    let view = cluster.show(id).expect("the leader answers");
    assert_eq!(view.state(), "failed", "{}", view.0);
    assert_eq!(view.0["failure"]["code"], code, "{}", view.0);
    assert_eq!(view.attempts("failed"), 1, "no retry helps: {}", view.0);
    view
}

#[test]
fn what_a_specification_cannot_hold_is_refused_when_it_is_submitted() {
    let cluster = small_cluster();
    let submit = |args: &[&str]| cluster.vivat(&[&["submit", "word-count"], args].concat());
    let long = |bytes: usize| "x".repeat(bytes);

    let many: Vec<String> = (0..4_097)
        .map(|number| format!("file:///{number}"))
        .collect();
    let mut args: Vec<&str> = vec!["--output", "vivat://out"];
    args.extend(many.iter().map(String::as_str));
    assert_refused(
        "inputs",
        &submit(&args),
        2,
        &["input", "1 to 4096 patterns"],
    );

    let pattern = format!("pattern={}", long(48 * 1024));
    let grep = ["submit", "grep", "in.txt", "-p", &pattern];
    let whole = ["49152 bytes for the whole"];
    assert_refused("bytes", &cluster.vivat(&grep), 2, &whole);

    let reducers = submit(&["in.txt", "--reducers", "4097"]);
    assert_refused("reducers", &reducers, 2, &["reducers", "4096"]);
    let none = submit(&["in.txt", "--reducers", "0"]);
    assert_refused("no reducers", &none, 2, &["reducers", "1"]);

    let name = submit(&["in.txt", "--name", &long(129)]);
    assert_refused("name", &name, 2, &["name", "128 bytes"]);
    let path = long(4_097);
    let path = submit(&["in.txt", "--output", &path]);
    assert_refused("path", &path, 2, &["output", "4096 bytes"]);
    let priority = submit(&["in.txt", "--priority", "101"]);
    assert_refused("priority", &priority, 2, &["priority", "100"]);
    let attempts = submit(&["in.txt", "--max-attempts", "0"]);
    assert_refused("attempts", &attempts, 2, &["max-attempts"]);
    assert!(cluster.jobs().is_empty(), "something was taken");
    cluster.assert_serves_another_job();
}

#[test]
fn what_a_job_file_cannot_hold_is_refused_when_it_is_submitted() {
    let cluster = small_cluster();
    let step = "[[step]]\nprogram = \"word-count\"\n";
    let head = "input = [\"in.txt\"]\n";
    let side: String = (0..65)
        .map(|number| format!("side-{number} = \"in.txt\"\n"))
        .collect();
    let files = [
        (
            "steps",
            format!("{head}{}", step.repeat(65)),
            "1 to 64 steps",
        ),
        (
            "repeats",
            format!("{head}{step}rounds = 2\n"),
            "does not close rounds",
        ),
        (
            "reducers",
            format!("{head}{step}reducers = 4097\n"),
            "1 to 4096",
        ),
        (
            "side files",
            format!("{head}[side-files]\n{side}{step}"),
            "at most 64",
        ),
    ];
    for (what, text, said) in files {
        fs::write(cluster.path("job.toml"), text).expect("the directory is the test's");
        assert_refused(what, &cluster.vivat(&["submit", "job.toml"]), 2, &[said]);
    }
    assert!(cluster.jobs().is_empty(), "something was taken");
}

#[test]
fn more_splits_files_and_segments_than_a_plan_holds_fail_the_job_at_once() {
    let cluster = small_cluster();
    let file = File::create(cluster.path("zeros")).expect("the directory is the test's");
    file.set_len(4_000_001).expect("it is sparse");
    let args = ["word-count", "zeros", "--output", "a", "--split-size", "1"];
    let parts = ["plan is too large", "4000000 splits", "--split-size"];
    assert_fails_once(&cluster, &args, "plan-too-large", &parts);

    // 80,000 splits for 4,096 reducers are 328 million segments.
    let args = ["word-count", "zeros", "--output", "b", "--split-size", "50"];
    let args = [&args[..], &["--reducers", "4096"]].concat();
    let parts = ["plan is too large", "segments", "268435456"];
    assert_fails_once(&cluster, &args, "plan-too-large", &parts);

    fs::create_dir(cluster.path("many")).expect("the directory is the test's");
    for number in 0..5_000 {
        File::create(cluster.path(&format!("many/{number}"))).expect("it is the test's");
    }
    // The same files again and again are as many.
    let args = [&["word-count", "--output", "c"][..], &["many/*"; 201]].concat();
    let parts = ["plan is too large", "more than 1000000 input files"];
    assert_fails_once(&cluster, &args, "plan-too-large", &parts);
    cluster.assert_serves_another_job();
}

#[test]
fn a_record_longer_than_a_gibibyte_fails_its_job_at_once_and_the_worker_lives() {
    let cluster = small_cluster();
    let file = File::create(cluster.path("zeros")).expect("the directory is the test's");
    file.set_len(GIB + 2).expect("it is sparse");
    let args = ["grep", "zeros", "-p", "pattern=x", "--output", "out"];
    let args = [&args[..], &["--split-size", "2GiB"]].concat();
    let parts = ["zeros", "byte 0", "longer than 1073741824 bytes"];
    assert_fails_once(&cluster, &args, "invalid-input", &parts);
    let status = cluster.await_status("the worker", |status| status.workers_live() == 1);
    assert_eq!(status.workers_lost(), 0, "{}", status.0);
    cluster.assert_serves_another_job();
}

#[test]
fn a_key_longer_than_16_mib_fails_its_job_and_is_told_with_its_place() {
    let cluster = small_cluster();
    let mut text = b"one two\n".to_vec();
    text.resize(text.len() + 16 * 1024 * 1024 + 1, b'k');
    fs::write(cluster.path("word.txt"), &text).expect("the directory is the test's");
    let args = ["word-count", "word.txt", "--output", "out"];
    let parts = ["word.txt", "a key of 16777217 bytes", "16777216", "byte 8"];
    assert_fails_once(&cluster, &args, "invalid-input", &parts);
    cluster.assert_serves_another_job();
}

#[test]
fn a_worker_with_too_many_slots_or_too_little_memory_does_not_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let worker = |args: &[&str]| {
        let all = [&["worker", "--dir", "w", "--cluster", "127.0.0.1:1"], args].concat();
        vivat(dir.path(), None, &all)
    };
    let slots = worker(&["--slots", "1025"]);
    assert_refused("slots", &slots, 2, &["slots", "1024"]);
    let none = worker(&["--slots", "0"]);
    assert_refused("no slots", &none, 2, &["slots", "1"]);
    let memory = worker(&["--slots", "4", "--memory", "3MiB"]);
    assert_refused("memory", &memory, 2, &["memory", "1048576 bytes per slot"]);
    let packing = worker(&["--segment-compression", "gzip"]);
    assert_refused("packing", &packing, 2, &["lz4", "zstd", "none"]);
    let load = worker(&["--load-probability", "1.5"]);
    assert_refused("load", &load, 2, &["load-probability"]);
}

#[test]
fn names_and_values_that_are_too_long_are_refused() {
    let cluster = small_cluster();
    let name = "n".repeat(201);
    let put = cluster.vivat(&["data", "put", &name, "in.txt"]);
    assert_refused("a dataset's name", &put, 2, &["200 bytes"]);
    let value = cluster.vivat(&["value", "put", &name, "1"]);
    assert_refused("a value's name", &value, 2, &["200 bytes"]);
    fs::write(cluster.path("large"), "v".repeat(48 * 1024 + 1)).expect("it is the test's");
    let large = cluster.vivat(&["value", "put", "large", "@large"]);
    assert_refused("a value", &large, 2, &["at most 48KiB"]);
    let args = ["submit", "word-count", "in.txt", "--key", &"k".repeat(129)];
    let key = cluster.vivat(&args);
    assert_refused("a key", &key, 2, &["128 bytes"]);
    cluster.assert_serves_another_job();
}
