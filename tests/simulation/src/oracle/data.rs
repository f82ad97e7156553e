//! The books on datasets: what was acknowledged stays and can be read while a
//! copy lives (S6); no copy that counts is given up or deleted (S15); in the end
//! everything has as many copies as it wants (L8).

use std::collections::{BTreeMap, BTreeSet};

use vivat_core::State;
use vivat_core::command::{Command, DataCommand};
use vivat_core::placement::is_listed;
use vivat_core::query::lasting_holders;
use vivat_core::state::{BlockRow, Dataset};
use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::{BlockId, DatasetId, JobId, TaskId, TaskKind, WorkerId};
use vivat_shared::job::OutputLocation;

use super::Oracle;
use super::segments::changes_workers;
use crate::evidence::Fact;
use crate::ground::Ground;
use crate::jobs;

/// What every machine's disk has.
pub type Disks = Vec<(Option<WorkerId>, BTreeMap<BlockId, BlockSummary>)>;

impl Oracle {
    /// A client was told that its dataset is sealed.
    pub fn sealed(&mut self, dataset: DatasetId, blocks: &[BlockSummary], stays: bool) {
        let known = self.reference.directory().get(dataset);
        let whole = known.is_some_and(|known| {
            let there = (0..known.blocks.len())
                .filter_map(|position| known.blocks.summary(dataset, position));
            known.sealed.is_some() && there.eq(blocks.iter().copied())
        });
        self.ensure(whole, "S6", || {
            format!("{dataset} was acknowledged, and is not what was written")
        });
        if stays {
            self.stays.insert(dataset);
        }
    }

    /// Who has blocks is believed of current registrations alone (S6).
    pub(super) fn check_reporter(&mut self, before: &State, commands: &[Command], taken: &Command) {
        let Command::Data(
            DataCommand::AddReplicas { worker, .. } | DataCommand::DropReplicas { worker, .. },
        ) = taken
        else {
            return;
        };
        let current = before.current_epoch(worker.worker) == Some(worker.epoch);
        let known = current || commands.iter().any(changes_workers);
        self.ensure(known, "S6", || format!("this was believed: {taken:?}"));
    }

    /// Surplus copies go while as many others as wanted last (S15).
    pub(super) fn check_surplus(&mut self, before: &State, commands: &[Command]) {
        // What gets lost in the same entry was there when the surplus went.
        let loses = |command: &Command| {
            let lost = matches!(
                command,
                Command::Data(DataCommand::DropReplicas { surplus: false, .. })
            );
            lost || changes_workers(command)
        };
        if commands.iter().any(loses) {
            return;
        }
        for command in commands {
            let Command::Data(DataCommand::DropReplicas {
                worker,
                blocks,
                surplus: true,
            }) = command
            else {
                continue;
            };
            let of = |state: &State, block: &BlockId| {
                let known = state.directory().get(block.dataset)?;
                let position = known.blocks.position(block.index)?;
                let row = known.blocks.rows().get(position as usize)?;
                Some((row.workers.clone(), known.spec.replicas))
            };
            for block in blocks {
                let was = of(before, block).is_some_and(|(had, _)| had.contains(&worker.worker));
                let Some((left, wanted)) = of(&self.reference, block).filter(|_| was) else {
                    continue;
                };
                let enough = left.contains(&worker.worker)
                    || lasting_holders(&self.reference, &left) >= usize::from(wanted);
                self.ensure(enough, "S15", || {
                    format!("{block} is given up by {worker} as surplus, {left:?} have it")
                });
            }
        }
    }

    /// A worker deletes a block: its dataset is gone, or others have it.
    pub fn block_deleted(&mut self, block: BlockId) {
        let directory = self.reference.directory();
        let writes = directory.writer(block.dataset).is_some();
        let open = directory
            .get(block.dataset)
            .is_some_and(|known| known.sealed.is_none());
        self.ensure(!writes && !open, "S15", || {
            format!("{block} is deleted, and its dataset is being written")
        });
    }

    /// A reduce whose output every holder lost runs again (S2 lets another count).
    pub(super) fn idle_again(&mut self, ground: &mut Ground, task: TaskId) {
        if task.kind != TaskKind::Reduce || self.accepted.remove(&task).is_none() {
            return;
        }
        ground.note(Fact::OutputLost);
        let into_dataset = self.may_lose_blocks(task);
        self.ensure(into_dataset, "S3", || format!("{task} runs again"));
        self.trouble(task);
    }

    pub(super) fn writes_dataset(&self, job: JobId) -> bool {
        let known = self.reference.job(job);
        known.is_some_and(|job| matches!(job.spec.output, OutputLocation::Dataset { .. }))
    }

    /// Whether what a task writes goes into a dataset.
    pub(super) fn may_lose_blocks(&self, task: TaskId) -> bool {
        let known = self.reference.job(task.round.job);
        known.is_some_and(|job| jobs::writes_dataset(&job.spec, task.round))
    }

    /// Whether the output of a job that succeeded is there, by its name.
    pub(super) fn has_output(&self, job: JobId) -> bool {
        let mut datasets = self.reference.directory().iter();
        datasets.any(|known| known.job == Some(job) && known.sealed.is_some())
    }

    /// What is wrong with the data when nothing goes wrong any more; none when all
    /// blocks that live have their copies, and disks have nothing else.
    pub fn data_problem(&self, disks: &Disks) -> Option<String> {
        let state = &self.reference;
        let directory = state.directory();
        if let Some(lost) = self.stays.iter().find(|id| directory.get(**id).is_none()) {
            return Some(format!("S6: {lost} was acknowledged and is not there"));
        }
        if let Some(open) = directory.open().next() {
            return Some(format!("L8: {open} is open, and nobody writes it"));
        }
        for known in directory.iter() {
            for row in known.blocks.rows() {
                if let Some(problem) = row_problem(state, known, row, disks) {
                    return Some(problem);
                }
            }
        }
        disks.iter().find_map(|(worker, blocks)| {
            let worker = (*worker)?;
            let listed = |block: &&BlockId| is_listed(state, **block, worker);
            let left = blocks.keys().find(|block| !listed(block))?;
            Some(format!("L8: {worker} keeps {left}, which nobody wants"))
        })
    }
}

fn row_problem(state: &State, known: &Dataset, row: &BlockRow, disks: &Disks) -> Option<String> {
    let id = BlockId {
        dataset: known.id,
        index: row.index,
    };
    let holders: BTreeSet<WorkerId> = disks
        .iter()
        .filter(|(_, blocks)| blocks.contains_key(&id))
        .filter_map(|(worker, _)| *worker)
        .collect();
    let listed: BTreeSet<WorkerId> = row
        .workers
        .iter()
        .copied()
        .filter(|worker| state.is_registered(*worker))
        .collect();
    let lasting = state
        .workers()
        .filter(|worker| worker.accepts_work())
        .count();
    let wanted = usize::from(known.spec.replicas).min(lasting);
    if listed != holders {
        return Some(format!("S6: {id} is at {holders:?}, listed at {listed:?}"));
    }
    if !holders.is_empty() && holders.len() < wanted {
        return Some(format!("L8: {id} is at {holders:?}, of {wanted} wanted"));
    }
    None
}
