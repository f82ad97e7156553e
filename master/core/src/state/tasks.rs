//! The tasks of one kind of one round, in columns.
//!
//! ```text
//!            grant                 accepted outcome
//!   Idle ------------> Running --------------------> Completed
//!    ^                    |                              |
//!    +--------------------+------------------------------+
//!      failed, killed, lost                segments lost
//! ```
//!
//! A job may have millions of tasks, so what each of them has is a few bytes in
//! a column, and what few of them have (running attempts, misfortunes) is in
//! sparse maps. The table knows attempts and workers only as numbers: whether
//! a transition is allowed is decided by `apply`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vivat_shared::ids::{WorkerEpoch, WorkerId};
use vivat_shared::view::TaskCounts;

use super::column::ByteColumn;
use super::idle::IdleSet;
use super::times::Times;
use crate::limits::BACKUP_NUMBER_MAX;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// Wants an attempt.
    Idle,
    /// One or two attempts are granted.
    Running,
    /// An attempt's outcome is the task's.
    Completed,
}

const RUNNING: u8 = 1;
const COMPLETED: u8 = 2;
/// Was completed once: its counters are summed, and a grant is a rerun.
const COUNTED: u8 = 4;
/// Idle, and what the completed attempt wrote may still be on its worker.
const RESTORABLE: u8 = 8;

/// A granted attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The attempt's number.
    pub number: u16,
    /// Who has it.
    pub worker: WorkerEpoch,
}

/// What befell an attempt that gave no output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It returned an error.
    Failed,
    /// Its worker died while it ran.
    Crashed,
    /// Its worker vanished, it is not known why.
    Lost,
    /// It could not have a segment there that others can read.
    Moved,
}

impl Fate {
    /// Whether the next attempt should run on another worker.
    fn blames_worker(self) -> bool {
        match self {
            Self::Failed | Self::Crashed | Self::Moved => true,
            Self::Lost => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Misfortune {
    number: u16,
    worker: WorkerId,
    fate: Fate,
}

/// Tasks of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskTable {
    status: ByteColumn,
    failures: ByteColumn,
    losses: ByteColumn,
    crashes: ByteColumn,
    /// The number of the last attempt granted, or `from`.
    granted: Vec<u16>,
    /// The number before that of the first attempt of each.
    from: u16,
    /// The attempt whose outcome was accepted last; 0 for none.
    accepted: Vec<u16>,
    /// Index into `holders` of the worker that has the accepted outcome.
    holder: Vec<u32>,
    holders: Vec<WorkerEpoch>,
    holder_indexes: BTreeMap<WorkerEpoch, u32>,
    running: BTreeMap<u32, Vec<Running>>,
    misfortunes: BTreeMap<u32, Vec<Misfortune>>,
    idle: IdleSet,
    completed: u32,
    times: Times,
}

impl TaskTable {
    /// So many idle tasks, whose attempts are counted after a number.
    pub(crate) fn new(len: u32, from: u16) -> Self {
        let columns = len as usize;
        Self {
            status: ByteColumn::zeros(columns),
            failures: ByteColumn::zeros(columns),
            losses: ByteColumn::zeros(columns),
            crashes: ByteColumn::zeros(columns),
            granted: vec![from; columns],
            from,
            accepted: vec![0; columns],
            holder: vec![0; columns],
            idle: IdleSet::all(len),
            times: Times::new(columns),
            ..Self::default()
        }
    }

    /// How many tasks.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.status.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.status.is_empty()
    }

    /// Where a task is; none when there is no such task.
    #[must_use]
    pub fn state(&self, index: u32) -> Option<TaskState> {
        let status = *self.status.get(index as usize)?;
        Some(if status & RUNNING != 0 {
            TaskState::Running
        } else if status & COMPLETED != 0 {
            TaskState::Completed
        } else {
            TaskState::Idle
        })
    }

    /// Tasks by state.
    #[must_use]
    pub fn counts(&self) -> TaskCounts {
        let (total, idle, completed) = (self.len(), self.idle.len(), self.completed);
        TaskCounts {
            total,
            idle,
            running: total - idle - completed,
            completed,
        }
    }

    /// Whether no task is left to do.
    #[must_use]
    pub fn all_completed(&self) -> bool {
        self.completed == self.len()
    }

    /// The lowest idle task from `from` on.
    #[must_use]
    pub fn next_idle(&self, from: u32) -> Option<u32> {
        self.idle.next(from)
    }

    /// The granted attempts of a task.
    #[must_use]
    pub fn live(&self, index: u32) -> &[Running] {
        self.running.get(&index).map_or(&[], Vec::as_slice)
    }

    /// Whether exactly this attempt is granted to exactly this worker (S4).
    #[must_use]
    pub fn is_live(&self, index: u32, number: u16, worker: WorkerEpoch) -> bool {
        self.live(index).contains(&Running { number, worker })
    }

    /// All granted attempts, by task.
    pub fn running(&self) -> impl Iterator<Item = (u32, Running)> + '_ {
        self.running
            .iter()
            .flat_map(|(index, attempts)| attempts.iter().map(move |running| (*index, *running)))
    }

    /// The accepted attempt of a completed task, and who has what it wrote.
    #[must_use]
    pub fn accepted(&self, index: u32) -> Option<Running> {
        (self.state(index)? == TaskState::Completed).then(|| self.last_accepted(index))
    }

    fn last_accepted(&self, index: u32) -> Running {
        let index = index as usize;
        Running {
            number: self.accepted[index],
            worker: self.holders[self.holder[index] as usize],
        }
    }

    /// Completed tasks whose outcome a worker has, in order.
    pub(crate) fn held_by(&self, worker: WorkerEpoch) -> Vec<u32> {
        let Some(&holder) = self.holder_indexes.get(&worker) else {
            return Vec::new();
        };
        (0..self.len())
            .filter(|&index| {
                self.holder[index as usize] == holder
                    && self.state(index) == Some(TaskState::Completed)
            })
            .collect()
    }

    /// Failures of a task.
    #[must_use]
    pub fn failures(&self, index: u32) -> u8 {
        self.failures.get(index as usize).copied().unwrap_or(0)
    }

    /// Losses of a task.
    #[must_use]
    pub fn losses(&self, index: u32) -> u8 {
        self.losses.get(index as usize).copied().unwrap_or(0)
    }

    /// Crashes of a task.
    #[must_use]
    pub fn crashes(&self, index: u32) -> u8 {
        self.crashes.get(index as usize).copied().unwrap_or(0)
    }

    /// The number of the last attempt that was granted; before any, the one after
    /// which they are counted.
    #[must_use]
    pub fn granted(&self, index: u32) -> u16 {
        self.granted.get(index as usize).copied().unwrap_or(0)
    }

    /// Whether an attempt was granted at some time.
    #[must_use]
    pub fn was_granted(&self, index: u32) -> bool {
        self.granted(index) > self.from
    }

    /// The highest number that was granted.
    pub(crate) fn highest_granted(&self) -> u16 {
        self.granted.iter().copied().max().unwrap_or(self.from)
    }

    /// Whether a task was completed at some time.
    #[must_use]
    pub fn was_completed(&self, index: u32) -> bool {
        self.has(index, COUNTED)
    }

    /// Workers that the next attempt of a task should not run on.
    pub fn avoided(&self, index: u32) -> impl Iterator<Item = WorkerId> + '_ {
        self.misfortunes
            .get(&index)
            .into_iter()
            .flatten()
            .filter(|misfortune| misfortune.fate.blames_worker())
            .map(|misfortune| misfortune.worker)
    }

    fn has(&self, index: u32, flag: u8) -> bool {
        self.status
            .get(index as usize)
            .is_some_and(|status| status & flag != 0)
    }

    /// Idle -> Running. None when the task is not idle or its numbers are used up.
    /// Times are in milliseconds since the job's submission.
    pub(crate) fn grant(&mut self, index: u32, worker: WorkerEpoch, at_ms: u32) -> Option<u16> {
        if self.state(index)? != TaskState::Idle && !cfg!(vivat_seeded_bug = "unverified-grant") {
            return None;
        }
        let at = index as usize;
        let number = self.granted[at].checked_add(1)?;
        self.granted[at] = number;
        self.status[at] = (self.status[at] & COUNTED) | RUNNING;
        self.idle.remove(index);
        self.running.insert(index, vec![Running { number, worker }]);
        self.times.grant(index, number, at_ms);
        Some(number)
    }

    /// Whether a task could have a second attempt, on this worker.
    pub(crate) fn takes_backup(&self, index: u32, worker: WorkerEpoch) -> bool {
        match self.live(index) {
            [only] => {
                only.worker.worker != worker.worker
                    && self.granted(index) - self.from < BACKUP_NUMBER_MAX
            }
            _ => false,
        }
    }

    /// Running{1} -> Running{2}. None when the task does not take it.
    pub(crate) fn grant_backup(
        &mut self,
        index: u32,
        worker: WorkerEpoch,
        at_ms: u32,
    ) -> Option<u16> {
        if !self.takes_backup(index, worker) {
            return None;
        }
        let number = self.granted(index).checked_add(1)?;
        self.granted[index as usize] = number;
        let beside = self.running.get_mut(&index)?;
        beside.push(Running { number, worker });
        self.times.grant(index, number, at_ms);
        Some(number)
    }

    /// When a granted attempt began.
    #[must_use]
    pub fn granted_at_ms(&self, index: u32, number: u16) -> Option<u32> {
        self.times.granted_at(index, number)
    }

    /// The accepted attempt of a completed task, and when it began and ended.
    pub(crate) fn accepted_times(&self, index: u32) -> Option<(Running, u32, u32)> {
        let (began, ended) = self.times.of(index)?;
        Some((self.accepted(index)?, began, ended))
    }

    /// What half of the accepted attempts took at most, in milliseconds.
    pub(crate) fn median_ms(&self) -> Option<u64> {
        self.times.median_ms()
    }

    /// Takes a granted attempt away; true when the task is idle now.
    pub(crate) fn release(&mut self, index: u32, number: u16) -> bool {
        let Some(attempts) = self.running.get_mut(&index) else {
            return false;
        };
        attempts.retain(|running| running.number != number);
        self.times.release(index, number);
        if !attempts.is_empty() {
            return false;
        }
        self.running.remove(&index);
        self.status[index as usize] &= COUNTED;
        self.idle.insert(index);
        true
    }

    /// The other granted attempt of a task.
    pub(crate) fn beside(&self, index: u32, number: u16) -> Option<Running> {
        let mut live = self.live(index).iter().copied();
        live.find(|other| other.number != number)
    }

    /// Running -> Completed by the only granted attempt. True when it never was
    /// before: its counters are to be summed.
    pub(crate) fn complete(&mut self, index: u32, running: Running, at_ms: u32) -> bool {
        let other = self.beside(index, running.number);
        self.running.remove(&index);
        if cfg!(vivat_seeded_bug = "both-win") {
            self.running.extend(other.map(|other| (index, vec![other])));
        }
        let at = index as usize;
        let first = self.status[at] & COUNTED == 0;
        self.status[at] = COMPLETED | COUNTED;
        self.accepted[at] = running.number;
        self.holder[at] = self.holder_index(running.worker);
        self.misfortunes.remove(&index);
        self.completed += 1;
        self.times.accept(index, running.number, at_ms);
        first
    }

    fn holder_index(&mut self, worker: WorkerEpoch) -> u32 {
        if let Some(&holder) = self.holder_indexes.get(&worker) {
            return holder;
        }
        let holder = u32::try_from(self.holders.len()).unwrap_or(u32::MAX);
        self.holders.push(worker);
        self.holder_indexes.insert(worker, holder);
        holder
    }

    /// Completed -> Idle: the outcome is gone, or may come back with its worker.
    pub(crate) fn lose(&mut self, index: u32, restorable: bool) {
        if self.state(index) != Some(TaskState::Completed) {
            return;
        }
        self.status[index as usize] = COUNTED | if restorable { RESTORABLE } else { 0 };
        self.completed -= 1;
        self.idle.insert(index);
    }

    /// Whether [`Self::lose`] was the last thing that happened to a task and
    /// this worker, in an earlier registration, had its outcome.
    pub(crate) fn is_restorable(&self, index: u32, number: u16, worker: WorkerId) -> bool {
        self.has(index, RESTORABLE) && {
            let last = self.last_accepted(index);
            last.number == number && last.worker.worker == worker
        }
    }

    /// The worker, in an earlier registration, that may still have what a task
    /// wrote.
    #[must_use]
    pub fn may_return_with(&self, index: u32) -> Option<WorkerId> {
        self.has(index, RESTORABLE)
            .then(|| self.last_accepted(index).worker.worker)
    }

    /// Idle -> Completed by the attempt that was accepted before; takes the
    /// loss back.
    pub(crate) fn restore(&mut self, index: u32, worker: WorkerEpoch) {
        let at = index as usize;
        self.status[at] = COMPLETED | COUNTED;
        self.holder[at] = self.holder_index(worker);
        self.losses[at] = self.losses[at].saturating_sub(1);
        self.idle.remove(index);
        self.completed += 1;
    }

    /// Counts what befell an attempt; returns how often it befell the task.
    pub(crate) fn suffer(&mut self, index: u32, number: u16, worker: WorkerId, fate: Fate) -> u8 {
        self.misfortunes.entry(index).or_default().push(Misfortune {
            number,
            worker,
            fate,
        });
        match fate {
            Fate::Failed => bump(&mut self.failures, index),
            Fate::Crashed => bump(&mut self.crashes, index),
            Fate::Lost | Fate::Moved => bump(&mut self.losses, index),
        }
    }

    /// Counts a loss that is no worker's fault: a kill, a lost segment.
    pub(crate) fn count_loss(&mut self, index: u32) -> u8 {
        bump(&mut self.losses, index)
    }

    /// A lost attempt turns out to have run when its worker died. Returns the
    /// crashes of the task, or none when no such loss is remembered.
    pub(crate) fn blame(&mut self, index: u32, number: u16, worker: WorkerId) -> Option<u8> {
        let lost = Misfortune {
            number,
            worker,
            fate: Fate::Lost,
        };
        let remembered = self.misfortunes.get_mut(&index)?;
        let misfortune = remembered.iter_mut().find(|known| **known == lost)?;
        misfortune.fate = Fate::Crashed;
        let losses = &mut self.losses[index as usize];
        *losses = losses.saturating_sub(1);
        Some(bump(&mut self.crashes, index))
    }

    /// Bytes of memory, sparse parts by their entries.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let columns = self.status.len() * 4
            + self.granted.capacity() * 2
            + self.accepted.capacity() * 2
            + self.holder.capacity() * 4;
        let sparse = (self.running.len() + self.misfortunes.len() + self.holders.len()) * 96;
        (columns + sparse + self.times.memory_bytes()) as u64
    }
}

fn bump(column: &mut ByteColumn, index: u32) -> u8 {
    let count = &mut column[index as usize];
    *count = count.saturating_add(1);
    *count
}
