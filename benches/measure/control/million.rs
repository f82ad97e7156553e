//! A job of a million tasks: the leader's memory, a master's restart amid it, and
//! whether snapshots are in anybody's way.
//!
//! What a task takes in the state and in a snapshot is a test of the core.

use std::thread;
use std::time::{Duration, Instant};

use super::{cluster, submit_noops, verdict, write_lines};
use crate::harness::{Cluster, JobView};
use crate::memory::peak_kib;
use crate::options::Options;

const TASKS: usize = 1_000_000;
const PARTITIONS: &str = "8";
const MEMORY_GOAL_KIB: u64 = 512 * 1024;
const RESTART_GOAL: Duration = Duration::from_secs(2);
const SNAPSHOT_GOAL_US: u64 = 2_000_000;
/// The shortest time after which a follower would stand for election.
const ELECTION_MIN_US: u64 = 300_000;
/// Of all maps; a master is restarted then, and again at the next.
const RESTARTS_AT: [u64; 2] = [250_000, 750_000];
/// Each look is a process.
const LOOK: Duration = Duration::from_millis(250);
const JOB_DEADLINE: Duration = Duration::from_secs(900);

/// Submits the job, restarts a follower twice amid it, and waits for the maps.
pub fn run(_options: &Options) {
    println!("a job of {TASKS} tasks and {PARTITIONS} partitions, 3 masters, 2 workers");
    let mut cluster = cluster();
    write_lines(&cluster, "lines.txt", TASKS);
    let began = Instant::now();
    let job = submit_noops(&cluster, "lines.txt", "out", PARTITIONS);
    for count in RESTARTS_AT {
        let reached = |job: &JobView| job.map("completed") >= count;
        await_maps(&cluster, &job, began, &reached);
        let took = restart_follower(&mut cluster);
        println!(
            "  restart of a master at {count} maps: {:.2} s {}",
            took.as_secs_f64(),
            verdict(took <= RESTART_GOAL)
        );
    }
    let done = |job: &JobView| job.map("completed") == job.map("total");
    await_maps(&cluster, &job, began, &done);
    let took = began.elapsed();
    let rate = TASKS as f64 / took.as_secs_f64();
    println!("  all maps after {:.1} s, {rate:.0}/s", took.as_secs_f64());
    for seat in 0..3 {
        paces(&cluster, seat);
        let kib = peak_kib(cluster.master(seat).id().into());
        let met = verdict(kib <= MEMORY_GOAL_KIB);
        println!("  memory of seat {seat}, at most: {} MiB {met}", kib / 1024);
    }
    let cancelled = cluster.vivat(&["job", "cancel", &job, "--yes"]);
    drop(cancelled);
}

/// What the master says of its snapshots, and of how long it heard nothing of its
/// leader; of a leader that is 0.
fn paces(cluster: &Cluster, seat: usize) {
    let longest = |name: &str| cluster.metric(seat, name).unwrap_or(0);
    let (written, silence) = (
        longest("snapshot_written_longest_us"),
        longest("leader_silence_longest_us"),
    );
    println!(
        "  seat {seat}: {} snapshots since its start, the slowest written in {} ms {}, its state \
         copied in {} ms; longest without a word of the leader {} ms {}",
        longest("snapshots_written"),
        written / 1000,
        verdict(written <= SNAPSHOT_GOAL_US),
        longest("snapshot_copied_longest_us") / 1000,
        silence / 1000,
        verdict(silence <= ELECTION_MIN_US),
    );
}

fn await_maps(cluster: &Cluster, job: &str, began: Instant, reached: &dyn Fn(&JobView) -> bool) {
    loop {
        let view = cluster.await_job(job, "an answer", |_| true);
        let is_planned = view.map("total") > 0;
        if is_planned && reached(&view) {
            return;
        }
        assert!(!view.is_final(), "{job} ended before: {}", view.0);
        assert!(
            began.elapsed() < JOB_DEADLINE,
            "{job} does not end: {}",
            view.0
        );
        thread::sleep(LOOK);
    }
}

/// From its start until it answers and is not behind.
fn restart_follower(cluster: &mut Cluster) -> Duration {
    let status = cluster.await_status("a leader", |status| status.leader().is_some());
    let leader = status.leader().expect("awaited just now");
    let seat = (leader + 1) % 3;
    cluster.kill_master(seat);
    let began = Instant::now();
    cluster.restart_master(seat);
    cluster.await_status_of(seat, "the restarted master with the others", |status| {
        status.masters_reachable() == 3 && status.is_caught_up()
    });
    began.elapsed()
}
