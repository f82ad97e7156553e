//! Input that nobody meant to write: every byte of it counts all the same.
//!
//! What a cluster makes of it equals the oracle's bytes, or it is refused by a
//! message that names the file and the place, never by a panic or a hang.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use crate::harness::{DEADLINE, describe, output_bytes, vivat};
use crate::lab_cluster::Lab;

const MIB: usize = 1024 * 1024;

fn workspace() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn write(dir: &Path, name: &str, content: &[u8]) {
    fs::write(dir.join(name), content).expect("the directory is the test's");
}

/// Runs a job through a cluster and by its oracle; returns what both made.
fn same_as_oracle(dir: &Path, program: &[&str], input: &str, split_bytes: usize) -> Vec<u8> {
    let split = split_bytes.to_string();
    let args = [&["run"], program, &[input, "--split-size", &split]].concat();
    let cluster = vivat(dir, None, &args);
    assert!(cluster.status.success(), "{args:?}: {}", fails(&cluster));
    let args = [&["run", "--sequential"], program, &[input]].concat();
    let oracle = vivat(dir, None, &args);
    assert!(oracle.status.success(), "{args:?}: {}", fails(&oracle));
    assert!(
        cluster.stdout == oracle.stdout,
        "{program:?} of {input:?}: {} bytes, the oracle has {}",
        cluster.stdout.len(),
        oracle.stdout.len()
    );
    cluster.stdout
}

/// What it said to people; its data may be large.
fn fails(output: &std::process::Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{}\n{stderr}", output.status)
}

/// A long line between two short ones.
fn write_long_line(path: &Path, bytes: usize) {
    let piece = b"the quorum word ".repeat(MIB / 16);
    let mut file = File::create(path).expect("the directory is the test's");
    let mut put = |bytes: &[u8]| file.write_all(bytes).expect("there is room");
    put(b"first line\n");
    for _ in 0..bytes / MIB {
        put(&piece);
    }
    put(b"\nlast line\n");
}

#[test]
fn a_line_of_200_mib_over_many_splits_is_found_once_and_whole() {
    let dir = workspace();
    write_long_line(&dir.path().join("long.txt"), 200 * MIB);
    let program = ["grep", "-p", "pattern=quorum"];
    let found = same_as_oracle(dir.path(), &program, "long.txt", 32 * MIB);
    assert_eq!(found.len(), "long.txt:\n".len() + 200 * MIB);
}

#[test]
fn words_of_a_line_of_64_mib_over_many_splits_are_counted_once() {
    let dir = workspace();
    write_long_line(&dir.path().join("long.txt"), 64 * MIB);
    let counts = same_as_oracle(dir.path(), &["word-count"], "long.txt", 8 * MIB);
    let counts = String::from_utf8(counts).expect("the words are ASCII");
    let quorum = format!("quorum\t{}", 64 * MIB / 16);
    assert!(counts.lines().any(|line| line == quorum), "{counts}");
    assert!(counts.lines().any(|line| line == "line\t2"), "{counts}");
}

#[test]
fn a_word_longer_than_a_key_may_be_is_refused_by_file_and_place() {
    let dir = workspace();
    let mut content = b"one two\n".to_vec();
    content.resize(content.len() + 17 * MIB, b'a');
    content.extend_from_slice(b"\nthree\n");
    write(dir.path(), "word.txt", &content);
    let output = vivat(dir.path(), None, &["run", "word-count", "word.txt"]);
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for part in ["word.txt", "17825792 bytes", "behind byte 8)"] {
        assert!(stderr.contains(part), "{part}: {}", describe(&output));
    }
    // No retry makes it shorter.
    let again = stderr.contains("attempts)");
    assert!(!again, "{}", describe(&output));
}

/// Each program over each content, cut so that splits end everywhere.
fn assert_all_programs_agree(contents: &[(&str, Vec<u8>)]) {
    let dir = workspace();
    let programs: [&[&str]; 4] = [
        &["word-count"],
        &["word-count", "-p", "words=whitespace"],
        &["word-count", "-p", "fold-case=true"],
        &["grep", "-p", "pattern=.*", "-p", "line-numbers=true"],
    ];
    for (name, content) in contents {
        write(dir.path(), name, content);
        for program in programs {
            let split_bytes = (content.len() / 13).max(1);
            let made = same_as_oracle(dir.path(), program, name, split_bytes);
            assert!(!made.is_empty(), "{program:?} made nothing of {name}");
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_and_nul_bytes_are_as_good_as_others() {
    let all: Vec<u8> = (0..=255).collect();
    // Cut characters, a surrogate, a lone continuation.
    let cut = b"caf\xc3\xa9\xe2\x82 x\xed\xa0\x80y\n\xffz\xfe \xf0\x9f\x98".to_vec();
    assert_all_programs_agree(&[
        ("all", all.repeat(40)),
        ("cut", cut.repeat(40)),
        ("nul", b"a\0b\0\0c\n\0\n\0\0\nab\0c d".repeat(40)),
    ]);
}

#[test]
fn line_ends_of_another_system_and_a_last_line_without_one_are_understood() {
    assert_all_programs_agree(&[
        ("crlf", b"one two\r\nthree\r\r\n\r\n\rx\r\nlast\r".repeat(9)),
        ("unended", b"one two\nthree".to_vec()),
        ("one-byte", b"x".to_vec()),
    ]);
}

#[test]
fn one_key_for_everything_is_one_line() {
    let dir = workspace();
    write(dir.path(), "same.txt", &b"same\n".repeat(500_000));
    let counts = same_as_oracle(dir.path(), &["word-count"], "same.txt", 100_000);
    assert_eq!(counts, b"same\t500000\n");
}

#[test]
fn a_million_empty_lines_are_a_million_records_without_a_word() {
    let dir = workspace();
    write(dir.path(), "empty.txt", &b"\n".repeat(1_000_000));
    let counts = same_as_oracle(dir.path(), &["word-count"], "empty.txt", 100_000);
    assert!(counts.is_empty(), "{}", String::from_utf8_lossy(&counts));
    let program = ["grep", "-p", "pattern=^$"];
    let found = same_as_oracle(dir.path(), &program, "empty.txt", 100_000);
    assert!(found == b"empty.txt:\n".repeat(1_000_000));
}

#[test]
fn ten_thousand_files_of_one_glob_are_read_once_each() {
    let dir = workspace();
    fs::create_dir(dir.path().join("many")).expect("the directory is the test's");
    for index in 0..10_000 {
        let text = format!("common {}\n", ["a", "b", "c"][index % 3]);
        write(
            dir.path(),
            &format!("many/file-{index:05}.txt"),
            text.as_bytes(),
        );
    }
    let counts = same_as_oracle(dir.path(), &["word-count"], "many/*.txt", MIB);
    let counts = String::from_utf8(counts).expect("the words are ASCII");
    assert!(
        counts.lines().any(|line| line == "common\t10000"),
        "{counts}"
    );
}

#[test]
fn names_with_blanks_line_ends_quotes_and_foreign_letters_are_names() {
    let dir = workspace();
    let names = [
        "a b",
        "new\nline",
        "re\rturn",
        "Жö雪",
        "t\tab",
        "q'\"",
        "-d",
    ];
    for name in names {
        write(dir.path(), &format!("in {name}.txt"), b"word\n");
    }
    let program = ["grep", "-p", "pattern=word"];
    let found = same_as_oracle(dir.path(), &program, "in *.txt", MIB);
    for name in names {
        let input = format!("in {name}.txt");
        let line = format!("{input}:word\n");
        let found = String::from_utf8_lossy(&found);
        assert!(found.contains(&line), "{line:?} in {found:?}");
        let alone = same_as_oracle(dir.path(), &program, &input, MIB);
        assert_eq!(alone, line.as_bytes());
    }
}

#[test]
fn an_output_directory_may_have_a_line_end_in_its_name() {
    let dir = workspace();
    write(dir.path(), "in.txt", b"one two two\n");
    let out = "o\\u\nt\r";
    let args = ["run", "word-count", "in.txt", "--output", out];
    let output = vivat(dir.path(), None, &args);
    assert!(output.status.success(), "{}", describe(&output));
    let expected = same_as_oracle(dir.path(), &["word-count"], "in.txt", MIB);
    assert_eq!(output_bytes(&dir.path().join(out)), expected);
}

#[test]
fn a_line_end_in_a_name_does_not_end_the_line_of_a_message() {
    let dir = workspace();
    for how in ["--sequential", "--quiet"] {
        let output = vivat(
            dir.path(),
            None,
            &["run", how, "word-count", "no\nsuch\u{1b}"],
        );
        assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
        let stderr = String::from_utf8_lossy(&output.stderr);
        let named = r"no\nsuch\u{1b}";
        assert!(stderr.contains(named), "{}", describe(&output));
    }
}

#[test]
fn a_file_whose_name_is_not_utf8_is_refused_and_not_left_out() {
    let dir = workspace();
    write(dir.path(), "good.txt", b"word\n");
    let name = OsStr::from_bytes(b"b\xffd.txt");
    fs::write(dir.path().join(name), b"word\n").expect("the directory is the test's");
    for how in ["--sequential", "--quiet"] {
        let output = vivat(dir.path(), None, &["run", how, "word-count", "*.txt"]);
        assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("b\u{fffd}d.txt"), "{}", describe(&output));
    }
}

/// Changes a file while a map has read it and is not done, and looks how the
/// job ends.
fn assert_change_is_noticed(change: impl FnOnce(&Path)) {
    let lab = Lab::start();
    let id = lab.submit("maps-wait-for-a-sign");
    let deadline = Instant::now() + DEADLINE;
    while lab.marks("map-0-").is_empty() {
        assert!(Instant::now() < deadline, "map 0 not within {DEADLINE:?}");
        std::thread::yield_now();
    }
    change(&lab.cluster.path("doc-0.txt"));
    fs::write(lab.cluster.path("marks/go"), "").expect("the directory is the test's");
    let ended = lab.cluster.vivat(&["job", "wait", &id]);
    assert_eq!(ended.status.code(), Some(1), "{}", describe(&ended));
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(stderr.contains("doc-0.txt"), "{}", describe(&ended));
    let view = lab.cluster.show(&id).expect("the cluster is well");
    assert_eq!(view.state(), "failed", "{}", view.0);
    assert_eq!(view.0["failure"]["code"], "input-changed", "{}", view.0);
    assert!(
        !lab.cluster.path("out").exists(),
        "an output of changed input"
    );
    assert_eq!(
        lab.marks("map-0-"),
        ["map-0-0"],
        "a second try helps nobody"
    );
}

#[test]
fn a_file_that_grows_while_it_is_read_fails_the_job() {
    assert_change_is_noticed(|path| {
        let mut file = File::options()
            .append(true)
            .open(path)
            .expect("it is there");
        file.write_all(b"more\n").expect("there is room");
    });
}

#[test]
fn a_file_that_shrinks_while_it_is_read_fails_the_job() {
    assert_change_is_noticed(|path| {
        let file = File::options().write(true).open(path).expect("it is there");
        file.set_len(10).expect("it can shrink");
    });
}
