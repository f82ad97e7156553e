//! Plain-text scenarios: commands in, replies and events out.
//!
//! A file is a list of blocks: command lines, `---`, what they gave. Every line
//! that is a command is one log entry; the invariants are checked after each.
//! `VIVAT_RECORD=1 cargo nextest run -p vivat-core` writes the outputs anew;
//! read the difference before keeping it.

mod script;

use std::fs;
use std::path::{Path, PathBuf};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths
}

/// Runs one file and returns it with the outputs that it gives now.
fn run(text: &str) -> String {
    let mut runner = script::Runner::default();
    let mut output = String::new();
    for block in text.split("\n\n") {
        let commands: Vec<&str> = block
            .lines()
            .take_while(|line| *line != "---")
            .filter(|line| !line.is_empty())
            .collect();
        if commands.is_empty() {
            continue;
        }
        if !output.is_empty() {
            output.push('\n');
        }
        let mut given = String::new();
        for line in commands {
            output.push_str(line);
            output.push('\n');
            if !line.starts_with('#') {
                given.push_str(&runner.run(line));
            }
        }
        if !given.is_empty() {
            output.push_str("---\n");
            output.push_str(&given);
        }
    }
    output
}

#[test]
fn every_script_gives_what_is_recorded_in_it() {
    let record = std::env::var_os("VIVAT_RECORD").is_some();
    let paths = scripts();
    assert!(paths.len() >= 7, "scripts are missing: {paths:?}");
    for path in paths {
        let recorded = fs::read_to_string(&path).unwrap();
        let given = run(&recorded);
        if record {
            fs::write(&path, given).unwrap();
        } else {
            assert_eq!(given, recorded, "{}", path.display());
        }
    }
}
