//! A dataset of two replicas on three workers, beside `cp` and fsync of the same
//! bytes written twice on the same disk; and what memory it takes.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Cluster, Shape, describe, parse};
use crate::memory::peak_kib;

const REPEATS: usize = 3;
/// Of what is written twice, put should reach so much.
const GOAL_PERCENT: f64 = 60.0;
/// No process should take so much more than it does idle.
const MEMORY_GOAL_KIB: u64 = 256 * 1024;
/// How often the client's memory is looked at: its peak is gone with it.
const LOOK: Duration = Duration::from_millis(20);

/// Puts so many MiB in each way, and prints the times.
pub fn run(mebibytes: usize) {
    let cluster = Cluster::start(Shape {
        workers: 3,
        ..Shape::default()
    });
    let size = format!("{mebibytes}MiB");
    let generated = cluster.vivat(&["gen", "words", "--size", &size, "--seed", "1", "words.txt"]);
    assert!(generated.status.success(), "{}", describe(&generated));
    let pids = worker_pids(&cluster);
    let idle: Vec<u64> = pids.iter().map(|pid| peak_kib(*pid)).collect();

    println!("{mebibytes} MiB onto 3 workers, 2 replicas, all of {REPEATS}");
    let mut ratios = Vec::new();
    let mut client_kib = 0;
    // Side by side in one run, so that a slow minute of the machine hits both.
    for repeat in 0..REPEATS {
        let copied = time_copies(&cluster);
        let (put, peak) = time_put(&cluster, &format!("words-{repeat}"));
        client_kib = client_kib.max(peak);
        let percent = copied.as_secs_f64() / put.as_secs_f64() * 100.0;
        println!(
            "  cp and fsync, twice {:.2} s, put {:.2} s: {percent:.0} %",
            copied.as_secs_f64(),
            put.as_secs_f64()
        );
        ratios.push(percent);
    }
    ratios.sort_by(f64::total_cmp);
    let middle = ratios[REPEATS / 2];
    let verdict = if middle >= GOAL_PERCENT {
        "met"
    } else {
        "MISSED"
    };
    println!("  goal: at least {GOAL_PERCENT} %: {verdict} ({middle:.0} % in the middle)");
    let more = pids.iter().zip(&idle);
    let more = more.map(|(pid, idle)| peak_kib(*pid) - idle);
    let most = more.max().unwrap_or(0).max(client_kib);
    let verdict = if most <= MEMORY_GOAL_KIB {
        "met"
    } else {
        "MISSED"
    };
    println!(
        "  memory above idle, at most: {} MiB (the client {} MiB); goal 256 MiB: {verdict}",
        most / 1024,
        client_kib / 1024
    );
    let checked = cluster.vivat(&["data", "check"]);
    assert!(checked.status.success(), "{}", describe(&checked));
}

fn worker_pids(cluster: &Cluster) -> Vec<u64> {
    let listed = parse(&cluster.vivat(&["node", "list", "-o", "json"]));
    let pid = |node: &serde_json::Value| node["pid"].as_u64().expect("a pid");
    let nodes = listed.as_array().expect("a list of workers");
    nodes.iter().map(pid).collect()
}

fn time_copies(cluster: &Cluster) -> Duration {
    let from = cluster.path("words.txt");
    let copy = |to: &Path| -> io::Result<()> {
        fs::copy(&from, to)?;
        File::open(to)?.sync_all()
    };
    let copies = [cluster.path("copy-1"), cluster.path("copy-2")];
    let started = Instant::now();
    for to in &copies {
        copy(to).expect("the disk takes a copy");
    }
    let took = started.elapsed();
    for to in &copies {
        fs::remove_file(to).expect("a copy can be deleted");
    }
    took
}

/// Time and peak memory in KiB of the client.
fn time_put(cluster: &Cluster, name: &str) -> (Duration, u64) {
    let started = Instant::now();
    let mut client: Child = Command::new(env!("CARGO_BIN_EXE_vivat"))
        .args(["data", "put", name, "words.txt", "--quiet"])
        .current_dir(cluster.dir())
        .env("VIVAT_CLUSTER", cluster.addresses())
        .stderr(Stdio::null())
        .spawn()
        .expect("the client can be started");
    let mut peak = 0;
    loop {
        if let Some(status) = client.try_wait().expect("it is our child") {
            assert!(status.success(), "data put: {status}");
            return (started.elapsed(), peak);
        }
        peak = peak.max(peak_kib(u64::from(client.id())));
        thread::sleep(LOOK);
    }
}
