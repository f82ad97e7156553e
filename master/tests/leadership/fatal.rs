//! A master that cannot go on says so at once (S13, F17, mistake 18).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vivat_master::config::MasterConfig;
use vivat_master::process::{Fatal, Master};
use vivat_proto::v1::CommitNoopRequest;
use vivat_proto::v1::cluster_service_client::ClusterServiceClient;
use vivat_shared::ids::Seat;
use vivat_testkit::failpoints::{Orders, VARIABLE};

use crate::cluster::eventually;

/// Tells the child where its directory is.
const DIRECTORY: &str = "VIVAT_TEST_FATAL";
/// What the child prints when its master told it to end.
const VERDICT: &str = "the master must end";
/// Within which it must know (mistake 18).
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// Not a test: the process whose disk fails, started by the one below.
#[test]
fn process_whose_disk_fails() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let orders = Orders::at(Path::new(&std::env::var_os(VARIABLE).unwrap()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fatal = runtime.block_on(fail_disk(Path::new(&directory), &orders));
    assert!(matches!(fatal, Some(Fatal::Raft(_))), "{fatal:?}");
    eprintln!("{VERDICT}");
}

async fn fail_disk(directory: &Path, orders: &Orders) -> Option<Fatal> {
    let raft = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peers = [(Seat(0), raft.local_addr().unwrap().to_string())].into();
    let mut config = MasterConfig::new(Seat(0), directory.to_owned(), peers);
    config.raft = vivat_master::config::Listen::Bound(raft);
    let mut master = Master::start(config).await.unwrap();
    eventually("it leads", async || master.is_serving().then_some(())).await;
    let address = format!("http://{}", master.addresses().client);
    let mut client = ClusterServiceClient::connect(address).await.unwrap();
    client.commit_noop(CommitNoopRequest {}).await.unwrap();

    orders.give(&["sync-begin error"]);
    let refused = client.commit_noop(CommitNoopRequest {}).await;
    assert!(refused.is_err(), "acknowledged without a disk: {refused:?}");
    let known = tokio::time::timeout(KNOWN_WITHIN, master.fatal());
    known.await.ok()
}

#[test]
fn master_whose_disk_fails_is_told_to_end_within_two_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let orders = Orders::at(&dir.path().join("orders"));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["fatal::process_whose_disk_fails", "--exact", "--nocapture"])
        .env(DIRECTORY, dir.path().join("master"))
        .env(VARIABLE, orders.file())
        .output()
        .unwrap();
    assert_eq!(orders.struck(), ["sync-begin error"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(VERDICT), "it goes on: {said}");
}
