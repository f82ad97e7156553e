//! Plain-text scenarios: commands in, replies and events out.
//!
//! A file is a list of blocks: command lines, `---`, what they gave. Every line
//! that is a command is one log entry; the invariants are checked after each.
//! `VIVAT_RECORD=1 cargo nextest run -p vivat-core` writes the outputs anew;
//! read the difference before keeping it.

#![expect(
    clippy::unwrap_used,
    reason = "a script that cannot be read is a failed test"
)]

mod script;

use std::fs;
use std::path::{Path, PathBuf};

use vivat_core::snapshot::{SnapshotError, decode, encode};

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

/// Hand-backs cost nothing, but attempts have numbers: a task that has none left
/// could never run again, and its job would wait for ever (L1, L4).
#[test]
fn task_that_is_handed_back_until_its_numbers_are_used_up_fails_its_job() {
    let mut runner = script::Runner::default();
    for line in [
        "open 1",
        "register alpha",
        "submit job",
        "assign worker-1 job-1.0.0.plan-0",
    ] {
        runner.run(line);
    }
    for number in 1..u16::MAX {
        runner.run(&format!("handed-back worker-1 job-1.0.0.plan-0.{number}"));
        let granted = runner.run("assign worker-1 job-1.0.0.plan-0");
        assert!(granted.contains(": granted"), "{granted}");
    }
    let last = runner.run("handed-back worker-1 job-1.0.0.plan-0.65535");
    assert!(last.contains("job-1 ended"), "{last}");
    let shown = runner.run("show job-1");
    assert!(shown.contains("used up"), "{shown}");
}

/// Every kind of thing that a state can hold.
const RICH: &str = "
open 3
register alpha slots=4
register beta slots=2 host=laptop
register gamma
submit done reducers=1
assign worker-1 job-1.0.0.plan-0
planned worker-1 job-1.0.0.plan-0.1
assign worker-1 job-1.0.0.reduce-0
reduced worker-1 job-1.0.0.reduce-0.1
assign worker-1 job-1.0.0.commit-0
committed worker-1 job-1.0.0.commit-0.1
now 1700000000000
submit broken
assign worker-1 job-2.0.0.plan-0
failed worker-1 job-2.0.0.plan-0.1 not-found
submit away
cancel job-3
submit planning timeout=5000 host=laptop
assign worker-2 job-4.0.0.plan-0
chunk worker-2 job-4.0.0.plan-0.1 0 splits=2
submit working priority=90 reducers=2
assign worker-1 job-5.0.0.plan-0
chunk worker-1 job-5.0.0.plan-0.1 0 splits=5
planned worker-1 job-5.0.0.plan-0.1
assign worker-1 job-5.0.0.map-0 job-5.0.0.map-3
assign worker-3 job-5.0.0.map-1 job-5.0.0.map-2
mapped worker-1 job-5.0.0.map-0.1 100,0 records=7
mapped worker-3 job-5.0.0.map-1.1 100,0 records=7
failed worker-1 job-5.0.0.map-3.1 program
expire worker-3
assign worker-1 job-5.0.0.reduce-0 job-5.0.0.reduce-1
unreachable worker-1 job-5.0.0.reduce-0.1 job-5.0.0.map-0.1 worker-1
judge worker-1 job-5.0.0.map-0.1 healthy
judge worker-1 job-5.0.0.map-0.1 healthy
unreachable worker-1 job-5.0.0.reduce-1.1 job-5.0.0.map-0.1 worker-1
drain worker-2 on
submit queued
open-dataset put-1 words replicas=3
append dataset-1 0 10:1,3 20:1
seal dataset-1 2 30
open-dataset put-2 unfinished
append dataset-2 0 10:1
submit reading inputs=vivat://words dataset=counts reducers=1
assign worker-1 job-7.0.0.plan-0
chunk worker-1 job-7.0.0.plan-0.1 0 of=dataset-1 splits=3
planned worker-1 job-7.0.0.plan-0.1
submit writing dataset=- reducers=2
assign worker-1 job-8.0.0.plan-0
planned worker-1 job-8.0.0.plan-0.1
assign worker-1 job-8.0.0.reduce-0
reduced worker-1 job-8.0.0.reduce-0.1 bytes=10 blocks=10:1,2
submit written dataset=words overwrite=yes reducers=1
assign worker-1 job-9.0.0.plan-0
planned worker-1 job-9.0.0.plan-0.1
assign worker-1 job-9.0.0.reduce-0
reduced worker-1 job-9.0.0.reduce-0.1 bytes=10 blocks=10:1,2
submit steps steps=3 rounds=-,3,1 reads=job,previous,job reducers=1 dataset=trained
assign worker-1 job-10.0.0.plan-0
planned worker-1 job-10.0.0.plan-0.1
assign worker-1 job-10.0.0.reduce-0
reduced worker-1 job-10.0.0.reduce-0.1 bytes=10 blocks=10:1,2
assign worker-1 job-10.1.0.plan-0
chunk worker-1 job-10.1.0.plan-0.1 0 of=dataset-6 splits=1
planned worker-1 job-10.1.0.plan-0.1
assign worker-1 job-10.1.0.map-0
mapped worker-1 job-10.1.0.map-0.1 7
assign worker-1 job-10.1.0.reduce-0
reduced worker-1 job-10.1.0.reduce-0.1 bytes=10 blocks=10:1,2
assign worker-1 job-10.1.0.close-0
closed worker-1 job-10.1.0.close-0.1 again blocks=9:1,2 error=0.5
assign worker-1 job-10.1.1.map-0
mapped worker-1 job-10.1.1.map-0.1 7
assign worker-1 job-10.1.1.reduce-0
reduced worker-1 job-10.1.1.reduce-0.1 bytes=10 blocks=10:1,2
submit inline rounds=2 reducers=1 skip=3
assign worker-1 job-11.0.0.plan-0
chunk worker-1 job-11.0.0.plan-0.1 0 splits=1
planned worker-1 job-11.0.0.plan-0.1
assign worker-1 job-11.0.0.map-0
mapped worker-1 job-11.0.0.map-0.1 7 skipped=2
assign worker-1 job-11.0.0.reduce-0
reduced worker-1 job-11.0.0.reduce-0.1 bytes=10 blocks=10:1
assign worker-1 job-11.0.0.close-0
closed worker-1 job-11.0.0.close-0.1 again say=weights error=0.25
submit told notify=http://127.0.0.1/x steps=2 reducers=1
assign worker-1 job-12.0.0.plan-0
chunk worker-1 job-12.0.0.plan-0.1 0 splits=1
planned worker-1 job-12.0.0.plan-0.1
assign worker-1 job-12.0.0.map-0
failed worker-1 job-12.0.0.map-0.1 program log=7:1,2
cancel job-12
retry again job-12
cancel job-12
assign worker-1 job-12.0.0.notify-1
failed worker-1 job-12.0.0.notify-1.1 program
assign worker-1 job-10.1.1.close-0
put-value value-1 model first
put-value value-2 model second version=1
remove-value value-3 model
put-value value-4 model third
";

fn rich() -> script::Runner {
    let mut runner = script::Runner::default();
    for line in RICH.lines().filter(|line| !line.is_empty()) {
        let output = runner.run(line);
        assert!(
            !output.contains("rejected") && !output.contains("refused"),
            "{line}: {output}"
        );
    }
    runner
}

fn golden(version: u32) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("snapshot-v{version}.hex"))
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// Format version 5 as it was first written. Once it is released the bytes are
/// not to be recorded anew: a change of them is a new version.
#[test]
fn snapshot_of_format_5_is_read_and_written_to_the_byte() {
    let path = golden(5);
    let runner = rich();
    let hex: Vec<String> = encode(runner.state())
        .chunks(32)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    let given = hex.join("\n") + "\n";
    if std::env::var_os("VIVAT_RECORD").is_some() && !path.exists() {
        fs::write(&path, &given).unwrap();
    }
    let recorded = fs::read_to_string(&path).unwrap();
    assert_eq!(given, recorded, "the encoding of the state changed");
    assert_eq!(decode(&bytes_of(&recorded)).unwrap(), *runner.state());
}

/// Datasets and values came with version 3, steps that repeat with version 4, logs,
/// retries and notices with version 5, all before anything was released: no reader
/// of those before them is kept.
#[test]
fn snapshot_of_a_former_format_is_refused_by_its_version() {
    for version in [2, 3, 4] {
        let bytes = bytes_of(&fs::read_to_string(golden(version)).unwrap());
        let refused = decode(&bytes).unwrap_err();
        assert!(
            matches!(
                refused,
                SnapshotError::Version { found, supported: 5 } if found == version
            ),
            "{refused}"
        );
    }
}

#[test]
fn damaged_snapshot_is_refused_whichever_byte_is_damaged() {
    let bytes = encode(rich().state());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(decode(&damaged).is_err(), "byte {at}");
        assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
    }
    let mut later = bytes;
    later[8] = 6;
    assert!(matches!(
        decode(&later),
        Err(SnapshotError::Version { found: 6, .. })
    ));
}
