//! Masters die: the leader in each phase, with its successor, a follower, all.
//! F1, F2; S1, S2, S8, L1, L2, L3, L5.

use std::time::{Duration, Instant};

use crate::faults::{
    SHAPE, assert_accounted, assert_ended_after, assert_nothing_again, assert_sound, await_true,
    begin, begin_reduces, leader_of, many_maps, many_reduces, others,
};
use crate::harness::{Cluster, Extras, Job, JobView, LeaderKill, assert_same_as_oracle};
use crate::held_commit::HeldCommit;

/// Jobs until one is killed in the phase that is wanted: a short phase may be
/// over between the look and the kill.
const TRIES_MAX: u32 = 8;
/// F2, and settings with which a successor can be that fast.
const BOTH_WITHIN: Duration = Duration::from_secs(1);
const FAST: [&str; 6] = [
    "--heartbeat-ms",
    "100",
    "--election-min-ms",
    "200",
    "--election-max-ms",
    "400",
];
/// `submit` when there is no leader for 10 s.
const EXIT_TEMPORARY: i32 = 5;

/// Runs jobs until the leader died in the phase, and proves all of one.
fn kill_leader_in(cluster: &mut Cluster, phase: &str, job: &Job, is_phase: fn(&JobView) -> bool) {
    for attempt in 0..TRIES_MAX {
        let job = Job {
            output: format!("{}-{attempt}", job.output),
            ..job.clone()
        };
        let id = cluster.submit(&job);
        let mut seen = None;
        await_true(phase, || {
            seen = cluster.show(&id);
            let view = seen.as_ref();
            view.is_some_and(|view| is_phase(view) || view.is_final())
        });
        let seen = seen.expect("awaited just now");
        if seen.is_final() {
            continue;
        }
        let kill = cluster.kill_leader();
        cluster.await_other_leader(kill);
        let view = cluster.await_success(&id);
        cluster.restart_master(kill.seat);
        cluster.await_status("all masters, caught up", |status| status.is_caught_up());
        assert_same_as_oracle(cluster, &job);
        if view.finished_at() > kill.at {
            assert_nothing_again(&view, kill.at);
            return;
        }
    }
    panic!("{TRIES_MAX} jobs, and none was killed in {phase}");
}

fn is_planning(view: &JobView) -> bool {
    view.map("completed") == 0
}

fn is_shuffling(view: &JobView) -> bool {
    let maps = view.map("total");
    maps > 0 && view.map("completed") == maps && view.reduce("completed") < view.reduce("total")
}

#[test]
fn a_leader_killed_in_plan_or_shuffle_costs_no_task() {
    let mut cluster = Cluster::start(SHAPE);
    cluster.write_words("words.txt", 2 * 1024 * 1024, 41);
    kill_leader_in(&mut cluster, "plan", &many_maps("plan"), is_planning);
    let reduces = many_reduces("shuffle");
    kill_leader_in(&mut cluster, "shuffle", &reduces, is_shuffling);
    assert_sound(&cluster);
}

#[test]
fn a_leader_killed_amid_a_commit_costs_no_task() {
    let mut cluster = Cluster::start(SHAPE);
    let job = many_maps("out");
    cluster.write_words(&job.input, 512 * 1024, 46);
    let former = cluster.submit(&job);
    cluster.await_success(&former);
    let id = cluster.submit_with(&job, &["--overwrite"]);
    // The plan has seen the output that is to go.
    cluster.await_job(&id, "maps", |view| view.map("total") > 0);
    let commit = HeldCommit::prepare(&cluster.path(&job.output));
    let commit = commit.await_attempt();

    let view = cluster.show(&id).expect("the leader is well");
    assert_eq!(view.phase(), "commit", "{}", view.0);
    let kill = cluster.kill_leader();
    cluster.await_other_leader(kill);
    let view = cluster.show(&id).expect("the next leader is well");
    assert_eq!(view.phase(), "commit", "{}", view.0);
    commit.let_go();
    let view = cluster.await_success(&id);
    assert_nothing_again(&view, kill.at);
    assert_same_as_oracle(&cluster, &job);
    cluster.restart_master(kill.seat);
    assert_sound(&cluster);
}

/// SIGKILL to the leader, and to its successor within a second (F2); proved by
/// the clock. A pair that took longer is brought back, and the next one dies.
fn kill_two_leaders(cluster: &mut Cluster) -> (LeaderKill, LeaderKill) {
    for _ in 0..TRIES_MAX {
        cluster.await_status("all masters, caught up", |status| status.is_caught_up());
        let first = cluster.kill_leader();
        let killed_at = Instant::now();
        let mut second = None;
        await_true("a successor", || {
            second = others(first.seat)
                .into_iter()
                .find(|seat| cluster.metric(*seat, "leads") == Some(1));
            second.is_some()
        });
        let seat = second.expect("awaited just now");
        let second = LeaderKill {
            seat,
            term: cluster.metric(seat, "term").expect("it leads"),
            at: jiff::Timestamp::now(),
        };
        cluster.kill_master(second.seat);
        if killed_at.elapsed() < BOTH_WITHIN {
            return (first, second);
        }
        cluster.restart_master(first.seat);
        cluster.restart_master(second.seat);
    }
    panic!("{TRIES_MAX} pairs of leaders, and none died within {BOTH_WITHIN:?}");
}

#[test]
fn a_leader_and_its_successor_killed_leave_no_quorum_and_lose_nothing() {
    // Successors come fast, and the job lasts long enough for a few pairs.
    let mut cluster = Cluster::start_with(
        SHAPE,
        &Extras {
            master_args: FAST.map(str::to_owned).to_vec(),
            ..Extras::default()
        },
    );
    let job = Job {
        split_bytes: 1024,
        ..many_maps("out")
    };
    let id = begin(&cluster, &job, 42);

    let (first, second) = kill_two_leaders(&mut cluster);
    assert_ne!(first.seat, second.seat, "the successor is another");
    cluster.await_status("one master without a leader", |status| {
        status.leader().is_none() && status.masters_reachable() == 1
    });
    let late = Job {
        input: "words.txt".to_owned(),
        key: Some("late".to_owned()),
        ..many_reduces("late")
    };
    let args = late.submit_args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let refused = cluster.vivat(&args);
    assert_eq!(refused.status.code(), Some(EXIT_TEMPORARY), "{refused:?}");

    cluster.restart_master(first.seat);
    cluster.await_status("a leader in a later term", |status| {
        status.leader().is_some() && status.term() > second.term
    });
    let view = cluster.await_success(&id);
    assert_nothing_again(&view, second.at);
    assert_same_as_oracle(&cluster, &job);
    // S5: what was unknown is asked again with its key, and is one job.
    let once = cluster.submit(&late);
    assert_eq!(cluster.submit(&late), once);
    cluster.await_success(&once);
    assert_same_as_oracle(&cluster, &late);
    cluster.restart_master(second.seat);
    assert_sound(&cluster);
}

#[test]
fn a_killed_follower_is_noticed_by_no_job_and_changes_no_leader() {
    let mut cluster = Cluster::start(SHAPE);
    let job = many_maps("out");
    let id = begin(&cluster, &job, 43);

    let before = leader_of(&cluster);
    let follower = others(before.0)[0];
    let killed_at = jiff::Timestamp::now();
    cluster.kill_master(follower);
    cluster.await_status("two masters", |status| status.masters_reachable() == 2);
    let view = cluster.await_success(&id);
    assert_eq!(leader_of(&cluster), before, "the leader and its term stay");
    assert_nothing_again(&view, killed_at);
    assert_same_as_oracle(&cluster, &job);
    cluster.restart_master(follower);
    assert_sound(&cluster);
}

#[test]
fn all_masters_killed_amid_reduces_come_back_to_the_same_job() {
    let mut cluster = Cluster::start(SHAPE);
    let job = many_reduces("out");
    let id = begin_reduces(&cluster, &job, 44);
    let before = cluster.show(&id).expect("the masters are well");
    let (_, term) = leader_of(&cluster);

    let killed_at = jiff::Timestamp::now();
    for seat in 0..SHAPE.masters {
        cluster.kill_master(seat);
    }
    assert!(cluster.status().is_none(), "somebody answered for the dead");
    for seat in 0..SHAPE.masters {
        cluster.restart_master(seat);
    }
    cluster.await_status("a leader in a later term", |status| {
        status.leader().is_some() && status.term() > term
    });
    let view = cluster.await_success(&id);
    assert!(
        view.reduce("completed") >= before.reduce("completed"),
        "{}",
        view.0
    );
    assert_nothing_again(&view, killed_at);
    assert_same_as_oracle(&cluster, &job);
    assert_sound(&cluster);
}

#[test]
fn a_leader_and_a_worker_killed_together_cost_that_workers_tasks_alone() {
    let mut cluster = Cluster::start(SHAPE);
    let job = many_reduces("out");
    let id = begin_reduces(&cluster, &job, 45);

    cluster.kill_worker(0);
    let kill = cluster.kill_leader();
    cluster.await_other_leader(kill);
    let status = cluster.await_status("one worker lost", |status| status.workers_lost() == 1);
    assert_eq!(status.workers_live(), 2, "L5: {}", status.0);
    let view = cluster.await_success(&id);
    assert_ended_after(&view, kill.at);
    assert_accounted(&view);
    let reruns = view.attempts("reruns_of_completed");
    assert!(
        reruns < view.map("total"),
        "the others' maps stay: {}",
        view.0
    );
    assert_eq!(
        view.attempts("failed"),
        0,
        "a loss is no failure: {}",
        view.0
    );
    assert_same_as_oracle(&cluster, &job);
    cluster.restart_master(kill.seat);
    assert_sound(&cluster);
}
