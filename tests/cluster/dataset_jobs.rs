//! Jobs that read datasets and write them, undisturbed and while workers and
//! leaders die (S2, S6, S15, F1, F21).

use std::fs;

use crate::datasets::{await_agreement, copies, refused, three_workers, vivat};
use crate::harness::{Cluster, JobView, describe, output_bytes, parse, words};

/// Blocks of an input: many, so that every worker has some.
const BLOCKS: usize = 30;
const BYTES: usize = 2 * 1024 * 1024;
/// For a job that lasts until something has happened to it.
const MANY_BYTES: usize = 24 * 1024 * 1024;

/// Puts generated words under a name and returns what counting them must give.
fn put_words(cluster: &Cluster, name: &str, bytes: usize, seed: u64) -> Vec<u8> {
    let file = format!("{name}.txt");
    fs::write(cluster.path(&file), words::generate(bytes, seed))
        .expect("the test writes its input");
    let block_size = (bytes / BLOCKS).to_string();
    vivat(
        cluster,
        &["data", "put", name, &file, "--block-size", &block_size],
    );
    let oracle = ["run", "--sequential", "word-count", &file];
    vivat(cluster, &oracle)
}

fn submit(cluster: &Cluster, args: &[&str]) -> String {
    let printed = vivat(cluster, &[&["submit"], args].concat());
    let id = String::from_utf8(printed).expect("ids are text");
    id.trim_end().to_owned()
}

/// The lines of a word count, however many partitions it has.
fn sorted(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines
}

fn assert_counts(cluster: &Cluster, job: &str, oracle: &[u8]) {
    let output = vivat(cluster, &["job", "output", job]);
    assert!(sorted(&output) == sorted(oracle), "{job} counted otherwise");
}

#[test]
fn result_is_a_dataset_and_the_next_jobs_input() {
    let cluster = Cluster::start(three_workers());
    let oracle = put_words(&cluster, "words", BYTES, 31);
    let job = submit(&cluster, &["word-count", "vivat://words"]);
    let view = cluster.await_success(&job);
    assert_eq!(view.0["output"], format!("vivat://{job}"));
    assert_counts(&cluster, &job, &oracle);
    // Of what maps read, every byte came from somewhere, and most from near by.
    let counters = parse(&cluster.vivat(&["job", "counters", &job, "-o", "json"]));
    let sum = |name: &str| counters[name].as_u64().unwrap_or(0);
    let (local, remote) = (sum("map.input.local.bytes"), sum("map.input.remote.bytes"));
    assert!(local + remote >= BYTES as u64, "{counters}");
    assert!(
        local > remote,
        "maps do not go where their blocks are: {counters}"
    );

    let next = submit(
        &cluster,
        &[
            "grep",
            &format!("vivat://{job}"),
            "-p",
            "pattern=.",
            "--output",
            "vivat://all",
        ],
    );
    cluster.await_success(&next);
    let printed = vivat(&cluster, &["data", "cat", "all"]);
    let printed = String::from_utf8(printed).expect("words are UTF-8");
    let named = format!("vivat://{job}/part-");
    let counted = printed.lines().map(|line| {
        let (_part, rest) = line
            .strip_prefix(&named)
            .and_then(|rest| rest.split_once(':'))
            .unwrap_or_else(|| panic!("grep names the file: {line}"));
        format!("{rest}\n")
    });
    let mut counted: Vec<String> = counted.collect();
    counted.sort_unstable();
    let oracle: Vec<String> = sorted(&oracle)
        .iter()
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    assert!(counted == oracle, "the chain lost or changed a line");
    assert!(copies(&cluster, "all").iter().all(|&copies| copies == 2));
    await_agreement(&cluster);
}

#[test]
fn job_on_datasets_outlives_a_worker_and_the_leader() {
    let mut cluster = Cluster::start(three_workers());
    let oracle = put_words(&cluster, "words", MANY_BYTES, 32);
    let args = ["word-count", "vivat://words", "--split-size", "16KiB"];
    let job = submit(&cluster, &args);
    cluster.await_job(&job, "maps under way", JobView::is_amid_maps);
    cluster.kill_worker(1);
    let kill = cluster.kill_leader();
    cluster.await_other_leader(kill);
    cluster.await_success(&job);
    assert_counts(&cluster, &job, &oracle);
    cluster.await_status("the loss", |status| status.workers_lost() == 1);
    await_agreement(&cluster);
    for name in ["words", job.as_str()] {
        assert!(copies(&cluster, name).iter().all(|&copies| copies == 2));
    }
    cluster.assert_serves_another_job();
}

#[test]
fn dataset_that_a_job_reads_stays_until_the_job_ends() {
    let mut cluster = Cluster::start(three_workers());
    let oracle = put_words(&cluster, "words", BYTES, 33);
    // Nobody runs it before it is looked at.
    for worker in 0..3 {
        cluster.kill_worker(worker);
    }
    let job = submit(
        &cluster,
        &["word-count", "vivat://words", "--output", "vivat://counts"],
    );
    let said = refused(&cluster, 4, &["data", "rm", "words", "--yes"]);
    assert!(said.contains(&job), "{said}");
    for worker in 0..3 {
        cluster.restart_worker(worker);
    }
    cluster.await_success(&job);
    vivat(&cluster, &["data", "rm", "words", "--yes"]);
    assert_counts(&cluster, &job, &oracle);
    await_agreement(&cluster);
}

#[test]
fn name_of_a_result_is_taken_once_unless_it_may_be_replaced() {
    let cluster = Cluster::start(three_workers());
    put_words(&cluster, "words", BYTES, 34);
    let second = put_words(&cluster, "other", BYTES, 35);
    let count = |input: &str, more: &[&str]| {
        let args = [
            "submit",
            "word-count",
            input,
            "--output",
            "vivat://counts",
            "--wait",
        ];
        cluster.vivat(&[&args[..], more].concat())
    };
    let first = count("vivat://words", &[]);
    assert!(first.status.success(), "{}", describe(&first));
    let refused = count("vivat://other", &[]);
    assert_eq!(refused.status.code(), Some(4), "{}", describe(&refused));
    let replaced = count("vivat://other", &["--overwrite"]);
    assert!(replaced.status.success(), "{}", describe(&replaced));
    let counts = vivat(&cluster, &["data", "cat", "counts"]);
    assert!(sorted(&counts) == sorted(&second), "not the later result");
    // What was replaced is gone from the disks too.
    await_agreement(&cluster);
}

#[test]
fn cancelled_job_leaves_no_block_behind() {
    let mut cluster = Cluster::start(three_workers());
    put_words(&cluster, "words", MANY_BYTES, 36);
    let job = submit(
        &cluster,
        &["word-count", "vivat://words", "--split-size", "4KiB"],
    );
    cluster.await_job(&job, "maps under way", JobView::is_amid_maps);
    vivat(&cluster, &["job", "cancel", &job, "--yes"]);
    let ended = cluster.await_job(&job, "its end", JobView::is_final);
    assert_eq!(ended.state(), "cancelled");
    refused(&cluster, 3, &["data", "cat", &job]);
    await_agreement(&cluster);
    // A leader that comes new to it finds nothing left to do either.
    let kill = cluster.kill_leader();
    cluster.await_other_leader(kill);
    await_agreement(&cluster);
}

#[test]
fn drained_worker_can_go_and_nothing_is_missed() {
    let mut cluster = Cluster::start(three_workers());
    let oracle = put_words(&cluster, "words", MANY_BYTES, 37);
    let job = submit(
        &cluster,
        &["word-count", "vivat://words", "--split-size", "16KiB"],
    );
    cluster.await_job(&job, "maps under way", JobView::is_amid_maps);
    let nodes = parse(&cluster.vivat(&["node", "list", "-o", "json"]));
    let node = nodes[0]["worker_id"].as_str().expect("an id").to_owned();
    let pid = nodes[0]["pid"].as_u64();
    vivat(
        &cluster,
        &["node", "drain", &node, "--wait", "--timeout", "90s"],
    );
    let index = (0..3)
        .find(|index| Some(u64::from(cluster.worker(*index).id())) == pid)
        .expect("one of ours");
    cluster.kill_worker(index);
    cluster.await_success(&job);
    assert_counts(&cluster, &job, &oracle);
    let words = vivat(&cluster, &["data", "cat", "words"]);
    assert!(words == fs::read(cluster.path("words.txt")).unwrap());
    cluster.await_status("the loss", |status| status.workers_lost() == 1);
    await_agreement(&cluster);
}

#[test]
fn lines_are_numbered_through_splits_that_end_with_blocks() {
    let cluster = Cluster::start(three_workers());
    put_words(&cluster, "words", BYTES, 38);
    let grep = ["-p", "pattern=[Tt]he", "-p", "line-numbers=true"];
    let file = ["run", "--sequential", "grep", "words.txt"];
    let oracle = vivat(&cluster, &[&file[..], &grep].concat());
    // Blocks have 68 KiB and a few bytes: every other split is a short one.
    let dataset = ["grep", "vivat://words", "--split-size", "60KiB"];
    let job = submit(&cluster, &[&dataset[..], &grep].concat());
    cluster.await_success(&job);
    let found = vivat(&cluster, &["job", "output", &job]);
    let found = String::from_utf8(found).expect("words are UTF-8");
    let expected = String::from_utf8(oracle).expect("words are UTF-8");
    assert!(!expected.is_empty());
    assert!(found.replace("vivat://words:", "") == expected.replace("words.txt:", ""));
}

#[test]
fn files_of_another_machine_are_brought_over_and_the_result_comes_back() {
    let cluster = Cluster::start(three_workers());
    fs::create_dir(cluster.path("in")).unwrap();
    for (name, seed) in [("in/a.txt", 41), ("in/b.txt", 42)] {
        fs::write(cluster.path(name), words::generate(100_000, seed)).unwrap();
    }
    let grep = ["grep", "in/*.txt", "-p", "pattern=[Tt]he"];
    let oracle = vivat(&cluster, &[&["run", "--sequential"], &grep[..]].concat());
    assert!(!oracle.is_empty());
    // A mount namespace of its own makes it a machine whose files no worker sees.
    let elsewhere = |args: &[&str]| {
        std::process::Command::new("unshare")
            .args(["--mount", env!("CARGO_BIN_EXE_vivat")])
            .args(args)
            .current_dir(cluster.dir())
            .env("VIVAT_CLUSTER", cluster.addresses())
            .output()
            .expect("unshare runs")
    };
    if !elsewhere(&["--version"]).status.success() {
        println!("SKIPPED: no mount namespace can be made here");
        return;
    }
    let printed = elsewhere(&[&["run"], &grep[..]].concat());
    assert!(printed.status.success(), "{}", describe(&printed));
    assert!(
        printed.stdout == oracle,
        "names and lines as if they were here"
    );
    let waits = ["--output", "out", "--wait"];
    let fetched = elsewhere(&[&["submit"], &grep[..], &waits].concat());
    assert!(fetched.status.success(), "{}", describe(&fetched));
    assert!(output_bytes(&cluster.path("out")) == oracle);
    let nobody = elsewhere(&[&["submit"], &grep[..], &waits[..2]].concat());
    assert_eq!(nobody.status.code(), Some(2), "{}", describe(&nobody));
    let missing = elsewhere(&["run", "word-count", "nothing.txt"]);
    assert_eq!(missing.status.code(), Some(3), "{}", describe(&missing));
    // Nothing of it stays.
    assert_eq!(vivat(&cluster, &["data", "ls", "-o", "name"]), b"");
    await_agreement(&cluster);
}
