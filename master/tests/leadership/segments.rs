//! Streams of segment locations, and suspects.

use vivat_proto::v1;
use vivat_shared::ids::{AttemptId, JobId, TaskKind};

use crate::cluster::{Cluster, eventually};
use crate::worker::{REDUCERS, Worker, client};

/// Maps of the jobs here.
const MAPS: u32 = 4;

/// A job whose first maps are finished and whose reduces are granted.
async fn reducing() -> (Cluster, Worker, JobId, AttemptId) {
    let cluster = Cluster::start().await;
    let mut worker = Worker::register(&cluster, "w").await;
    let job = cluster.submit("key", REDUCERS).await;
    worker.finish_plan(&cluster, MAPS).await;
    let reducer = eventually("a reduce is granted", async || {
        let of = |worker: &Worker, kind: TaskKind| {
            let mut held = worker.held.iter();
            held.find(|attempt| attempt.task.kind == kind).copied()
        };
        if let Some(reducer) = of(&worker, TaskKind::Reduce) {
            return Some(reducer);
        }
        if let Some(map) = of(&worker, TaskKind::Map) {
            worker.finish(&cluster, map, MAPS).await;
        }
        let channel = cluster.leader_channel().await;
        worker.pull(channel, 8).await.unwrap();
        None
    })
    .await;
    (cluster, worker, job, reducer)
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_tells_every_map_once_known_and_ends_with_the_reduce() {
    let (cluster, mut worker, job, reducer) = reducing().await;
    let request = v1::WatchSegmentsRequest {
        worker: Some(worker.epoch.into()),
        reducer: Some(reducer.into()),
    };
    let mut client = client(cluster.leader_channel().await);
    let mut stream = client.watch_segments(request).await.unwrap().into_inner();
    eventually("all maps are completed", async || {
        let held: Vec<AttemptId> = worker.held.iter().copied().collect();
        for attempt in held {
            if attempt.task.kind == TaskKind::Map {
                assert!(worker.finish(&cluster, attempt, MAPS).await);
            }
        }
        let channel = cluster.leader_channel().await;
        worker.pull(channel, 8).await.unwrap();
        let maps = cluster.job(job).await.map.unwrap();
        (maps.completed == MAPS).then_some(())
    })
    .await;
    let mut known = std::collections::BTreeSet::new();
    let mut addresses = Vec::new();
    while known.len() < MAPS as usize {
        let update = stream.message().await.unwrap().unwrap();
        assert_eq!((update.maps, update.lost.len()), (MAPS, 0));
        known.extend(update.located.iter().map(|location| location.map));
        addresses.extend(update.addresses);
    }
    assert_eq!(addresses.len(), 1, "one holder, told once");
    assert!(worker.finish(&cluster, reducer, MAPS).await);
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn map_whose_holder_does_not_answer_two_probes_runs_again() {
    let (cluster, worker, job, reducer) = reducing().await;
    let request = v1::WatchSegmentsRequest {
        worker: Some(worker.epoch.into()),
        reducer: Some(reducer.into()),
    };
    let mut client = client(cluster.leader_channel().await);
    let mut stream = client.watch_segments(request).await.unwrap().into_inner();
    let located = stream.message().await.unwrap().unwrap().located;
    let location = located.first().expect("a reduce comes after a map");
    let map = v1::AttemptId {
        kind: v1::TaskKind::Map.into(),
        index: location.map,
        number: location.attempt,
        ..v1::AttemptId::from(reducer)
    };
    let failure = v1::ReportFetchFailureRequest {
        worker: Some(worker.epoch.into()),
        reducer: Some(reducer.into()),
        map: Some(map),
        holder: Some(worker.epoch.into()),
        gone: false,
    };
    client.report_fetch_failure(failure).await.unwrap();
    let lost = loop {
        // The reduce may be placed elsewhere first, which ends its stream.
        match stream.message().await.unwrap() {
            Some(update) if update.lost.is_empty() => {}
            Some(update) => break update.lost,
            None => break Vec::new(),
        }
    };
    assert!(lost.iter().all(|lost| lost.map == location.map));
    eventually("the map is no longer completed", async || {
        let maps = cluster.job(job).await.map.unwrap();
        ((maps.completed as usize) < located.len() || maps.idle > 0).then_some(())
    })
    .await;
}
