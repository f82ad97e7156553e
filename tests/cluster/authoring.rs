//! A program of one's own: the crate of `data/examples/own-program` builds outside of
//! the workspace, and the `vivat` that it makes is a whole cluster that has it.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Process, describe, output_bytes};
use crate::process_life::await_export;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// As the workspace builds its own tests, so that most of what is below is there.
const PROFILE: [&str; 4] = [
    "profile.dev.opt-level=1",
    "profile.dev.debug='line-tables-only'",
    "profile.dev.package.vivat-core.opt-level=2",
    "profile.dev.package.xxhash-rust.opt-level=2",
];

/// Copies the template to where it finds the sources by absolute paths, with the
/// versions that the workspace is locked to, and builds it without a network.
fn build() -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_vivat")).parent();
    let target = profile.and_then(Path::parent).expect("it is two below");
    let (from, folder) = (
        Path::new(ROOT).join("data/examples/own-program"),
        target.join("own-program"),
    );
    fs::create_dir_all(folder.join("src")).expect("the target directory is ours");
    let manifest = fs::read_to_string(from.join("Cargo.toml")).expect("it is in the checkout");
    let manifest = manifest.replace("../../..", ROOT);
    fs::write(folder.join("Cargo.toml"), manifest).expect("it can be written");
    for (here, there) in [
        (from.join("src/main.rs"), "src/main.rs"),
        (Path::new(ROOT).join("Cargo.lock"), "Cargo.lock"),
    ] {
        fs::copy(&here, folder.join(there))
            .unwrap_or_else(|error| panic!("{}: {error}", here.display()));
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--offline", "--target-dir"])
        .arg(target)
        .current_dir(&folder);
    for setting in PROFILE {
        command.args(["--config", setting]);
    }
    let output = command.output().expect("cargo runs this test");
    assert!(output.status.success(), "{}", describe(&output));
    target.join("debug/own-program")
}

/// The binary, with nothing of the caller's environment that could change it.
fn own(binary: &Path, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(args).current_dir(folder);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("VIVAT_") {
            command.env_remove(name);
        }
    }
    command.env("XDG_CONFIG_HOME", folder.join("no-config"));
    command
}

/// Lengths of lines and how many have them, as the parts hold them together.
fn counted(text: &str) -> Vec<String> {
    let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
    for line in text.lines() {
        *counts.entry(line.len()).or_default() += 1;
    }
    let mut lines: Vec<String> = counts
        .into_iter()
        .map(|(length, count)| format!("{length}\t{count}"))
        .collect();
    lines.sort();
    lines
}

#[test]
fn the_template_builds_a_vivat_that_runs_its_program_on_a_cluster_of_its_own() {
    let main = fs::read_to_string(Path::new(ROOT).join("data/examples/own-program/src/main.rs"));
    let lines = main.expect("it is in the checkout").lines().count();
    assert!(lines <= 40, "{lines} lines");
    let binary = build();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let texts = ["harbour", "kitchen", "market", "parliament"];
    let text: String = texts
        .iter()
        .map(|name| fs::read_to_string(format!("{ROOT}/data/input/{name}.txt")))
        .collect::<Result<_, _>>()
        .expect("they are in the checkout");
    fs::write(folder.path().join("all.txt"), &text).expect("it is ours");

    let mut dev = own(&binary, folder.path(), &["dev", "--port", "0"]);
    dev.env("TMPDIR", folder.path());
    let mut dev = Process::spawn("dev", dev, &folder.path().join("dev.log"));
    let cluster = await_export(&mut dev);
    let args = ["submit", "line-lengths", "all.txt", "--split-size", "500"];
    let mut submit = own(&binary, folder.path(), &args);
    submit.args(["--output", "out", "--wait", "--cluster", &cluster]);
    let output = submit.output().expect("it was built");
    assert!(
        output.status.success(),
        "{}{}",
        describe(&output),
        dev.log_tail()
    );
    let found = output_bytes(&folder.path().join("out"));
    let mut found: Vec<String> = String::from_utf8_lossy(&found)
        .lines()
        .map(str::to_owned)
        .collect();
    found.sort();
    assert_eq!(found, counted(&text));

    let mut list = own(&binary, folder.path(), &["program", "list", "-o", "name"]);
    let listed = list.output().expect("it was built");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names: Vec<&str> = listed.lines().collect();
    assert!(names.contains(&"line-lengths") && names.contains(&"word-count"));
    assert!(names.is_sorted(), "{names:?}");
    dev.terminate();
    while dev.exit_status().is_none() {
        std::thread::yield_now();
    }
}
