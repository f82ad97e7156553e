//! The leader ends or dies: what its workers hold goes on.

use std::time::{Duration, Instant};

use vivat_proto::v1;
use vivat_proto::v1::job_service_client::JobServiceClient;
use vivat_shared::ids::JobId;

use crate::cluster::{Cluster, eventually, spec};
use crate::worker::{REDUCERS, Worker, is_not_leader};

/// Maps of the jobs here.
const MAPS: u32 = 6;

/// A cluster whose workers hold all maps of a job between them.
async fn at_work() -> (Cluster, Vec<Worker>, JobId) {
    let cluster = Cluster::start().await;
    let mut first = Worker::register(&cluster, "first").await;
    let mut second = Worker::register(&cluster, "second").await;
    let job = cluster.submit("key", REDUCERS).await;
    first.finish_plan(&cluster, MAPS).await;
    first.pull_until(&cluster, 3).await;
    second.pull_until(&cluster, 3).await;
    (cluster, vec![first, second], job)
}

/// The new leader grants nothing twice, expires nobody, and takes reports of
/// attempts that the old one granted.
async fn check_that_work_goes_on(cluster: &Cluster, mut workers: Vec<Worker>, job: JobId) {
    for worker in &mut workers {
        let held = worker.held.clone();
        let pulled = eventually("a pull is answered", async || {
            let channel = cluster.leader_channel().await;
            worker.pull(channel, 0).await.ok()
        })
        .await;
        assert!(pulled.is_empty(), "{pulled:?}");
        assert_eq!(worker.held, held);
    }
    for worker in &mut workers {
        let held: Vec<_> = worker.held.iter().copied().collect();
        for attempt in held {
            assert!(worker.finish(cluster, attempt, MAPS).await, "{attempt}");
        }
    }
    let states: Vec<_> = cluster
        .workers()
        .await
        .into_iter()
        .map(|worker| worker.state)
        .collect();
    assert_eq!(states, ["live", "live"]);
    workers[0].run_to_the_end(cluster, job).await;
    let attempts = cluster.job(job).await.attempts.unwrap();
    let all = u64::from(1 + MAPS + REDUCERS + 1);
    assert_eq!((attempts.started, attempts.succeeded), (all, all));
    assert_eq!((attempts.lost, attempts.reruns_of_completed), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_leader_costs_no_attempt_and_no_worker() {
    let (mut cluster, workers, job) = at_work().await;
    let old = cluster.leader().await;
    cluster.kill(old);
    assert_ne!(cluster.leader().await, old);
    check_that_work_goes_on(&cluster, workers, job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_shuts_down_hands_over_and_costs_nothing() {
    let (mut cluster, workers, job) = at_work().await;
    let old = cluster.leader().await;
    let began = Instant::now();
    cluster.shutdown(old).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    check_that_work_goes_on(&cluster, workers, job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_pull_ends_with_not_leader_when_leadership_closes() {
    let cluster = Cluster::start().await;
    let worker = Worker::register(&cluster, "w").await;
    let old = cluster.leader().await;
    let request = worker.request(1, 30_000);
    let mut client = crate::worker::client(cluster.channel(old));
    let waiting = tokio::spawn(async move { client.pull_attempts(request).await });
    let mut admin = v1::cluster_service_client::ClusterServiceClient::new(cluster.channel(old));
    let moved = admin
        .transfer_leader(v1::TransferLeaderRequest { to_seat: None })
        .await
        .unwrap();
    assert_ne!(moved.into_inner().leader_seat, old);
    let refused = waiting.await.unwrap().unwrap_err();
    assert!(is_not_leader(&refused), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_without_a_quorum_refuses_with_a_type_and_in_time() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let channel = cluster.channel(leader);
    for seat in 0..3 {
        if seat != leader {
            cluster.kill(seat);
        }
    }
    let began = Instant::now();
    let request = v1::SubmitJobRequest {
        key: "key".to_owned(),
        spec: Some(spec(REDUCERS).into()),
    };
    let mut jobs = JobServiceClient::new(channel);
    eventually(
        "a write is refused as by one who does not lead",
        async || {
            let refused = jobs.submit_job(request.clone()).await.unwrap_err();
            is_not_leader(&refused).then_some(())
        },
    )
    .await;
    let read = jobs.list_jobs(v1::ListJobsRequest::default()).await;
    assert!(is_not_leader(&read.unwrap_err()));
    assert!(began.elapsed() < Duration::from_secs(10));
}
