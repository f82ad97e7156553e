//! Leases: a worker that falls silent is expired, once, and must register anew.

use std::time::Duration;

use vivat_proto::error::detail_of;
use vivat_proto::v1::error_detail::Kind;

use crate::cluster::{Cluster, eventually};
use crate::worker::{REDUCERS, Worker};

/// A lease that a test can wait for, with all relations kept.
const LEASE: Duration = Duration::from_millis(1_500);

async fn cluster() -> Cluster {
    Cluster::start_with(|config| {
        config.lease = LEASE;
        config.heartbeat = Duration::from_millis(100);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_worker_is_expired_and_its_attempt_goes_to_another() {
    let cluster = cluster().await;
    let mut silent = Worker::register(&cluster, "silent").await;
    let job = cluster.submit("key", REDUCERS).await;
    silent.pull_until(&cluster, 1).await;
    let mut other = Worker::register(&cluster, "other").await;
    other.pull_until(&cluster, 1).await;
    let (lost, again) = (silent.held.first().unwrap(), other.held.first().unwrap());
    assert_eq!(lost.task, again.task);
    let attempts = cluster.job(job).await.attempts.unwrap();
    assert_eq!((attempts.started, attempts.lost), (2, 1));
    let channel = cluster.leader_channel().await;
    let refused = silent.heartbeat(channel, &[]).await.unwrap_err();
    assert!(matches!(detail_of(&refused), Some(Kind::StaleEpoch(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_keep_a_worker_for_longer_than_its_lease() {
    let cluster = cluster().await;
    let worker = Worker::register(&cluster, "steady").await;
    let silent = Worker::register(&cluster, "silent").await;
    // The clock of this test is the other worker, registered later: when that
    // one is gone, the lease of the first would be over too.
    eventually("the silent worker is lost", async || {
        let channel = cluster.leader_channel().await;
        worker.heartbeat(channel, &[]).await.unwrap();
        let workers = cluster.workers().await;
        let state = |id: u32| workers.iter().find(|worker| worker.worker == id);
        let lost = state(silent.epoch.worker.0)?.state == "lost";
        assert_eq!(state(worker.epoch.worker.0)?.state, "live");
        lost.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_registers_anew_ends_the_pull_of_its_old_epoch() {
    let cluster = cluster().await;
    let old = Worker::register(&cluster, "w").await;
    let request = old.request(1, 30_000);
    let mut client = crate::worker::client(cluster.leader_channel().await);
    let waiting = tokio::spawn(async move { client.pull_attempts(request).await });
    let new = Worker::register(&cluster, "w").await;
    assert_eq!(new.epoch.worker, old.epoch.worker);
    assert!(new.epoch.epoch > old.epoch.epoch);
    let refused = waiting.await.unwrap().unwrap_err();
    assert!(matches!(detail_of(&refused), Some(Kind::StaleEpoch(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_workers_cannot_reach_hands_over_before_it_expires_them() {
    let cluster = Cluster::start_with(|config| {
        config.lease = Duration::from_secs(4);
        config.heartbeat = Duration::from_millis(500);
    })
    .await;
    let worker = Worker::register(&cluster, "cut off").await;
    let old = cluster.leader().await;
    // The worker tries every master but the one that it cannot reach.
    eventually("another master leads", async || {
        for seat in (0..3).filter(|seat| *seat != old) {
            if worker.heartbeat(cluster.channel(seat), &[]).await.is_ok() {
                return Some(());
            }
        }
        None
    })
    .await;
    assert_ne!(cluster.leader().await, old);
    let states: Vec<String> = cluster
        .workers()
        .await
        .into_iter()
        .map(|worker| worker.state)
        .collect();
    assert_eq!(states, ["live"]);
}
