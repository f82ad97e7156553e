//! The client against masters that are played: each test scripts what every
//! master answers and counts how often it was asked.

mod fake;

use std::time::{Duration, Instant};

use fake::{Answer, FakeMaster, free_port};
use vivat_client::{ClientError, ClientOptions, LeaderClient, Refusal};
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::ids::JobId;
use vivat_shared::view::JobState;

const BUDGET: Duration = Duration::from_secs(5);
const TRY: Duration = Duration::from_secs(1);

fn client(masters: &[&FakeMaster]) -> LeaderClient {
    let endpoints = masters.iter().map(|master| master.endpoint()).collect();
    LeaderClient::new(endpoints, ClientOptions::default())
}

async fn noop(client: &LeaderClient, budget: Duration) -> Result<u64, ClientError> {
    client
        .call(budget, TRY, |channel| async move {
            let request = vivat_proto::v1::CommitNoopRequest {};
            let mut service = vivat_client::cluster_service(channel);
            let answer = service.commit_noop(request).await?;
            Ok(answer.into_inner().index)
        })
        .await
}

#[tokio::test]
async fn hint_leads_to_the_leader_in_two_tries() {
    let leader = FakeMaster::start(Answer::Lead(7));
    let follower = FakeMaster::start(Answer::hint(&leader.endpoint(), 3));
    let client = client(&[&follower]);
    assert_eq!(noop(&client, BUDGET).await.unwrap(), 7);
    assert_eq!((follower.asked(), leader.asked()), (1, 1));
    assert!(client.endpoints().contains(&leader.endpoint()));
    // From now on the follower is left alone.
    assert_eq!(noop(&client, BUDGET).await.unwrap(), 7);
    assert_eq!((follower.asked(), leader.asked()), (1, 2));
    let view = client.leadership().borrow().clone();
    assert_eq!(view.endpoint, Some(leader.endpoint()));
    assert_eq!(view.term, 3);
    assert!(view.none_since.is_none());
}

#[tokio::test]
async fn masters_that_hint_at_one_another_are_asked_once_a_round() {
    let one = FakeMaster::start(Answer::Lead(0));
    let two = FakeMaster::start(Answer::hint(&one.endpoint(), 1));
    one.answer(Answer::hint(&two.endpoint(), 1));
    let client = client(&[&one, &two]);
    let began = Instant::now();
    let error = noop(&client, Duration::from_millis(600)).await.unwrap_err();
    assert!(matches!(error, ClientError::NoLeader { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
    // Seven pauses of 5 ms, then 10, 20, 40, 80, 100, each at least half: two
    // dozen rounds at most.
    assert!(one.asked() <= 24, "{} tries", one.asked());
    assert!(two.asked() <= 24, "{} tries", two.asked());
}

#[tokio::test]
async fn stale_hint_to_a_dead_master_does_not_hide_the_new_leader() {
    let dead = format!("127.0.0.1:{}", free_port());
    let leader = FakeMaster::start(Answer::Lead(9));
    let follower = FakeMaster::start(Answer::hint(&dead, 4));
    let client = client(&[&follower, &leader]);
    assert_eq!(noop(&client, BUDGET).await.unwrap(), 9);
}

#[tokio::test]
async fn channel_to_a_restarted_master_is_built_anew() {
    let master = FakeMaster::start(Answer::Lead(1));
    let client = client(&[&master]);
    assert_eq!(noop(&client, BUDGET).await.unwrap(), 1);
    let port = master.port();
    drop(master);
    let error = noop(&client, Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, ClientError::NoLeader { .. }), "{error}");
    assert!(client.leadership().borrow().none_since.is_some());
    let _again = FakeMaster::start_on(port, Answer::Lead(2));
    assert_eq!(noop(&client, BUDGET).await.unwrap(), 2);
    assert!(client.leadership().borrow().none_since.is_none());
}

#[tokio::test]
async fn call_without_masters_ends_within_its_budget_and_names_them() {
    let dead = format!("127.0.0.1:{}", free_port());
    let client = LeaderClient::new(vec![dead.clone()], ClientOptions::default());
    let began = Instant::now();
    let error = noop(&client, Duration::from_millis(500)).await.unwrap_err();
    let elapsed = began.elapsed();
    assert!(elapsed >= Duration::from_millis(450), "{elapsed:?}");
    assert!(elapsed < Duration::from_millis(1500), "{elapsed:?}");
    let ClientError::NoLeader { tried, last, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(tried, [dead]);
    assert!(last.is_some());
}

#[tokio::test]
async fn master_that_never_answers_costs_one_try_and_no_more() {
    let stuck = FakeMaster::start(Answer::Hang);
    let leader = FakeMaster::start(Answer::Lead(5));
    let client = client(&[&stuck, &leader]);
    let began = Instant::now();
    assert_eq!(noop(&client, BUDGET).await.unwrap(), 5);
    assert!(began.elapsed() < TRY * 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn retried_submission_carries_the_same_key() {
    let master = FakeMaster::start(Answer::UnknownThenLead(17));
    let client = client(&[&master]);
    let submitted = client.submit_job("mine", &fake::spec()).await.unwrap();
    assert_eq!(submitted.job, JobId(17));
    assert_eq!(master.keys(), ["mine", "mine"]);
}

#[tokio::test]
async fn refusal_is_final_and_keeps_its_type() {
    let master = FakeMaster::start(Answer::Conflict);
    let client = client(&[&master]);
    let error = client.submit_job("mine", &fake::spec()).await.unwrap_err();
    assert!(
        matches!(error.detail(), Some(Kind::KeyConflict(_))),
        "{error}"
    );
    assert_eq!(master.keys().len(), 1);
}

#[tokio::test]
async fn busy_leader_is_asked_again_and_believed_when_it_stays_busy() {
    let master = FakeMaster::start(Answer::BusyThenLead(8));
    let client = client(&[&master]);
    assert_eq!(noop(&client, BUDGET).await.unwrap(), 8);
    assert_eq!(master.asked(), 2);
    master.answer(Answer::Busy);
    let error = noop(&client, Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error}");
    assert_eq!(error.refusal(), Refusal::Temporary);
}

#[tokio::test]
async fn watch_goes_on_with_the_next_leader() {
    let old = FakeMaster::start(Answer::Lead(1));
    let new = FakeMaster::start(Answer::hint(&old.endpoint(), 1));
    let client = client(&[&old, &new]);
    let mut watch = client.watch_job(JobId(3));
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(first.job.state, JobState::Running);
    let endpoint = new.endpoint();
    new.answer(Answer::Finish);
    drop(old);
    let last = watch.next().await.unwrap().unwrap();
    assert_eq!(last.job.state, JobState::Succeeded);
    assert_eq!(last.term, 2);
    assert!(watch.next().await.unwrap().is_none());
    let view = client.leadership().borrow().clone();
    assert_eq!(view.endpoint, Some(endpoint));
    assert_eq!(view.term, 2);
}

#[tokio::test]
async fn status_is_answered_by_a_follower_and_teaches_the_other_masters() {
    let dead = format!("127.0.0.1:{}", free_port());
    let follower = FakeMaster::start(Answer::hint("", 6));
    let endpoints = vec![dead, follower.endpoint()];
    let client = LeaderClient::new(endpoints, ClientOptions::default());
    let status = client.cluster_status().await.unwrap();
    assert_eq!(status.leader_seat, None);
    assert!(client.endpoints().contains(&"10.0.0.9:7070".to_owned()));
}

#[tokio::test]
async fn client_calls_can_be_spawned() {
    let master = FakeMaster::start(Answer::Lead(3));
    let client = client(&[&master]);
    let index = tokio::spawn(async move { noop(&client, BUDGET).await.unwrap() });
    assert_eq!(index.await.unwrap(), 3);
}
