//! What a worker's disk has of datasets: told by pages, deleted by order.

use vivat_shared::attempt::{ClosedBroadcast, Metric, Metrics, Outcome};
use vivat_shared::dataset::{ReplicatedBlock, output_block};
use vivat_shared::ids::{AttemptId, BlockId, DatasetId};
use vivat_shared::job::JobSpec;

use super::Pending;
use crate::event::{MachineAt, Request, WorkerTimer};
use crate::evidence::Fact;
use crate::jobs;
use crate::world::World;

/// Between two reports of the whole disk.
const REPORT_MS: u64 = 4_000;
/// Blocks of one page.
const PAGE: usize = 3;

impl World {
    pub(super) fn report_blocks(&mut self, at: MachineAt) {
        if self.is_calling(at, |pending| matches!(pending, Pending::Blocks { .. })) {
            return;
        }
        let machine = &self.machines[at];
        let Some(process) = machine.process.as_ref() else {
            return;
        };
        let Some(worker) = process.epoch else {
            return;
        };
        let after = process.reported_to;
        let mut rest = machine
            .blocks
            .values()
            .filter(|block| after.is_none_or(|after| block.id > after))
            .copied();
        let blocks: Vec<_> = rest.by_ref().take(PAGE).collect();
        let next = rest.next().and(blocks.last().map(|block| block.id));
        let body = Request::ReportBlocks {
            worker,
            after,
            blocks,
            last: next.is_none(),
        };
        self.call(at, Pending::Blocks { next }, body);
    }

    /// A page was taken; the next follows at once, or begins anew after a while.
    pub(super) fn blocks_taken(
        &mut self,
        at: MachineAt,
        remove: &[BlockId],
        next: Option<BlockId>,
    ) {
        for block in remove {
            if self.machines[at].blocks.remove(block).is_some() {
                self.ground.note(Fact::BlockDeleted);
                self.oracle.block_deleted(*block);
            }
        }
        if let Some(process) = self.process_mut(at) {
            process.reported_to = next;
        }
        let delay_ms = if next.is_some() { 1 } else { REPORT_MS };
        self.worker_timer(delay_ms, at, WorkerTimer::ReportBlocks);
    }

    /// What a reduce attempt wrote; into a dataset on this machine and another.
    pub(super) fn reduced(
        &mut self,
        at: MachineAt,
        attempt: AttemptId,
        output: Option<DatasetId>,
    ) -> Outcome {
        let partition = attempt.task.index;
        let part = jobs::output(partition);
        let blocks = output.map(|output| {
            let id = output_block(output, partition, attempt.number, 0);
            self.store_block(at, id, part.bytes)
        });
        Outcome::Reduced {
            log: None,
            output: part,
            blocks: blocks.into_iter().collect(),
            counters: jobs::reduce_counters(partition),
            skipped: Vec::new(),
        }
    }

    /// What a close attempt says; at length into a dataset, after the partitions.
    pub(super) fn closed(
        &mut self,
        at: MachineAt,
        attempt: AttemptId,
        spec: &JobSpec,
        output: DatasetId,
    ) -> Outcome {
        let id = attempt.task.round;
        let broadcast = if jobs::is_stored(spec, id) {
            let partition = jobs::reducers(spec);
            let block = output_block(output, partition, attempt.number, 0);
            ClosedBroadcast::Stored(vec![self.store_block(at, block, 70)])
        } else {
            ClosedBroadcast::Inline(jobs::said(id))
        };
        let metric = Metric::from(f64::from(id.round));
        Outcome::Closed {
            broadcast,
            metrics: Metrics::from([("round".to_owned(), metric)]),
            again: jobs::again(spec, id),
        }
    }

    /// Writes a block on this machine and another.
    fn store_block(&mut self, at: MachineAt, id: BlockId, bytes: u64) -> ReplicatedBlock {
        let mut summary = crate::upload::block(id);
        summary.bytes = bytes;
        let other = self.ground.dice.index(self.machines.len());
        let mut workers = Vec::new();
        for machine in [at, other] {
            let Some(worker) = self.machines[machine].worker else {
                continue;
            };
            if self.answers(machine) && !workers.contains(&worker) {
                self.machines[machine].blocks.insert(id, summary);
                workers.push(worker);
            }
        }
        ReplicatedBlock { summary, workers }
    }
}
