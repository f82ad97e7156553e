//! A job of a million tasks: what a task costs in memory and in a snapshot.

use std::collections::BTreeMap;

use vivat_core::command::{Applied, Command, Grant, LeaderRecord, Proposal, Reply, WorkerInfo};
use vivat_core::{State, apply, snapshot};
use vivat_shared::attempt::{InputFile, InputOrigin, Outcome, PlanChunk, SplitRange};
use vivat_shared::ids::{
    AttemptId, ClusterId, JobId, NodeId, RoundId, Seat, TaskId, TaskKind, WorkerEpoch,
};
use vivat_shared::job::{
    HostIdentity, InputFormat, InputPattern, JobSpec, OutputLocation, Policy, StepSpec, Visibility,
};
use vivat_shared::plan::checksum;
use vivat_shared::size_code::SizeCode;

const TASKS: u32 = 1_000_000;
const REDUCERS: u32 = 8;
const SPLITS_PER_CHUNK: u32 = 4_000;
const BYTES_PER_TASK_MAX: u64 = 64 + REDUCERS as u64;
const ROUND: RoundId = RoundId {
    job: JobId(1),
    step: 0,
    round: 0,
};

fn propose(state: &mut State, commands: Vec<Command>) -> Applied {
    let index = state.applied_index() + 1;
    let proposal = Proposal {
        proposed_at_ms: index,
        term: 0,
        age_ms: index,
        commands,
    };
    apply(state, index, &proposal)
}

fn attempt(kind: TaskKind, index: u32) -> AttemptId {
    AttemptId {
        task: TaskId {
            round: ROUND,
            kind,
            index,
        },
        number: 1,
    }
}

fn spec() -> JobSpec {
    JobSpec {
        name: "large".to_owned(),
        comment: String::new(),
        inputs: vec![InputPattern {
            path: "/in".to_owned(),
            display: "in".to_owned(),
            visibility: Visibility::Everyone,
        }],
        format: InputFormat::Text,
        split_bytes: 1,
        steps: vec![StepSpec::once("word-count", REDUCERS)],
        output: OutputLocation::Directory {
            path: "/out".to_owned(),
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

fn begin(state: &mut State) -> WorkerEpoch {
    let leader = LeaderRecord {
        node_id: NodeId(1),
        seat: Seat(0),
        client_address: String::new(),
    };
    let info = WorkerInfo {
        uid: "uid".to_owned(),
        address: String::new(),
        pid: 1,
        slots: 1_000,
        host: HostIdentity(String::new()),
        labels: BTreeMap::new(),
    };
    let applied = propose(
        state,
        vec![
            Command::OpenTerm {
                term: 1,
                cluster: ClusterId(1),
                leader,
            },
            Command::SubmitJob {
                key: "key".to_owned(),
                spec: spec(),
            },
            Command::RegisterWorker {
                info,
                crashed: Vec::new(),
            },
        ],
    );
    match applied.replies.last() {
        Some(Reply::Registered(worker)) => *worker,
        other => panic!("not registered: {other:?}"),
    }
}

fn grant(state: &mut State, worker: WorkerEpoch, tasks: &[AttemptId]) {
    let grants = tasks
        .iter()
        .map(|attempt| Grant {
            task: attempt.task,
            worker,
            backup: false,
        })
        .collect();
    let applied = propose(state, vec![Command::AssignAttempts { term: 1, grants }]);
    let Some(Reply::Assigned(answers)) = applied.replies.first() else {
        panic!("refused: {:?}", applied.replies);
    };
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

fn plan(state: &mut State, worker: WorkerEpoch) {
    let planning = attempt(TaskKind::Plan, 0);
    grant(state, worker, &[planning]);
    let mut crc32c = 0;
    let chunks = TASKS / SPLITS_PER_CHUNK;
    for chunk in 0..chunks {
        let first = chunk * SPLITS_PER_CHUNK;
        let file = InputFile {
            header: Vec::new(),
            path: "/in".to_owned(),
            display: "in".to_owned(),
            bytes: u64::from(TASKS),
            origin: InputOrigin::FileSystem { modified_ns: 0 },
        };
        let content = PlanChunk {
            files: (chunk == 0).then_some(file).into_iter().collect(),
            splits: (first..first + SPLITS_PER_CHUNK)
                .map(|split| SplitRange {
                    file: 0,
                    offset: u64::from(split),
                    bytes: 1,
                })
                .collect(),
        };
        checksum(&mut crc32c, &content);
        let append = Command::AppendPlan {
            attempt: planning,
            worker,
            chunk,
            content,
        };
        assert_eq!(propose(state, vec![append]).replies, [Reply::Done]);
    }
    let seal = Outcome::Planned {
        chunks,
        files: 1,
        splits: TASKS,
        crc32c,
        replaces: None,
    };
    propose(state, vec![finish(planning, worker, seal)]);
}

fn finish(attempt: AttemptId, worker: WorkerEpoch, outcome: Outcome) -> Command {
    Command::FinishAttempt {
        attempt,
        worker,
        outcome,
    }
}

#[test]
fn task_of_a_large_job_costs_64_bytes_and_one_for_each_partition() {
    let mut state = State::new();
    let worker = begin(&mut state);
    plan(&mut state, worker);
    let maps: Vec<AttemptId> = (0..TASKS)
        .map(|index| attempt(TaskKind::Map, index))
        .collect();
    let mapped = Outcome::Mapped {
        log: None,
        segments: vec![SizeCode(200); REDUCERS as usize],
        counters: BTreeMap::new(),
        skipped: Vec::new(),
    };
    for batch in maps.chunks(1_000) {
        grant(&mut state, worker, batch);
        let outcomes = batch.iter().map(|map| finish(*map, worker, mapped.clone()));
        propose(&mut state, outcomes.collect());
    }
    let view = vivat_core::view::job(&state, JobId(1), &vivat_core::LivenessView::default());
    assert_eq!(view.unwrap().map.completed, TASKS);

    let bytes_max = u64::from(TASKS) * BYTES_PER_TASK_MAX;
    let memory_bytes = state.task_memory_bytes(JobId(1));
    assert!(memory_bytes <= bytes_max, "{memory_bytes} bytes of memory");
    // Beside the cells there are a few names and the workers.
    let snapshot = snapshot::encode(&state);
    assert!(
        snapshot.len() as u64 <= bytes_max,
        "{} bytes of snapshot",
        snapshot.len()
    );
    println!(
        "{memory_bytes} bytes of memory, {} of snapshot",
        snapshot.len()
    );
    assert_eq!(snapshot::decode(&snapshot).unwrap(), state);
}

#[test]
fn clone_of_a_large_job_shares_its_tasks_until_one_is_written() {
    let mut state = State::new();
    let worker = begin(&mut state);
    plan(&mut state, worker);
    let clone = state.clone();
    let before = clone.whole_hash();
    grant(&mut state, worker, &[attempt(TaskKind::Map, 0)]);
    assert_eq!(clone.whole_hash(), before, "the clone saw a later command");
    assert_ne!(state.whole_hash(), before);
}
