//! Everything that the worker has been granted and not yet answered for.
//!
//! ```text
//!            +-> Fetching -+                    (a segment was bad)
//!            |      ^------|-----------------------------+
//! granted ---+             v                             |
//!            +---------> Ready --> Running --> Finished -+-> gone when a
//!                                                            leader answered
//! ```
//!
//! What this module promises: an attempt is delivered to a slot once, however
//! often it is granted again; it stays listed until a leader has answered its
//! report; only an order or a new registration takes it away. It decides and
//! neither waits nor does I/O: threads and loops around it carry that out.

mod grant;
mod rate;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vivat_shared::attempt::{Outcome, Work};
use vivat_shared::ids::{AttemptId, JobId};

use crate::shuffle::Fetched;
pub(crate) use grant::{Grant, Room, SlotKind};
use rate::Rate;

/// Reduces that may gather segments, per slot, before those beyond count as
/// waiting work: enough to keep the network busy while a slot reduces.
const FETCHING_PER_SLOT: u32 = 4;

/// So many reports are not kept waiting for others.
const REPORTS_GATHERED_MAX: usize = 128;

/// After so long, code that was told to stop is not expected to.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// Slots given up, per slot, before the worker does with those that are left.
const GIVEN_UP_PER_SLOT: u32 = 16;

/// What a slot takes up.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) grant: Arc<Grant>,
    /// Of a reduce: its segments.
    pub(crate) fetched: Option<Fetched>,
    began: Instant,
}

#[derive(Debug)]
enum Phase {
    Fetching,
    Ready(Option<Fetched>),
    Running,
    Finished(Outcome),
}

#[derive(Debug)]
struct Entry {
    grant: Arc<Grant>,
    phase: Phase,
}

/// The set.
#[derive(Debug)]
pub(crate) struct Held {
    slots: u32,
    entries: HashMap<AttemptId, Entry>,
    ready: VecDeque<AttemptId>,
    control_ready: VecDeque<AttemptId>,
    unreported: VecDeque<AttemptId>,
    running: u32,
    control_running: bool,
    /// Taken from us while they ran, and when: the slot is still occupied.
    stopping: HashMap<AttemptId, Instant>,
    /// Those of them whose code did not stop: another slot stands in for theirs.
    given_up: HashSet<AttemptId>,
    rate: Rate,
    closed: bool,
}

impl Held {
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            slots,
            entries: HashMap::new(),
            ready: VecDeque::new(),
            control_ready: VecDeque::new(),
            unreported: VecDeque::new(),
            running: 0,
            control_running: false,
            stopping: HashMap::new(),
            given_up: HashSet::new(),
            rate: Rate::default(),
            closed: false,
        }
    }

    /// All that is held, as pulls and heartbeats list it.
    pub(crate) fn ids(&self) -> Vec<AttemptId> {
        self.entries.keys().copied().collect()
    }

    /// Bytes and records done by what runs.
    pub(crate) fn progress(&self) -> Vec<(AttemptId, u64, u64)> {
        self.entries
            .iter()
            .filter(|(_, entry)| matches!(entry.phase, Phase::Running))
            .map(|(&attempt, entry)| {
                let progress = &entry.grant.progress;
                (attempt, progress.bytes(), progress.records())
            })
            .collect()
    }

    /// Takes granted attempts in; those that are held already are ignored.
    /// Answers the reduces whose segments must be fetched.
    pub(crate) fn take_in(&mut self, grants: Vec<Arc<Grant>>) -> Vec<Arc<Grant>> {
        let mut to_fetch = Vec::new();
        for grant in grants {
            let attempt = grant.attempt;
            if self.entries.contains_key(&attempt) || self.stopping.contains_key(&attempt) {
                continue;
            }
            let phase = match grant.work {
                Work::Reduce { .. } => {
                    to_fetch.push(grant.clone());
                    Phase::Fetching
                }
                Work::Plan { .. }
                | Work::Map { .. }
                | Work::Close { .. }
                | Work::Commit { .. }
                | Work::Notify { .. } => {
                    self.queue(attempt);
                    Phase::Ready(None)
                }
            };
            self.entries.insert(attempt, Entry { grant, phase });
        }
        to_fetch
    }

    /// A reduce has all its segments. Ignored when it was taken away meanwhile.
    pub(crate) fn fetched(&mut self, attempt: AttemptId, fetched: Fetched) {
        if let Some(entry) = self.entries.get_mut(&attempt)
            && matches!(entry.phase, Phase::Fetching)
        {
            entry.phase = Phase::Ready(Some(fetched));
            self.queue(attempt);
        }
    }

    /// The next attempt for a free slot of that kind, which it now occupies.
    pub(crate) fn next(&mut self, kind: SlotKind) -> Option<Taken> {
        let queue = match kind {
            SlotKind::Control => &mut self.control_ready,
            SlotKind::Task => &mut self.ready,
        };
        while let Some(attempt) = queue.pop_front() {
            // Attempts that were taken away leave their place in the queue.
            let Some(entry) = self.entries.get_mut(&attempt) else {
                continue;
            };
            if let Phase::Ready(fetched) = &mut entry.phase {
                let fetched = fetched.take();
                entry.phase = Phase::Running;
                match kind {
                    SlotKind::Control => self.control_running = true,
                    SlotKind::Task => self.running += 1,
                }
                return Some(Taken {
                    grant: entry.grant.clone(),
                    fetched,
                    began: Instant::now(),
                });
            }
        }
        None
    }

    /// A slot is done with an attempt. False when it was taken away meanwhile:
    /// then nobody wants the outcome, and what it wrote may go.
    pub(crate) fn finish(&mut self, taken: &Taken, outcome: Outcome) -> bool {
        let attempt = taken.grant.attempt;
        self.free_slot(taken);
        let Some(entry) = self.entries.get_mut(&attempt) else {
            return false;
        };
        if outcome.is_result() && SlotKind::of(attempt) == SlotKind::Task {
            self.rate.add(taken.began.elapsed());
        }
        entry.phase = Phase::Finished(outcome);
        self.unreported.push_back(attempt);
        true
    }

    /// A slot gives a reduce back because a segment was bad. False when it was
    /// taken away meanwhile.
    pub(crate) fn fetch_again(&mut self, taken: &Taken) -> bool {
        self.free_slot(taken);
        match self.entries.get_mut(&taken.grant.attempt) {
            Some(entry) => {
                entry.phase = Phase::Fetching;
                true
            }
            None => false,
        }
    }

    /// A reduce that could not gather its segments for a reason of ours.
    pub(crate) fn fail_fetching(&mut self, attempt: AttemptId, outcome: Outcome) {
        if let Some(entry) = self.entries.get_mut(&attempt)
            && matches!(entry.phase, Phase::Fetching)
        {
            entry.phase = Phase::Finished(outcome);
            self.unreported.push_back(attempt);
        }
    }

    /// The leader says that these are not granted to us: they are stopped and
    /// forgotten. One that has finished stays: its report is on the way, and
    /// the leader may have accepted it before it looked.
    pub(crate) fn kill(&mut self, attempts: &[AttemptId]) {
        for attempt in attempts {
            let finished = |entry: &Entry| matches!(entry.phase, Phase::Finished(_));
            if self
                .entries
                .get(attempt)
                .is_some_and(|entry| !finished(entry))
            {
                self.drop_entry(*attempt);
            }
        }
    }

    /// The leader wants these back; those that have not started are reported
    /// as handed back, the others go on.
    pub(crate) fn hand_back(&mut self, attempts: &[AttemptId]) {
        for &attempt in attempts {
            let Some(entry) = self.entries.get_mut(&attempt) else {
                continue;
            };
            match entry.phase {
                Phase::Fetching | Phase::Ready(_) => {
                    entry.grant.stop();
                    entry.phase = Phase::Finished(Outcome::HandedBack);
                    self.unreported.push_back(attempt);
                }
                Phase::Running | Phase::Finished(_) => {}
            }
        }
    }

    /// The registration is over: nothing that was granted under it counts any
    /// more. Files of finished maps stay; they are offered again.
    pub(crate) fn abandon(&mut self) {
        for attempt in self.ids() {
            self.drop_entry(attempt);
        }
        self.unreported.clear();
        self.ready.clear();
        self.control_ready.clear();
    }

    /// The oldest reports that no leader has answered.
    pub(crate) fn reports(&self, count_max: usize) -> Vec<(AttemptId, Outcome)> {
        self.unreported
            .iter()
            .take(count_max)
            .filter_map(|attempt| match &self.entries.get(attempt)?.phase {
                Phase::Finished(outcome) => Some((*attempt, outcome.clone())),
                Phase::Fetching | Phase::Ready(_) | Phase::Running => None,
            })
            .collect()
    }

    /// Whether there may be something for a free slot of that kind.
    pub(crate) fn has_ready(&self, kind: SlotKind) -> bool {
        match kind {
            SlotKind::Control => !self.control_ready.is_empty(),
            SlotKind::Task => !self.ready.is_empty(),
        }
    }

    /// Whether reports may wait a moment for more of them: attempts are short,
    /// the slots have more to do, and no job's step waits for what is there.
    pub(crate) fn gathers(&self) -> bool {
        let is_task = |attempt: &AttemptId| SlotKind::of(*attempt) == SlotKind::Task;
        self.rate.is_short()
            && !self.ready.is_empty()
            && self.unreported.len() < REPORTS_GATHERED_MAX
            && self.unreported.iter().all(is_task)
    }

    /// A leader has answered these reports: they are held no longer.
    pub(crate) fn reported(&mut self, attempts: &HashSet<AttemptId>) -> Vec<Arc<Grant>> {
        self.unreported
            .retain(|attempt| !attempts.contains(attempt));
        attempts
            .iter()
            .filter_map(|attempt| self.entries.remove(attempt))
            .map(|entry| entry.grant)
            .collect()
    }

    /// Jobs that anything here still works for: their files must stay.
    pub(crate) fn busy_jobs(&self) -> HashSet<JobId> {
        let held = self.entries.keys().chain(self.stopping.keys());
        held.map(AttemptId::job).collect()
    }

    /// What there is room for beyond what is held.
    pub(crate) fn room(&self) -> Room {
        if self.closed {
            return Room {
                want: 0,
                control_free: false,
            };
        }
        let count = |phase: fn(&Phase) -> bool| {
            let tasks = self.entries.iter().filter(|(attempt, entry)| {
                SlotKind::of(**attempt) == SlotKind::Task && phase(&entry.phase)
            });
            u32::try_from(tasks.count()).unwrap_or(u32::MAX)
        };
        let waiting = count(|phase| matches!(phase, Phase::Ready(_)));
        let fetching = count(|phase| matches!(phase, Phase::Fetching));
        let excess = fetching.saturating_sub(self.slots.saturating_mul(FETCHING_PER_SLOT));
        let prefetch = self.rate.prefetch_per_slot().saturating_mul(self.slots);
        let idle = self.slots.saturating_sub(self.running);
        // An idle slot asks for work however many reduces are fetching: what
        // they wait for may be the very map that it could run.
        let taken = waiting.saturating_add(excess);
        // Of short ones half is left before more is asked for, all at once.
        let ahead = if self.rate.is_short() && taken > prefetch / 2 {
            0
        } else {
            prefetch.saturating_sub(taken)
        };
        let want = ahead.max(idle.saturating_sub(waiting));
        let control_waits = self.entries.iter().any(|(attempt, entry)| {
            SlotKind::of(*attempt) == SlotKind::Control && matches!(entry.phase, Phase::Ready(_))
        });
        Room {
            want,
            control_free: !self.control_running && !control_waits,
        }
    }

    /// Ends intake and hands back whatever has not started.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.hand_back(&self.ids());
    }

    /// Asks everything that works on anything to stop; what it comes to is
    /// still reported, if there is time.
    pub(crate) fn stop_all(&mut self) {
        self.closed = true;
        for entry in self.entries.values() {
            entry.grant.stop();
        }
    }

    /// Whether nothing runs and everything was answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.stopping.is_empty()
    }

    fn queue(&mut self, attempt: AttemptId) {
        match SlotKind::of(attempt) {
            SlotKind::Control => self.control_ready.push_back(attempt),
            SlotKind::Task => self.ready.push_back(attempt),
        }
    }

    /// Gives up slots whose code goes on although it was told to stop; answers
    /// the kinds of those that must be replaced. There is an end to that, so
    /// that programs which never end cannot fill the process with threads.
    pub(crate) fn give_up_stuck(&mut self, now: Instant) -> Vec<SlotKind> {
        let most = self.slots.saturating_mul(GIVEN_UP_PER_SLOT) as usize;
        let stuck: Vec<AttemptId> = self
            .stopping
            .iter()
            .filter(|&(_, &since)| now.saturating_duration_since(since) >= STUCK_AFTER)
            .map(|(&attempt, _)| attempt)
            .take(most.saturating_sub(self.given_up.len()))
            .collect();
        for &attempt in &stuck {
            self.vacate(attempt);
            self.given_up.insert(attempt);
        }
        stuck.into_iter().map(SlotKind::of).collect()
    }

    /// Whether another slot stands in for the one that ran this.
    pub(crate) fn is_replaced(&mut self, attempt: AttemptId) -> bool {
        self.given_up.remove(&attempt)
    }

    fn free_slot(&mut self, taken: &Taken) {
        let attempt = taken.grant.attempt;
        if !self.given_up.contains(&attempt) {
            self.vacate(attempt);
        }
    }

    fn vacate(&mut self, attempt: AttemptId) {
        self.stopping.remove(&attempt);
        match SlotKind::of(attempt) {
            SlotKind::Control => self.control_running = false,
            SlotKind::Task => self.running = self.running.saturating_sub(1),
        }
    }

    fn drop_entry(&mut self, attempt: AttemptId) {
        if let Some(entry) = self.entries.remove(&attempt) {
            entry.grant.stop();
            if matches!(entry.phase, Phase::Running) {
                self.stopping.insert(attempt, Instant::now());
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn measure(&mut self, took: Duration) {
        self.rate.add(took);
    }
}

#[cfg(test)]
mod tests;
