//! What the tests of a worker need around it.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use vivat_shared::attempt::{Assignment, Broadcast, InputFile, InputOrigin, SplitRange, Work};
use vivat_shared::ids::AttemptId;
use vivat_shared::job::{
    InputFormat, InputPattern, JobSpec, OutputLocation, Policy, StepSpec, Visibility,
};
use vivat_worker::{Worker, WorkerConfig, WorkerHandle};

use crate::leader::{DEADLINE, FakeLeader};

pub fn id(text: &str) -> AttemptId {
    text.parse().unwrap()
}

/// Word count over a pattern, into `out` beside it.
pub fn word_count(directory: &Path, pattern: &str, reducers: u32) -> JobSpec {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    JobSpec {
        name: "words".to_owned(),
        comment: String::new(),
        inputs: vec![InputPattern {
            path: path(pattern),
            display: pattern.to_owned(),
            visibility: Visibility::Everyone,
        }],
        format: InputFormat::Text,
        split_bytes: 200,
        steps: vec![StepSpec::once("word-count", reducers)],
        output: OutputLocation::Directory {
            path: path("out"),
            display: "out".to_owned(),
            visibility: Visibility::Everyone,
        },
        overwrite: false,
        priority: 50,
        policy: Policy::Locality,
        attempts_max: 4,
        timeout_ms: None,
        speculation: true,
        skipped_max: 0,
        side_files: Vec::new(),
        notify: None,
        source: String::new(),
        size_hint_bytes: None,
    }
}

/// The whole of a file as one split.
pub fn map_of(attempt: &str, path: &Path) -> Assignment {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).unwrap();
    let file = InputFile {
        header: Vec::new(),
        path: path.to_str().unwrap().to_owned(),
        display: path.file_name().unwrap().to_str().unwrap().to_owned(),
        bytes: found.len(),
        origin: InputOrigin::FileSystem {
            modified_ns: found.mtime() * 1_000_000_000 + found.mtime_nsec(),
        },
    };
    let split = SplitRange {
        file: 0,
        offset: 0,
        bytes: file.bytes,
    };
    Assignment {
        attempt: id(attempt),
        work: Work::Map {
            file,
            split,
            splits: 1,
            blocks: Vec::new(),
            blocks_start: 0,
            broadcast: Broadcast::None,
        },
    }
}

/// An input that keeps its map in `open` until [`let_go`] is called.
pub fn blocking_input(directory: &Path, name: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    let status = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(status.unwrap().success());
    path
}

/// Lets the map of a blocking input go on, once it is in `open`.
pub async fn let_go(path: std::path::PathBuf) {
    let reader = |path: &Path| {
        let mut options = File::options();
        options
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        options.open(path).is_ok()
    };
    eventually("a map opens the pipe", || reader(&path)).await;
}

/// Lets a map go on that was killed, maybe before it came to open its input, until
/// what follows it has ended.
pub async fn let_go_killed<T>(path: std::path::PathBuf, next: impl Future<Output = T>) -> T {
    tokio::pin!(next);
    tokio::select! {
        ended = &mut next => ended,
        () = let_go(path) => next.await,
    }
}

/// What all parts of a job must hold, one after another, by the oracle.
pub fn expected(spec: &JobSpec, files: &[(&Path, &str)]) -> Vec<u8> {
    let step = &spec.steps[0];
    let entry = vivat_programs::find(&step.program).unwrap();
    let parameters = vivat_programs::validate_parameters(entry, &step.parameters).unwrap();
    let inputs: Vec<_> = files
        .iter()
        .map(|(path, display)| vivat_programs::OracleInput {
            path: path.to_path_buf(),
            display: (*display).to_owned(),
        })
        .collect();
    let mut out = Vec::new();
    (entry.oracle)(&parameters, &inputs, step.reducers, &mut out).unwrap();
    out
}

pub fn start(leader: &FakeLeader, dir: &Path) -> WorkerHandle {
    Worker::start(config(leader, dir)).unwrap()
}

pub fn config(leader: &FakeLeader, dir: &Path) -> WorkerConfig {
    WorkerConfig::new(dir.to_owned(), vec![leader.address()])
}

/// Waits for what has no signal of its own, on a file system for example.
pub async fn eventually(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !reached() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
