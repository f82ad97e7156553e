//! Assignments, outcomes, plans and locations.

use bytes::Bytes;
use vivat_shared::attempt::{
    Assignment, AttemptFailure, CommittedPart, FetchFailure, InputFile, InputOrigin, Outcome,
    OutputIdentity, PartOutput, PlanChunk, SegmentLocation, SplitRange, Work,
};
use vivat_shared::ids::{AttemptId, DatasetId, Epoch, SegmentId, WorkerEpoch, WorkerId};
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

impl From<Assignment> for v1::Assignment {
    fn from(assignment: Assignment) -> Self {
        use v1::assignment::Work as Wire;
        let work = match assignment.work {
            Work::Plan { datasets } => Wire::Plan(v1::PlanWork {
                datasets: datasets.into_iter().map(|dataset| dataset.0).collect(),
            }),
            Work::Map {
                file,
                split,
                splits,
                blocks,
                blocks_start,
            } => Wire::Map(v1::MapWork {
                file: Some(file.into()),
                split: Some(split.into()),
                splits,
                blocks: blocks.into_iter().map(Into::into).collect(),
                blocks_start,
            }),
            Work::Reduce { maps, output } => Wire::Reduce(v1::ReduceWork {
                maps,
                output: output.map_or(0, |dataset| dataset.0),
            }),
            Work::Commit { parts, replaces } => Wire::Commit(v1::CommitWork {
                parts: parts.into_iter().map(Into::into).collect(),
                replaces: replaces.map(Into::into),
            }),
        };
        Self {
            attempt: Some(assignment.attempt.into()),
            work: Some(work),
        }
    }
}

impl TryFrom<v1::Assignment> for Assignment {
    type Error = WireError;

    fn try_from(assignment: v1::Assignment) -> Result<Self, WireError> {
        use v1::assignment::Work as Wire;
        let work = match required(assignment.work, "work")? {
            Wire::Plan(plan) => Work::Plan {
                datasets: plan.datasets.into_iter().map(DatasetId).collect(),
            },
            Wire::Map(map) => Work::Map {
                file: required(map.file, "file")?.try_into()?,
                split: required(map.split, "split")?.into(),
                splits: map.splits,
                blocks: collect(map.blocks)?,
                blocks_start: map.blocks_start,
            },
            Wire::Reduce(reduce) => Work::Reduce {
                maps: reduce.maps,
                output: (reduce.output > 0).then_some(DatasetId(reduce.output)),
            },
            Wire::Commit(commit) => Work::Commit {
                parts: collect(commit.parts)?,
                replaces: commit.replaces.map(Into::into),
            },
        };
        Ok(Self {
            attempt: required(assignment.attempt, "attempt")?.try_into()?,
            work,
        })
    }
}

/// Size codes as one byte each.
#[must_use]
pub fn sizes_to_wire(sizes: &[SizeCode]) -> Bytes {
    sizes.iter().map(|size| size.0).collect()
}

/// Size codes from one byte each.
#[must_use]
pub fn sizes_from_wire(bytes: &[u8]) -> Vec<SizeCode> {
    bytes.iter().copied().map(SizeCode).collect()
}

impl From<AttemptFailure> for v1::FailedOutcome {
    fn from(failure: AttemptFailure) -> Self {
        Self {
            cause: Some(failure.cause.into()),
            input: failure.input.map(Into::into),
            output_tail: failure.output_tail,
        }
    }
}

impl TryFrom<v1::FailedOutcome> for AttemptFailure {
    type Error = WireError;

    fn try_from(failed: v1::FailedOutcome) -> Result<Self, WireError> {
        Ok(Self {
            cause: required(failed.cause, "cause")?.try_into()?,
            input: failed.input.map(Into::into),
            output_tail: failed.output_tail,
        })
    }
}

/// The wire form of a report.
#[must_use]
pub fn report_to_wire(attempt: AttemptId, outcome: Outcome) -> v1::Report {
    use v1::report::Outcome as Wire;
    let outcome = match outcome {
        Outcome::Planned {
            chunks,
            files,
            splits,
            crc32c,
            replaces,
        } => {
            let replaces = replaces.map(Into::into);
            Wire::Planned(v1::PlannedOutcome {
                chunks,
                files,
                splits,
                crc32c,
                replaces,
            })
        }
        Outcome::Mapped { segments, counters } => Wire::Mapped(v1::MappedOutcome {
            sizes: sizes_to_wire(&segments),
            counters: counters.into_iter().collect(),
        }),
        Outcome::Reduced {
            output,
            blocks,
            counters,
        } => Wire::Reduced(v1::ReducedOutcome {
            output: Some(output.into()),
            blocks: blocks.into_iter().map(Into::into).collect(),
            counters: counters.into_iter().collect(),
        }),
        Outcome::Committed => Wire::Committed(v1::CommittedOutcome {}),
        Outcome::Failed(failure) => Wire::Failed(failure.into()),
        Outcome::Killed => Wire::Killed(v1::KilledOutcome {}),
        Outcome::HandedBack => Wire::HandedBack(v1::HandedBackOutcome {}),
    };
    v1::Report {
        attempt: Some(attempt.into()),
        outcome: Some(outcome),
    }
}

/// The domain form of a report.
///
/// # Errors
///
/// Names the field that is missing or out of bounds.
pub fn report_from_wire(report: v1::Report) -> Result<(AttemptId, Outcome), WireError> {
    use v1::report::Outcome as Wire;
    let attempt = required(report.attempt, "attempt")?.try_into()?;
    let outcome = match required(report.outcome, "outcome")? {
        Wire::Planned(planned) => Outcome::Planned {
            chunks: planned.chunks,
            files: planned.files,
            splits: planned.splits,
            crc32c: planned.crc32c,
            replaces: planned.replaces.map(Into::into),
        },
        Wire::Mapped(mapped) => Outcome::Mapped {
            segments: sizes_from_wire(&mapped.sizes),
            counters: mapped.counters.into_iter().collect(),
        },
        Wire::Reduced(reduced) => Outcome::Reduced {
            output: required(reduced.output, "output")?.into(),
            blocks: collect(reduced.blocks)?,
            counters: reduced.counters.into_iter().collect(),
        },
        Wire::Committed(v1::CommittedOutcome {}) => Outcome::Committed,
        Wire::Failed(failed) => Outcome::Failed(failed.try_into()?),
        Wire::Killed(v1::KilledOutcome {}) => Outcome::Killed,
        Wire::HandedBack(v1::HandedBackOutcome {}) => Outcome::HandedBack,
    };
    Ok((attempt, outcome))
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
