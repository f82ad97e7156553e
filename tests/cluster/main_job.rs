//! The main job without a cluster: one line, one process, the whole path.
//!
//! The witnesses in `data/expected` were made by grep and sort, see there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{describe, output_bytes, parse, vivat};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn samples() -> Vec<String> {
    ["harbour", "kitchen", "market", "parliament"]
        .iter()
        .map(|name| format!("data/input/{name}.txt"))
        .collect()
}

fn run(options: &[&str], program: &str) -> Vec<u8> {
    let samples = samples();
    let mut args = vec!["run", program];
    args.extend(samples.iter().map(String::as_str));
    args.extend(options);
    let output = vivat(&root(), None, &args);
    assert!(output.status.success(), "{args:?}: {}", describe(&output));
    output.stdout
}

fn sorted_lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    assert_eq!(lines.pop(), Some(b"".as_slice()), "the last line ends");
    lines.sort_unstable();
    lines
}

fn assert_same_lines(bytes: &[u8], expected: &str) {
    let expected = fs::read(root().join("data/expected").join(expected)).expect("it is there");
    assert!(
        sorted_lines(bytes) == sorted_lines(&expected),
        "other lines than expected:\n{}",
        String::from_utf8_lossy(bytes)
    );
}

#[test]
fn word_count_of_the_samples_is_what_grep_and_sort_make_of_them() {
    assert_same_lines(&run(&[], "word-count"), "word-count.tsv");
}

#[test]
fn word_count_knows_its_parameters() {
    assert_same_lines(
        &run(&["-p", "fold-case=true"], "word-count"),
        "word-count-fold-case.tsv",
    );
    assert_same_lines(
        &run(&["-p", "words=whitespace"], "word-count"),
        "word-count-whitespace.tsv",
    );
}

#[test]
fn word_count_does_not_depend_on_how_the_input_is_split() {
    let whole = run(&[], "word-count");
    for split in ["1", "7", "100", "2536"] {
        assert!(
            run(&["--split-size", split], "word-count") == whole,
            "split {split}"
        );
    }
    assert!(run(&["--sequential"], "word-count") == whole, "the oracle");
    assert_same_lines(&run(&["--reducers", "1"], "word-count"), "word-count.tsv");
}

#[test]
fn grep_prints_what_grep_prints_in_the_order_of_the_input() {
    let expected = fs::read(root().join("data/expected/grep.txt")).expect("it is there");
    for split in ["64", "1000000"] {
        let found = run(&["-p", "pattern=hree", "--split-size", split], "grep");
        assert!(found == expected, "{}", String::from_utf8_lossy(&found));
    }
}

#[test]
fn an_output_directory_holds_what_stdout_would() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = dir.path().join("out");
    let stdout = run(&["--output", &out.to_string_lossy()], "word-count");
    assert!(stdout.is_empty(), "data went to the directory");
    assert!(output_bytes(&out) == run(&[], "word-count"));
    assert_eq!(
        names_in(dir.path()),
        ["out"],
        "no staging directory is left"
    );
}

#[test]
fn json_of_a_run_is_that_of_job_show() {
    let samples = samples();
    let mut args = vec!["run", "word-count", "-o", "json"];
    args.extend(samples.iter().map(String::as_str));
    let output = vivat(&root(), None, &args);
    let job = parse(&output);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["map"]["completed"], job["map"]["total"], "{job}");
    assert_eq!(job["attempts"]["reruns_of_completed"], 0, "{job}");
}

fn names_in(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .expect("it can be listed")
        .map(|entry| {
            let name = entry.expect("it can be listed").file_name();
            name.to_string_lossy().into_owned()
        })
        .collect()
}
