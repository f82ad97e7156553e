//! A workload's table: seconds, ratios, memory, goals.

use std::time::Duration;

use super::rows::Row;
use super::sides::{Ran, Side};

/// Times faster than the fastest distributed peer.
const FASTER_THAN_DISTRIBUTED: f64 = 4.0;
/// Of that peer's memory.
const MEMORY_PART: f64 = 0.25;

/// What was seen of a side.
pub struct Line {
    side: Side,
    times: Vec<Duration>,
    peak_kib: u64,
}

impl Line {
    /// Nothing yet.
    pub fn of(side: &Side) -> Self {
        Self {
            side: side.clone(),
            times: Vec::new(),
            peak_kib: 0,
        }
    }

    /// One more run.
    pub fn add(&mut self, ran: &Ran) {
        self.times.extend(ran.took);
        self.peak_kib = self.peak_kib.max(ran.peak_kib);
    }

    fn median(&self) -> Option<f64> {
        let mut times = self.times.clone();
        times.sort();
        times.get(times.len() / 2).map(Duration::as_secs_f64)
    }
}

/// Prints all of a row; `workers_kib` are the peaks of our workers.
pub fn print(row: &Row, lines: &[Line], workers_kib: &[u64]) {
    let ours = lines.iter().find(|line| line.side.is_ours());
    let ours_s = ours.and_then(Line::median).expect("ours was measured");
    let ours_kib = workers_kib.iter().sum::<u64>();
    println!(
        "  {:<10} {:>8} {:>10} {:>9}  all",
        "", "median s", "ours takes", "peak MiB"
    );
    for line in lines {
        let name = &line.side.name;
        let Some(median) = line.median() else {
            let why = line.side.absence().unwrap_or("not measured");
            println!("  {name:<10} {why}");
            continue;
        };
        let kib = match line.side.is_ours() {
            true => ours_kib,
            false => line.peak_kib,
        };
        let all: Vec<String> = line.times.iter().map(seconds).collect();
        println!(
            "  {name:<10} {median:>8.3} {:>8.2} x {:>9}  {}",
            ours_s / median,
            kib / 1024,
            all.join(" ")
        );
    }
    let each: Vec<String> = workers_kib
        .iter()
        .map(|kib| (kib / 1024).to_string())
        .collect();
    println!("  our workers, peak MiB each: {}", each.join(" "));
    goals(row, lines, ours_s, ours_kib);
}

fn seconds(time: &Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

fn goals(row: &Row, lines: &[Line], ours_s: f64, ours_kib: u64) {
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    for line in lines {
        let Some(median) = line.median() else {
            continue;
        };
        let ratio = ours_s / median;
        if line.side.is_limit() {
            let goal = row.goal;
            println!(
                "  goal: <= {goal} x limit: {ratio:.2} {}",
                verdict(ratio <= goal)
            );
        } else if line.side.is_single() {
            let name = &line.side.name;
            println!(
                "  goal: faster than {name}: {ratio:.2} {}",
                verdict(ratio < 1.0)
            );
        }
    }
    let distributed = lines.iter().filter(|line| line.side.is_distributed());
    let timed = distributed.filter_map(|line| Some((line.median()?, line)));
    let Some((median, line)) = timed.min_by(|(left, _), (right, _)| left.total_cmp(right)) else {
        return;
    };
    let name = &line.side.name;
    let faster = median / ours_s;
    println!(
        "  goal: >= {FASTER_THAN_DISTRIBUTED} x faster than {name}: {faster:.1} {}",
        verdict(faster >= FASTER_THAN_DISTRIBUTED)
    );
    let part = ours_kib as f64 / line.peak_kib as f64;
    println!(
        "  goal: <= {MEMORY_PART} of its memory: {part:.2} {}",
        verdict(part <= MEMORY_PART)
    );
}
