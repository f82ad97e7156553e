//! Every program does what its catalogue entry says, typed as it stands there, and
//! gives what its oracle gives; the job files do, too.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::describe;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a line in a shell, in the checkout, with our binary as `vivat`.
fn shell(line: &str) -> Output {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_vivat"));
    let mut path = OsString::from(binary.parent().expect("it is in a directory"));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(ROOT).env("PATH", path);
    shell
        .env_remove("VIVAT_CLUSTER")
        .output()
        .expect("there is a shell")
}

fn stdout(line: &str) -> Vec<u8> {
    let output = shell(line);
    assert!(output.status.success(), "{line}: {}", describe(&output));
    output.stdout
}

#[test]
fn examples_run_as_they_stand_in_the_catalogue_and_give_what_the_oracles_give() {
    for entry in vivat_programs::catalogue() {
        let found = stdout(entry.example);
        // Nothing in the sample texts has a whale in it.
        let is_empty = found.is_empty();
        assert_eq!(is_empty, entry.name == "grep", "{}", entry.example);
        let expected = stdout(&format!("{} --sequential", entry.example));
        assert!(found == expected, "{}", entry.example);
    }
}

#[test]
fn job_files_group_as_the_oracle_groups_however_the_file_is_split() {
    for job in ["player-averages", "team-positions"] {
        let line = format!("vivat run data/jobs/{job}.toml");
        let expected = stdout(&format!("{line} --sequential"));
        assert!(stdout(&line) == expected, "{job}");
        let split = stdout(&format!("{line} --split-size 1000"));
        assert!(split == expected, "{job} in small splits");
    }
}

/// What other tools made of the sample data, see `data/README.md`.
#[test]
fn answers_are_those_of_other_tools() {
    for (line, file) in [
        ("distinct data/input/links.tsv", "distinct.tsv"),
        (
            "url-count data/input/access.log -p bytes=true",
            "url-count-bytes.tsv",
        ),
        ("reverse-links data/input/links.tsv", "reverse-links.tsv"),
        (
            "join data/input/*s.tsv -p 'left=*links.tsv' -p 'right=*pages.tsv'",
            "join.tsv",
        ),
        ("data/jobs/team-positions.toml", "team-positions.csv"),
    ] {
        let found = String::from_utf8(stdout(&format!("vivat run {line}"))).expect("it is text");
        let path = Path::new(ROOT).join("data/expected").join(file);
        let expected = fs::read_to_string(path).expect("it is in the checkout");
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&found), sorted(&expected), "{line}");
    }
}

#[test]
fn a_bad_field_is_told_with_its_file_and_line_and_exit_code() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("games.csv");
    fs::write(&path, "team,points\nA,1\nA,\"2\n3\"\nB,four\n").expect("it is ours");
    let line = format!(
        "vivat run group-by {} --format csv -p key=team -p 'aggregate=sum(points)'",
        path.display()
    );
    let output = shell(&line);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    assert!(
        stderr.contains("games.csv: line 3: column `points`"),
        "{stderr}"
    );
}
