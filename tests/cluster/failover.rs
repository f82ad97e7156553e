//! The leader dies in the middle of a job (F1).
//!
//! Expected of every such death: another leader in a later term, no completed
//! task run again, no running attempt started again, no worker declared lost,
//! no submission lost or doubled.

use crate::harness::{Cluster, Job, JobView, LeaderKill, Shape, assert_same_as_oracle};

/// Enough splits that many are left when the next leader has come, although
/// the workers go on with what they hold.
fn many_maps(output: &str) -> Job {
    Job {
        input: "words.txt".to_owned(),
        output: output.to_owned(),
        split_bytes: 2 * 1024,
        reducers: 4,
        key: None,
    }
}

/// The same for partitions.
fn many_reduces(output: &str) -> Job {
    Job {
        input: "words.txt".to_owned(),
        output: output.to_owned(),
        split_bytes: 256 * 1024,
        reducers: 1_000,
        key: None,
    }
}

/// What must be true of a job that a leader's death did not disturb.
fn assert_undisturbed(cluster: &Cluster, view: &JobView, kill: LeaderKill) {
    assert!(
        view.finished_at() > kill.at,
        "the job had ended before the kill: {}",
        view.0
    );
    for field in ["reruns_of_completed", "lost", "failed"] {
        assert_eq!(view.attempts(field), 0, "{field}: {}", view.0);
    }
    // The plan, the maps, the reduces, the commit, each once; and what was taken
    // back from one worker before it began, because the other one had no work.
    let tasks = 2 + view.map("total") + view.reduce("total");
    assert_eq!(view.attempts("succeeded"), tasks, "{}", view.0);
    assert_eq!(
        view.attempts("started"),
        tasks + view.attempts("killed"),
        "{}",
        view.0
    );
    let status = cluster.await_status("a leader", |status| status.leader().is_some());
    assert_eq!(status.workers_lost(), 0, "{}", status.0);
    assert_eq!(status.workers_live(), 2, "{}", status.0);
}

#[test]
fn leader_killed_while_maps_run_disturbs_no_task() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 4 * 1024 * 1024, 1);
    let job = many_maps("out");
    let id = cluster.submit(&job);
    cluster.await_job(&id, "some maps done, some not", JobView::is_amid_maps);

    let kill = cluster.kill_leader();
    cluster.await_other_leader(kill);

    let view = cluster.await_success(&id);
    assert_undisturbed(&cluster, &view, kill);
    assert_same_as_oracle(&cluster, &job);
    cluster.assert_serves_another_job();
}

#[test]
fn leader_killed_while_reduces_run_disturbs_no_task() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 4 * 1024 * 1024, 2);
    let job = many_reduces("out");
    let id = cluster.submit(&job);
    let view = cluster.await_job(&id, "some reduces done, some not", JobView::is_amid_reduces);
    assert_eq!(view.map("completed"), view.map("total"), "{}", view.0);

    let kill = cluster.kill_leader();
    cluster.await_other_leader(kill);

    let view = cluster.await_success(&id);
    assert_undisturbed(&cluster, &view, kill);
    assert_same_as_oracle(&cluster, &job);
    cluster.assert_serves_another_job();
}

#[test]
fn the_same_key_on_both_sides_of_a_failover_is_one_job() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 4 * 1024 * 1024, 3);
    let job = Job {
        key: Some("nightly-2026-01-31".to_owned()),
        ..many_maps("out")
    };
    let first = cluster.submit(&job);
    cluster.await_job(&first, "some maps done, some not", JobView::is_amid_maps);

    let kill = cluster.kill_leader();
    // At once: the client finds the next leader by itself.
    let second = cluster.submit(&job);
    assert_eq!(first, second);
    cluster.await_other_leader(kill);

    let view = cluster.await_success(&first);
    assert_undisturbed(&cluster, &view, kill);
    assert_eq!(cluster.submit(&job), first, "also after its end");
    assert_eq!(cluster.jobs(), [first], "and it is the only one");
    assert_same_as_oracle(&cluster, &job);
    cluster.assert_serves_another_job();
}

#[test]
fn a_key_with_another_specification_is_a_conflict() {
    let cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 16 * 1024, 4);
    let job = Job {
        key: Some("mine".to_owned()),
        ..many_maps("out")
    };
    let id = cluster.submit(&job);
    cluster.await_success(&id);
    let other = Job { reducers: 5, ..job };
    let args = other.submit_args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = cluster.vivat(&args);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert_eq!(cluster.jobs(), [id]);
}
