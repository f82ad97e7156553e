//! Log entries, applied: any sequence of proposals gives a state that keeps its
//! invariants, and `apply` never panics.

use std::collections::BTreeMap;

use vivat_core::command::{
    Command, DataCommand, DatasetSeal, Grant, LeaderRecord, Proposal, WorkerInfo,
};
use vivat_core::{State, apply, invariants, snapshot, view};
use vivat_shared::attempt::{
    AttemptFailure, FetchFailure, InputFile, InputOrigin, Outcome, PartOutput, PlanChunk,
    SplitRange,
};
use vivat_shared::cause::{FailureCause, InputRange};
use vivat_shared::dataset::{
    BlockSummary, DatasetFile, DatasetSpec, ReplicatedBlock, Shape, output_block,
};
use vivat_shared::ids::{
    AttemptId, BlockId, ClusterId, DatasetId, Epoch, JobId, NodeId, Seat, SegmentId, TaskId,
    WorkerEpoch, WorkerId,
};
use vivat_shared::job::{
    HostIdentity, InputFormat, InputPattern, JobSpec, OutputLocation, Policy, StepSpec, Visibility,
};
use vivat_shared::plan::checksum;
use vivat_shared::size_code::SizeCode;

use crate::Target;

/// A list of proposals. A split of four bytes is a table of one byte for each
/// of up to 4,096 partitions, and a step of twenty bytes a task for each.
pub const HISTORY: Target = Target {
    per_byte: 64 * 1024,
    ..Target::new("history", history, histories)
};

fn history(bytes: &[u8]) {
    let Ok(proposals) = postcard::from_bytes::<Vec<Proposal>>(bytes) else {
        return;
    };
    let mut state = State::new();
    for (index, proposal) in (1_u64..).zip(&proposals) {
        let before = state.clone();
        let applied = apply(&mut state, index, proposal);
        assert_eq!(applied.replies.len(), proposal.commands.len());
        let violations = invariants::check(&state);
        assert!(violations.is_empty(), "{violations:?}");
        let violations = invariants::check_step(&before, &state);
        assert!(violations.is_empty(), "{violations:?}");
    }
    let restored = snapshot::decode(&snapshot::encode(&state)).expect("our own snapshot");
    assert_eq!(restored, state);
    let _workers = view::workers(&state);
    for job in state.jobs() {
        let _memory = state.task_memory_bytes(job.id);
    }
}

fn histories() -> Vec<Vec<u8>> {
    let life = values_of_proposals();
    let encode = |proposals: &[Proposal]| postcard::to_stdvec(proposals).expect("plain data");
    [4, 7, 9, 12, 19, 27, life.len()]
        .map(|length| encode(&life[..length.min(life.len())]))
        .to_vec()
}

/// States in the life of a job.
pub fn values_of_states() -> Vec<State> {
    let mut state = State::new();
    let mut states = vec![state.clone()];
    for (index, proposal) in (1_u64..).zip(&values_of_proposals()) {
        let applied = apply(&mut state, index, proposal);
        let text = format!("{:?}", applied.replies);
        assert!(!text.contains("Rejected"), "entry {index}: {text}");
        states.push(state.clone());
    }
    states.into_iter().step_by(3).collect()
}

fn worker(number: u32) -> WorkerEpoch {
    WorkerEpoch {
        worker: WorkerId(number),
        epoch: Epoch(u64::from(number) + 1),
    }
}

fn attempt(text: &str) -> AttemptId {
    text.parse().expect("an id of this module")
}

fn grant(text: &str, number: u32) -> Command {
    let task: TaskId = attempt(&format!("{text}.1")).task;
    Command::AssignAttempts {
        term: 1,
        grants: vec![Grant {
            task,
            worker: worker(number),
            backup: false,
        }],
    }
}

fn finish(text: &str, number: u32, outcome: Outcome) -> Command {
    Command::FinishAttempt {
        attempt: attempt(text),
        worker: worker(number),
        outcome,
    }
}

/// A specification in which nothing is left out.
pub fn spec() -> JobSpec {
    let here = HostIdentity("here".to_owned());
    JobSpec {
        name: "job".to_owned(),
        comment: "why".to_owned(),
        inputs: vec![InputPattern {
            path: "/in".to_owned(),
            display: "in".to_owned(),
            visibility: Visibility::Host(here),
        }],
        format: InputFormat::Text,
        split_bytes: 10,
        steps: vec![StepSpec {
            parameters: BTreeMap::from([("pattern".to_owned(), "x".to_owned())]),
            ..StepSpec::once("grep", 2)
        }],
        output: OutputLocation::Directory {
            path: "/out".to_owned(),
            display: "out".to_owned(),
            visibility: Visibility::Everyone,
        },
        overwrite: true,
        priority: 50,
        policy: Policy::Score,
        attempts_max: 4,
        timeout_ms: Some(90_000),
        speculation: true,
        skipped_max: 0,
        side_files: Vec::new(),
        notify: None,
        source: String::new(),
        size_hint_bytes: None,
    }
}

fn register(uid: &str) -> Command {
    Command::RegisterWorker {
        info: WorkerInfo {
            uid: uid.to_owned(),
            address: "127.0.0.1:2".to_owned(),
            pid: 1,
            slots: 4,
            host: HostIdentity("here".to_owned()),
            labels: BTreeMap::from([("rack".to_owned(), "1".to_owned())]),
        },
        crashed: Vec::new(),
    }
}

fn chunk() -> PlanChunk {
    let split = |offset| SplitRange {
        file: 0,
        offset,
        bytes: 10,
    };
    PlanChunk {
        files: vec![InputFile {
            header: Vec::new(),
            path: "/in".to_owned(),
            display: "in".to_owned(),
            bytes: 20,
            origin: InputOrigin::FileSystem { modified_ns: 5 },
        }],
        splits: vec![split(0), split(10)],
    }
}

fn mapped() -> Outcome {
    Outcome::Mapped {
        log: None,
        segments: vec![SizeCode::of(100), SizeCode::of(0)],
        counters: BTreeMap::from([("map.input.records".to_owned(), 3)]),
        skipped: Vec::new(),
    }
}

fn reduced() -> Outcome {
    Outcome::Reduced {
        log: None,
        output: PartOutput {
            bytes: 4,
            records: 1,
            crc32c: 9,
        },
        blocks: Vec::new(),
        counters: BTreeMap::new(),
        skipped: Vec::new(),
    }
}

fn failed() -> Outcome {
    Outcome::Failed(AttemptFailure {
        log: None,
        cause: FailureCause::Program {
            detail: "no luck".to_owned(),
        },
        input: Some(InputRange {
            path: "/in".to_owned(),
            offset: 0,
            bytes: 10,
        }),
        output_tail: "last words".to_owned(),
    })
}

fn open() -> Command {
    Command::OpenTerm {
        term: 1,
        cluster: ClusterId(0xfeed),
        leader: LeaderRecord {
            node_id: NodeId(1),
            seat: Seat(1),
            client_address: "h:7401".to_owned(),
        },
    }
}

fn suspect() -> Command {
    Command::ReportFetchFailure {
        worker: worker(1),
        failure: FetchFailure {
            reducer: attempt("job-1.0.0.reduce-0.1"),
            segment: SegmentId {
                attempt: attempt("job-1.0.0.map-1.1"),
                partition: 0,
            },
            holder: worker(2),
            gone: false,
        },
    }
}

/// A dataset is put, loses a copy and gets it back; values come and go.
fn data_entries() -> Vec<Vec<Command>> {
    let dataset = DatasetId(1);
    let block = |index, workers: &[u32]| ReplicatedBlock {
        summary: BlockSummary {
            id: BlockId { dataset, index },
            bytes: 10,
            crc32c: 7,
        },
        workers: workers.iter().copied().map(WorkerId).collect(),
    };
    let (one, two) = (block(0, &[1, 2]), block(1, &[2]));
    let put_value = |key: &str, expect_version| DataCommand::PutValue {
        key: key.to_owned(),
        name: "model".to_owned(),
        value: vec![1, 2, 3],
        expect_version,
    };
    let commands = [
        DataCommand::OpenDataset {
            key: "put-1".to_owned(),
            spec: dataset_spec("words"),
        },
        DataCommand::AppendBlocks {
            dataset,
            first: 0,
            blocks: vec![one.clone(), two.clone()],
        },
        DataCommand::SealDataset {
            dataset,
            seal: seal(),
        },
        DataCommand::AddReplicas {
            worker: worker(1),
            blocks: vec![two.summary],
        },
        DataCommand::DropReplicas {
            worker: worker(1),
            blocks: vec![one.summary.id],
            surplus: false,
        },
        put_value("value-1", Some(0)),
        put_value("value-2", None),
        DataCommand::RemoveValue {
            key: "value-3".to_owned(),
            name: "model".to_owned(),
            expect_version: Some(2),
        },
        put_value("value-4", None),
        DataCommand::OpenDataset {
            key: "put-2".to_owned(),
            spec: dataset_spec("late"),
        },
    ];
    let one_each = commands.into_iter().map(|command| vec![command.into()]);
    one_each.collect()
}

/// The dataset of values.
pub fn dataset_spec(name: &str) -> DatasetSpec {
    DatasetSpec {
        name: name.to_owned(),
        format: InputFormat::Text,
        shape: Shape::Directory,
        replicas: 2,
    }
}

fn seal() -> DatasetSeal {
    let file = |name: &str, bytes| DatasetFile {
        name: name.to_owned(),
        bytes,
        crc32c: 5,
    };
    DatasetSeal {
        blocks: 2,
        list_blocks: 0,
        files: vec![file("a", 4), file("b/ü", 16)],
        file_count: 2,
        bytes: 20,
    }
}

/// A job that reads that dataset and writes another, and what becomes of both.
fn dataset_job_entries() -> Vec<Vec<Command>> {
    let mut spec = spec();
    spec.overwrite = true;
    for input in &mut spec.inputs {
        input.path = "vivat://words".to_owned();
        input.visibility = Visibility::Everyone;
    }
    spec.output = OutputLocation::Dataset {
        name: Some("words".to_owned()),
    };
    if let Some(step) = spec.steps.first_mut() {
        step.reducers = 1;
    }
    let planned = Outcome::Planned {
        chunks: 0,
        files: 0,
        splits: 0,
        crc32c: 0,
        replaces: None,
    };
    let output = DatasetId(3);
    let written = Outcome::Reduced {
        log: None,
        output: PartOutput {
            bytes: 9,
            records: 1,
            crc32c: 1,
        },
        blocks: vec![ReplicatedBlock {
            summary: BlockSummary {
                id: output_block(output, 0, 1, 0),
                bytes: 9,
                crc32c: 1,
            },
            workers: vec![WorkerId(2)],
        }],
        counters: BTreeMap::new(),
        skipped: Vec::new(),
    };
    let submit = Command::SubmitJob {
        key: "reads".to_owned(),
        spec,
    };
    let abandon = DataCommand::AbandonDataset {
        dataset: DatasetId(2),
        term: 1,
    };
    let remove = DataCommand::RemoveDataset {
        name: "words".to_owned(),
        dataset: output,
        when_unread: true,
    };
    vec![
        vec![submit],
        vec![grant("job-2.0.0.plan-0", 1)],
        vec![finish("job-2.0.0.plan-0.1", 1, planned)],
        vec![grant("job-2.0.0.reduce-0", 1)],
        vec![finish("job-2.0.0.reduce-0.1", 1, written)],
        vec![abandon.into()],
        vec![remove.into()],
    ]
}

/// The life of a job, then of datasets and of a job that reads and writes one: an
/// entry for each step, none of them refused.
pub fn values_of_proposals() -> Vec<Proposal> {
    let (mut sum, plan) = (0, chunk());
    checksum(&mut sum, &plan);
    let planned = Outcome::Planned {
        chunks: 1,
        files: 1,
        splits: 2,
        crc32c: sum,
        replaces: None,
    };
    let submit = Command::SubmitJob {
        key: "key".to_owned(),
        spec: spec(),
    };
    let append = Command::AppendPlan {
        attempt: attempt("job-1.0.0.plan-0.1"),
        worker: worker(1),
        chunk: 0,
        content: plan,
    };
    let judge = Command::JudgeSegment {
        term: 1,
        map: attempt("job-1.0.0.map-1.1"),
        holder: worker(2),
        healthy: true,
    };
    let entries = [
        vec![open()],
        vec![register("alpha"), register("beta")],
        vec![submit],
        vec![grant("job-1.0.0.plan-0", 1)],
        vec![append],
        vec![finish("job-1.0.0.plan-0.1", 1, planned)],
        vec![grant("job-1.0.0.map-0", 1), grant("job-1.0.0.map-1", 2)],
        vec![finish("job-1.0.0.map-0.1", 1, failed())],
        vec![grant("job-1.0.0.map-0", 2)],
        vec![finish("job-1.0.0.map-1.1", 2, mapped())],
        vec![grant("job-1.0.0.reduce-0", 1)],
        vec![suspect()],
        vec![judge],
        vec![finish("job-1.0.0.map-0.2", 2, mapped())],
        vec![grant("job-1.0.0.reduce-1", 1)],
        vec![
            finish("job-1.0.0.reduce-0.1", 1, reduced()),
            finish("job-1.0.0.reduce-1.1", 1, reduced()),
        ],
        vec![grant("job-1.0.0.commit-0", 1)],
        vec![finish("job-1.0.0.commit-0.1", 1, Outcome::Committed)],
        vec![Command::ForgetJob { job: JobId(1) }],
    ];
    let entries = entries
        .into_iter()
        .chain(data_entries())
        .chain(dataset_job_entries());
    (1_000..)
        .zip(entries)
        .map(|(proposed_at_ms, commands)| Proposal {
            proposed_at_ms,
            term: 1,
            age_ms: proposed_at_ms,
            commands,
        })
        .collect()
}
