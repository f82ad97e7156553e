//! How long the death of a leader stalls writes, and whether it stalls work.
//!
//! The leader gets SIGKILL at a moment that has nothing to do with its
//! heartbeats, is started again when the next one leads, and the next kill waits
//! until it has caught up.

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::attempts::{self, Attempts, Pauses};
use crate::figures::{Times, ms};
use crate::harness::{Cluster, Extras, Shape};
use crate::load::Chain;
use crate::writer::Writer;

/// Bins of the histogram of stalls.
const BIN: Duration = Duration::from_millis(50);

/// One setting that is measured.
struct Series {
    name: &'static str,
    what: &'static str,
    fast: bool,
    workers: usize,
    goals: [(usize, Duration); 2],
}

const SERIES: [Series; 3] = [
    Series {
        name: "full",
        what: "default profile, a busy slot per core",
        fast: false,
        workers: 2,
        goals: goals(1_100, 1_500),
    },
    Series {
        name: "fast",
        what: "fast profile, one busy slot for two cores",
        fast: true,
        workers: 1,
        goals: goals(600, 1_000),
    },
    Series {
        name: "idle",
        what: "default profile, no work",
        fast: false,
        workers: 0,
        goals: goals(1_100, 1_500),
    },
];

const fn goals(p50_ms: u64, max_ms: u64) -> [(usize, Duration); 2] {
    [
        (50, Duration::from_millis(p50_ms)),
        (100, Duration::from_millis(max_ms)),
    ]
}

/// Measures the series that are named, all when none is.
pub fn run(kills: usize, names: &[&str]) {
    for series in &SERIES {
        if names.is_empty() || names.contains(&series.name) {
            measure(series, kills);
        }
    }
}

/// Arguments of masters in the fast profile.
fn profile(fast: bool) -> Vec<String> {
    let fast_args = "--heartbeat-ms 50 --election-min-ms 150 --election-max-ms 300";
    let args = fast_args.split(' ').filter(|_| fast);
    args.map(str::to_owned).collect()
}

fn measure(series: &Series, kills: usize) {
    println!("leader-kill {}: {}", series.name, series.what);
    let shape = Shape {
        workers: series.workers,
        ..Shape::default()
    };
    let extras = Extras {
        master_args: profile(series.fast),
        worker_log: Some(attempts::LOG_FILTER.to_owned()),
        ..Extras::default()
    };
    let mut cluster = Cluster::start_with(shape, &extras);
    let mut load = (series.workers > 0).then(Chain::default);
    let writer = Writer::start(&cluster);
    let mut stalls = Vec::with_capacity(kills);
    let mut moments: Vec<Timestamp> = Vec::with_capacity(kills);
    for number in 0..kills {
        if let Some(load) = &mut load {
            load.feed(&cluster);
        }
        writer.settle();
        // Anywhere between two heartbeats.
        thread::sleep(Duration::from_millis(37 * (number as u64 % 10)));
        let (began, kill) = (Instant::now(), cluster.kill_leader());
        moments.push(kill.at);
        stalls.push(writer.stall(began));
        cluster.await_other_leader(kill);
        cluster.restart_master(kill.seat);
        cluster.await_status("all masters, caught up", |status| status.is_caught_up());
    }
    writer.finish();
    let stalls = Times::new(stalls);
    stalls.print("last acknowledged write to first after", BIN);
    for (percent, within) in series.goals {
        stalls.goal(percent, within);
    }
    if let Some(load) = load {
        load.finish(&cluster);
        println!("  tasks re-run 0, attempts restarted 0, workers lost 0");
        let attempts = Attempts::read(&mut cluster, series.workers);
        attempts.print(&moments);
        report(&attempts.pauses(&moments));
    }
}

/// A slot takes so long from one attempt to the next: where there is one slot,
/// its attempts are that much more than their own length apart.
const TURN_MAX: Duration = Duration::from_millis(20);

fn report(pauses: &[Pauses]) {
    let worst = |pause: fn(&Pauses) -> Duration| pauses.iter().map(pause).max();
    let worst = |pause| worst(pause).map_or_else(String::new, ms);
    println!(
        "  longest around a kill, ms: no attempt ended anywhere {}, on one worker {}; \
         an attempt {}; nothing ran {}",
        worst(|pauses| pauses.all),
        worst(|pauses| pauses.one),
        worst(|pauses| pauses.attempt),
        worst(|pauses| pauses.idle),
    );
    let longer = pauses.iter().filter(|pauses| pauses.idle > TURN_MAX);
    let longer = longer.count();
    let verdict = if longer == 0 { "met" } else { "MISSED" };
    println!("  goal: no pause of the work longer than an attempt: {verdict} ({longer} kills)");
}
