//! Where our time goes: the job's phases by the workers' clocks, its counters.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::sides::Job;
use crate::attempts::{self, Ended};
use crate::figures::ms;
use crate::harness::Cluster;

/// In the order in which they run.
const KINDS: [&str; 5] = ["plan", "map", "reduce", "close", "commit"];

/// What the attempts of one job did.
pub struct Phases<'j> {
    job: &'j Job,
    workers: usize,
    by_kind: BTreeMap<String, Vec<Ended>>,
}

impl<'j> Phases<'j> {
    /// From the logs of so many workers.
    pub fn read(cluster: &mut Cluster, workers: usize, job: &'j Job) -> Self {
        let id = job.view["job_id"].as_str().expect("a job has an id");
        let mut by_kind = BTreeMap::<String, Vec<Ended>>::new();
        for worker in 0..workers {
            for (attempt, ended) in attempts::named(&cluster.worker(worker).log()) {
                // As in `job-5.0.0.map-0.1`: job, step, round, task, number.
                let mut parts = attempt.split('.');
                if parts.next() != Some(id) {
                    continue;
                }
                let task = parts.nth(2).unwrap_or_default();
                let kind = task.split('-').next().unwrap_or_default();
                by_kind.entry(kind.to_owned()).or_default().push(ended);
            }
        }
        Self {
            job,
            workers,
            by_kind,
        }
    }

    /// A line for each kind of attempt, and the counters.
    pub fn print(&self) {
        println!("  where the time went in the first run, ms:");
        println!(
            "    {:<8} {:>8} {:>8} {:>6} {:>8} {:>8} {:>6}",
            "", "from", "to", "count", "longest", "sum", "busy"
        );
        for kind in KINDS {
            if let Some(ended) = self.by_kind.get(kind) {
                self.print_kind(kind, ended);
            }
        }
        let all = self.since_start(self.job.ended_at);
        println!("    {:<8} {:>8} {:>8}", "exit", "", ms(all));
        let counters = self.job.view["counters"].as_object();
        let counters = counters.expect("a job has counters").iter();
        let counters: Vec<String> = counters.map(|(name, n)| format!("{name} {n}")).collect();
        for line in counters.chunks(3) {
            println!("    {}", line.join(", "));
        }
    }

    fn print_kind(&self, kind: &str, ended: &[Ended]) {
        let from = ended.iter().map(|ended| ended.at - ended.took).min();
        let to = ended.iter().map(|ended| ended.at).max();
        let (Some(from), Some(to)) = (from, to) else {
            return;
        };
        let took = |ended: &Ended| ended.took.unsigned_abs();
        let sum: Duration = ended.iter().map(took).sum();
        let longest = ended.iter().map(took).max().unwrap_or_default();
        let span = to.duration_since(from).unsigned_abs().as_secs_f64();
        let busy = sum.as_secs_f64() / (span * self.workers as f64).max(1e-9) * 100.0;
        println!(
            "    {kind:<8} {:>8} {:>8} {:>6} {:>8} {:>8} {busy:>4.0} %",
            ms(self.since_start(from)),
            ms(self.since_start(to)),
            ended.len(),
            ms(longest),
            ms(sum),
        );
    }

    fn since_start(&self, at: Timestamp) -> Duration {
        at.duration_since(self.job.started_at).unsigned_abs()
    }
}
