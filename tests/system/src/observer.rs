//! Looks at all masters while a run goes on, and at everything at its end.

use std::collections::{BTreeMap, BTreeSet};

use vivat_core::{LivenessView, view};
use vivat_master::raft::Handle;
use vivat_shared::ids::JobId;
use vivat_shared::view::{JobState, JobView, WorkerState};
use vivat_testkit::linearize::{self, JobQueue};

use crate::evidence::Fact;
use crate::jobs;
use crate::town::Town;

/// What was seen so far.
pub struct Observer {
    town: Town,
    /// Chained hash by index, of whoever was there first.
    hashes: BTreeMap<u64, u64>,
    /// Who led a term.
    leaders: BTreeMap<u64, u32>,
    /// The last entry that was looked at, by seat.
    looked: BTreeMap<u32, u64>,
    last_leader: Option<(u64, u32)>,
    snapshots: BTreeMap<u32, (u64, u64)>,
    purged: BTreeSet<(u32, u64)>,
}

impl Observer {
    /// Nothing seen yet.
    pub fn new(town: Town) -> Self {
        Self {
            town,
            hashes: BTreeMap::new(),
            leaders: BTreeMap::new(),
            looked: BTreeMap::new(),
            last_leader: None,
            snapshots: BTreeMap::new(),
            purged: BTreeSet::new(),
        }
    }

    /// Looks at every master that runs.
    pub fn look(&mut self) {
        let masters = self.town.masters();
        for (seat, raft) in &masters {
            self.look_at_leadership(*seat, raft);
            self.look_at_hashes(*seat, raft);
            self.look_at_log(*seat, raft);
            self.look_at_state(*seat, raft);
        }
    }

    /// S10 rests on it: a term has one leader.
    fn look_at_leadership(&mut self, seat: u32, raft: &Handle) {
        let now = *raft.leadership().borrow();
        if !now.is_leader {
            return;
        }
        let first = *self.leaders.entry(now.term).or_insert(seat);
        if first != seat {
            let detail = format_args!("term {} is led by m{first} and by m{seat}", now.term);
            self.town.violate("S10", detail);
        }
        let newer = self.last_leader.is_none_or(|(term, _)| term < now.term);
        if newer {
            if let Some((_, before)) = self.last_leader {
                self.town.note(Fact::LeaderChanged);
                if before != seat && self.town.masters().iter().any(|(it, _)| *it == before) {
                    self.town.note(Fact::LeaderDeposedAlive);
                }
            }
            self.last_leader = Some((now.term, seat));
            self.town
                .tell(format_args!("m{seat} leads term {}", now.term));
        }
    }

    /// S8: the same log gives the same state.
    fn look_at_hashes(&mut self, seat: u32, raft: &Handle) {
        let point = raft.read(vivat_core::State::hash_point);
        let index = point.index;
        if index == 0 {
            return;
        }
        let first = *self.hashes.entry(index).or_insert(point.hash);
        if first != point.hash {
            let detail = format_args!("m{seat} differs from others at entry {index}");
            self.town.violate("S8", detail);
        }
    }

    fn look_at_log(&mut self, seat: u32, raft: &Handle) {
        let status = raft.status();
        let (snapshot, last) = self.snapshots.get(&seat).copied().unwrap_or_default();
        // Only a snapshot that came from a peer takes all of the log's place.
        if status.snapshot_index > snapshot && status.purged_index > last && last > 0 {
            self.town.note(Fact::SnapshotInstalled);
        }
        let seen = (status.snapshot_index, status.last_log_index);
        self.snapshots.insert(seat, seen);
        if status.purged_index > 0 && self.purged.insert((seat, status.purged_index)) {
            self.town.note(Fact::LogPurged);
        }
    }

    /// The core's own invariants, on every state that is met.
    fn look_at_state(&mut self, seat: u32, raft: &Handle) {
        let (index, wrong) = raft.read(|state| {
            let index = state.applied_index();
            let news = self.looked.insert(seat, index) != Some(index);
            let wrong = if news {
                vivat_core::invariants::check(state)
            } else {
                Vec::new()
            };
            (index, wrong)
        });
        for violation in wrong {
            let detail = format!("m{seat} at entry {index}: {}", violation.detail);
            self.town.violate(violation.id, detail);
        }
    }

    /// Whether all masters run and stand at one entry with one state.
    pub fn masters_agree(&self) -> bool {
        let masters = self.town.masters();
        let mut states: Vec<(u64, u64)> = masters
            .iter()
            .map(|(_, raft)| raft.read(|state| (state.applied_index(), state.chained_hash())))
            .collect();
        let logs: BTreeSet<u64> = masters
            .iter()
            .map(|(_, raft)| raft.status().last_log_index)
            .collect();
        states.dedup();
        masters.len() == crate::hosts::MASTERS as usize && states.len() == 1 && logs.len() == 1
    }

    /// What is told of masters that do not agree.
    pub fn describe_masters(&self) -> String {
        let masters = self.town.masters();
        let one = |(seat, raft): &(u32, Handle)| format!("m{seat}: {:?}", raft.status());
        masters.iter().map(one).collect::<Vec<_>>().join("\n")
    }

    /// Judges the whole run.
    pub fn judge(&self, expected: &BTreeMap<String, u64>) {
        self.judge_jobs(expected);
        let history = self.town.history();
        if let Err(error) = linearize::check(&JobQueue, &history, linearize::STEPS_MAX) {
            self.town.violate("S10", format_args!("{error}"));
        }
    }

    fn judge_jobs(&self, expected: &BTreeMap<String, u64>) {
        let masters = self.town.masters();
        let Some((_, raft)) = masters.first() else {
            return;
        };
        for (id, submitted) in self.town.jobs() {
            let seen = raft.read(|state| view::job(state, JobId(id), &LivenessView::default()));
            let Some(seen) = seen else {
                let detail = format_args!("job {id} was acknowledged, and is not there");
                self.town.violate("S1", detail);
                continue;
            };
            self.judge_output(id, &submitted.key, &seen, expected);
            let lost = seen.attempts.lost + seen.attempts.reruns_of_completed;
            if lost > 0 {
                self.town.note(Fact::TaskRanAgain);
            }
        }
        let workers = raft.read(view::workers);
        let lost = |state: WorkerState| matches!(state, WorkerState::Lost);
        if workers.iter().any(|it| lost(it.state) || it.epoch.0 > 1) {
            self.town.note(Fact::WorkerExpired);
        }
    }

    /// S2: what users see is right, whole, and there only where it should be.
    fn judge_output(&self, id: u64, key: &str, seen: &JobView, expected: &BTreeMap<String, u64>) {
        let output = jobs::read_output(key);
        let word = match (seen.state, output) {
            (JobState::Succeeded, Ok(Some(counts))) if counts == *expected => {
                self.town.note(Fact::JobSucceeded);
                return;
            }
            (JobState::Failed, Ok(None)) => {
                self.town
                    .tell(format_args!("{key} failed: {:?}", seen.failure));
                return;
            }
            (JobState::Cancelled, Ok(None)) => return,
            (state @ (JobState::Queued | JobState::Running), _) => {
                let detail = format_args!("job {id} ({key}) is {} at the end", state.word());
                self.town.violate("L1", detail);
                return;
            }
            (state, output) => format!("{} with output {output:?}", state.word()),
        };
        self.town.violate("S2", format_args!("{key} is {word}"));
    }
}
