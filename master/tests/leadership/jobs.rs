//! Jobs: submission, watching, cancelling, the whole way.

use vivat_proto::error::detail_of;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::job_service_client::JobServiceClient;

use crate::cluster::{Cluster, spec};
use crate::worker::{REDUCERS, Worker, is_not_leader};

#[tokio::test(flavor = "multi_thread")]
async fn same_key_gives_the_same_job_and_another_specification_a_conflict() {
    let cluster = Cluster::start().await;
    let mut jobs = cluster.jobs().await;
    let request = v1::SubmitJobRequest {
        key: "key".to_owned(),
        spec: Some(spec(2).into()),
    };
    let first = jobs.submit_job(request.clone()).await.unwrap().into_inner();
    let again = jobs.submit_job(request.clone()).await.unwrap().into_inner();
    assert!(first.created && !again.created);
    assert_eq!(first.job, again.job);
    let other = v1::SubmitJobRequest {
        spec: Some(spec(3).into()),
        ..request
    };
    let refused = jobs.submit_job(other).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::AlreadyExists);
    match detail_of(&refused) {
        Some(Kind::KeyConflict(conflict)) => assert_eq!(conflict.job, first.job),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn follower_sends_callers_to_the_leader() {
    let cluster = Cluster::start().await;
    // The barrier has reached a follower when that names the leader.
    let leader = cluster.leader().await;
    let expected = &cluster.master(leader).addresses().client;
    let follower = cluster.channel(cluster.follower().await);
    crate::cluster::eventually("the follower knows where the leader is", async || {
        let mut jobs = JobServiceClient::new(follower.clone());
        let refused = jobs
            .list_jobs(v1::ListJobsRequest::default())
            .await
            .unwrap_err();
        assert!(is_not_leader(&refused), "{refused}");
        match detail_of(&refused) {
            Some(Kind::NotLeader(hint)) => (hint.leader_endpoint == *expected).then_some(()),
            _ => None,
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_nobody_knows_is_not_found() {
    let cluster = Cluster::start().await;
    let mut jobs = cluster.jobs().await;
    let refused = jobs
        .get_job(v1::GetJobRequest { job: 99 })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    assert!(matches!(detail_of(&refused), Some(Kind::UnknownJob(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_job_is_seen_to_succeed_and_the_stream_ends() {
    let cluster = Cluster::start().await;
    let mut worker = Worker::register(&cluster, "w").await;
    let job = cluster.submit("key", REDUCERS).await;
    let mut updates = cluster
        .jobs()
        .await
        .watch_job(v1::WatchJobRequest { job: job.0 })
        .await
        .unwrap()
        .into_inner();
    let first = updates.message().await.unwrap().unwrap().job.unwrap();
    assert_eq!(first.state(), v1::JobState::Queued);
    worker.run_to_the_end(&cluster, job).await;
    let mut last = first;
    while let Some(update) = updates.message().await.unwrap() {
        last = update.job.unwrap();
    }
    assert_eq!(last.state(), v1::JobState::Succeeded);
    let attempts = last.attempts.unwrap();
    // One plan, one map, two reduces, one commit.
    assert_eq!((attempts.started, attempts.succeeded), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_job_answers_the_waiting_pull_of_its_worker_with_a_kill() {
    let cluster = Cluster::start().await;
    let mut worker = Worker::register(&cluster, "w").await;
    let job = cluster.submit("key", REDUCERS).await;
    worker.pull_until(&cluster, 1).await;
    let plan = *worker.held.first().unwrap();
    let channel = cluster.leader_channel().await;
    let request = v1::PullAttemptsRequest {
        control_free: false,
        ..worker.request(0, 30_000)
    };
    let waiting =
        tokio::spawn(async move { crate::worker::client(channel).pull_attempts(request).await });
    let cancel = v1::CancelJobRequest { job: job.0 };
    cluster.jobs().await.cancel_job(cancel).await.unwrap();
    let answer = tokio::time::timeout(crate::cluster::DEADLINE / 2, waiting)
        .await
        .expect("before the poll's own end")
        .unwrap()
        .unwrap();
    assert_eq!(worker.take(answer.into_inner()).kill, [plan]);
    let heard = worker
        .heartbeat(cluster.leader_channel().await, &[])
        .await
        .unwrap();
    assert!(heard.kill.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn job_without_workers_says_why_it_waits() {
    let cluster = Cluster::start().await;
    let job = cluster.submit("key", REDUCERS).await;
    let request = v1::ExplainJobRequest { job: job.0 };
    let explained = cluster.jobs().await.explain_job(request).await.unwrap();
    let explained = explained.into_inner();
    assert_eq!(explained.reason, "WAITING_FOR_WORKERS");
    assert!(!explained.lines.is_empty());
}
