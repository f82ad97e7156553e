//! What processes have in memory, by the kernel's account.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

/// How often a process that will be gone is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The most that a process had, in KiB; 0 when it is gone.
pub fn peak_kib(pid: u64) -> u64 {
    kib_of(pid, "VmHWM:")
}

/// What a process has now, in KiB.
pub fn resident_kib(pid: u64) -> u64 {
    kib_of(pid, "VmRSS:")
}

fn kib_of(pid: u64, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse().ok())
        .unwrap_or(0)
}

/// A process that has ended well.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// From its start to its exit.
    pub took: Duration,
    /// The most that it and its descendants had together, as far as it was seen.
    pub peak_kib: u64,
}

/// Runs a command to its end; one that fails ends the benchmark.
pub fn run(command: &mut Command) -> Ended {
    let started = Instant::now();
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut peak_kib = 0;
    loop {
        if let Some(took) = ended(&mut child, started, command) {
            return Ended { took, peak_kib };
        }
        let family = family(u64::from(child.id()));
        peak_kib = peak_kib.max(family.into_iter().map(resident_kib).sum());
        // The end is noticed at once: the wait for the next look is short at first.
        thread::sleep(LOOK.min(started.elapsed() / 50));
    }
}

fn ended(child: &mut Child, started: Instant, command: &Command) -> Option<Duration> {
    let status = child.try_wait().expect("it is our child")?;
    let took = started.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    Some(took)
}

/// A process and all that it started.
fn family(pid: u64) -> Vec<u64> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        all.extend(children(pid));
    }
    all
}

/// A process's children: each of its threads lists those that it started.
fn children(pid: u64) -> Vec<u64> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads.flatten().map(|thread| {
        let list = thread.path().join("children");
        fs::read_to_string(list).unwrap_or_default()
    });
    let pids = lists.flat_map(|list| {
        let pids = list.split_whitespace().map(str::parse::<u64>);
        pids.flatten().collect::<Vec<_>>()
    });
    pids.collect()
}
