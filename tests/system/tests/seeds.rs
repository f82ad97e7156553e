//! The seeds of a test run, each in a process of its own, as many at once as
//! there are cores; what happened in all of them is part of what is proved.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot run its program has failed"
)]

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vivat_system_simulation::{Evidence, Report, Violation, describe, parse};

/// Seeds of a run. `VIVAT_SEEDS` sets another number, and `VIVAT_FIRST_SEED`
/// where they begin.
const SEEDS: u64 = 300;
/// Seeds that are run twice.
const REPEATED_SEEDS: u64 = 4;
/// Seeds within which disks that lie must be found.
const LYING_SEEDS_MAX: u64 = 20;
/// Failures that are told before a run gives up.
const FAILURES_MAX: usize = 5;
/// For one seed, in real time: one that takes longer makes no progress.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);

/// Seeds that found something once, each with what it found.
const REGRESSIONS: [(u64, &str); 1] = [(
    80,
    "a follower was sent entries from behind what had been purged meanwhile",
)];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Runs a seed in another process.
fn run(seed: u64) -> Report {
    run_with(&["one", &seed.to_string()])
}

fn run_with(arguments: &[&str]) -> Report {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vivat-system-simulation"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reading = thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).unwrap();
        text
    });
    let watching = thread::spawn(move || end_in_time(&mut child));
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let in_time = watching.join().unwrap();
    let mut report = parse(&text, &reading.join().unwrap());
    if !in_time {
        report.violation = Some(Violation {
            id: "stuck".to_owned(),
            detail: format!("not done within {PATIENCE:?}"),
        });
    }
    report
}

/// False when it had to be ended.
fn end_in_time(child: &mut Child) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return false;
        }
        thread::sleep(LOOK);
    }
}

/// Runs seeds side by side; answers what happened, and what went wrong.
fn run_all(first: u64, end: u64) -> (Evidence, Vec<String>) {
    let next = AtomicU64::new(first);
    let results = Mutex::new((Evidence::default(), Vec::new()));
    let cores = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || results.lock().unwrap().1.len() >= FAILURES_MAX {
                        return;
                    }
                    let report = run(seed);
                    let mut results = results.lock().unwrap();
                    results.0.add(&report.evidence);
                    let failure = report.violation.map(|violation| describe(seed, &violation));
                    results.1.extend(failure);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

#[test]
fn no_seed_breaks_an_invariant_or_leaves_a_job_without_an_end() {
    let first = setting("VIVAT_FIRST_SEED", 0);
    let count = setting("VIVAT_SEEDS", SEEDS);
    let (evidence, failures) = run_all(first, first + count);
    println!("{evidence}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Few seeds may miss a rare fault; a whole run must not.
    if count >= SEEDS {
        let missing = evidence.missing();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}

#[test]
fn same_seed_gives_the_same_run() {
    for seed in 0..REPEATED_SEEDS {
        let (once, again) = (run(seed), run(seed));
        assert!(!once.trace.is_empty(), "seed={seed}");
        assert_eq!(once.trace, again.trace, "seed={seed} differs from itself");
        assert_eq!(once.evidence, again.evidence, "seed={seed}");
    }
}

/// Mistake 1: an acknowledgement before durability.
#[test]
fn disks_that_report_a_sync_too_early_are_found() {
    let lying = |seed: u64| run_with(&["one", &seed.to_string(), "lying-disks"]);
    let found = (0..LYING_SEEDS_MAX).any(|seed| lying(seed).violation.is_some());
    assert!(found, "not within {LYING_SEEDS_MAX} seeds");
}

#[test]
fn seeds_that_found_something_once_find_it_no_more() {
    for (seed, what) in REGRESSIONS {
        if let Some(violation) = run(seed).violation {
            panic!("{what}\n{}", describe(seed, &violation));
        }
    }
}
