//! The config files that are shipped say what the binary takes.

use std::path::{Path, PathBuf};

use crate::harness::{describe, vivat};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy/config")
        .join(name)
}

#[test]
fn every_shipped_config_file_is_understood() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, command, shown) in [
        ("master.toml", "master", "election-max-ms"),
        ("worker.toml", "worker", "memory"),
        ("client.toml", "submit", "split-size"),
    ] {
        let path = shipped(name).to_string_lossy().into_owned();
        let args = ["config", "view", "--origin", command, "--config", &path];
        let output = vivat(dir.path(), None, &args);
        assert!(output.status.success(), "{name}: {}", describe(&output));
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.contains(shown));
        let line = line.unwrap_or_else(|| panic!("{name}: no {shown} in\n{text}"));
        assert!(
            line.contains(name),
            "the origin of {shown} is not {name}: {line}"
        );
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("master.toml");
    std::fs::write(&path, "[master]\nid = 0\nheartbeat = 3\n").expect("it is ours");
    let args = ["config", "view", "--config", "master.toml"];
    let output = vivat(dir.path(), None, &args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{}", describe(&output));
    assert!(
        stderr.contains("master.toml:3") && stderr.contains("heartbeat"),
        "{stderr}"
    );
}
