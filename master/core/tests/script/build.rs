//! Commands' contents, made small.

use std::collections::BTreeMap;

use vivat_core::command::{DatasetSeal, WorkerInfo};
use vivat_shared::attempt::{
    AttemptFailure, ClosedBroadcast, Counters, InputFile, InputOrigin, Metric, Outcome, PartOutput,
    PlanChunk, SplitRange, counters,
};
use vivat_shared::cause::FailureCause;
use vivat_shared::dataset::{BlockSummary, DatasetFile, DatasetSpec, ReplicatedBlock, Shape};
use vivat_shared::ids::{AttemptId, BlockId, DatasetId, WorkerId};
use vivat_shared::job::{
    HostIdentity, InputFormat, InputPattern, JobSpec, OutputLocation, Policy, StepInput, StepSpec,
    Visibility,
};
use vivat_shared::logs::{AttemptLog, log_block};
use vivat_shared::notify::Notify;

type Options<'a> = BTreeMap<&'a str, &'a str>;

fn number<T: std::str::FromStr>(options: &Options<'_>, name: &str, default: T) -> T {
    options
        .get(name)
        .map_or(default, |text| text.parse().ok().unwrap())
}

fn visibility(host: Option<&&str>) -> Visibility {
    host.map_or(Visibility::Everyone, |host| {
        Visibility::Host(HostIdentity((*host).to_owned()))
    })
}

/// Where the output goes: to a dataset, `-` that of the job's own name, or to a
/// directory.
fn output(options: &Options<'_>) -> OutputLocation {
    match options.get("dataset") {
        Some(&"-") => OutputLocation::Dataset { name: None },
        Some(name) => OutputLocation::Dataset {
            name: Some((*name).to_owned()),
        },
        None => OutputLocation::Directory {
            path: "/out".to_owned(),
            display: "out".to_owned(),
            visibility: visibility(options.get("output-host").or(options.get("host"))),
        },
    }
}

/// A specification: `reducers`, `priority`, `attempts`, `timeout`, `host`,
/// `output-host`, `steps`, `policy`, `inputs` (with commas), `dataset`, `overwrite`,
/// `speculation`, `skip`; of its steps see [`step`].
pub fn spec(options: &Options<'_>) -> JobSpec {
    let steps = number(options, "steps", 1);
    let host = options.get("host");
    JobSpec {
        name: "job".to_owned(),
        comment: String::new(),
        inputs: options
            .get("inputs")
            .unwrap_or(&"/in")
            .split(',')
            .map(|path| InputPattern {
                path: path.to_owned(),
                display: path.trim_start_matches('/').to_owned(),
                visibility: visibility(host.filter(|_| path.starts_with('/'))),
            })
            .collect(),
        format: InputFormat::Text,
        split_bytes: 10,
        steps: (0..steps).map(|at| step(options, at)).collect(),
        output: output(options),
        overwrite: options.contains_key("overwrite"),
        priority: number(options, "priority", 50),
        policy: number(options, "policy", Policy::Locality),
        attempts_max: number(options, "attempts", 4),
        timeout_ms: options.get("timeout").map(|text| text.parse().unwrap()),
        speculation: options.get("speculation") != Some(&"off"),
        skipped_max: number(options, "skip", 0),
        side_files: Vec::new(),
        notify: options.get("notify").map(|url| Notify::Webhook {
            url: (*url).to_owned(),
        }),
        source: String::new(),
        size_hint_bytes: None,
    }
}

/// Of the comma-separated lists `rounds` and `reads` the one at the step's place: a
/// step with a number of rounds closes them; `reads=job,job` reads the job's input.
fn step(options: &Options<'_>, at: usize) -> StepSpec {
    let of = |name: &str| options.get(name).and_then(|list| list.split(',').nth(at));
    let rounds = of("rounds").filter(|rounds| *rounds != "-");
    let reads_job = at == 0 || of("reads") == Some("job");
    StepSpec {
        input: if reads_job {
            StepInput::Job
        } else {
            StepInput::Previous
        },
        rounds_max: rounds.map_or(1, |rounds| rounds.parse().ok().unwrap()),
        closes: rounds.is_some(),
        ..StepSpec::once("word-count", number(options, "reducers", 2))
    }
}

/// The outcome of a close: `again`, a metric `error`.
#[expect(
    clippy::disallowed_types,
    reason = "a script writes a metric as a number"
)]
pub fn closed(broadcast: ClosedBroadcast, again: bool, error: Option<&&str>) -> Outcome {
    let metric = |text: &&str| {
        let value: f64 = text.parse().unwrap();
        ("error".to_owned(), Metric::from(value))
    };
    Outcome::Closed {
        broadcast,
        metrics: error.map(metric).into_iter().collect(),
        again,
    }
}

/// A worker: `slots`, `host`.
pub fn info(uid: &str, options: &Options<'_>) -> WorkerInfo {
    WorkerInfo {
        uid: uid.to_owned(),
        address: "127.0.0.1:2".to_owned(),
        pid: 1,
        slots: number(options, "slots", 2),
        host: HostIdentity(number(options, "host", "here".to_owned())),
        labels: BTreeMap::new(),
    }
}

/// A chunk with one file of so many splits of 10 bytes each; `file` is how many
/// files came before.
pub fn chunk(splits: u32, file: u32) -> PlanChunk {
    let name = format!("in-{file}");
    PlanChunk {
        files: vec![InputFile {
            header: Vec::new(),
            path: format!("/{name}"),
            display: name,
            bytes: u64::from(splits) * 10,
            origin: InputOrigin::FileSystem { modified_ns: 5 },
        }],
        splits: (0..u64::from(splits))
            .map(|split| SplitRange {
                file,
                offset: split * 10,
                bytes: 10,
            })
            .collect(),
    }
}

/// A chunk with one file of a dataset, from `start` on, a split for each ten bytes.
pub fn dataset_chunk(dataset: DatasetId, start: u64, splits: u32, file: u32) -> PlanChunk {
    let mut chunk = chunk(splits, file);
    for file in &mut chunk.files {
        file.origin = InputOrigin::Dataset { dataset, start };
    }
    chunk
}

/// A block and who has it: its checksum is one more than its number.
pub fn block(id: BlockId, bytes: u64, workers: &[u32]) -> ReplicatedBlock {
    ReplicatedBlock {
        summary: BlockSummary {
            id,
            bytes,
            crc32c: (id.index % 1_000) as u32 + 1,
        },
        workers: workers.iter().copied().map(WorkerId).collect(),
    }
}

/// What a dataset of one file must consist of.
pub fn seal(blocks: u32, bytes: u64) -> DatasetSeal {
    DatasetSeal {
        blocks,
        list_blocks: 0,
        files: vec![DatasetFile {
            name: "file".to_owned(),
            bytes,
            crc32c: 3,
        }],
        file_count: 1,
        bytes,
    }
}

/// A dataset that is to be.
pub fn dataset(name: &str, replicas: u8) -> DatasetSpec {
    DatasetSpec {
        name: name.to_owned(),
        format: InputFormat::Text,
        shape: Shape::File,
        replicas,
    }
}

/// Counters of a map attempt.
pub fn counters(records: u64) -> Counters {
    Counters::from([(counters::MAP_INPUT_RECORDS.to_owned(), records)])
}

/// The outcome of a reduce attempt, with blocks if it wrote into a dataset.
pub fn reduced(bytes: u64, blocks: Vec<ReplicatedBlock>) -> Outcome {
    Outcome::Reduced {
        log: None,
        output: PartOutput {
            bytes,
            records: bytes,
            crc32c: 9,
        },
        blocks,
        counters: Counters::from([(counters::REDUCE_OUTPUT_BYTES.to_owned(), bytes)]),
        skipped: Vec::new(),
    }
}

/// What an attempt wrote to its standard error, in one block.
pub fn log(attempt: AttemptId, bytes: u64, workers: &[u32]) -> AttemptLog {
    AttemptLog {
        bytes,
        truncated: false,
        blocks: vec![block(log_block(attempt, 0), bytes, workers)],
    }
}

/// The outcome of a failed attempt.
pub fn failed(cause: &str, log: Option<AttemptLog>) -> Outcome {
    let cause = match cause {
        "program" => FailureCause::Program {
            detail: "no luck".to_owned(),
        },
        "not-found" => FailureCause::InputNotFound {
            path: "in".to_owned(),
        },
        _ => panic!("unknown cause: {cause}"),
    };
    Outcome::Failed(AttemptFailure {
        log,
        cause,
        input: None,
        output_tail: "last words".to_owned(),
    })
}
