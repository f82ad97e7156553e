//! openraft's own storage suite on both stores, and the ways in which a core
//! can die.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::testing::blank_ent;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{RaftLogReader, StorageError};
use tempfile::TempDir;
use vivat_ground::{Ground, Threads};
use vivat_shared::ids::Seat;

use super::api::FatalReason;
use super::log::RaftLog;
use super::machine::{Machine, Shared};
use super::types::{Entry, Payload, TypeConfig};
use super::{Node, NodeConfig, RaftLimits, Timing};
use crate::storage::memory_log::SyncMode;
use crate::storage::{LogStore, MemoryLog, SledLog, SnapshotFiles};

const PATIENCE: Duration = Duration::from_secs(20);

fn machine(dir: &TempDir) -> Machine {
    let files = SnapshotFiles::open(&dir.path().join("snapshots")).unwrap();
    Machine::new(Arc::new(Shared::new()), Arc::new(files), Threads::Own)
}

struct OnSled;

impl StoreBuilder<TypeConfig, RaftLog, Machine, TempDir> for OnSled {
    async fn build(&self) -> Result<(TempDir, RaftLog, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let store = SledLog::open(&dir.path().join("log")).unwrap();
        let machine = machine(&dir);
        Ok((dir, RaftLog::new(Arc::new(store)), machine))
    }
}

struct InMemory;

impl StoreBuilder<TypeConfig, RaftLog, Machine, TempDir> for InMemory {
    async fn build(&self) -> Result<(TempDir, RaftLog, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let store = MemoryLog::new(SyncMode::AtOnce);
        let machine = machine(&dir);
        Ok((dir, RaftLog::new(Arc::new(store)), machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_on_sled_passes_the_suite_of_openraft() {
    Suite::test_all(OnSled).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn log_in_memory_passes_the_suite_of_openraft() {
    Suite::test_all(InMemory).await.unwrap();
}

#[tokio::test]
async fn replication_is_given_nothing_from_behind_what_was_purged() {
    let mut log = RaftLog::new(Arc::new(MemoryLog::new(SyncMode::AtOnce)));
    let entries = (1..=10).map(|index| blank_ent::<TypeConfig>(1, 0, index));
    log.blocking_append(entries).await.unwrap();
    let purged = log.try_get_log_entries(5..6).await.unwrap()[0].log_id;
    log.purge(purged).await.unwrap();
    let indexes = |entries: Vec<Entry>| {
        let index = |entry: &Entry| entry.log_id.index;
        entries.iter().map(index).collect::<Vec<_>>()
    };
    let behind = log.limited_get_log_entries(3, 8).await.unwrap();
    assert_eq!(indexes(behind), []);
    let there = log.limited_get_log_entries(6, 8).await.unwrap();
    assert_eq!(indexes(there), [6, 7]);
    // To whoever asks what there is it is told.
    let rest = log.try_get_log_entries(3..8).await.unwrap();
    assert_eq!(indexes(rest), [6, 7]);
}

async fn lone_node(dir: &TempDir) -> Node {
    let raft_listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = raft_listener.local_addr().unwrap().to_string();
    let node = Node::start(NodeConfig {
        seat: Seat(0),
        dir: dir.path().to_owned(),
        raft_listener: raft_listener.into(),
        peers: BTreeMap::from([(Seat(0), address)]),
        client_address: "client:1".to_owned(),
        http_address: None,
        timing: Timing::fast(),
        limits: RaftLimits::default(),
        disk: None,
        ground: Ground::default(),
    })
    .await
    .unwrap();
    let mut leadership = node.handle().leadership();
    tokio::time::timeout(PATIENCE, leadership.wait_for(|now| now.is_leader))
        .await
        .expect("one master is a majority of one")
        .unwrap();
    node
}

async fn fatal_of(node: &Node) -> FatalReason {
    tokio::time::timeout(PATIENCE, node.handle().wait_fatal())
        .await
        .expect("a dead core is reported")
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_that_does_not_decode_ends_the_replica() {
    let dir = tempfile::tempdir().unwrap();
    let node = lone_node(&dir).await;
    let raft = node.handle().inner.raft.clone();
    let garbage = Payload(vec![0xff; 64].into());
    // The answer never comes: the core dies with the entry.
    let writing = tokio::spawn(async move { raft.client_write(garbage).await });
    assert!(matches!(fatal_of(&node).await, FatalReason::Core { .. }));
    writing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_in_the_core_ends_the_replica() {
    let dir = tempfile::tempdir().unwrap();
    let node = lone_node(&dir).await;
    let raft = node.handle().inner.raft.clone();
    let asked = raft
        .external_request(|_| panic!("a defect, for the test"))
        .await;
    assert!(asked.is_ok());
    assert!(matches!(fatal_of(&node).await, FatalReason::Core { .. }));
    let refused = node.handle().propose(None, Vec::new()).await;
    assert!(refused.is_err());
}

#[test]
fn failed_store_is_told_to_whoever_waits() {
    let log = MemoryLog::new(SyncMode::AtOnce);
    log.fail(crate::storage::StorageError::Failed);
    let (sender, receiver) = std::sync::mpsc::channel();
    let done = move |outcome: Result<(), _>| sender.send(outcome.is_err()).unwrap();
    log.append(Vec::new(), Box::new(done));
    assert_eq!(receiver.recv(), Ok(true));
    assert!(log.failure().borrow().is_some());
}
