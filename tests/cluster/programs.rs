//! Every program does what its catalogue entry says, typed as it stands there, and
//! gives what its oracle gives; so do the job files, which other tools confirm.

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
        assert!(!found.is_empty(), "{}", entry.example);
        let expected = stdout(&format!("{} --sequential", entry.example));
        assert!(found == expected, "{}", entry.example);
    }
}

/// The job files of the checkout by name, each with the programs of its steps.
fn job_files() -> Vec<(String, Vec<String>)> {
    let folder = Path::new(ROOT).join("data/jobs");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it is in the checkout") {
        let path = entry.expect("it can be listed").path();
        let text = fs::read_to_string(&path).expect("it is text");
        let job: toml::Table = text.parse().expect("it is TOML");
        let steps = job["step"].as_array().expect("there are steps");
        let program = |step: &toml::Value| step["program"].as_str().expect("a name").to_owned();
        let name = path.file_stem().expect("it has a name").to_string_lossy();
        found.push((name.into_owned(), steps.iter().map(program).collect()));
    }
    found.sort();
    found
}

#[test]
fn every_program_has_a_job_file_a_page_and_a_word_on_each_parameter() {
    let jobs = job_files();
    let page = Path::new(ROOT).join("docs/programs.md");
    let page = fs::read_to_string(page).expect("it is in the checkout");
    for entry in vivat_programs::catalogue() {
        let name = entry.name;
        let has_job = jobs
            .iter()
            .any(|(_, programs)| programs.iter().any(|it| it == name));
        assert!(has_job, "no file in data/jobs has a step of {name}");
        let has_page = page.lines().any(|line| line == format!("## {name}"));
        assert!(has_page, "docs/programs.md has no section on {name}");
        assert!(!entry.summary.is_empty(), "{name}");
        for parameter in entry.parameters {
            assert!(!parameter.help.is_empty(), "{name}: {}", parameter.name);
        }
    }
}

/// What other tools made of the sample data, see `data/README.md`.
#[test]
fn job_files_give_what_the_oracles_and_what_other_tools_give() {
    let expected_of = |job: &str| {
        let extensions = ["tsv", "txt", "csv", "jsonl"].iter();
        let paths = extensions.map(|it| format!("{ROOT}/data/expected/{job}.{it}"));
        paths
            .filter_map(|path| fs::read_to_string(path).ok())
            .next()
    };
    let mut compared = 0;
    for (job, _) in job_files() {
        let line = format!("vivat run data/jobs/{job}.toml");
        let found = stdout(&line);
        assert!(
            found == stdout(&format!("{line} --sequential")),
            "{job}: its oracle"
        );
        if let Some(expected) = expected_of(&job) {
            let found = String::from_utf8(found).expect("it is text");
            let sorted = |text: &str| {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&found), sorted(&expected), "{job}");
            compared += 1;
        }
    }
    assert!(compared >= 13, "{compared} expected files");
}

#[test]
fn csv_jobs_give_the_same_however_the_file_is_split() {
    for job in ["player-averages", "team-positions"] {
        let line = format!("vivat run data/jobs/{job}.toml");
        let split = stdout(&format!("{line} --split-size 1000"));
        assert!(split == stdout(&line), "{job} in small splits");
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
