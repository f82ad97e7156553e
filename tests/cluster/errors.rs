//! Wrong input and a wrong world: a clear error and the exit code of the
//! contract, never a panic and never a hang.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::harness::{Cluster, Shape, command, describe, free_address, output_bytes, parse, vivat};

/// A client gives up after 10 s without a leader; the rest is a busy machine.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(25);

fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("in.txt"), "one two two\n").expect("it is ours");
    dir
}

/// The code, nothing on stdout, and a message for a person that names the thing.
fn assert_refused(output: &Output, code: i32, names: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{}", describe(output));
    assert!(output.stdout.is_empty(), "{}", describe(output));
    assert!(
        stderr.contains(names),
        "does not name {names}: {}",
        describe(output)
    );
    assert!(!stderr.contains("panicked"), "{}", describe(output));
}

#[test]
fn a_missing_input_is_not_found() {
    let dir = workspace();
    let output = vivat(dir.path(), None, &["run", "word-count", "nothing.txt"]);
    assert_refused(&output, 3, "nothing.txt");
    let output = vivat(dir.path(), None, &["run", "word-count", "no*.csv"]);
    assert_refused(&output, 3, "no*.csv");
}

#[test]
fn a_directory_as_input_is_a_usage_error() {
    let dir = workspace();
    fs::create_dir(dir.path().join("folder")).expect("it is ours");
    let output = vivat(dir.path(), None, &["run", "word-count", "folder"]);
    assert_refused(&output, 2, "folder");
}

#[test]
fn an_unreadable_input_is_not_allowed() {
    let dir = workspace();
    let secret = dir.path().join("secret.txt");
    fs::write(&secret, "x\n").expect("it is ours");
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).expect("it is ours");
    let args = ["run", "word-count", "secret.txt"];
    if fs::read(&secret).is_err() {
        assert_refused(&vivat(dir.path(), None, &args), 6, "secret.txt");
        return;
    }
    // This user reads everything; another one does not.
    let Some(output) = as_nobody(dir.path(), &args) else {
        eprintln!("skipped: this user reads everything and there is no setpriv");
        return;
    };
    assert_refused(&output, 6, "secret.txt");
}

/// Runs a copy of the binary as the user nobody; none when that is not possible.
fn as_nobody(dir: &Path, args: &[&str]) -> Option<Output> {
    let binary = dir.join("vivat");
    fs::copy(env!("CARGO_BIN_EXE_vivat"), &binary).expect("the binary can be copied");
    fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("it is ours");
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut probe = Command::new("setpriv");
    if !probe
        .args(nobody)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        return None;
    }
    let mut command = Command::new("setpriv");
    command
        .args(nobody)
        .arg(&binary)
        .args(args)
        .current_dir(dir);
    command.env("XDG_CONFIG_HOME", dir.join("no-config"));
    Some(command.output().expect("setpriv was there a moment ago"))
}

#[test]
fn an_empty_input_succeeds_with_an_empty_output() {
    let dir = workspace();
    fs::write(dir.path().join("empty.txt"), "").expect("it is ours");
    let output = vivat(dir.path(), None, &["run", "word-count", "empty.txt"]);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{}",
        describe(&output)
    );

    let args = ["run", "word-count", "empty.txt", "--output", "out"];
    let output = vivat(dir.path(), None, &args);
    assert!(output.status.success(), "{}", describe(&output));
    assert!(output_bytes(&dir.path().join("out")).is_empty());
}

#[test]
fn an_unknown_program_is_not_found_and_an_unknown_parameter_is_a_usage_error() {
    let dir = workspace();
    let output = vivat(dir.path(), None, &["run", "word-cuont", "in.txt"]);
    assert_refused(&output, 3, "word-cuont");
    let output = vivat(
        dir.path(),
        None,
        &["run", "word-count", "in.txt", "-p", "colour=red"],
    );
    assert_refused(&output, 2, "colour");
    let output = vivat(
        dir.path(),
        None,
        &["run", "word-count", "in.txt", "-p", "words=red"],
    );
    assert_refused(&output, 2, "words");
    let output = vivat(
        dir.path(),
        None,
        &["run", "grep", "in.txt", "-p", "pattern=("],
    );
    assert_refused(&output, 2, "pattern");
}

#[test]
fn an_output_that_exists_is_a_conflict_unless_it_is_to_be_overwritten() {
    let dir = workspace();
    let args = ["run", "word-count", "in.txt", "--output", "out"];
    let output = vivat(dir.path(), None, &args);
    assert!(output.status.success(), "{}", describe(&output));
    assert_refused(&vivat(dir.path(), None, &args), 4, "out");
    assert_eq!(
        sorted(output_bytes(&dir.path().join("out"))),
        "one\t1\ntwo\t2\n"
    );

    fs::write(dir.path().join("in.txt"), "three\n").expect("it is ours");
    let output = vivat(dir.path(), None, &[&args[..], &["--overwrite"]].concat());
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(output_bytes(&dir.path().join("out")), b"three\t1\n");
}

#[test]
fn a_directory_that_is_no_output_is_never_overwritten() {
    let dir = workspace();
    let out = dir.path().join("out");
    fs::create_dir(&out).expect("it is ours");
    fs::write(out.join("precious"), "1").expect("it is ours");
    for options in [vec![], vec!["--overwrite"]] {
        let args = ["run", "word-count", "in.txt", "--output", "out"];
        let output = vivat(dir.path(), None, &[&args[..], &options].concat());
        assert_refused(&output, 4, "out");
        assert!(out.join("precious").exists());
    }
}

fn sorted(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).expect("words are UTF-8");
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

#[test]
fn wrong_usage_is_told_before_anything_starts() {
    let dir = workspace();
    for args in [
        vec!["run", "word-count"],
        vec!["run", "word-count", "in.txt", "--reducers", "0"],
        vec!["run", "word-count", "in.txt", "--priority", "101"],
        vec!["run", "word-count", "in.txt", "-p", "no-equals-sign"],
        vec!["run", "word-count", "in.txt", "--format", "papyrus"],
        vec!["submit", "word-count", "in.txt", "--output", "-"],
        vec!["job", "show", "papyrus"],
        vec!["nonsense"],
    ] {
        let output = vivat(dir.path(), Some("127.0.0.1:1"), &args);
        assert_refused(&output, 2, "");
        assert!(!output.stderr.is_empty(), "{args:?} says nothing");
    }
}

#[test]
fn no_cluster_at_the_address_is_temporary() {
    let dir = workspace();
    let address = free_address();
    for args in [
        vec!["cluster", "status"],
        vec!["job", "list"],
        vec!["submit", "word-count", "in.txt", "--output", "out"],
    ] {
        let started = Instant::now();
        let output = vivat(dir.path(), Some(&address), &args);
        assert_refused(&output, 5, &address);
        assert!(
            started.elapsed() < GIVES_UP_WITHIN,
            "{args:?}: {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn an_error_with_json_asked_for_is_json() {
    let dir = workspace();
    let nobody = free_address();
    for (args, exit) in [
        (vec!["run", "word-count", "nothing.txt", "-o", "json"], 3),
        (
            vec![
                "run",
                "word-count",
                "in.txt",
                "--reducers",
                "0",
                "-o",
                "json",
            ],
            2,
        ),
        (vec!["cluster", "status", "-o", "json"], 5),
    ] {
        let cluster = (exit == 5).then_some(nobody.as_str());
        let output = vivat(dir.path(), cluster, &args);
        assert_eq!(output.status.code(), Some(exit), "{}", describe(&output));
        // What failed is on stderr; stdout has the job, if there was one.
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().last().unwrap_or_default();
        let told: serde_json::Value = serde_json::from_str(last)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", describe(&output)));
        let error = &told["error"];
        assert_eq!(error["exit"], exit, "{error}");
        for field in ["code", "message", "hint"] {
            let said = error[field].as_str().is_some_and(|text| !text.is_empty());
            assert!(said, "{args:?}: {field}: {error}");
        }
        if exit == 3 {
            assert_eq!(parse(&output)["state"], "failed", "{}", describe(&output));
        }
    }
}

#[test]
fn two_of_three_masters_down_is_temporary_and_over_when_one_returns() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("in.txt", 1024, 5);
    cluster.kill_master(0);
    cluster.kill_master(1);

    let started = Instant::now();
    let output = cluster.vivat(&["submit", "word-count", "in.txt", "--output", "out"]);
    assert_refused(&output, 5, "leader");
    assert!(
        started.elapsed() < GIVES_UP_WITHIN,
        "{:?}",
        started.elapsed()
    );
    cluster.await_status("the third to see no leader", |status| {
        status.leader().is_none()
    });

    cluster.restart_master(0);
    cluster.await_status("a leader of two", |status| status.leader().is_some());
    cluster.assert_serves_another_job();
}

#[test]
fn a_taken_port_is_a_conflict() {
    let dir = workspace();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("it is bound").to_string();
    for flag in ["--listen", "--raft", "--http"] {
        let mut args = vec!["master".to_owned(), "--id".to_owned(), "0".to_owned()];
        args.extend(["--dir".to_owned(), format!("m{flag}")]);
        let raft = if flag == "--raft" {
            taken.clone()
        } else {
            free_address()
        };
        args.extend(["--peers".to_owned(), format!("0={raft}")]);
        args.extend(["--raft".to_owned(), raft]);
        for other in ["--listen", "--http"] {
            let address = if other == flag {
                taken.clone()
            } else {
                free_address()
            };
            args.extend([other.to_owned(), address]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert_refused(&vivat(dir.path(), None, &args), 4, &taken);
    }
}

#[test]
fn a_second_process_on_the_same_directory_is_a_conflict() {
    let cluster = Cluster::start(Shape {
        workers: 1,
        ..Shape::default()
    });
    let raft = free_address();
    let peers = format!("0={raft}");
    let addresses = (free_address(), free_address());
    let args = [
        "master",
        "--id",
        "0",
        "--dir",
        "master-0",
        "--peers",
        &peers,
        "--raft",
        &raft,
        "--listen",
        &addresses.0,
        "--http",
        &addresses.1,
    ];
    assert_refused(&vivat(cluster.dir(), None, &args), 4, "master-0");
    let args = ["worker", "--dir", "worker-0"];
    assert_refused(&cluster.vivat(&args), 4, "worker-0");
    cluster.assert_serves_another_job();
}

#[test]
fn help_of_every_command_has_an_example() {
    let dir = workspace();
    for name in [
        "run",
        "submit",
        "dev",
        "master",
        "worker",
        "job",
        "program",
        "cluster",
        "node",
        "gen",
        "completion",
    ] {
        let output = command(dir.path())
            .args([name, "--help"])
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        assert!(output.status.success(), "{name}: {}", describe(&output));
        assert!(
            text.contains("example"),
            "{name} --help shows no example:\n{text}"
        );
    }
}
