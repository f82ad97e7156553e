//! How long a planned change of the leader stalls writes: asked for by an
//! operator's call, and by SIGTERM to the leader's process.

use std::thread;
use std::time::{Duration, Instant};

use vivat_client::{ClientOptions, LeaderClient};

use crate::figures::Times;
use crate::harness::{Cluster, Shape};
use crate::load::Chain;
use crate::writer::Writer;

const BIN: Duration = Duration::from_millis(5);
const GOAL: Duration = Duration::from_millis(30);

/// Measures both ways so many times, with busy workers and without work: those
/// that are named, both when none is.
pub fn run(times: usize, names: &[&str]) {
    for name in ["full", "idle"] {
        if names.is_empty() || names.contains(&name) {
            measure(times, name == "full");
        }
    }
}

fn measure(times: usize, busy: bool) {
    let mut cluster = Cluster::start(Shape::default());
    let mut load = busy.then(Chain::default);
    let writer = Writer::start(&cluster);
    let what = if busy {
        "a busy slot per core"
    } else {
        "no work"
    };
    println!("hand-over, default profile, {what}");
    for (what, way) in [
        (
            "by a call",
            by_call as fn(&mut Cluster, &Writer) -> Duration,
        ),
        ("by SIGTERM", by_signal),
    ] {
        let stalls = (0..times).map(|number| {
            if let Some(load) = &mut load {
                load.feed(&cluster);
            }
            writer.settle();
            thread::sleep(Duration::from_millis(37 * (number as u64 % 10)));
            way(&mut cluster, &writer)
        });
        let stalls = Times::new(stalls.collect());
        stalls.print(
            &format!("{what}: last acknowledged write to first after"),
            BIN,
        );
        stalls.goal(50, GOAL);
        stalls.goal(100, GOAL);
    }
    // Here a lost write would show.
    writer.finish();
    if let Some(load) = load {
        load.finish(&cluster);
    }
    println!("  writes lost 0, tasks re-run 0, attempts restarted 0, workers lost 0");
}

fn by_call(cluster: &mut Cluster, writer: &Writer) -> Duration {
    let endpoints = cluster.addresses().split(',').map(str::to_owned).collect();
    let before = cluster.await_status("a leader", |status| status.leader().is_some());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let began = Instant::now();
    let moved = runtime.block_on(async {
        let client = LeaderClient::new(endpoints, ClientOptions::default());
        client.transfer_leader(None).await
    });
    let seat = moved.expect("leadership can be handed over").0;
    assert_ne!(usize::try_from(seat).ok(), before.leader());
    let stall = writer.stall(began);
    cluster.await_status("a later term", |status| status.term() > before.term());
    stall
}

fn by_signal(cluster: &mut Cluster, writer: &Writer) -> Duration {
    let before = cluster.await_status("a leader", |status| status.leader().is_some());
    let seat = before.leader().expect("awaited just now");
    let began = Instant::now();
    cluster.master(seat).terminate();
    let stall = writer.stall(began);
    let deadline = began + Duration::from_secs(10);
    while cluster.master(seat).exit_status().is_none() {
        assert!(Instant::now() < deadline, "seat {seat} does not end");
        thread::sleep(Duration::from_millis(5));
    }
    cluster.restart_master(seat);
    cluster.await_status("all masters, caught up", |status| status.is_caught_up());
    stall
}
