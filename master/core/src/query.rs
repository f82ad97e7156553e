//! What the leader asks of the state to serve workers: what they are to run,
//! what they hold against what is granted to them, where segments are.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use vivat_shared::attempt::{
    Assignment, Broadcast, CommittedPart, InputOrigin, SegmentLocation, Work,
};
use vivat_shared::dataset::{BlockSummary, Holder, LocatedBlock};
use vivat_shared::ids::{
    AttemptId, BlockId, DatasetId, JobId, RoundId, TaskId, TaskKind, WorkerEpoch, WorkerId,
};
use vivat_shared::job::JobSpec;
use vivat_shared::logs::{LogEntry, log_block, log_dataset};
use vivat_shared::notify::{EventId, JobEvent};
use vivat_shared::size_code::SizeCode;

use crate::state::{
    Active, Dataset, DatasetOutput, HandedOn, Job, JobEnd, LogRow, Round, Stage, State,
};

/// How a worker's attempts differ from those granted to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciliation {
    /// Granted to it and not held: deliver again.
    pub missing: Vec<AttemptId>,
    /// Held and not granted: order killed.
    pub unknown: Vec<AttemptId>,
}

/// What the worker of a granted attempt is given; none when it is not granted.
#[must_use]
pub fn assignment(state: &State, attempt: AttemptId) -> Option<Assignment> {
    let job = state.job(attempt.job())?;
    if attempt.task.kind == TaskKind::Notify {
        return notify_work(state, job, attempt);
    }
    let active = job.active()?;
    let TaskId { kind, index, .. } = attempt.task;
    let granted = active
        .table(attempt.task)?
        .live(index)
        .iter()
        .any(|running| running.number == attempt.number);
    if !granted {
        return None;
    }
    let round = active.round();
    let work = match kind {
        TaskKind::Plan => Work::Plan {
            datasets: job.datasets.clone(),
            previous: active.previous,
        },
        TaskKind::Map => map_work(state, active, index)?,
        TaskKind::Reduce => Work::Reduce {
            maps: round.maps.len(),
            output: active.output.as_ref().map(|output| output.dataset),
            broadcast: broadcast(state, active),
        },
        TaskKind::Close => close_work(state, job, active)?,
        TaskKind::Commit => commit_work(state, active)?,
        TaskKind::Notify => return None,
    };
    Some(Assignment { attempt, work })
}

/// What is told of a job's end.
fn notify_work(state: &State, job: &Job, attempt: AttemptId) -> Option<Assignment> {
    let notice = job.notice.as_ref()?;
    let (live, _) = notice.live(job.id)?;
    let Stage::Ended(ended) = &job.stage else {
        return None;
    };
    let reason = match &ended.end {
        JobEnd::Failed(failure) => failure.describe(job.id),
        JobEnd::Succeeded | JobEnd::Cancelled => String::new(),
    };
    let event = JobEvent {
        id: EventId {
            cluster: state.cluster()?,
            job: job.id,
            ending: notice.ending,
        },
        name: job.spec.name.clone(),
        state: job.state(),
        reason,
        at_ms: ended.at_ms,
        output: job.spec.output.display(job.id),
    };
    let notify = job.spec.notify.clone()?;
    let work = Work::Notify { notify, event };
    (live == attempt).then_some(Assignment { attempt, work })
}

/// Attempts of a job that failed or left a log, from a position on, with where their
/// texts are, and whether there are more; none when the job is unknown.
#[must_use]
pub fn logs(state: &State, job: JobId, from: usize, limit: usize) -> Option<(Vec<LogEntry>, bool)> {
    let rows = state.job(job)?.logs.rows();
    let texts = state.directory().get(log_dataset(job));
    let block = |attempt: AttemptId, number: u16| {
        let texts = texts?;
        let position = texts.blocks.position(log_block(attempt, number).index)?;
        locate_block(state, texts, position)
    };
    let entry = |row: &LogRow| LogEntry {
        attempt: row.attempt,
        worker: row.worker,
        at_ms: row.at_ms,
        end: row.end,
        bytes: row.bytes,
        truncated: row.truncated,
        problem: row.problem.clone(),
        tail: row.tail.clone(),
        blocks: (0..row.blocks)
            .filter_map(|number| block(row.attempt, number))
            .collect(),
    };
    let page = rows.iter().skip(from).take(limit).map(entry).collect();
    Some((page, rows.len() > from.saturating_add(limit)))
}

/// What the current round reads beside its input.
fn broadcast(state: &State, active: &Active) -> Broadcast {
    match &active.handed_on {
        HandedOn::Nothing => Broadcast::None,
        HandedOn::Inline(bytes) => Broadcast::Inline(Arc::clone(bytes)),
        HandedOn::Stored(dataset) => {
            let (blocks, _) = locate_range(state, *dataset, 0..u64::MAX);
            Broadcast::Stored {
                bytes: blocks.iter().map(|block| block.summary.bytes).sum(),
                blocks,
            }
        }
    }
}

fn map_work(state: &State, active: &Active, index: u32) -> Option<Work> {
    let round = active.round();
    let plan = round.plan.as_ref()?;
    let split = *plan.splits.get(index as usize)?;
    let file = plan.files.get(split.file as usize)?.clone();
    let (blocks, blocks_start) = match file.origin {
        InputOrigin::Dataset { dataset, start } => {
            // The last record of a split goes on behind its end, in the next block
            // when the split ends with a block.
            let end = split.offset.saturating_add(split.bytes).saturating_add(1);
            let range = start + split.offset..start + end.min(file.bytes);
            locate_range(state, dataset, range)
        }
        InputOrigin::FileSystem { .. } | InputOrigin::Remote { .. } => (Vec::new(), 0),
    };
    Some(Work::Map {
        file,
        split,
        splits: round.maps.len(),
        blocks,
        blocks_start,
        broadcast: broadcast(state, active),
    })
}

/// The blocks that a range of a dataset's bytes lies in, and where the first of
/// them begins.
#[must_use]
pub fn locate_range(
    state: &State,
    dataset: DatasetId,
    range: Range<u64>,
) -> (Vec<LocatedBlock>, u64) {
    let Some(known) = state.directory().get(dataset) else {
        return (Vec::new(), 0);
    };
    let positions = known.blocks.spanning(range.start, range.end);
    let start = known.blocks.bytes_before(positions.start);
    let located = positions.filter_map(|position| locate_block(state, known, position));
    (located.collect(), start)
}

/// The block at a position of a dataset, and who can be asked for it now.
#[must_use]
pub fn locate_block(state: &State, dataset: &Dataset, position: u32) -> Option<LocatedBlock> {
    let row = dataset.blocks.rows().get(position as usize)?;
    let summary = dataset.blocks.summary(dataset.id, position)?;
    Some(located(state, summary, &row.workers))
}

fn located(state: &State, summary: BlockSummary, workers: &[WorkerId]) -> LocatedBlock {
    let holders = workers
        .iter()
        .filter_map(|worker| state.worker(*worker))
        .filter(|worker| worker.is_registered())
        .map(|worker| Holder {
            worker: worker.id,
            address: worker.info.address.clone(),
        });
    LocatedBlock {
        summary,
        holders: holders.collect(),
    }
}

/// How many of a block's holders count towards what is wanted: those that are
/// registered and will stay.
#[must_use]
pub fn lasting_holders(state: &State, workers: &[WorkerId]) -> usize {
    workers
        .iter()
        .filter_map(|worker| state.worker(*worker))
        .filter(|worker| worker.accepts_work())
        .count()
}

/// Whether a worker's copy of a block can go, because there are enough others.
#[must_use]
pub fn is_surplus(state: &State, block: BlockId, worker: WorkerId) -> bool {
    let Some(known) = state.directory().get(block.dataset) else {
        return false;
    };
    let others: Vec<WorkerId> = known
        .blocks
        .position(block.index)
        .and_then(|position| known.blocks.rows().get(position as usize))
        .map(|row| {
            row.workers
                .iter()
                .copied()
                .filter(|holder| *holder != worker)
        })
        .into_iter()
        .flatten()
        .collect();
    known.sealed.is_some() && lasting_holders(state, &others) >= usize::from(known.spec.replicas)
}

fn close_work(state: &State, job: &Job, active: &Active) -> Option<Work> {
    let round = active.round();
    let output = active.output.as_ref()?;
    let part = |partition: u32| {
        let blocks = output.parts.get(&partition)?.iter();
        let located = blocks.map(|block| located(state, block.summary, &block.workers));
        Some(located.collect())
    };
    Some(Work::Close {
        parts: (0..round.reducers).map(part).collect::<Option<_>>()?,
        outputs: round.outputs.clone(),
        round: round.id.round,
        rounds_max: job.current_step()?.rounds_max,
        broadcast: broadcast(state, active),
        output: active.close_output?,
    })
}

fn commit_work(state: &State, active: &Active) -> Option<Work> {
    let round = active.round();
    let part = |partition: u32| {
        Some(CommittedPart {
            attempt: round.reduces.accepted(partition)?.number,
            output: *round.outputs.get(partition as usize)?,
        })
    };
    let blocks = match active.written {
        None => Vec::new(),
        Some(written) => {
            let mut parts = vec![Vec::new(); round.reducers as usize];
            for block in locate_range(state, written, 0..u64::MAX).0 {
                let part = DatasetOutput::part_of(block.summary.id)?;
                parts.get_mut(part as usize)?.push(block);
            }
            parts
        }
    };
    Some(Work::Commit {
        parts: (0..round.reducers).map(part).collect::<Option<_>>()?,
        blocks,
        replaces: active.replaces.clone(),
    })
}

/// The dataset of each side file of a job, in their order; none for one that is
/// no dataset.
#[must_use]
pub fn side_datasets(job: &Job) -> Vec<Option<DatasetId>> {
    let mut datasets = job.side_datasets.iter().copied();
    let files = job.spec.side_files.iter();
    files
        .map(|file| file.location.dataset().and_then(|_| datasets.next()))
        .collect()
}

/// A job's specification.
#[must_use]
pub fn job_spec(state: &State, job: JobId) -> Option<&JobSpec> {
    state.job(job).map(|job| job.spec.as_ref())
}

/// Compares what a worker holds with what is granted to it. To an epoch that is
/// not current nothing is granted. Costs as much as that worker has attempts.
#[must_use]
pub fn reconcile(state: &State, worker: WorkerEpoch, held: &[AttemptId]) -> Reconciliation {
    let nothing = BTreeSet::new();
    let granted = state
        .worker(worker.worker)
        .filter(|known| known.is_registered() && known.epoch == worker.epoch)
        .map_or(&nothing, |known| &known.running);
    let held: BTreeSet<AttemptId> = held.iter().copied().collect();
    Reconciliation {
        missing: granted.difference(&held).copied().collect(),
        unknown: held.difference(granted).copied().collect(),
    }
}

/// Where the segments of a partition are: one for each completed map of the
/// round, in order, empty ones included. Nothing for a round that is over.
#[must_use]
pub fn locations(state: &State, round: RoundId, partition: u32) -> Vec<SegmentLocation> {
    let Some(round) = current_round(state, round) else {
        return Vec::new();
    };
    (0..round.maps.len())
        .filter_map(|map| locate(round, map, partition))
        .collect()
}

/// Where one map attempt's segment is, if that attempt is the accepted one.
#[must_use]
pub fn location(state: &State, map: AttemptId, partition: u32) -> Option<SegmentLocation> {
    let round = current_round(state, map.task.round)?;
    if map.task.kind != TaskKind::Map {
        return None;
    }
    locate(round, map.task.index, partition).filter(|there| there.attempt == map.number)
}

fn current_round(state: &State, id: RoundId) -> Option<&Round> {
    let round = state.job(id.job).and_then(Job::active)?.round();
    (round.id == id).then_some(round)
}

fn locate(round: &Round, map: u32, partition: u32) -> Option<SegmentLocation> {
    let there = round.maps.accepted(map)?;
    let size = *round.sizes_of(map).get(partition as usize)?;
    Some(SegmentLocation {
        map,
        attempt: there.number,
        holder: there.worker,
        size: SizeCode(size),
    })
}
