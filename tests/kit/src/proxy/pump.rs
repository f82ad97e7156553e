//! One direction of a connection: takes bytes, holds them, passes them on.
//!
//! The pump is a loop around one choice (the rule changed; bytes came; bytes may
//! go; time passed), and everything that it decides, it decides from its own
//! fields between two choices.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use crate::dice::Dice;

use super::link::Link;
use super::rule::{Deed, Direction, Installed, Rule, Rules};

/// Bytes that are taken at once.
const READ_BYTES: usize = 16 * 1024;
/// Bytes that a direction holds, about what two sockets would. A delay holds
/// what is on its way, which is more.
const HELD_BYTES_MAX: usize = 256 * 1024;
const DELAYED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A limited bandwidth passes pieces of this part of a second.
const PIECES_PER_SECOND: u64 = 20;
/// Both sides quiet for so long: the answer is complete.
const QUIET: Duration = Duration::from_millis(50);
/// Or the answer is lost as far as it came by then.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(1);

/// How a direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its end was passed on.
    Finished,
    /// Both sides get an RST.
    Reset,
    /// The caller gets an RST, the target is left in peace.
    ResponseLost,
}

/// How the source ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceEnd {
    /// With a FIN.
    Closed,
    /// With an RST, or another error.
    Broken,
}

/// Bytes on their way.
struct Chunk {
    bytes: Vec<u8>,
    /// Of them, how many went on already.
    sent: usize,
    /// Not before this.
    due: Instant,
    /// Whether a delay made them wait.
    is_late: bool,
}

pub(super) struct Pump<'a> {
    link: &'a Link,
    direction: Direction,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    rules: Rules,
    queue: VecDeque<Chunk>,
    queued_bytes: usize,
    source_end: Option<SourceEnd>,
    /// Half-open for ever, by this rule.
    dead_by: Option<Arc<Installed>>,
    /// Bytes are missing in the middle of what the other side got.
    has_hole: bool,
    /// What belongs to the rule in force.
    duty: Duty,
}

/// What a pump has to remember of the rule in force.
struct Duty {
    number: u64,
    is_counted: bool,
    dice: Dice,
    last_due: Instant,
    /// When the bandwidth allows more.
    ready_at: Instant,
    passed_bytes: u64,
    /// What the connection had requested when the rule was set.
    requested_before: u64,
    /// Since when the answer is held.
    held_since: Option<Instant>,
}

impl Duty {
    fn new(number: u64, dice: Dice, requested_before: u64) -> Self {
        let now = Instant::now();
        Self {
            number,
            is_counted: false,
            dice,
            last_due: now,
            ready_at: now,
            passed_bytes: 0,
            requested_before,
            held_since: None,
        }
    }
}

/// What the rule makes of bytes, now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Deliver,
    Hold,
    Swallow,
}

impl<'a> Pump<'a> {
    pub fn new(
        link: &'a Link,
        direction: Direction,
        from: ReadHalf<'a>,
        to: WriteHalf<'a>,
    ) -> Self {
        Self {
            link,
            direction,
            from,
            to,
            rules: link.board.rules(direction),
            queue: VecDeque::new(),
            queued_bytes: 0,
            source_end: None,
            dead_by: None,
            has_hole: false,
            duty: Duty::new(u64::MAX, Dice::new(0), 0),
        }
    }

    pub async fn run(mut self) -> Ended {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let installed = self.rules.borrow_and_update().clone();
            self.adopt(&installed);
            let mode = self.mode(&installed);
            if let Some(ended) = self.verdict(&installed, mode) {
                return ended;
            }
            let held_max = match installed.deed {
                Deed::Rule(Rule::Delay { .. }) => DELAYED_BYTES_MAX,
                Deed::Rule(_) | Deed::LoseResponse { .. } => HELD_BYTES_MAX,
            };
            let may_read = self.source_end.is_none() && self.queued_bytes < held_max;
            let send_max = self.send_max(&installed);
            let not_before = self.duty.ready_at;
            let front = self.queue.front().filter(|_| mode == Mode::Deliver);
            let wake_at = self.wake_at();
            tokio::select! {
                changed = self.rules.changed() => {
                    if changed.is_err() {
                        return Ended::Reset;
                    }
                }
                read = self.from.read(&mut buffer), if may_read => {
                    self.take(read, &buffer, &installed);
                }
                sent = send(&mut self.to, front, not_before, send_max) => match sent {
                    Ok(bytes) => self.sent(bytes, &installed),
                    // The news that nobody listens comes from the other direction.
                    Err(_) if self.hears_nothing() => self.dead_by = Some(installed),
                    Err(_) => return Ended::Reset,
                },
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {
                    if self.is_answer_complete() && installed.claim() {
                        self.hit(&installed, self.queued_bytes);
                        self.link.board.end(self.direction, installed.number);
                        return Ended::ResponseLost;
                    }
                }
            }
        }
    }

    /// Begins anew with a rule that was not in force before.
    fn adopt(&mut self, installed: &Arc<Installed>) {
        if self.duty.number == installed.number {
            return;
        }
        let seed = match installed.deed {
            Deed::Rule(Rule::Delay { seed, .. }) => seed,
            Deed::Rule(_) | Deed::LoseResponse { .. } => 0,
        };
        // Neighbouring seeds and connections must not share a sequence.
        let dice = Dice::new(Dice::new(seed).roll() ^ self.link.number);
        self.duty = Duty::new(installed.number, dice, self.link.requested_bytes());
        let now = Instant::now();
        for chunk in &mut self.queue {
            chunk.due = now;
        }
        if installed.is(Rule::HalfOpen) {
            self.dead_by.get_or_insert_with(|| installed.clone());
        }
    }

    fn mode(&self, installed: &Installed) -> Mode {
        if self.dead_by.is_some() {
            return Mode::Swallow;
        }
        match installed.deed {
            Deed::Rule(Rule::Drop | Rule::HalfOpen) => Mode::Swallow,
            Deed::Rule(Rule::Stall) => Mode::Hold,
            Deed::Rule(
                Rule::Pass
                | Rule::Delay { .. }
                | Rule::Reset
                | Rule::Bandwidth { .. }
                | Rule::CutAfter { .. },
            ) => Mode::Deliver,
            Deed::LoseResponse { request_bytes_min } => {
                let requested = self.link.requested_bytes() - self.duty.requested_before;
                if requested >= request_bytes_min.max(1) {
                    Mode::Hold
                } else {
                    Mode::Deliver
                }
            }
        }
    }

    /// Whether the other direction carries no news.
    fn hears_nothing(&self) -> bool {
        let other = match self.direction {
            Direction::ToTarget => Direction::ToCaller,
            Direction::ToCaller => Direction::ToTarget,
        };
        let rules = self.link.board.rules(other);
        let installed = rules.borrow();
        [Rule::Stall, Rule::Drop, Rule::HalfOpen]
            .into_iter()
            .any(|rule| installed.is(rule))
    }

    /// What follows from the rule and from what is held, before waiting again.
    fn verdict(&mut self, installed: &Installed, mode: Mode) -> Option<Ended> {
        match mode {
            Mode::Swallow => self.swallow(installed),
            Mode::Hold => {
                let is_answer = matches!(installed.deed, Deed::LoseResponse { .. });
                if is_answer && self.queued_bytes > 0 {
                    self.duty.held_since.get_or_insert_with(Instant::now);
                }
            }
            Mode::Deliver => {
                if self.has_hole {
                    return Some(Ended::Reset);
                }
                if let Deed::Rule(Rule::CutAfter { bytes }) = installed.deed
                    && self.duty.passed_bytes >= bytes
                    && self.duty.passed_bytes + self.queued_bytes as u64 > 0
                {
                    self.hit(installed, 0);
                    return Some(Ended::Reset);
                }
                return self.finished();
            }
        }
        None
    }

    /// The end of the source, if nothing is left to go before it.
    fn finished(&mut self) -> Option<Ended> {
        if !self.queue.is_empty() {
            return None;
        }
        match self.source_end {
            None => None,
            Some(SourceEnd::Broken) => Some(Ended::Reset),
            Some(SourceEnd::Closed) => {
                // Not awaited: a TCP socket shuts down at once.
                let shut = rustix::net::shutdown(self.to.as_ref(), rustix::net::Shutdown::Write);
                Some(match shut {
                    Ok(()) => Ended::Finished,
                    Err(_) => Ended::Reset,
                })
            }
        }
    }

    fn swallow(&mut self, installed: &Installed) {
        let bytes = self.queued_bytes;
        if bytes > 0 {
            let dead_by = self.dead_by.clone();
            self.hit(dead_by.as_deref().unwrap_or(installed), bytes);
            self.has_hole = true;
            self.queue.clear();
            self.queued_bytes = 0;
        }
    }

    /// Notes what the rule did, and to how many connections.
    fn hit(&mut self, installed: &Installed, bytes: usize) {
        installed.tally.hit_bytes(bytes);
        if !self.duty.is_counted {
            self.duty.is_counted = true;
            installed.tally.hit_connection();
        }
    }

    fn take(&mut self, read: io::Result<usize>, buffer: &[u8], installed: &Installed) {
        self.link.note_activity();
        let bytes = match read {
            Ok(0) => {
                self.source_end = Some(SourceEnd::Closed);
                return;
            }
            Err(_) => {
                self.source_end = Some(SourceEnd::Broken);
                return;
            }
            Ok(bytes) => bytes,
        };
        let now = Instant::now();
        let mut due = now;
        let mut is_late = false;
        match installed.deed {
            Deed::Rule(Rule::Delay { fixed, jitter, .. }) => {
                let jitter_us = u64::try_from(jitter.as_micros()).unwrap_or(u64::MAX);
                let more = Duration::from_micros(self.duty.dice.up_to(jitter_us));
                due = self.duty.last_due.max(now + fixed + more);
                self.duty.last_due = due;
                is_late = true;
            }
            Deed::Rule(Rule::Stall) if self.dead_by.is_none() => self.hit(installed, bytes),
            Deed::Rule(_) | Deed::LoseResponse { .. } => {}
        }
        self.queued_bytes += bytes;
        self.queue.push_back(Chunk {
            bytes: buffer[..bytes].to_vec(),
            sent: 0,
            due,
            is_late,
        });
    }

    /// How many bytes may go at once.
    fn send_max(&self, installed: &Installed) -> usize {
        match installed.deed {
            Deed::Rule(Rule::Bandwidth { bytes_per_second }) => {
                let piece = (bytes_per_second.get() / PIECES_PER_SECOND).max(1);
                usize::try_from(piece).unwrap_or(usize::MAX)
            }
            Deed::Rule(Rule::CutAfter { bytes }) => {
                let left = bytes.saturating_sub(self.duty.passed_bytes);
                usize::try_from(left).unwrap_or(usize::MAX)
            }
            Deed::Rule(
                Rule::Pass
                | Rule::Delay { .. }
                | Rule::Stall
                | Rule::Drop
                | Rule::HalfOpen
                | Rule::Reset,
            )
            | Deed::LoseResponse { .. } => usize::MAX,
        }
    }

    fn sent(&mut self, bytes: usize, installed: &Installed) {
        let Some(chunk) = self.queue.front_mut() else {
            return;
        };
        chunk.sent += bytes;
        let is_late = chunk.is_late;
        if chunk.sent == chunk.bytes.len() {
            self.queue.pop_front();
        }
        self.queued_bytes -= bytes;
        self.duty.passed_bytes += bytes as u64;
        installed.tally.pass(bytes);
        if self.direction == Direction::ToTarget {
            self.link.note_requested(bytes);
        }
        match installed.deed {
            Deed::Rule(Rule::Delay { .. }) if is_late => self.hit(installed, bytes),
            Deed::Rule(Rule::Bandwidth { bytes_per_second }) => {
                self.slow_down(bytes, bytes_per_second);
                self.hit(installed, bytes);
            }
            Deed::Rule(_) | Deed::LoseResponse { .. } => {}
        }
    }

    fn slow_down(&mut self, bytes: usize, bytes_per_second: NonZeroU64) {
        let nanoseconds = bytes as u64 * 1_000_000_000 / bytes_per_second;
        let from = self.duty.ready_at.max(Instant::now());
        self.duty.ready_at = from + Duration::from_nanos(nanoseconds);
    }

    /// When to look whether the answer that is held is complete.
    fn wake_at(&self) -> Option<Instant> {
        let since = self.duty.held_since?;
        Some((self.link.active_at() + QUIET).min(since + QUIET_WAIT_MAX))
    }

    fn is_answer_complete(&self) -> bool {
        self.wake_at().is_some_and(|at| at <= Instant::now())
    }
}

/// Sends some of the chunk when it is due; never without one. Nothing is lost if
/// it is cancelled: a write happened or did not.
async fn send(
    to: &mut WriteHalf<'_>,
    chunk: Option<&Chunk>,
    not_before: Instant,
    bytes_max: usize,
) -> io::Result<usize> {
    let Some(chunk) = chunk else {
        return pending().await;
    };
    sleep_until(chunk.due.max(not_before)).await;
    let rest = &chunk.bytes[chunk.sent..];
    to.write(&rest[..rest.len().min(bytes_max)]).await
}
