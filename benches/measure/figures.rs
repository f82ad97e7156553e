//! Figures in text: quantiles, histograms, and whether a goal was met.

use std::time::Duration;

const BAR_CHARS: usize = 50;
/// Lines of a histogram, about; where more are needed bins are wider.
const LINES_MAX: u128 = 24;

/// Times, sorted.
pub struct Times(Vec<Duration>);

impl Times {
    /// At least one.
    pub fn new(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort();
        Self(times)
    }

    /// The smallest time that so many percent do not exceed.
    pub fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent).div_ceil(100).max(1) - 1]
    }

    /// The usual quantiles, a histogram and every value.
    pub fn print(&self, what: &str, bin: Duration) {
        let [min, p50, p90, max] = [0, 50, 90, 100].map(|percent| ms(self.at(percent)));
        let count = self.0.len();
        println!("{what}, ms, {count} times: min {min} p50 {p50} p90 {p90} max {max}");
        self.histogram(bin);
        let all: Vec<String> = self.0.iter().map(|time| ms(*time)).collect();
        println!("  all: {}", all.join(" "));
    }

    fn histogram(&self, bin: Duration) {
        let range = (self.at(100) - self.at(0)).as_micros();
        let bin_us = bin.as_micros() * (range / bin.as_micros() / LINES_MAX + 1);
        let number = |time: Duration| time.as_micros() / bin_us;
        let (first, last) = (number(self.at(0)), number(self.at(100)));
        let bins: Vec<(u128, usize)> = (first..=last)
            .map(|bin| (bin, self.0.iter().filter(move |time| number(**time) == bin)))
            .map(|(bin, times)| (bin, times.count()))
            .collect();
        let most = bins.iter().map(|(_, count)| *count).max().unwrap_or(1);
        for (from, count) in bins {
            let from = from * bin_us / 1_000;
            println!("  {from:>6} {count:>4} {}", bar(count, most));
        }
    }

    /// Says whether a quantile is within its goal.
    pub fn goal(&self, percent: usize, within: Duration) {
        let found = self.at(percent);
        let verdict = if found <= within { "met" } else { "MISSED" };
        let name = match percent {
            100 => "max".to_owned(),
            percent => format!("p{percent}"),
        };
        println!("  goal: {name} <= {} ms: {verdict}", ms(within));
    }
}

/// A line as long as its part of the longest.
pub fn bar(count: usize, most: usize) -> String {
    "#".repeat((count * BAR_CHARS).div_ceil(most.max(1)))
}

/// Milliseconds, with a digit more where they are few.
pub fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 100.0 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.0}")
    }
}
