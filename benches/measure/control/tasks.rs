//! Tasks per second that do nothing: three durable masters, real workers.

use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use vivat_client::{ClientOptions, LeaderClient};
use vivat_shared::ids::JobId;

use super::{cluster, median, submit_noops, verdict, write_lines};
use crate::harness::{Cluster, DEADLINE};
use crate::memory::peak_kib;
use crate::options::Options;

const TASKS: usize = 100_000;
const GOAL_PER_S: f64 = 10_000.0;

/// Runs the job, and counts its maps from the first that is done to the last.
pub fn run(options: &Options) {
    println!("{TASKS} tasks that do nothing, 3 masters, 2 workers of 1 slot");
    let mut cluster = cluster();
    write_lines(&cluster, "lines.txt", TASKS);
    let mut rates = Vec::new();
    for turn in 0..options.runs {
        let job = submit_noops(&cluster, "lines.txt", &format!("out-{turn}"), "1");
        let seen = watch(&cluster, &job, Instant::now());
        println!(
            "  {:.0}/s; planned after {:.2} s, maps {:.2} s, job {:.2} s",
            seen.rate,
            seen.planned.as_secs_f64(),
            seen.maps.as_secs_f64(),
            seen.job.as_secs_f64()
        );
        rates.push(seen.rate);
    }
    let rate = median(rates);
    println!(
        "  goal: >= {GOAL_PER_S}/s: {rate:.0} {}",
        verdict(rate >= GOAL_PER_S)
    );
    metrics(&mut cluster);
}

struct Seen {
    rate: f64,
    planned: Duration,
    maps: Duration,
    job: Duration,
}

/// Follows the job by the leader's stream of its changes.
fn watch(cluster: &Cluster, job: &str, submitted: Instant) -> Seen {
    let endpoints = cluster.addresses().split(',').map(str::to_owned).collect();
    let job: JobId = job.parse().expect("it is an id");
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let client = LeaderClient::new(endpoints, ClientOptions::default());
        let mut changes = client.watch_job(job);
        let (mut first, mut last) = (None, None);
        loop {
            let next = tokio::time::timeout(DEADLINE, changes.next()).await;
            let change = next.expect("the job moves").expect("there is a leader");
            let Some(change) = change else { break };
            let maps = change.job.map;
            let now = (Instant::now(), maps.completed);
            if maps.completed > 0 && first.is_none() {
                first = Some(now);
            }
            if maps.completed == maps.total && maps.total > 0 && last.is_none() {
                last = Some(now);
            }
        }
        let (Some((from, before)), Some((to, after))) = (first, last) else {
            panic!("the job ended and its maps were never seen done");
        };
        let maps = to - from;
        Seen {
            rate: f64::from(after - before) / maps.as_secs_f64(),
            planned: from - submitted,
            maps,
            job: submitted.elapsed(),
        }
    })
}

/// What the leader counted, so that one can see what a task cost.
fn metrics(cluster: &mut Cluster) {
    let status = cluster.await_status("a leader", |status| status.leader().is_some());
    let leader = status.leader().expect("awaited just now");
    let count = |name: &str| cluster.metric(leader, name).unwrap_or(0);
    println!(
        "  the leader: {} entries, {} commands, {} grants, {} grants refused",
        count("applied_index"),
        count("commands_total"),
        count("attempts_granted_total"),
        count("grants_refused_total")
    );
    let pid = cluster.master(leader).id();
    println!("  the leader's memory: {} MiB", peak_kib(pid.into()) / 1024);
}
