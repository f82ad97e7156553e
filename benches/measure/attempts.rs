//! What the workers did, by their own clocks: their logs tell when each attempt
//! began and ended.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::figures::bar;
use crate::harness::Cluster;

/// What makes a worker tell.
pub const LOG_FILTER: &str = "warn,vivat_worker::runner=debug";

/// Looked at around an interruption.
const BEFORE: SignedDuration = SignedDuration::from_millis(500);
const AFTER: SignedDuration = SignedDuration::from_millis(2_000);
const BIN_MS: i128 = 100;

/// An attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// How long it ran.
    pub took: SignedDuration,
}

/// Every worker's attempts, in the order of their ends.
pub struct Attempts(Vec<Vec<Ended>>);

/// What interruptions did to the work.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// The longest time in which no worker finished an attempt.
    pub all: Duration,
    /// The longest time in which some worker finished none.
    pub one: Duration,
    /// The longest attempt.
    pub attempt: Duration,
    /// By how much the time between two ends, anywhere, was longer than the
    /// attempt whose end is the second: in so much of it nothing ran.
    pub idle: Duration,
}

impl Attempts {
    /// Reads the logs of so many workers.
    pub fn read(cluster: &mut Cluster, workers: usize) -> Self {
        let logs = (0..workers).map(|index| ended(&cluster.worker(index).log()));
        Self(logs.collect())
    }

    /// The pauses around each moment; those that nothing happened around fail.
    pub fn pauses(&self, moments: &[Timestamp]) -> Vec<Pauses> {
        moments.iter().map(|moment| self.around(*moment)).collect()
    }

    fn around(&self, moment: Timestamp) -> Pauses {
        let each: Vec<Vec<Ended>> = self.0.iter().map(|ended| near(ended, moment)).collect();
        let mut all = each.concat();
        all.sort_by_key(|ended| ended.at);
        let attempt = all.iter().map(|ended| ended.took).max();
        let one = each.iter().map(|ended| longest_pause(ended, moment)).max();
        Pauses {
            all: unsigned(longest_pause(&all, moment)),
            one: unsigned(one.unwrap_or_default()),
            attempt: unsigned(attempt.unwrap_or_default()),
            idle: unsigned(longest_idle(&all)),
        }
    }

    /// Attempts that ended per tenth of a second around the moments, on average.
    pub fn print(&self, moments: &[Timestamp]) {
        let mut bins = BTreeMap::<i128, usize>::new();
        for moment in moments {
            for ended in self.0.iter().flat_map(|ended| near(ended, *moment)) {
                let after_ms = ended.at.duration_since(*moment).as_millis();
                *bins.entry(after_ms.div_euclid(BIN_MS)).or_default() += 1;
            }
        }
        let most = bins.values().copied().max().unwrap_or(1);
        let (from, to) = (-BEFORE.as_millis() / BIN_MS, AFTER.as_millis() / BIN_MS);
        println!("  attempts ended per {BIN_MS} ms, from the kill on, mean of all kills:");
        for bin in from..to {
            let count = bins.get(&bin).copied().unwrap_or_default();
            let mean = count as f64 / moments.len() as f64;
            println!("  {:>6} {mean:>5.1} {}", bin * BIN_MS, bar(count, most));
        }
    }
}

fn near(ended: &[Ended], moment: Timestamp) -> Vec<Ended> {
    let (from, to) = (moment - BEFORE, moment + AFTER);
    let within = ended
        .iter()
        .filter(|ended| ended.at >= from && ended.at < to);
    within.copied().collect()
}

/// Between two ends, or an end and the edge of what is looked at.
fn longest_pause(ended: &[Ended], moment: Timestamp) -> SignedDuration {
    let mut last = moment - BEFORE;
    let mut longest = SignedDuration::ZERO;
    for at in ended.iter().map(|ended| ended.at).chain([moment + AFTER]) {
        longest = longest.max(at.duration_since(last));
        last = at;
    }
    longest
}

fn longest_idle(ended: &[Ended]) -> SignedDuration {
    ended
        .windows(2)
        .map(|pair| pair[1].at.duration_since(pair[0].at) - pair[1].took)
        .fold(SignedDuration::ZERO, SignedDuration::max)
}

fn unsigned(duration: SignedDuration) -> Duration {
    duration.unsigned_abs()
}

fn ended(log: &str) -> Vec<Ended> {
    let mut all: Vec<Ended> = named(log).into_iter().map(|(_, ended)| ended).collect();
    all.sort_by_key(|ended| ended.at);
    all
}

/// Attempts that a log says have ended, each with its id.
pub fn named(log: &str) -> Vec<(&str, Ended)> {
    let mut running = BTreeMap::<&str, Timestamp>::new();
    let mut all = Vec::new();
    for line in log.lines() {
        let Some((at, attempt)) = entry(line) else {
            continue;
        };
        if line.contains("attempt started") {
            running.insert(attempt, at);
        } else if let Some(began) = running.remove(attempt) {
            let took = at.duration_since(began);
            all.push((attempt, Ended { at, took }));
        }
    }
    all
}

/// Time and attempt of a line about an attempt.
fn entry(line: &str) -> Option<(Timestamp, &str)> {
    let (at, rest) = line.split_once(' ')?;
    let (_, attempt) = rest.split_once(" attempt=")?;
    let attempt = attempt.split(' ').next()?;
    Some((at.parse().ok()?, attempt))
}
