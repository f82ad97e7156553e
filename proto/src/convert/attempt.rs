//! Assignments, plans and locations.
//!
//! What all tasks of a round read stands once in an answer, whatever the number
//! of its assignments.

use std::collections::BTreeMap;

use vivat_shared::attempt::{
    Assignment, Broadcast, CommittedPart, FetchFailure, InputFile, InputOrigin, OutputIdentity,
    PartOutput, PlanChunk, SegmentLocation, SplitRange, Work,
};
use vivat_shared::dataset::LocatedBlock;
use vivat_shared::ids::{
    AttemptId, DatasetId, Epoch, JobId, RoundId, SegmentId, WorkerEpoch, WorkerId,
};
use vivat_shared::size_code::SizeCode;

use crate::error::{WireError, collect, narrow, required};
use crate::v1;

impl From<InputFile> for v1::InputFile {
    fn from(file: InputFile) -> Self {
        Self {
            path: file.path,
            display: file.display,
            bytes: file.bytes,
            origin: Some(file.origin.into()),
            header: file.header.into(),
        }
    }
}

impl TryFrom<v1::InputFile> for InputFile {
    type Error = WireError;

    fn try_from(file: v1::InputFile) -> Result<Self, WireError> {
        Ok(Self {
            path: file.path,
            display: file.display,
            bytes: file.bytes,
            origin: required(file.origin, "origin")?.into(),
            header: file.header.into(),
        })
    }
}

impl From<InputOrigin> for v1::input_file::Origin {
    fn from(origin: InputOrigin) -> Self {
        match origin {
            InputOrigin::FileSystem { modified_ns } => Self::ModifiedNs(modified_ns),
            InputOrigin::Dataset { dataset, start } => Self::Dataset(v1::DatasetOrigin {
                dataset: dataset.0,
                start,
            }),
            InputOrigin::Remote { version } => Self::RemoteVersion(version),
        }
    }
}

impl From<v1::input_file::Origin> for InputOrigin {
    fn from(origin: v1::input_file::Origin) -> Self {
        use v1::input_file::Origin as Wire;
        match origin {
            Wire::ModifiedNs(modified_ns) => Self::FileSystem { modified_ns },
            Wire::Dataset(file) => Self::Dataset {
                dataset: DatasetId(file.dataset),
                start: file.start,
            },
            Wire::RemoteVersion(version) => Self::Remote { version },
        }
    }
}

impl From<SplitRange> for v1::SplitRange {
    fn from(split: SplitRange) -> Self {
        Self {
            file: split.file,
            offset: split.offset,
            bytes: split.bytes,
        }
    }
}

impl From<v1::SplitRange> for SplitRange {
    fn from(split: v1::SplitRange) -> Self {
        Self {
            file: split.file,
            offset: split.offset,
            bytes: split.bytes,
        }
    }
}

impl From<PartOutput> for v1::PartOutput {
    fn from(part: PartOutput) -> Self {
        Self {
            bytes: part.bytes,
            records: part.records,
            crc32c: part.crc32c,
        }
    }
}

impl From<v1::PartOutput> for PartOutput {
    fn from(part: v1::PartOutput) -> Self {
        Self {
            bytes: part.bytes,
            records: part.records,
            crc32c: part.crc32c,
        }
    }
}

impl From<OutputIdentity> for v1::OutputIdentity {
    fn from(identity: OutputIdentity) -> Self {
        Self {
            device: identity.device,
            inode: identity.inode,
        }
    }
}

impl From<v1::OutputIdentity> for OutputIdentity {
    fn from(identity: v1::OutputIdentity) -> Self {
        Self {
            device: identity.device,
            inode: identity.inode,
        }
    }
}

impl From<CommittedPart> for v1::CommittedPart {
    fn from(part: CommittedPart) -> Self {
        Self {
            attempt: u32::from(part.attempt),
            output: Some(part.output.into()),
        }
    }
}

impl TryFrom<v1::CommittedPart> for CommittedPart {
    type Error = WireError;

    fn try_from(part: v1::CommittedPart) -> Result<Self, WireError> {
        Ok(Self {
            attempt: narrow(part.attempt, "attempt")?,
            output: required(part.output, "output")?.into(),
        })
    }
}

/// Assignments, and beside them what each of their rounds reads.
#[must_use]
pub fn assignments_to_wire(
    assignments: Vec<Assignment>,
) -> (Vec<v1::Assignment>, Vec<v1::RoundContext>) {
    let mut rounds = BTreeMap::new();
    let assignments = assignments
        .into_iter()
        .map(|Assignment { attempt, work }| {
            let (work, broadcast) = work_to_wire(work);
            let id = attempt.task.round;
            if broadcast != Broadcast::None {
                rounds.entry(id).or_insert(broadcast);
            }
            v1::Assignment {
                attempt: Some(attempt.into()),
                work: Some(work),
            }
        })
        .collect();
    let rounds = rounds
        .into_iter()
        .map(|(id, broadcast)| context_to_wire(id, broadcast))
        .collect();
    (assignments, rounds)
}

/// Assignments with what their rounds read.
///
/// # Errors
///
/// Names the field that is missing or out of bounds.
pub fn assignments_from_wire(
    assignments: Vec<v1::Assignment>,
    rounds: Vec<v1::RoundContext>,
) -> Result<Vec<Assignment>, WireError> {
    let broadcasts = rounds_from_wire(rounds)?;
    assignments
        .into_iter()
        .map(|assignment| assignment_from_wire(assignment, &broadcasts))
        .collect()
}

/// What each round reads, by round.
///
/// # Errors
///
/// Names the field that is missing or out of bounds.
pub fn rounds_from_wire(
    rounds: Vec<v1::RoundContext>,
) -> Result<BTreeMap<RoundId, Broadcast>, WireError> {
    rounds.into_iter().map(context_from_wire).collect()
}

/// One assignment, with what its round reads if that is among `rounds`.
///
/// # Errors
///
/// Names the field that is missing or out of bounds.
pub fn assignment_from_wire(
    assignment: v1::Assignment,
    rounds: &BTreeMap<RoundId, Broadcast>,
) -> Result<Assignment, WireError> {
    let attempt: AttemptId = required(assignment.attempt, "attempt")?.try_into()?;
    let id = attempt.task.round;
    let broadcast = rounds.get(&id).cloned().unwrap_or_default();
    Ok(Assignment {
        attempt,
        work: work_from_wire(required(assignment.work, "work")?, id.round, broadcast)?,
    })
}

fn context_to_wire(id: RoundId, broadcast: Broadcast) -> v1::RoundContext {
    use v1::round_context::Broadcast as Wire;
    let broadcast = match broadcast {
        Broadcast::None => None,
        Broadcast::Inline(bytes) => Some(Wire::Inline(bytes.to_vec().into())),
        Broadcast::Stored { bytes, blocks } => Some(Wire::Stored(v1::StoredBroadcast {
            bytes,
            blocks: blocks.into_iter().map(Into::into).collect(),
        })),
    };
    v1::RoundContext {
        job: id.job.0,
        step: u32::from(id.step),
        round: id.round,
        broadcast,
    }
}

fn context_from_wire(context: v1::RoundContext) -> Result<(RoundId, Broadcast), WireError> {
    use v1::round_context::Broadcast as Wire;
    let id = RoundId {
        job: JobId(context.job),
        step: narrow(context.step, "step")?,
        round: context.round,
    };
    let broadcast = match required(context.broadcast, "broadcast")? {
        Wire::Inline(bytes) => Broadcast::Inline(bytes.as_ref().into()),
        Wire::Stored(stored) => Broadcast::Stored {
            bytes: stored.bytes,
            blocks: collect(stored.blocks)?,
        },
    };
    Ok((id, broadcast))
}

fn parts_to_wire(parts: Vec<Vec<LocatedBlock>>) -> Vec<v1::PartBlocks> {
    let part = |blocks: Vec<LocatedBlock>| v1::PartBlocks {
        blocks: blocks.into_iter().map(Into::into).collect(),
    };
    parts.into_iter().map(part).collect()
}

fn parts_from_wire(parts: Vec<v1::PartBlocks>) -> Result<Vec<Vec<LocatedBlock>>, WireError> {
    parts.into_iter().map(|part| collect(part.blocks)).collect()
}

fn work_to_wire(work: Work) -> (v1::assignment::Work, Broadcast) {
    use v1::assignment::Work as Wire;
    match work {
        Work::Plan { datasets, previous } => {
            let plan = v1::PlanWork {
                datasets: datasets.into_iter().map(|dataset| dataset.0).collect(),
                previous: previous.map_or(0, |dataset| dataset.0),
            };
            (Wire::Plan(plan), Broadcast::None)
        }
        Work::Map {
            file,
            split,
            splits,
            blocks,
            blocks_start,
            broadcast,
        } => {
            let map = v1::MapWork {
                file: Some(file.into()),
                split: Some(split.into()),
                splits,
                blocks: blocks.into_iter().map(Into::into).collect(),
                blocks_start,
            };
            (Wire::Map(map), broadcast)
        }
        Work::Reduce {
            maps,
            output,
            broadcast,
        } => {
            let output = output.map_or(0, |dataset| dataset.0);
            (Wire::Reduce(v1::ReduceWork { maps, output }), broadcast)
        }
        Work::Close {
            parts,
            outputs,
            // It is the attempt's.
            round: _,
            rounds_max,
            broadcast,
            output,
        } => {
            let close = v1::CloseWork {
                parts: parts_to_wire(parts),
                outputs: outputs.into_iter().map(Into::into).collect(),
                rounds_max,
                output: output.0,
            };
            (Wire::Close(close), broadcast)
        }
        Work::Commit {
            parts,
            blocks,
            replaces,
        } => {
            let commit = v1::CommitWork {
                parts: parts.into_iter().map(Into::into).collect(),
                replaces: replaces.map(Into::into),
                blocks: parts_to_wire(blocks),
            };
            (Wire::Commit(commit), Broadcast::None)
        }
        Work::Notify { notify, event } => {
            let told = super::notify::work_to_wire(notify, event);
            (Wire::Notify(told), Broadcast::None)
        }
    }
}

fn work_from_wire(
    work: v1::assignment::Work,
    round: u32,
    broadcast: Broadcast,
) -> Result<Work, WireError> {
    use v1::assignment::Work as Wire;
    Ok(match work {
        Wire::Plan(plan) => Work::Plan {
            datasets: plan.datasets.into_iter().map(DatasetId).collect(),
            previous: (plan.previous > 0).then_some(DatasetId(plan.previous)),
        },
        Wire::Map(map) => Work::Map {
            file: required(map.file, "file")?.try_into()?,
            split: required(map.split, "split")?.into(),
            splits: map.splits,
            blocks: collect(map.blocks)?,
            blocks_start: map.blocks_start,
            broadcast,
        },
        Wire::Reduce(reduce) => Work::Reduce {
            maps: reduce.maps,
            output: (reduce.output > 0).then_some(DatasetId(reduce.output)),
            broadcast,
        },
        Wire::Close(close) => {
            let parts = parts_from_wire(close.parts)?;
            if parts.len() != close.outputs.len() {
                return Err(WireError::OutOfBounds {
                    field: "outputs",
                    value: close.outputs.len() as u64,
                });
            }
            Work::Close {
                parts,
                outputs: close.outputs.into_iter().map(Into::into).collect(),
                round,
                rounds_max: close.rounds_max,
                broadcast,
                output: DatasetId(close.output),
            }
        }
        Wire::Commit(commit) => {
            let blocks = parts_from_wire(commit.blocks)?;
            if !blocks.is_empty() && blocks.len() != commit.parts.len() {
                return Err(WireError::OutOfBounds {
                    field: "blocks",
                    value: blocks.len() as u64,
                });
            }
            Work::Commit {
                parts: collect(commit.parts)?,
                blocks,
                replaces: commit.replaces.map(Into::into),
            }
        }
        Wire::Notify(told) => super::notify::work_from_wire(told)?,
    })
}

/// A plan's piece as the two lists of a request.
#[must_use]
pub fn chunk_to_wire(chunk: PlanChunk) -> (Vec<v1::InputFile>, Vec<v1::SplitRange>) {
    (
        chunk.files.into_iter().map(Into::into).collect(),
        chunk.splits.into_iter().map(Into::into).collect(),
    )
}

/// A plan's piece from the two lists of a request.
///
/// # Errors
///
/// Names the field that is missing.
pub fn chunk_from_wire(
    files: Vec<v1::InputFile>,
    splits: Vec<v1::SplitRange>,
) -> Result<PlanChunk, WireError> {
    Ok(PlanChunk {
        files: collect(files)?,
        splits: splits.into_iter().map(Into::into).collect(),
    })
}

impl From<SegmentLocation> for v1::SegmentLocation {
    fn from(location: SegmentLocation) -> Self {
        Self {
            map: location.map,
            attempt: u32::from(location.attempt),
            holder: location.holder.worker.0,
            epoch: location.holder.epoch.0,
            size: u32::from(location.size.0),
        }
    }
}

impl TryFrom<v1::SegmentLocation> for SegmentLocation {
    type Error = WireError;

    fn try_from(location: v1::SegmentLocation) -> Result<Self, WireError> {
        Ok(Self {
            map: location.map,
            attempt: narrow(location.attempt, "attempt")?,
            holder: WorkerEpoch {
                worker: WorkerId(location.holder),
                epoch: Epoch(location.epoch),
            },
            size: SizeCode(narrow(location.size, "size")?),
        })
    }
}

impl TryFrom<v1::ReportFetchFailureRequest> for FetchFailure {
    type Error = WireError;

    fn try_from(request: v1::ReportFetchFailureRequest) -> Result<Self, WireError> {
        let reducer: AttemptId = required(request.reducer, "reducer")?.try_into()?;
        let attempt = required(request.map, "map")?.try_into()?;
        Ok(Self {
            reducer,
            segment: SegmentId {
                attempt,
                partition: reducer.task.index,
            },
            holder: required(request.holder, "holder")?.into(),
            gone: request.gone,
        })
    }
}
