//! A state with workers and datasets, for the tests of placement.

use vivat_shared::dataset::{BlockSummary, DatasetFile, DatasetSpec, ReplicatedBlock, Shape};
use vivat_shared::ids::{BlockId, ClusterId, DatasetId, NodeId, Seat, WorkerId};
use vivat_shared::job::{HostIdentity, InputFormat};

use super::DiskView;
use crate::apply;
use crate::command::{
    Command, DataCommand, DatasetSeal, LeaderRecord, Proposal, Reply, WorkerInfo,
};
use crate::state::State;

/// Workers 1, 2, ... on these hosts.
pub(crate) fn world(hosts: &[&str]) -> State {
    let mut state = State::new();
    let leader = LeaderRecord {
        node_id: NodeId(1),
        seat: Seat(1),
        client_address: "a:1".to_owned(),
    };
    let open = Command::OpenTerm {
        term: 0,
        cluster: ClusterId(1),
        leader,
    };
    run(&mut state, open);
    for (number, host) in (1..).zip(hosts) {
        register(&mut state, number, host);
    }
    state
}

pub(crate) fn register(state: &mut State, number: u32, host: &str) {
    let info = WorkerInfo {
        uid: format!("uid-{number}"),
        address: format!("{host}:{number}"),
        pid: number,
        slots: 1,
        host: HostIdentity((*host).to_owned()),
        labels: std::collections::BTreeMap::new(),
    };
    let crashed = Vec::new();
    run(state, Command::RegisterWorker { info, crashed });
}

pub(crate) fn expire(state: &mut State, number: u32) {
    let worker = state.worker(WorkerId(number)).expect("known").current();
    let (term, reason) = (state.term(), "gone".to_owned());
    run(
        state,
        Command::ExpireWorker {
            worker,
            term,
            reason,
        },
    );
}

pub(crate) fn drain(state: &mut State, number: u32) {
    let worker = WorkerId(number);
    let draining = true;
    let deadline_ms = None;
    run(
        state,
        Command::DrainWorker {
            worker,
            draining,
            deadline_ms,
        },
    );
}

pub(crate) fn run(state: &mut State, command: Command) -> Reply {
    let proposal = Proposal {
        proposed_at_ms: 0,
        term: state.term(),
        age_ms: 0,
        commands: vec![command],
    };
    let index = state.applied_index() + 1;
    let mut applied = apply(state, index, &proposal);
    let reply = applied.replies.remove(0);
    assert!(!matches!(reply, Reply::Rejected(_)), "{reply:?}");
    reply
}

pub(crate) fn view(free: &[u64]) -> DiskView {
    let numbered = (1..).map(WorkerId).zip(free.iter().copied());
    DiskView {
        free: numbered.collect(),
    }
}

pub(crate) fn block(dataset: DatasetId, index: u64) -> BlockSummary {
    BlockSummary {
        id: BlockId { dataset, index },
        bytes: 10,
        crc32c: 7,
    }
}

/// A dataset of blocks of ten bytes that these workers have.
pub(crate) fn dataset(
    state: &mut State,
    name: &str,
    replicas: u8,
    holders: &[&[u32]],
) -> DatasetId {
    let id = open_dataset(state, name, replicas, holders);
    let blocks = u32::try_from(holders.len()).expect("few");
    let bytes = u64::from(blocks) * 10;
    let seal = DatasetSeal {
        blocks,
        list_blocks: 0,
        files: vec![DatasetFile {
            name: "x".to_owned(),
            bytes,
            crc32c: 0,
        }],
        file_count: 1,
        bytes,
    };
    run(state, DataCommand::SealDataset { dataset: id, seal }.into());
    id
}

pub(crate) fn open_dataset(
    state: &mut State,
    name: &str,
    replicas: u8,
    holders: &[&[u32]],
) -> DatasetId {
    let spec = DatasetSpec {
        name: name.to_owned(),
        format: InputFormat::Text,
        shape: Shape::File,
        replicas,
    };
    let key = name.to_owned();
    let opened = run(state, DataCommand::OpenDataset { key, spec }.into());
    let Reply::Dataset { dataset, .. } = opened else {
        panic!("{opened:?}");
    };
    let blocks = (0..).zip(holders).map(|(index, workers)| ReplicatedBlock {
        summary: block(dataset, index),
        workers: workers.iter().copied().map(WorkerId).collect(),
    });
    let blocks = blocks.collect();
    let append = DataCommand::AppendBlocks {
        dataset,
        first: 0,
        blocks,
    };
    run(state, append.into());
    dataset
}
