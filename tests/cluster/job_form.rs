//! The standard form of a job: what a job file may say, what a plan tells before
//! anything runs, and what is refused where it is typed.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::harness::{Cluster, Shape, describe, output_bytes, parse, vivat};

const CSV: &str = "team,points\n";

fn cluster() -> Cluster {
    Cluster::start(Shape::default())
}

fn write(cluster: &Cluster, name: &str, text: &str) {
    fs::write(cluster.path(name), text).expect("the directory is the test's");
}

fn plan(cluster: &Cluster, args: &[&str]) -> Value {
    let args = [&["job", "plan"], args, &["-o", "json"]].concat();
    let output = cluster.vivat(&args);
    assert!(output.status.success(), "{args:?}: {}", describe(&output));
    parse(&output)
}

/// The words of [`Cluster::write_words`] by how often they occur.
fn counts(text: &str) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for word in text.split(|letter: char| !letter.is_alphabetic()) {
        if !word.is_empty() {
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}

#[test]
fn a_plan_says_what_the_job_then_is_and_runs_nothing() {
    let cluster = cluster();
    cluster.write_words("a.txt", 100_000, 1);
    cluster.write_words("b.txt", 30_000, 2);
    let rows: String = (0..4_000)
        .map(|row| format!("t{},{row}\n", row % 7))
        .collect();
    write(&cluster, "games.csv", &format!("{CSV}{rows}"));
    let put = cluster.vivat(&["data", "put", "words", "*.txt"]);
    assert!(put.status.success(), "{}", describe(&put));
    let jobs: [&[&str]; 3] = [
        &[
            "word-count",
            "?.txt",
            "--split-size",
            "7000",
            "--reducers",
            "3",
        ],
        &["word-count", "vivat://words", "--split-size", "9000"],
        &[
            "group-by",
            "games.csv",
            "--format=csv",
            "--split-size=5000",
            "-pkey=team",
            "-paggregate=sum(points)",
        ],
    ];
    for job in jobs {
        let planned = plan(&cluster, job);
        assert!(cluster.jobs().is_empty(), "nothing was submitted");
        assert_eq!(planned["workers"].as_array().map(Vec::len), Some(2));
        assert_eq!(planned["slots"], 2, "{planned}");
    }
    for (job, splits_min) in jobs.iter().zip([15, 15, 5]) {
        let planned = plan(&cluster, job);
        let run = cluster.vivat(&[&["submit", "--wait", "-o", "json"], *job].concat());
        let ran = parse(&run);
        assert_eq!(planned["splits"], ran["map"]["total"], "{job:?}");
        assert_eq!(planned["bytes"], ran["input_bytes"], "{job:?}");
        assert_eq!(planned["parts"], ran["reduce"]["total"], "{job:?}");
        assert!(planned["splits"].as_u64() >= Some(splits_min), "{planned}");
    }
}

#[test]
fn a_plan_says_what_would_be_overwritten() {
    let cluster = cluster();
    cluster.write_words("a.txt", 1_000, 1);
    let fate = |output: &str, flags: &[&str]| {
        let args = [&["word-count", "a.txt", "--output", output], flags].concat();
        let planned = plan(&cluster, &args);
        let fate = planned["output_fate"].as_str().expect("a word").to_owned();
        (fate, planned["replaced"]["files"].as_u64())
    };
    let word = |word: &str| (word.to_owned(), None);
    for output in ["out", "vivat://counted"] {
        assert_eq!(fate(output, &[]), word("created"), "{output}");
        let run = [
            "submit",
            "word-count",
            "a.txt",
            "--wait",
            "--output",
            output,
        ];
        let run = cluster.vivat(&run);
        assert!(run.status.success(), "{}", describe(&run));
        assert_eq!(fate(output, &[]), word("refused"), "{output}");
        let (replaced, files) = fate(output, &["--overwrite"]);
        assert_eq!(replaced, "replaced", "{output}");
        assert!(files >= Some(4), "{files:?} files of {output}");
    }
    fs::create_dir(cluster.path("mine")).expect("the directory is the test's");
    assert_eq!(fate("mine", &["--overwrite"]), word("refused"));
}

#[test]
fn a_plan_needs_no_cluster_and_finds_what_is_missing() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("a.txt"), "a b\n").expect("it is ours");
    let plan = |args: &[&str]| {
        let args = [&["job", "plan"], args].concat();
        vivat(folder.path(), None, &args)
    };
    let output = plan(&["word-count", "a.txt"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", describe(&output));
    for part in ["1 file, 4B, 1 split", "4 parts", "no cluster is named"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    assert_eq!(plan(&["word-count", "b.txt"]).status.code(), Some(3));
    assert_eq!(plan(&["word-count", "."]).status.code(), Some(2));
}

#[test]
fn what_a_program_refuses_is_refused_before_anything_is_sent() {
    let cluster = cluster();
    write(&cluster, "games.csv", CSV);
    write(&cluster, "a.txt", "a\n");
    let rounds = "input = \"a.txt\"\n[[step]]\nprogram = \"word-count\"\nrounds = 3\n";
    write(&cluster, "rounds.toml", rounds);
    let misspelt = "input = \"a.txt\"\nreducer = 2\n[[step]]\nprogram = \"word-count\"\n";
    write(&cluster, "misspelt.toml", misspelt);
    let group = ["group-by", "games.csv", "--format=csv", "-pkey=team"];
    for (args, told) in [
        (
            [&group[..], &["-paggregate=sum(points"]].concat(),
            "aggregate",
        ),
        ([&group[..], &["-pderive=x = points +"]].concat(), "derive"),
        (vec!["sample", "a.txt", "-pfraction=2"], "fraction"),
        (vec!["rounds.toml"], "does not close rounds"),
        (vec!["misspelt.toml"], "did you mean `reducers`"),
    ] {
        for command in [&["submit"][..], &["run"], &["job", "plan"]] {
            let output = cluster.vivat(&[command, &args[..]].concat());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{}", describe(&output));
            assert!(stderr.contains(told), "{args:?}: {stderr}");
        }
    }
    assert!(cluster.jobs().is_empty(), "nothing was submitted");
}

#[test]
fn steps_read_what_was_written_before_them_by_name_and_the_jobs_input_when_asked() {
    let cluster = cluster();
    cluster.write_words("a.txt", 200_000, 5);
    let job = r#"
        name      = "common-words"
        comment   = "words by how often they occur, then how many occur so often"
        source    = "made up for a test"
        size-hint = 200000
        input     = "a.txt"
        split-size = 20000
        output    = "out"

        [[step]]
        name = "counts"
        program = "word-count"

        [[step]]
        name = "frequencies"
        input = "counts"
        program = "sort"
        reducers = 1
        params = { column = 2, numeric = true, reverse = true }

        [[step]]
        input = "frequencies"
        program = "sample"
        params = { fraction = 1 }
    "#;
    write(&cluster, "job.toml", job);
    let planned = plan(&cluster, &["job.toml"]);
    assert_eq!(planned["source"], "made up for a test");
    assert_eq!(planned["size_hint_bytes"], 200_000);
    assert_eq!(planned["steps"].as_array().map(Vec::len), Some(3));
    assert_eq!(planned["steps"][1]["splits"], Value::Null);
    let run = cluster.vivat(&["submit", "job.toml", "--wait"]);
    assert!(run.status.success(), "{}", describe(&run));
    let text = fs::read_to_string(cluster.path("a.txt")).expect("it was written above");
    let mut expected: Vec<String> = counts(&text)
        .iter()
        .map(|(word, count)| format!("{word}\t{count}"))
        .collect();
    expected.sort();
    let found = output_bytes(&cluster.path("out"));
    let mut found: Vec<String> = String::from_utf8_lossy(&found)
        .lines()
        .map(str::to_owned)
        .collect();
    found.sort();
    assert_eq!(found, expected);

    let far = job.replace("input = \"frequencies\"", "input = \"counts\"");
    write(&cluster, "far.toml", &far);
    let refused = cluster.vivat(&["submit", "far.toml"]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("`counts` is not right before it"),
        "{stderr}"
    );
}
