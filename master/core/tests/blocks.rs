//! A directory of a million blocks: what a leader does about it gives the right
//! answers, and a snapshot of it stays small.

use std::collections::{BTreeMap, BTreeSet};

use vivat_core::command::{
    Command, DataCommand, DatasetSeal, LeaderRecord, Proposal, Reply, WorkerInfo,
};
use vivat_core::placement::{self, CopyBounds, DiskView, Wish};
use vivat_core::{State, apply, snapshot};
use vivat_shared::dataset::{BlockSummary, DatasetFile, DatasetSpec, ReplicatedBlock, Shape};
use vivat_shared::ids::{BlockId, ClusterId, DatasetId, NodeId, Seat, WorkerId};
use vivat_shared::job::{HostIdentity, InputFormat};

const BLOCKS: u32 = 1_000_000;
const PER_COMMAND: u32 = 500;
const WORKERS: u32 = 100;

fn run(state: &mut State, command: Command) -> Reply {
    let index = state.applied_index() + 1;
    let proposal = Proposal {
        proposed_at_ms: 0,
        term: state.term(),
        age_ms: 0,
        commands: vec![command],
    };
    let mut applied = apply(state, index, &proposal);
    let reply = applied.replies.remove(0);
    assert!(!matches!(reply, Reply::Rejected(_)), "{reply:?}");
    reply
}

fn cluster() -> State {
    let mut state = State::new();
    let leader = LeaderRecord {
        node_id: NodeId(1),
        seat: Seat(0),
        client_address: "a:1".to_owned(),
    };
    let open = Command::OpenTerm {
        term: 1,
        cluster: ClusterId(1),
        leader,
    };
    run(&mut state, open);
    for number in 1..=WORKERS {
        let info = WorkerInfo {
            uid: format!("worker-{number}"),
            address: "a:1".to_owned(),
            pid: 1,
            slots: 1,
            host: HostIdentity(format!("host-{number}")),
            labels: BTreeMap::new(),
        };
        let crashed = Vec::new();
        run(&mut state, Command::RegisterWorker { info, crashed });
    }
    state
}

fn summary(dataset: DatasetId, index: u32) -> BlockSummary {
    BlockSummary {
        id: BlockId {
            dataset,
            index: u64::from(index),
        },
        bytes: 10,
        crc32c: index,
    }
}

fn fill(state: &mut State) -> DatasetId {
    let key = "put".to_owned();
    let spec = DatasetSpec {
        name: "large".to_owned(),
        format: InputFormat::Text,
        shape: Shape::File,
        replicas: 2,
    };
    let opened = run(state, DataCommand::OpenDataset { key, spec }.into());
    let Reply::Dataset { dataset, .. } = opened else {
        panic!("{opened:?}");
    };
    for first in (0..BLOCKS).step_by(PER_COMMAND as usize) {
        let holder = |number: u32| WorkerId(number % WORKERS + 1);
        let blocks = (first..first + PER_COMMAND).map(|index| ReplicatedBlock {
            summary: summary(dataset, index),
            workers: vec![holder(index), holder(index + 1)],
        });
        let blocks = blocks.collect();
        let append = DataCommand::AppendBlocks {
            dataset,
            first,
            blocks,
        };
        run(state, append.into());
    }
    let bytes = u64::from(BLOCKS) * 10;
    let seal = DatasetSeal {
        blocks: BLOCKS,
        list_blocks: 0,
        files: vec![DatasetFile {
            name: "large".to_owned(),
            bytes,
            crc32c: 0,
        }],
        file_count: 1,
        bytes,
    };
    run(state, DataCommand::SealDataset { dataset, seal }.into());
    dataset
}

#[test]
fn directory_of_a_million_blocks_is_looked_through_and_stays_small() {
    let mut state = cluster();
    let dataset = fill(&mut state);
    let view = DiskView {
        free: (1..=WORKERS)
            .map(|number| (WorkerId(number), 1_000))
            .collect(),
    };
    let bounds = CopyBounds {
        orders_max: 8,
        to_one_max: 2,
    };
    let none = BTreeMap::new();
    let orders = placement::replication(&state, &view, &none, bounds);
    assert!(orders.is_empty());
    let lost = state
        .worker(WorkerId(5))
        .map(vivat_core::state::Worker::current);
    let expire = Command::ExpireWorker {
        worker: lost.expect("it registered"),
        term: 1,
        reason: "gone".to_owned(),
    };
    run(&mut state, expire);
    let orders = placement::replication(&state, &view, &none, bounds);
    assert_eq!(orders.len(), bounds.orders_max);
    let avoid = BTreeSet::new();
    let wish = Wish {
        count: 64,
        replicas: 3,
        block_bytes: 10,
        avoid: &avoid,
        near_host: None,
        turn: 7,
    };
    let pipelines = placement::place(&state, &view, &wish);
    assert_eq!(pipelines.len(), 64);
    let page: Vec<BlockSummary> = (0..1_000)
        .map(|number| summary(dataset, 500_000 + number * WORKERS))
        .collect();
    let after = Some(summary(dataset, 499_999).id);
    let report = placement::compare_report(&state, WorkerId(1), after, &page, false);
    assert!(report.add.is_empty() && !report.drop.is_empty());
    let bytes = snapshot::encode(&state).len();
    assert!(bytes < BLOCKS as usize * 32, "{bytes} bytes of snapshot");
}
