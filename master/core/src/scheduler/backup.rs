//! Second attempts of stragglers.
//!
//! A round is as long as its slowest task. The rule is that of LATE (Zaharia and
//! others, "Improving MapReduce Performance in Heterogeneous Environments", OSDI
//! 2008), which Hadoop's default speculator follows as well: not the task that is
//! least advanced is worth a second attempt, but the one that would end last, by its
//! own rate of progress. In our terms:
//!
//! - *When*: no task of the kind is idle, half of them are done, and for reduces all
//!   maps are. Before that a free slot has better things to do.
//! - *Which*: a task with one attempt, older than [`BACKUP_AGE_MIN_MS`], that still
//!   needs more than [`BACKUP_MEDIANS`] times what half of the round's accepted
//!   attempts took at most; more for a split that is larger than others. A map needs
//!   the bytes that are left at the rate since it was first seen to run, and at least
//!   as long as it has not moved for. What is left of a reduce is not known: it needs
//!   as long as it has been granted. So does whatever has not started.
//! - *In which order*: who would end last first.
//! - *How many*: [`BACKUP_SLOTS_PERCENT`] of the slots at once, at least one.
//! - *Where*: on a slot that is free now, of a worker that did not fail the task and
//!   is not slow itself: it runs no straggler, and its score is not below half of the
//!   median. Slow ones are taken when there are no others, busy ones included.
//!
//! LATE launches only what is slower than a quarter of the tasks of its kind; the
//! factor on the median is our form of that, because it is also the gain: a backup
//! needs about the median itself. A new leader counts no time before its own term
//! against anybody, so it waits as long as an attempt on that day would.

use std::collections::{BTreeMap, BTreeSet};

use vivat_shared::ids::{AttemptId, JobId, RoundId, TaskId, TaskKind, WorkerId};

use super::LivenessView;
use crate::command::Grant;
use crate::limits::{BACKUP_AGE_MIN_MS, BACKUP_MEDIANS, BACKUP_SLOTS_PERCENT};
use crate::state::{Active, Job, Running, State, TaskTable, Worker};

/// An attempt that would end last.
struct Straggler<'a> {
    job: &'a Job,
    task: TaskId,
    holder: WorkerId,
    left_ms: u64,
    avoided: Vec<WorkerId>,
}

/// A worker that could run a backup.
struct Candidate<'a> {
    worker: &'a Worker,
    /// Slots that nothing is granted for, as far as a pull waits.
    free: u32,
    slow: bool,
}

/// Chooses backups for free slots: called when there is nothing else to grant.
/// Costs as much as there are granted attempts.
#[must_use]
pub fn backups(state: &State, liveness: &LivenessView, age_ms: u64) -> Vec<Grant> {
    let age_ms = age_ms.max(state.age_ms);
    let live: Vec<&Worker> = state
        .workers()
        .filter(|worker| worker.accepts_work() && liveness.of(worker).is_some())
        .collect();
    let slots: u64 = live.iter().map(|worker| u64::from(worker.info.slots)).sum();
    let most = (slots * BACKUP_SLOTS_PERCENT / 100).max(1);
    let (mut stragglers, running) = look_around(state, liveness, age_ms);
    let mut room = most.saturating_sub(running);
    if room == 0 || stragglers.is_empty() {
        return Vec::new();
    }
    stragglers.sort_by_key(|straggler| (std::cmp::Reverse(straggler.left_ms), straggler.task));
    let mut candidates = candidates(state, &live, liveness, &stragglers);
    let mut grants = Vec::new();
    for straggler in &stragglers {
        if room == 0 {
            break;
        }
        if let Some(chosen) = choose(&mut candidates, straggler) {
            room -= 1;
            grants.push(Grant {
                task: straggler.task,
                worker: chosen,
                backup: true,
            });
        }
    }
    grants
}

/// All stragglers, and how many backups run already.
fn look_around<'a>(
    state: &'a State,
    liveness: &LivenessView,
    age_ms: u64,
) -> (Vec<Straggler<'a>>, u64) {
    let mut stragglers = Vec::new();
    let mut running = 0;
    for id in jobs_at_work(state) {
        let Some(job) = state.job(id).filter(|job| job.spec.speculation) else {
            continue;
        };
        let Some(active) = job.active() else {
            continue;
        };
        for kind in [TaskKind::Map, TaskKind::Reduce] {
            let watch = Watch {
                job,
                active,
                kind,
                liveness,
                age_ms,
            };
            running += watch.count_backups();
            watch.find(&mut stragglers);
        }
    }
    (stragglers, running)
}

/// Jobs of which something is granted.
fn jobs_at_work(state: &State) -> BTreeSet<JobId> {
    let mut jobs = BTreeSet::new();
    for worker in state.workers() {
        let mut next = worker.running.first().copied();
        while let Some(attempt) = next {
            jobs.insert(attempt.job());
            let beyond = first_of(JobId(attempt.job().0 + 1));
            next = worker.running.range(beyond..).next().copied();
        }
    }
    jobs
}

fn first_of(job: JobId) -> AttemptId {
    let round = RoundId {
        job,
        step: 0,
        round: 0,
    };
    AttemptId {
        task: TaskId {
            round,
            kind: TaskKind::Plan,
            index: 0,
        },
        number: 0,
    }
}

/// A look at the tasks of one kind of a job.
struct Watch<'a, 'v> {
    job: &'a Job,
    active: &'a Active,
    kind: TaskKind,
    liveness: &'v LivenessView,
    age_ms: u64,
}

impl<'a> Watch<'a, '_> {
    fn task(&self, index: u32) -> TaskId {
        TaskId {
            round: self.active.round().id,
            kind: self.kind,
            index,
        }
    }

    fn table(&self) -> Option<&'a TaskTable> {
        self.active.table(self.task(0))
    }

    fn count_backups(&self) -> u64 {
        let mut tasks = BTreeMap::new();
        for (index, _) in self.table().into_iter().flat_map(TaskTable::running) {
            *tasks.entry(index).or_insert(0_u32) += 1;
        }
        tasks.values().filter(|attempts| **attempts > 1).count() as u64
    }

    fn find(&self, stragglers: &mut Vec<Straggler<'a>>) {
        let Some(table) = self.table().filter(|table| self.is_ending(table)) else {
            return;
        };
        let Some(median_ms) = table.median_ms() else {
            return;
        };
        for (index, running) in table.running() {
            let usual_ms = self.scaled(index, median_ms);
            let Some(left_ms) = self.left_ms(table, index, running) else {
                continue;
            };
            if left_ms > usual_ms.saturating_mul(BACKUP_MEDIANS) && table.live(index).len() == 1 {
                stragglers.push(Straggler {
                    job: self.job,
                    task: self.task(index),
                    holder: running.worker.worker,
                    left_ms,
                    avoided: table.avoided(index).collect(),
                });
            }
        }
    }

    /// Whether the end of the tasks of the kind is near.
    fn is_ending(&self, table: &TaskTable) -> bool {
        let counts = table.counts();
        counts.idle == 0
            && counts.running > 0
            && counts.completed >= counts.running
            && self.active.wants(self.kind)
            && (self.kind != TaskKind::Reduce || self.active.round().maps.all_completed())
    }

    /// What a task would usually take: more, if its split is larger than others.
    fn scaled(&self, index: u32, median_ms: u64) -> u64 {
        let round = self.active.round();
        let plan = round.plan.as_ref().filter(|_| self.kind == TaskKind::Map);
        let Some(plan) = plan else {
            return median_ms;
        };
        let bytes = plan.splits.get(index as usize).map_or(0, |it| it.bytes);
        let mean = (plan.input_bytes / (plan.splits.len() as u64).max(1)).max(1);
        median_ms.saturating_mul(bytes.max(mean)) / mean
    }

    /// How long an attempt still needs; none when it is too young to tell.
    fn left_ms(&self, table: &TaskTable, index: u32, running: Running) -> Option<u64> {
        let granted_ms = table.granted_at_ms(index, running.number)?;
        let granted_age_ms = self.job.submitted_age_ms + u64::from(granted_ms);
        let watched_from_ms = granted_age_ms.max(self.liveness.since_age_ms);
        let age_ms = self.age_ms.saturating_sub(watched_from_ms);
        if age_ms < BACKUP_AGE_MIN_MS {
            return None;
        }
        let attempt = AttemptId {
            task: self.task(index),
            number: running.number,
        };
        let seen = self.liveness.attempts.get(&attempt);
        let Some(seen) = seen.filter(|_| self.kind == TaskKind::Map) else {
            return Some(age_ms);
        };
        let still_ms = self.age_ms.saturating_sub(seen.moved_age_ms);
        let ran_ms = self.age_ms.saturating_sub(seen.since_age_ms);
        let range = self.active.round().input_range(index)?;
        let bytes_left = range.bytes.saturating_sub(seen.bytes);
        let by_rate_ms = match seen.bytes.saturating_sub(seen.bytes_at_first) {
            0 => 0,
            done => bytes_left.saturating_mul(ran_ms) / done,
        };
        Some(by_rate_ms.max(still_ms))
    }
}

fn candidates<'a>(
    state: &State,
    live: &[&'a Worker],
    liveness: &LivenessView,
    stragglers: &[Straggler<'_>],
) -> Vec<Candidate<'a>> {
    let mut scores: Vec<u64> = live.iter().map(|worker| worker.pace.score()).collect();
    scores.retain(|score| *score > 0);
    scores.sort_unstable();
    let median = scores.get(scores.len() / 2).copied().unwrap_or(0);
    let is_slow = |worker: &Worker| {
        let score = worker.pace.score();
        (score > 0 && score < median / 2)
            || stragglers.iter().any(|found| found.holder == worker.id)
    };
    live.iter()
        .filter_map(|worker| {
            let want = liveness.of(worker)?.want;
            let idle = worker.info.slots.saturating_sub(slots_taken(state, worker));
            Some(Candidate {
                worker,
                free: want.min(idle),
                slow: is_slow(worker),
            })
        })
        .collect()
}

/// Slots of a worker that something is granted for: reduces that wait for maps hold
/// none, nor do control tasks.
fn slots_taken(state: &State, worker: &Worker) -> u32 {
    let waits_for_maps = |attempt: &AttemptId| {
        let active = state.job(attempt.job()).and_then(Job::active);
        active.is_some_and(|active| !active.round().maps.all_completed())
    };
    let taken = worker
        .running
        .iter()
        .filter(|attempt| match attempt.task.kind {
            TaskKind::Map => true,
            TaskKind::Reduce => !waits_for_maps(attempt),
            TaskKind::Plan | TaskKind::Close | TaskKind::Commit | TaskKind::Notify => false,
        });
    u32::try_from(taken.count()).unwrap_or(u32::MAX)
}

/// The best worker for a backup, of which a slot is taken.
fn choose(
    candidates: &mut [Candidate<'_>],
    straggler: &Straggler<'_>,
) -> Option<vivat_shared::ids::WorkerEpoch> {
    let may = |candidate: &Candidate<'_>| {
        let worker = candidate.worker;
        worker.id != straggler.holder
            && !straggler.avoided.contains(&worker.id)
            && worker.sees_paths_of(straggler.job)
    };
    let choice = candidates.iter().any(|it| may(it) && !it.slow);
    let chosen = candidates
        .iter_mut()
        .filter(|it| may(it) && it.free > 0 && !(choice && it.slow))
        .max_by_key(|it| {
            let id = std::cmp::Reverse(it.worker.id);
            (it.worker.pace.score(), it.free, id)
        })?;
    chosen.free -= 1;
    Some(chosen.worker.current())
}
