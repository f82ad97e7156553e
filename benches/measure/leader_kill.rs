//! How long the death of a leader stalls writes: from the last acknowledged
//! write before it to the first one after.
//!
//! One client commits no-ops in a loop, each durable on a majority before it is
//! acknowledged, and finds the next leader as every client does. The leader gets
//! SIGKILL at a moment that has nothing to do with its heartbeats, is started
//! again when the next one leads, and the next kill waits until it has caught up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Cluster, Job, Shape};
use vivat_client::{ClientOptions, LeaderClient};

/// Writes before a kill, so that the client is in its stride.
const WRITES_BEFORE: usize = 200;
/// Words counted behind the writes in the second series.
const LOAD_BYTES: usize = 24 * 1024 * 1024;

/// When writes were acknowledged.
type Acks = Arc<Mutex<Vec<Instant>>>;

/// Kills the leader so many times, idle and under load, and prints the stalls.
pub fn run(kills: usize) {
    println!("leader killed {kills} times: last acknowledged write to first after, ms");
    report("one writer, else idle", measure(kills, false));
    report("one writer, workers at full load", measure(kills, true));
}

fn measure(kills: usize, load: bool) -> Vec<Duration> {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("load.txt", LOAD_BYTES, 1);
    let acks = Acks::default();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = start_writer(&cluster, &acks, &stop);
    let mut stalls = Vec::with_capacity(kills);
    for number in 0..kills {
        if load {
            submit_load(&cluster, number);
        }
        await_writes(&acks, WRITES_BEFORE);
        // Anywhere between two heartbeats.
        thread::sleep(Duration::from_millis(37 * (number as u64 % 10)));
        let before = clear(&acks);
        let kill = cluster.kill_leader();
        stalls.push(await_stall(&acks, before));
        cluster.await_other_leader(kill);
        cluster.restart_master(kill.seat);
        cluster.await_status("all masters, caught up", |status| status.is_caught_up());
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer does not panic");
    stalls
}

fn start_writer(cluster: &Cluster, acks: &Acks, stop: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let endpoints = cluster.addresses().split(',').map(str::to_owned).collect();
    let (acks, stop) = (Arc::clone(acks), Arc::clone(stop));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async {
            let client = LeaderClient::new(endpoints, ClientOptions::default());
            while !stop.load(Ordering::Relaxed) {
                if client.commit_noop().await.is_ok() {
                    lock(&acks).push(Instant::now());
                }
            }
        });
    })
}

/// A job that keeps every worker busy for longer than the stall.
fn submit_load(cluster: &Cluster, number: usize) {
    let job = Job {
        input: "load.txt".to_owned(),
        output: format!("load-{number}"),
        split_bytes: 64 * 1024,
        reducers: 8,
        key: None,
    };
    let id = cluster.submit(&job);
    cluster.await_job(&id, "some maps done", |view| view.map("completed") > 0);
}

fn await_writes(acks: &Acks, count: usize) {
    while lock(acks).len() < count {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Forgets all acknowledgements but the last, and returns how many are kept.
fn clear(acks: &Acks) -> usize {
    let mut acks = lock(acks);
    let last = acks.pop();
    acks.clear();
    acks.extend(last);
    acks.len()
}

/// The longest pause between two acknowledgements around the kill, once writes
/// flow again.
fn await_stall(acks: &Acks, before: usize) -> Duration {
    await_writes(acks, before + WRITES_BEFORE);
    loop {
        let longest = longest_pause(&lock(acks));
        // A pause shorter than an election is not the one of the kill.
        if longest > Duration::from_millis(150) {
            return longest;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn longest_pause(acks: &[Instant]) -> Duration {
    acks.windows(2)
        .map(|pair| pair[1].duration_since(pair[0]))
        .max()
        .unwrap_or_default()
}

fn lock(acks: &Acks) -> std::sync::MutexGuard<'_, Vec<Instant>> {
    acks.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report(what: &str, mut stalls: Vec<Duration>) {
    stalls.sort();
    let at = |percent: usize| {
        let index = (stalls.len() * percent).div_ceil(100).max(1) - 1;
        stalls[index].as_millis()
    };
    println!(
        "{what}: min {} p50 {} p90 {} max {}",
        stalls[0].as_millis(),
        at(50),
        at(90),
        at(100)
    );
    let all: Vec<String> = stalls
        .iter()
        .map(|stall| stall.as_millis().to_string())
        .collect();
    println!("  all: {}", all.join(" "));
}
