//! Word count over 256 MiB: three masters and two workers of one slot, all on
//! this machine, beside `tr | sort | uniq -c` on the same file.
//!
//! Both counts are compared line by line before a time is printed. The cluster's
//! time is that of the command a user types, from its start to its exit, with
//! the output on disk.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Cluster, Shape, describe, output_bytes};

const REPEATS: usize = 3;

/// Counts so many MiB of generated words in each way, and prints the times.
pub fn run(mebibytes: usize) {
    let cluster = Cluster::start(Shape::default());
    let size = format!("{mebibytes}MiB");
    let generated = cluster.vivat(&["gen", "words", "--size", &size, "--seed", "1", "words.txt"]);
    assert!(generated.status.success(), "{}", describe(&generated));

    println!("word count of {mebibytes} MiB, best and all of {REPEATS}, s");
    let mut ours = Vec::new();
    let mut alone = Vec::new();
    let mut theirs = Vec::new();
    // Side by side in one run, so that a slow minute of the machine hits all.
    for repeat in 0..REPEATS {
        ours.push(time_cluster(&cluster, &format!("out-{repeat}")));
        alone.push(time_shell(&cluster, &alone_line(repeat)));
        theirs.push(time_shell(&cluster, SHELL_LINE));
    }
    compare(&cluster);
    report("3 masters, 2 workers of 1 slot, submit to exit", &ours);
    report("one process, vivat run, start to exit", &alone);
    report("LC_ALL=C tr | sort | uniq -c", &theirs);
}

const SHELL_LINE: &str =
    "LC_ALL=C tr -cs 'A-Za-z' '\\n' <words.txt | LC_ALL=C sort | LC_ALL=C uniq -c >theirs.txt";

fn alone_line(repeat: usize) -> String {
    let binary = env!("CARGO_BIN_EXE_vivat");
    format!("{binary} run word-count words.txt --output alone-{repeat}")
}

fn time_cluster(cluster: &Cluster, output: &str) -> Duration {
    let args = [
        "submit",
        "word-count",
        "words.txt",
        "--output",
        output,
        "--wait",
    ];
    let started = Instant::now();
    let result = cluster.vivat(&args);
    let took = started.elapsed();
    assert!(result.status.success(), "{}", describe(&result));
    took
}

fn time_shell(cluster: &Cluster, line: &str) -> Duration {
    let started = Instant::now();
    let status = Command::new("bash")
        .args(["-o", "pipefail", "-c", line])
        .current_dir(cluster.dir())
        .env_remove("VIVAT_CLUSTER")
        .stderr(std::process::Stdio::null())
        .status()
        .expect("bash can be started");
    let took = started.elapsed();
    assert!(status.success(), "{line}: {status}");
    took
}

/// Both counts, word by word.
fn compare(cluster: &Cluster) {
    let ours = output_bytes(&cluster.path("out-0"));
    let ours: BTreeMap<&str, &str> = std::str::from_utf8(&ours)
        .expect("words are UTF-8")
        .lines()
        .map(|line| line.split_once('\t').expect("a tab"))
        .collect();
    let theirs = std::fs::read_to_string(cluster.path("theirs.txt")).expect("uniq wrote it");
    let theirs: BTreeMap<&str, &str> = theirs
        .lines()
        .filter_map(|line| line.trim_start().split_once(' '))
        .map(|(count, word)| (word, count))
        .filter(|(word, _)| !word.is_empty())
        .collect();
    assert!(ours == theirs, "the counts differ");
    println!("  {} distinct words, the same counts", ours.len());
}

fn report(what: &str, times: &[Duration]) {
    let seconds: Vec<String> = times
        .iter()
        .map(|time| format!("{:.2}", time.as_secs_f64()))
        .collect();
    let best = times.iter().min().copied().unwrap_or_default();
    println!("{what}: {:.2}  ({})", best.as_secs_f64(), seconds.join(" "));
}
