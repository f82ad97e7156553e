//! Commands that do harm: every one ends as it is described, leaves no process behind,
//! and the worker serves on.

use std::fs;
use std::process::Output;

use crate::harness::{Cluster, Shape, describe, parse};

/// Processes whose command line holds the mark.
fn marked(mark: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").expect("there is /proc").flatten();
    all.filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    })
    .map(|entry| entry.file_name().to_string_lossy().into_owned())
    .filter(|name| *name != std::process::id().to_string())
    .collect()
}

fn run(cluster: &Cluster, script: &str, more: &[&str]) -> Output {
    let mapper = format!("mapper={script}");
    let output = format!("out-{}", cluster.jobs().len());
    let mut args = vec!["submit", "--wait", "exec", "words.txt", "-p", "shell=true"];
    args.extend(["-p", &mapper, "--output", &output, "--max-attempts", "2"]);
    args.extend(more);
    cluster.vivat(&args)
}

fn assert_fails(output: &Output, words: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{}", describe(output));
    let said = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(
            said.contains(word),
            "`{word}` is not in {}",
            describe(output)
        );
    }
}

#[test]
fn hostile_commands_fail_as_described_and_the_cluster_serves_on() {
    let cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 64 * 1024, 3);
    let mark = format!("mark-{}", std::process::id());

    let fails = run(
        &cluster,
        "cat > /dev/null; echo no luck today >&2; exit 1",
        &[],
    );
    let words = [
        "exited with code 1: no luck today",
        "words.txt bytes 0..",
        "after 2 attempts",
    ];
    assert_fails(&fails, &words);
    let logs = cluster.vivat(&["job", "logs", "job-1", "-o", "json"]);
    let entries = parse(&logs);
    assert_eq!(entries.as_array().expect("a list").len(), 2, "{entries}");
    assert_eq!(entries[0]["text"], "no luck today\n");
    assert_eq!(entries[0]["state"], "failed");

    let never_reads = run(
        &cluster,
        &format!("exec sh -c 'sleep 1000; :' {mark}"),
        &["-p", "timeout=1s"],
    );
    assert_fails(
        &never_reads,
        &["has neither read nor printed anything for 1 s"],
    );

    let floods = run(&cluster, "yes | head -n 300000", &["-p", "reducer=uniq -c"]);
    assert!(floods.status.success(), "{}", describe(&floods));

    let forks =
        format!("setsid sh -c 'sleep 1000; :' {mark} & sh -c 'sleep 1000; :' {mark} & echo x");
    let forks = run(&cluster, &forks, &[]);
    assert!(forks.status.success(), "{}", describe(&forks));

    let missing = cluster.vivat(&[
        "submit",
        "--wait",
        "exec",
        "words.txt",
        "-p",
        "mapper=no-such-tool -x",
        "--output",
        "o",
    ]);
    assert_eq!(missing.status.code(), Some(3), "{}", describe(&missing));
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(said.contains("command not found: no-such-tool"), "{said}");

    assert!(marked(&mark).is_empty(), "left: {:?}", marked(&mark));
    cluster.assert_serves_another_job();
}

#[test]
fn commands_die_with_their_job_and_with_their_worker() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 64 * 1024, 3);
    let mark = format!("mark-of-{}", std::process::id());
    let script =
        format!("mapper=setsid sh -c 'sleep 1000; :' {mark} & exec sh -c 'sleep 1000; :' {mark}");
    let submit = |output: &str| {
        let submitted = cluster.vivat(&[
            "submit",
            "exec",
            "words.txt",
            "-p",
            "shell=true",
            "-p",
            &script,
            "--output",
            output,
        ]);
        assert!(submitted.status.success(), "{}", describe(&submitted));
        String::from_utf8_lossy(&submitted.stdout).trim().to_owned()
    };
    let first = submit("first");
    cluster.poll(
        "two processes that sleep",
        || Some(marked(&mark)),
        |found| found.len() >= 2,
    );
    let cancelled = cluster.vivat(&["job", "cancel", &first]);
    assert!(cancelled.status.success(), "{}", describe(&cancelled));
    cluster.poll("none is left", || Some(marked(&mark)), Vec::is_empty);

    submit("second");
    cluster.poll(
        "two processes that sleep",
        || Some(marked(&mark)),
        |found| found.len() >= 2,
    );
    for index in 0..2 {
        cluster.kill_worker(index);
    }
    cluster.poll("none is left", || Some(marked(&mark)), Vec::is_empty);
}
