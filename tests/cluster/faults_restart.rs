//! Masters that start again behind a log that was cut: snapshots every few
//! dozen entries, restarts under load, a follower that only a snapshot can help.
//! F27; S1, S8, S9, L3, mistakes 2, 3 and 13.

use std::time::{Duration, Instant};

use crate::faults::{
    SHAPE, assert_nothing_again, assert_sound, await_true, begin, leader_of, many_maps, others,
};
use crate::harness::{Cluster, Extras, Job, assert_same_as_oracle};

/// Few enough that a job of a thousand tasks passes them many times.
const FLAGS: [&str; 6] = [
    "--snapshot-entries",
    "50",
    "--log-margin-entries",
    "32",
    "--in-flight",
    "16",
];
/// Twice each.
const RESTARTS: usize = 6;
/// L3.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(30);
const INSTALLED: &str = "snapshot of another master installed";

fn start() -> Cluster {
    let master_args = FLAGS.map(str::to_owned).to_vec();
    let extras = Extras {
        master_args,
        ..Extras::default()
    };
    Cluster::start_with(SHAPE, &extras)
}

/// Snapshots that a master has, by their names.
fn snapshots(cluster: &Cluster, seat: usize) -> Vec<String> {
    let dir = cluster.path(&format!("master-{seat}")).join("snapshots");
    let entries = std::fs::read_dir(dir).expect("a master has a directory of snapshots");
    entries
        .map(|entry| entry.expect("it can be listed").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// The master is at the index that the others had when this was called (L3).
fn assert_catches_up(cluster: &Cluster) {
    let before = cluster.await_status("a leader", |status| status.leader().is_some());
    let goal = before.applied_max();
    let since = Instant::now();
    cluster.await_status("all masters at the index of the others", |status| {
        status.applied_min().is_some_and(|index| index >= goal)
    });
    let took = since.elapsed();
    assert!(took < CATCHES_UP_WITHIN, "L3: {took:?}");
}

#[test]
fn masters_restarted_again_and_again_behind_short_logs_lose_nothing() {
    let mut cluster = start();
    let mut jobs = Vec::new();
    for (round, seat) in (0..SHAPE.masters).cycle().take(RESTARTS).enumerate() {
        // Under load: each master dies amid the maps of a job.
        let running = jobs
            .last()
            .and_then(|(_, id): &(Job, String)| cluster.show(id));
        if !running.is_some_and(|view| view.is_amid_maps()) {
            let job = many_maps(&format!("out-{round}"));
            let id = begin(&cluster, &job, 81);
            jobs.push((job, id));
        }
        await_true("a snapshot to restart from", || {
            !snapshots(&cluster, seat).is_empty()
        });
        cluster.kill_master(seat);
        let other = others(seat)[0];
        cluster.await_status_of(other, "a leader of the two", |status| {
            status.leader().is_some_and(|leader| leader != seat)
        });
        cluster.restart_master(seat);
        assert_catches_up(&cluster);
    }
    for (job, id) in &jobs {
        let view = cluster.await_success(id);
        assert_nothing_again(&view, jiff::Timestamp::UNIX_EPOCH);
        assert_same_as_oracle(&cluster, job);
    }
    assert_sound(&cluster);
}

#[test]
fn a_follower_far_behind_a_purged_log_is_helped_by_a_snapshot() {
    let mut cluster = start();
    let early = Job {
        key: Some("early".to_owned()),
        ..many_maps("early")
    };
    let first = begin(&cluster, &early, 82);

    let (leader, _) = leader_of(&cluster);
    let follower = others(leader)[0];
    cluster.kill_master(follower);
    cluster.await_success(&first);
    let job = many_maps("out");
    let id = cluster.submit(&job);
    cluster.await_success(&id);
    assert!(!cluster.master(follower).log().contains(INSTALLED));
    cluster.restart_master(follower);
    assert_catches_up(&cluster);
    let log = cluster.master(follower).log();
    assert!(log.contains(INSTALLED), "the log sufficed: {log}");
    // Mistake 13: with the snapshot alone to lead by, it knows the keys.
    cluster.kill_leader();
    cluster.await_status("a leader of the two", |status| {
        status.leader().is_some_and(|seat| seat != leader)
    });
    assert_eq!(cluster.submit(&early), first, "S5");
    cluster.restart_master(leader);
    assert_catches_up(&cluster);
    for output in [&early, &job] {
        assert_same_as_oracle(&cluster, output);
    }
    assert_sound(&cluster);
}
