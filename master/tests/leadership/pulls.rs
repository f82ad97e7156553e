//! Pulls: redelivery, kills, one waiter a worker, repeated reports, taking back.

use vivat_proto::convert::outcome::report_to_wire;
use vivat_proto::v1;
use vivat_shared::attempt::{AttemptFailure, Outcome};
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{AttemptId, TaskKind};
use vivat_shared::limits::ENTRY_BYTES_MAX;

use crate::cluster::{Cluster, DEADLINE, HANDED_BACK, eventually, get};
use crate::worker::{REDUCERS, Worker, client};

#[tokio::test(flavor = "multi_thread")]
async fn attempts_of_a_lost_reply_are_delivered_again_and_nothing_else_is_granted() {
    let cluster = Cluster::start().await;
    let mut worker = Worker::register(&cluster, "w").await;
    let job = cluster.submit("key", REDUCERS).await;
    worker.finish_plan(&cluster, 8).await;
    let channel = cluster.leader_channel().await;
    let lost = eventually("some maps are granted", async || {
        let mut client = client(channel.clone());
        let response = client.pull_attempts(worker.request(3, 500)).await;
        let lost = response.unwrap().into_inner().assignments;
        (!lost.is_empty()).then_some(lost)
    })
    .await;
    let again = worker.pull(channel, 3).await.unwrap();
    let lost: Vec<AttemptId> = lost
        .into_iter()
        .map(|assignment| assignment.attempt.unwrap().try_into().unwrap())
        .collect();
    assert_eq!(again.granted, lost);
    let started = cluster.job(job).await.attempts.unwrap().started;
    assert_eq!(started, 1 + lost.len() as u64, "a plan, and these maps");
}

#[tokio::test(flavor = "multi_thread")]
async fn held_attempts_that_nobody_granted_are_ordered_killed() {
    let cluster = Cluster::start().await;
    let mut worker = Worker::register(&cluster, "w").await;
    cluster.submit("key", REDUCERS).await;
    worker.pull_until(&cluster, 1).await;
    let granted = *worker.held.first().unwrap();
    let unknown = AttemptId {
        number: granted.number + 1,
        ..granted
    };
    worker.held.insert(unknown);
    let channel = cluster.leader_channel().await;
    let heard = worker.heartbeat(channel.clone(), &[]).await.unwrap();
    assert_eq!(heard.kill, [v1::AttemptId::from(unknown)]);
    let pulled = worker.pull(channel, 0).await.unwrap();
    assert_eq!(pulled.kill, [unknown]);
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_pull_of_a_worker_ends_the_older_one_empty() {
    let cluster = Cluster::start().await;
    let worker = Worker::register(&cluster, "w").await;
    let channel = cluster.leader_channel().await;
    let request = worker.request(1, 30_000);
    let mut older = client(channel.clone());
    let waiting = tokio::spawn(async move { older.pull_attempts(request).await });
    let leader = cluster.leader().await;
    let http = cluster.master(leader).addresses().http.clone().unwrap();
    eventually("the older pull waits", async || {
        let (_, body) = get(&http, "/metrics").await;
        body.contains("vivat_master_pulls_waiting 1").then_some(())
    })
    .await;
    let newer = worker.request(1, 1);
    let newer = client(channel).pull_attempts(newer).await.unwrap();
    let older = tokio::time::timeout(DEADLINE / 2, waiting)
        .await
        .expect("before the poll's own end")
        .unwrap()
        .unwrap();
    let empty = v1::PullAttemptsResponse::default();
    assert_eq!(
        (older.into_inner(), newer.into_inner()),
        (empty.clone(), empty)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_report_gets_the_verdict_of_the_first() {
    let cluster = Cluster::start().await;
    let mut worker = Worker::register(&cluster, "w").await;
    cluster.submit("key", REDUCERS).await;
    worker.finish_plan(&cluster, 4).await;
    worker.pull_until(&cluster, 1).await;
    let map = *worker.held.first().unwrap();
    assert!(worker.finish(&cluster, map, 4).await);
    worker.held.insert(map);
    let channel = cluster.leader_channel().await;
    // It still holds it: the verdict was lost. Nobody may order that killed.
    let heard = worker.heartbeat(channel.clone(), &[]).await.unwrap();
    assert!(heard.kill.is_empty(), "{:?}", heard.kill);
    assert!(worker.finish(&cluster, map, 4).await);
    let stranger = AttemptId { number: 9, ..map };
    let refused = worker.report(channel, stranger, Outcome::Killed).await;
    assert!(!refused.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn report_that_no_entry_can_hold_fails_its_attempt_and_holds_up_no_other() {
    let cluster = Cluster::start().await;
    let mut worker = Worker::register(&cluster, "w").await;
    let job = cluster.submit("key", REDUCERS).await;
    worker.finish_plan(&cluster, 2).await;
    worker.pull_until(&cluster, 2).await;
    let maps: Vec<AttemptId> = worker.held.iter().copied().collect();
    let failure = AttemptFailure {
        log: None,
        cause: FailureCause::Storage {
            detail: "x".repeat(ENTRY_BYTES_MAX),
        },
        input: None,
        output_tail: String::new(),
    };
    let reports = vec![
        report_to_wire(maps[0], Outcome::Failed(failure)),
        report_to_wire(maps[1], Outcome::Killed),
    ];
    let request = v1::ReportOutcomesRequest {
        worker: Some(worker.epoch.into()),
        reports,
    };
    let answer = client(cluster.leader_channel().await)
        .report_outcomes(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.verdicts.len(), 2);
    let attempts = cluster.job(job).await.attempts.unwrap();
    assert_eq!((attempts.failed, attempts.killed), (1, 1));
}

/// One bad report must not keep back the good ones of its call for ever (L1).
#[tokio::test(flavor = "multi_thread")]
async fn report_that_cannot_be_read_fails_its_attempt_and_holds_up_no_other() {
    let cluster = Cluster::start().await;
    let mut worker = Worker::register(&cluster, "w").await;
    let job = cluster.submit("key", REDUCERS).await;
    worker.finish_plan(&cluster, 2).await;
    worker.pull_until(&cluster, 2).await;
    let maps: Vec<AttemptId> = worker.held.iter().copied().collect();
    let without_outcome = v1::Report {
        attempt: Some(maps[0].into()),
        outcome: None,
    };
    let of_nothing = v1::Report {
        attempt: None,
        ..report_to_wire(maps[0], Outcome::Killed)
    };
    let request = v1::ReportOutcomesRequest {
        worker: Some(worker.epoch.into()),
        reports: vec![
            without_outcome,
            of_nothing,
            report_to_wire(maps[1], Outcome::Killed),
        ],
    };
    let answer = client(cluster.leader_channel().await)
        .report_outcomes(request)
        .await
        .unwrap()
        .into_inner();
    let nothing = v1::Verdict::default();
    assert_eq!(answer.verdicts.len(), 3);
    assert!(answer.verdicts.contains(&nothing), "{:?}", answer.verdicts);
    let attempts = cluster.job(job).await.attempts.unwrap();
    assert_eq!((attempts.failed, attempts.killed), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_worker_gets_attempts_that_another_had_not_started() {
    let cluster = Cluster::start().await;
    let mut busy = Worker::register(&cluster, "busy").await;
    cluster.submit("key", REDUCERS).await;
    busy.finish_plan(&cluster, 8).await;
    busy.pull_until(&cluster, 8).await;
    let all = busy.held.clone();
    let begun = *all.first().unwrap();
    let mut idle = Worker::register(&cluster, "idle").await;
    let channel = cluster.leader_channel().await;
    // The reduces that it is given first wait for their maps.
    let mut puller = client(channel.clone());
    let waiting = tokio::spawn(async move {
        loop {
            let request = idle.request(8, 30_000);
            let answer = puller.pull_attempts(request).await.unwrap();
            let mut maps = idle.take(answer.into_inner()).granted;
            maps.retain(|attempt| attempt.task.kind == TaskKind::Map);
            if !maps.is_empty() {
                return maps;
            }
        }
    });
    busy.heartbeat(channel.clone(), &[begun]).await.unwrap();
    let back = eventually("some are asked back", async || {
        let pulled = busy.pull(channel.clone(), 0).await.unwrap();
        (!pulled.take_back.is_empty()).then_some(pulled.take_back)
    })
    .await;
    assert!(back.len() <= 4 && !back.contains(&begun), "{back:?}");
    for &attempt in &back {
        let report = busy.report(channel.clone(), attempt, HANDED_BACK).await;
        assert!(report.unwrap());
        busy.held.remove(&attempt);
    }
    let got = tokio::time::timeout(DEADLINE, waiting).await;
    for attempt in got.expect("a map goes to who idles").unwrap() {
        assert!(back.iter().any(|handed| handed.task == attempt.task));
    }
}
