//! What a process does with attempts: takes them in, runs them in slots, comes
//! to outcomes.

use std::collections::{BTreeMap, BTreeSet};

use vivat_shared::attempt::{AttemptFailure, Outcome, Work};
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{AttemptId, JobId};
use vivat_shared::plan::checksum;

use super::{Held, Pending, Phase};
use crate::event::{Delivery, MachineAt, Request, WorkerTimer};
use crate::evidence::Fact;
use crate::jobs::{self, Nature};
use crate::world::World;

impl World {
    pub(super) fn take_in(&mut self, at: MachineAt, delivery: Delivery) {
        let mut to_fetch = Vec::new();
        for assignment in delivery.assignments {
            let attempt = assignment.attempt;
            let Some(spec) = delivery.specs.get(&attempt.job()).cloned() else {
                continue;
            };
            let Some(process) = self.process_mut(at) else {
                return;
            };
            if process.held.contains_key(&attempt) {
                continue;
            }
            let phase = if let Work::Reduce { .. } = assignment.work {
                to_fetch.push(attempt);
                Phase::Fetching
            } else if attempt.task.kind.is_control() {
                process.control_ready.push_back(attempt);
                Phase::Ready
            } else {
                process.ready.push_back(attempt);
                Phase::Ready
            };
            let held = Held {
                assignment,
                spec,
                phase,
                gathered: BTreeSet::new(),
                failed_fetches: BTreeMap::new(),
            };
            process.held.insert(attempt, held);
        }
        for attempt in to_fetch {
            self.look_for_segments(at, attempt);
        }
        self.fill_slots(at);
    }

    /// Puts waiting attempts into free slots.
    pub(super) fn fill_slots(&mut self, at: MachineAt) {
        while let Some(attempt) = self.next_ready(at) {
            let machine = &mut self.machines[at];
            machine.marks.insert(attempt);
            let Some(process) = machine.process.as_mut() else {
                return;
            };
            process.runs += 1;
            let run = process.runs;
            if let Some(held) = process.held.get_mut(&attempt) {
                held.phase = Phase::Running { run };
            }
            let mut takes_ms = self.ground.dice.within(20..=1_200);
            if self.faulty && self.ground.dice.chance(40) {
                self.ground.note(Fact::FinishedLate);
                takes_ms *= if self.ground.dice.chance(250) { 30 } else { 8 };
            }
            self.worker_timer(takes_ms, at, WorkerTimer::AttemptDone { attempt, run });
        }
    }

    fn next_ready(&mut self, at: MachineAt) -> Option<AttemptId> {
        let slots = self.machines[at].slots as usize;
        let process = self.process_mut(at)?;
        let is_running = |phase: &Phase| matches!(phase, Phase::Running { .. });
        let control_busy = process
            .held
            .iter()
            .any(|(attempt, held)| attempt.task.kind.is_control() && is_running(&held.phase));
        let free = process.count(is_running) < slots;
        // Attempts that were taken away leave their place in the queue.
        while !control_busy && let Some(attempt) = process.control_ready.pop_front() {
            let phase = process.held.get(&attempt).map(|held| &held.phase);
            if let Some(Phase::Ready) = phase {
                return Some(attempt);
            }
        }
        while free && let Some(attempt) = process.ready.pop_front() {
            let phase = process.held.get(&attempt).map(|held| &held.phase);
            if let Some(Phase::Ready) = phase {
                return Some(attempt);
            }
        }
        None
    }

    pub(super) fn attempt_done(&mut self, at: MachineAt, attempt: AttemptId, run: u64) {
        let machine = &mut self.machines[at];
        let sick = machine.sick;
        let Some(held) = machine
            .process
            .as_mut()
            .and_then(|process| process.held.get_mut(&attempt))
        else {
            return;
        };
        if !matches!(held.phase, Phase::Running { run: current } if current == run) {
            return;
        }
        let spec = held.spec.clone();
        let work = held.assignment.work.clone();
        let (nature, reducers) = (Nature::of(&spec), jobs::reducers(&spec));
        self.oracle.check_reads(attempt, &spec, &work);
        if nature.kills(attempt.task) {
            self.ground.note(Fact::TaskPoisoned);
            let return_ms = self.ground.dice.within(200..=1_500);
            self.kill_machine(at, return_ms);
            return;
        }
        self.machines[at].marks.remove(&attempt);
        if let Some(cause) = nature.failure(attempt, sick) {
            self.ground.note(Fact::AttemptFailed);
            self.finish(at, attempt, failed(cause));
            return;
        }
        match work {
            Work::Plan { .. } => {
                if let Some(held) = self.held_mut(at, attempt) {
                    held.phase = Phase::Sending { chunk: 0 };
                }
                self.send_chunk(at, attempt);
            }
            Work::Map { .. } => {
                let segments = jobs::segments(attempt.task.index, reducers);
                self.machines[at].disk.insert(attempt, segments.clone());
                let counters = jobs::map_counters(attempt.task.index);
                let outcome = Outcome::Mapped {
                    log: None,
                    segments,
                    counters,
                    skipped: Vec::new(),
                };
                self.finish(at, attempt, outcome);
            }
            Work::Reduce { output, .. } => {
                let outcome = self.reduced(at, attempt, output);
                self.finish(at, attempt, outcome);
            }
            Work::Close { output, .. } => {
                let outcome = self.closed(at, attempt, &spec, output);
                self.finish(at, attempt, outcome);
            }
            Work::Commit { parts, .. } => {
                self.oracle.published(attempt.job(), &parts);
                self.finish(at, attempt, Outcome::Committed);
            }
            Work::Notify { event, .. } => {
                self.oracle.told(&mut self.ground, &event);
                self.finish(at, attempt, Outcome::Notified);
            }
        }
    }

    fn held_mut(&mut self, at: MachineAt, attempt: AttemptId) -> Option<&mut Held> {
        self.process_mut(at)?.held.get_mut(&attempt)
    }

    fn finish(&mut self, at: MachineAt, attempt: AttemptId, outcome: Outcome) {
        if let Some(held) = self.held_mut(at, attempt) {
            held.phase = Phase::Finished(outcome);
        }
        self.fill_slots(at);
        self.pull_work(at);
        self.report(at);
    }

    pub(super) fn send_chunk(&mut self, at: MachineAt, attempt: AttemptId) {
        let Some(process) = self.machines[at].process.as_ref() else {
            return;
        };
        let (Some(worker), Some(held)) = (process.epoch, process.held.get(&attempt)) else {
            return;
        };
        let Phase::Sending { chunk } = held.phase else {
            return;
        };
        let dataset = match &held.assignment.work {
            Work::Plan { datasets, previous } => previous.or(datasets.first().copied()),
            Work::Map { .. }
            | Work::Reduce { .. }
            | Work::Close { .. }
            | Work::Commit { .. }
            | Work::Notify { .. } => None,
        };
        let chunks = jobs::plan(&held.spec, dataset);
        let Some(content) = chunks.get(chunk as usize).cloned() else {
            let mut crc32c = 0;
            for content in &chunks {
                checksum(&mut crc32c, content);
            }
            let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
            let planned = Outcome::Planned {
                chunks: count(chunks.len()),
                files: count(chunks.iter().map(|chunk| chunk.files.len()).sum()),
                splits: count(chunks.iter().map(|chunk| chunk.splits.len()).sum()),
                crc32c,
                replaces: None,
            };
            self.finish(at, attempt, planned);
            return;
        };
        let body = Request::AppendPlan {
            worker,
            attempt,
            chunk,
            content,
        };
        self.call(at, Pending::Chunk(attempt), body);
    }

    pub(super) fn chunk_taken(&mut self, at: MachineAt, attempt: AttemptId) {
        if let Some(held) = self.held_mut(at, attempt)
            && let Phase::Sending { chunk } = &mut held.phase
        {
            *chunk += 1;
            self.send_chunk(at, attempt);
        }
    }

    /// Stops attempts; those that have finished wait for their verdict.
    pub(super) fn kill_attempts(&mut self, at: MachineAt, attempts: &[AttemptId]) {
        let machine = &mut self.machines[at];
        let Some(process) = machine.process.as_mut() else {
            return;
        };
        let mut stopped = 0;
        for attempt in attempts {
            let Some(held) = process.held.get(attempt) else {
                continue;
            };
            if !matches!(held.phase, Phase::Finished(_)) {
                process.held.remove(attempt);
                machine.marks.remove(attempt);
                stopped += 1;
            }
        }
        if stopped > 0 {
            self.ground.note(Fact::AttemptKilledByOrder);
            self.fill_slots(at);
            self.pull_work(at);
        }
    }

    /// Hands back what has not begun.
    pub(super) fn hand_back(&mut self, at: MachineAt, attempts: &[AttemptId]) {
        for attempt in attempts {
            let Some(held) = self.held_mut(at, *attempt) else {
                continue;
            };
            if let Phase::Fetching | Phase::Ready = held.phase {
                held.phase = Phase::Finished(Outcome::HandedBack);
            }
        }
        self.report(at);
    }

    /// Deletes files of jobs that the leader calls ended.
    pub(super) fn delete_jobs(&mut self, at: MachineAt, ended: &[JobId]) {
        for job in ended {
            self.oracle.files_deleted(*job);
            self.machines[at]
                .disk
                .retain(|attempt, _| attempt.job() != *job);
        }
    }
}

fn failed(cause: FailureCause) -> Outcome {
    Outcome::Failed(AttemptFailure {
        log: None,
        cause,
        input: None,
        output_tail: String::new(),
    })
}
