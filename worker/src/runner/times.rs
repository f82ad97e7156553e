//! How long an attempt took, and how long its thread ran: the difference is what
//! it waited for.

use std::fs;
use std::time::{Duration, Instant};

use vivat_ground::Threads;
use vivat_shared::attempt::Counters;

/// Begun with an attempt, on its thread.
#[derive(Debug)]
pub(super) struct Times {
    started: Instant,
    ran: Option<Duration>,
    threads: Threads,
}

impl Times {
    pub(super) fn start(threads: Threads) -> Self {
        Self {
            started: Instant::now(),
            ran: ran(),
            threads,
        }
    }

    /// Adds both in microseconds. Where attempts have no threads of their own, and
    /// so no time, nothing.
    pub(super) fn count(self, sums: &mut Counters, elapsed_name: &str, cpu_name: &str) {
        match self.threads {
            Threads::Callers => return,
            Threads::Own => {}
        }
        sums.insert(elapsed_name.to_owned(), micros(self.started.elapsed()));
        if let (Some(before), Some(now)) = (self.ran, ran()) {
            sums.insert(cpu_name.to_owned(), micros(now.saturating_sub(before)));
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Nanoseconds that this thread was on a core, as the kernel's scheduler says; none
/// where it keeps no such statistics.
fn ran() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}
