//! A worker whose registration is over, and what it says and leaves (F5, F24).

use std::fs;
use std::time::Duration;

use vivat_client::{ClientError, ClientOptions, LeaderClient};
use vivat_proto::convert::outcome::report_to_wire;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::attempt::{AttemptFailure, Outcome};
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{AttemptId, Epoch, WorkerEpoch};

use crate::faults::{SHAPE, await_true};
use crate::harness::{Cluster, parse};

const CALL_BUDGET: Duration = Duration::from_secs(10);

/// The registration of a worker's process.
pub fn epoch_of(cluster: &mut Cluster, worker: usize) -> WorkerEpoch {
    let pid = cluster.worker(worker).id();
    let nodes = parse(&cluster.vivat(&["node", "list", "-o", "json"]));
    let nodes = nodes.as_array().expect("a list");
    let node = nodes.iter().find(|node| node["pid"] == pid);
    let node = node.unwrap_or_else(|| panic!("no process {pid} in {nodes:?}"));
    WorkerEpoch {
        worker: node["worker_id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("a worker's id"),
        epoch: Epoch(node["epoch"].as_u64().expect("a number")),
    }
}

/// A map that worker 0 finished for a job.
pub fn map_on_disk(cluster: &Cluster, job: &str) -> AttemptId {
    let dir = cluster.path("worker-0").join("segments").join(job);
    let names = fs::read_dir(&dir).expect("it made maps of the job");
    let mut ids = names.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".seg")?.parse().ok()
    });
    ids.next().expect("it finished a map of the job")
}

/// A late word of a registration that is over is refused for what it is, and
/// ends nothing: here the worst one, that a finished map failed.
pub fn assert_refused(cluster: &Cluster, zombie: WorkerEpoch, map: AttemptId) {
    let failed = Outcome::Failed(AttemptFailure {
        log: None,
        cause: FailureCause::Internal {
            detail: "a zombie says so".to_owned(),
        },
        input: None,
        output_tail: String::new(),
    });
    let request = v1::ReportOutcomesRequest {
        worker: Some(zombie.into()),
        reports: vec![report_to_wire(map, failed)],
    };
    let masters = cluster.addresses().split(',').map(str::to_owned).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let answer = runtime.block_on(async {
        let client = LeaderClient::new(masters, ClientOptions::default());
        let call = client.call(CALL_BUDGET, CALL_BUDGET, |channel| {
            let request = request.clone();
            async move {
                vivat_client::worker_service(channel)
                    .report_outcomes(request)
                    .await
            }
        });
        call.await.map(|answer| answer.into_inner())
    });
    let refusal = answer.as_ref().err().and_then(ClientError::detail);
    assert!(
        matches!(refusal, Some(Kind::StaleEpoch(_))),
        "S4: {answer:?}"
    );
}

/// Nothing of an ended job is left, on any worker or beside its output.
pub fn assert_files_gone(cluster: &Cluster, job: &str) {
    for worker in 0..SHAPE.workers {
        for kind in ["segments", "scratch"] {
            let path = cluster
                .path(&format!("worker-{worker}"))
                .join(kind)
                .join(job);
            await_true("files of an ended job are deleted", || !path.exists());
        }
    }
    let entries = fs::read_dir(cluster.dir()).expect("the test's directory");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let left: Vec<_> = names
        .filter(|name| name.to_string_lossy().ends_with(".staging"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
