//! A worker and its leader: what survives lost answers, dead leaders and new
//! registrations.

use std::time::Duration;

use crate::common::{
    blocking_input, config, eventually, id, let_go, let_go_killed, map_of, start, word_count,
};
use crate::leader::{FakeLeader, State};
use vivat_shared::attempt::{Outcome, Work};
use vivat_shared::cause::FailureCause;
use vivat_worker::{DirError, StartError, Worker};

fn with_text() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("a.txt"), "the cat and the dog\n").unwrap();
    temp
}

#[tokio::test]
async fn grant_whose_delivery_was_lost_is_delivered_again_and_runs_once() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let spec = word_count(temp.path(), "a.txt", 1);
    leader.change(|state| state.pull_answers_to_lose = 1);
    let map = "job-1.0.0.map-0.1";
    leader.grant(&spec, [map_of(map, &temp.path().join("a.txt"))]);
    let worker = start(&leader, &temp.path().join("worker"));
    assert!(matches!(
        leader.outcome(id(map)).await,
        Outcome::Mapped { .. }
    ));
    leader.look(|state| {
        assert!(state.delivered.len() >= 2);
        assert_eq!(state.reports.len(), 1);
    });
    worker.shutdown().await;
}

#[tokio::test]
async fn report_is_repeated_until_a_leader_has_answered_and_never_after() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let spec = word_count(temp.path(), "a.txt", 1);
    leader.change(|state| state.report_answers_to_lose = 3);
    let map = "job-1.0.0.map-0.1";
    leader.grant(&spec, [map_of(map, &temp.path().join("a.txt"))]);
    let worker = start(&leader, &temp.path().join("worker"));
    let outcome = leader.outcome(id(map)).await;
    leader
        .until("held no longer", |state| state.held.is_empty())
        .await;
    leader.look(|state| {
        assert_eq!(state.lost_reports.len(), 3);
        assert!(state.lost_reports.iter().all(|(_, lost)| *lost == outcome));
        assert_eq!(state.reports.len(), 1);
    });
    worker.shutdown().await;
}

#[tokio::test]
async fn nothing_is_killed_while_there_is_no_leader() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let spec = word_count(temp.path(), "a.txt", 1);
    let pipe = blocking_input(temp.path(), "pipe");
    let (running, waiting) = ("job-1.0.0.map-0.1", "job-1.0.0.map-1.1");
    let text = temp.path().join("a.txt");
    leader.grant(&spec, [map_of(running, &pipe), map_of(waiting, &text)]);
    let worker = start(&leader, &temp.path().join("worker"));
    let both = |state: &State| state.held.len() == 2 && state.running.len() == 1;
    leader.until("one runs and one waits", both).await;

    leader.change(|state| state.not_leading = true);
    let_go(pipe).await;
    // Both end with nobody to tell.
    let segments = temp.path().join("worker/segments/job-1");
    let done = || segments.join(format!("{waiting}.seg")).exists();
    eventually("the waiting map ran without a leader", done).await;
    leader.look(|state| assert!(state.reports.is_empty()));
    leader.change(|state| state.not_leading = false);

    assert!(matches!(
        leader.outcome(id(running)).await,
        Outcome::Mapped { .. }
    ));
    assert!(matches!(
        leader.outcome(id(waiting)).await,
        Outcome::Mapped { .. }
    ));
    leader.look(|state| assert_eq!(state.registrations.len(), 1));
    worker.shutdown().await;
}

#[tokio::test]
async fn only_attempts_that_have_not_started_are_taken_back() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let spec = word_count(temp.path(), "a.txt", 1);
    let pipe = blocking_input(temp.path(), "pipe");
    let (running, waiting) = ("job-1.0.0.map-0.1", "job-1.0.0.map-1.1");
    let text = temp.path().join("a.txt");
    leader.grant(&spec, [map_of(running, &pipe), map_of(waiting, &text)]);
    let worker = start(&leader, &temp.path().join("worker"));
    let both = |state: &State| state.held.len() == 2 && state.running.len() == 1;
    leader.until("one runs and one waits", both).await;
    leader.change(|state| state.take_back.extend([id(running), id(waiting)]));
    assert_eq!(leader.outcome(id(waiting)).await, Outcome::HandedBack);
    let_go(pipe).await;
    assert!(matches!(
        leader.outcome(id(running)).await,
        Outcome::Mapped { .. }
    ));
    worker.shutdown().await;
}

#[tokio::test]
async fn stale_epoch_ends_what_is_held_and_keeps_the_segments() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let spec = word_count(temp.path(), "a.txt", 2);
    let pipe = blocking_input(temp.path(), "pipe");
    let (done, running) = ("job-1.0.0.map-0.1", "job-1.0.0.map-1.1");
    leader.grant(&spec, [map_of(done, &temp.path().join("a.txt"))]);
    let worker = start(&leader, &temp.path().join("worker"));
    let Outcome::Mapped { segments, .. } = leader.outcome(id(done)).await else {
        panic!("the map failed");
    };
    leader.grant(&spec, [map_of(running, &pipe)]);
    leader
        .until("the second runs", |state| !state.running.is_empty())
        .await;

    leader.change(|state| {
        state.stale_up_to = 1;
        state.granted.clear();
        state.restored.clear();
    });
    let restored = |state: &State| !state.restored.is_empty();
    leader
        .until("registered anew", |state| state.registrations.len() == 2)
        .await;
    leader.until("segments offered again", restored).await;
    leader.look(|state| {
        assert_eq!(state.restored, [(id(done), segments.clone())]);
        assert_eq!(state.registrations[0].uid, state.registrations[1].uid);
        assert!(state.registrations[1].crashed.is_empty());
    });
    leader
        .until("nothing is held", |state| state.held.is_empty())
        .await;
    // The slot is free again, and the killed attempt is not reported.
    let next = "job-1.0.0.map-2.1";
    leader.grant(&spec, [map_of(next, &temp.path().join("a.txt"))]);
    let_go_killed(pipe, leader.outcome(id(next))).await;
    leader.look(|state| assert_eq!(state.reports.len(), 2));
    worker.shutdown().await;
}

#[tokio::test]
async fn killed_attempt_is_not_reported_and_frees_its_slot() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let spec = word_count(temp.path(), "a.txt", 1);
    let pipe = blocking_input(temp.path(), "pipe");
    let running = "job-1.0.0.map-0.1";
    leader.grant(&spec, [map_of(running, &pipe)]);
    let worker = start(&leader, &temp.path().join("worker"));
    leader
        .until("it runs", |state| !state.running.is_empty())
        .await;
    leader.change(|state| {
        state.granted.clear();
        state.kill.insert(id(running));
    });
    leader
        .until("it is given up", |state| state.held.is_empty())
        .await;
    let next = "job-1.0.0.map-1.1";
    leader.grant(&spec, [map_of(next, &temp.path().join("a.txt"))]);
    let_go_killed(pipe, leader.outcome(id(next))).await;
    leader.look(|state| assert_eq!(state.reports.len(), 1));
    worker.shutdown().await;
}

#[tokio::test]
async fn worker_that_restarts_offers_intact_segments_and_deletes_damaged_ones() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let spec = word_count(temp.path(), "a.txt", 1);
    let maps = ["job-1.0.0.map-0.1", "job-1.0.0.map-1.1"];
    let text = temp.path().join("a.txt");
    leader.grant(&spec, maps.map(|map| map_of(map, &text)));
    let dir = temp.path().join("worker");
    let worker = start(&leader, &dir);
    for map in maps {
        leader.outcome(id(map)).await;
    }
    worker.shutdown().await;

    let damaged = dir.join(format!("segments/job-1/{}.seg", maps[1]));
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let worker = start(&leader, &dir);
    leader
        .until("offered", |state| !state.restored.is_empty())
        .await;
    leader.look(|state| assert_eq!(state.restored[0].0, id(maps[0])));
    leader.look(|state| assert_eq!(state.restored.len(), 1));
    assert!(!damaged.exists());

    // Only the leader's word that the job ended deletes the rest.
    leader.change(|state| state.ended_jobs.insert(1));
    let segments = dir.join("segments/job-1");
    eventually("the ended job's files are deleted", || !segments.exists()).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn files_of_a_refused_report_are_deleted() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let spec = word_count(temp.path(), "a.txt", 1);
    let map = "job-1.0.0.map-0.1";
    leader.change(|state| state.refuse.insert(id(map)));
    leader.grant(&spec, [map_of(map, &temp.path().join("a.txt"))]);
    let worker = start(&leader, &temp.path().join("worker"));
    assert!(matches!(
        leader.outcome(id(map)).await,
        Outcome::Mapped { .. }
    ));
    let segment = temp.path().join(format!("worker/segments/job-1/{map}.seg"));
    eventually("the segment is deleted", || !segment.exists()).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn attempts_named_by_a_dead_process_are_reported_as_crashed_once() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let dir = temp.path().join("worker");
    start(&leader, &dir).shutdown().await;
    // What a process that was killed leaves: its cell still names the attempt.
    let cell = |text: &str| format!("{text:<79}\n");
    let content = cell("vivat-running 1") + &cell("-") + &cell("job-3.0.0.map-7.2");
    std::fs::write(dir.join("running"), content).unwrap();
    for crashed in [1, 0] {
        let registered = leader.look(|state| state.registrations.len());
        let worker = start(&leader, &dir);
        let more = |state: &State| state.registrations.len() > registered;
        leader.until("registered", more).await;
        let named = leader.look(|state| state.registrations[registered].crashed.clone());
        assert_eq!(named.len(), crashed);
        if let Some(named) = named.first() {
            assert_eq!((named.job, named.index, named.number), (3, 7, 2));
        }
        let beats = |state: &State| !state.heartbeats.is_empty();
        leader.until("at work", beats).await;
        let mut registered = worker.registered();
        registered.wait_for(Option::is_some).await.unwrap();
        worker.shutdown().await;
    }
}

#[tokio::test]
async fn second_worker_on_a_directory_is_refused_by_its_type() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let first = start(&leader, temp.path());
    let second = Worker::start(config(&leader, temp.path()));
    assert!(second.as_ref().is_err_and(StartError::is_dir_in_use));
    first.shutdown().await;
    start(&leader, temp.path()).shutdown().await;
}

#[tokio::test]
async fn worker_that_meets_another_cluster_ends_and_keeps_its_segments() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let spec = word_count(temp.path(), "a.txt", 1);
    let map = "job-1.0.0.map-0.1";
    leader.grant(&spec, [map_of(map, &temp.path().join("a.txt"))]);
    let dir = temp.path().join("worker");
    let worker = start(&leader, &dir);
    leader.outcome(id(map)).await;
    worker.shutdown().await;

    let other = FakeLeader::start().await;
    other.change(|state| state.cluster = 1);
    let mut worker = start(&other, &dir);
    let end = worker.join().await;
    worker.shutdown().await;
    assert!(
        matches!(end, Some(DirError::OtherCluster { .. })),
        "{end:?}"
    );
    other.look(|state| assert_eq!((state.pulls, state.restore_calls), (0, 0)));

    let worker = start(&leader, &dir);
    let restored = |state: &State| state.restored.iter().any(|(held, _)| *held == id(map));
    leader.until("the segment is offered again", restored).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn shutdown_hands_back_what_waits_and_reports_what_ran() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let spec = word_count(temp.path(), "a.txt", 1);
    let pipe = blocking_input(temp.path(), "pipe");
    let (running, waiting) = ("job-1.0.0.map-0.1", "job-1.0.0.map-1.1");
    let text = temp.path().join("a.txt");
    leader.grant(&spec, [map_of(running, &pipe), map_of(waiting, &text)]);
    let mut config = config(&leader, &temp.path().join("worker"));
    config.shutdown_grace = Duration::from_secs(15);
    let worker = Worker::start(config).unwrap();
    let both = |state: &State| state.held.len() == 2 && state.running.len() == 1;
    leader.until("one runs and one waits", both).await;
    let ended = tokio::spawn(worker.shutdown());
    assert_eq!(leader.outcome(id(waiting)).await, Outcome::HandedBack);
    assert!(!ended.is_finished());
    let_go(pipe).await;
    assert!(matches!(
        leader.outcome(id(running)).await,
        Outcome::Mapped { .. }
    ));
    ended.await.unwrap();
}

#[tokio::test]
async fn unknown_program_and_missing_input_fail_the_plan_by_their_types() {
    let (leader, temp) = (FakeLeader::start().await, with_text());
    let mut unknown = word_count(temp.path(), "a.txt", 1);
    unknown.steps[0].program = "no-such".to_owned();
    let missing = word_count(temp.path(), "*.csv", 1);
    let mut parameter = word_count(temp.path(), "a.txt", 1);
    let parameters = &mut parameter.steps[0].parameters;
    parameters.insert("fold-case".to_owned(), "perhaps".to_owned());
    let worker = start(&leader, &temp.path().join("worker"));
    let mut causes = Vec::new();
    for (job, spec) in [(1, unknown), (2, missing), (3, parameter)] {
        let plan = vivat_shared::attempt::Assignment {
            attempt: id(&format!("job-{job}.0.0.plan-0.1")),
            work: Work::Plan {
                datasets: Vec::new(),
                previous: None,
            },
        };
        leader.grant(&spec, [plan.clone()]);
        match leader.outcome(plan.attempt).await {
            Outcome::Failed(failure) => causes.push(failure.cause),
            outcome => panic!("{outcome:?}"),
        }
    }
    assert!(
        matches!(&causes[0], FailureCause::ProgramNotFound { program } if program == "no-such")
    );
    assert!(matches!(&causes[1], FailureCause::InputNotFound { path } if path == "*.csv"));
    let FailureCause::InvalidParameter { parameter, .. } = &causes[2] else {
        panic!("{:?}", causes[2]);
    };
    assert_eq!(parameter, "fold-case");
    assert!(!temp.path().join("out").exists());
    worker.shutdown().await;
}
