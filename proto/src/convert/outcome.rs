//! How attempts ended.

use std::collections::HashMap;

use bytes::Bytes;
use vivat_shared::attempt::{
    AttemptFailure, ClosedBroadcast, Metric, Metrics, Outcome, SkippedRecord,
};
use vivat_shared::ids::AttemptId;
use vivat_shared::size_code::SizeCode;

use super::logs::log_from_wire;
use crate::error::{WireError, collect, required};
use crate::v1;

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

pub(super) fn metrics_to_wire(metrics: Metrics) -> HashMap<String, f64> {
    let value = |(name, metric): (String, Metric)| (name, metric.value());
    metrics.into_iter().map(value).collect()
}

pub(super) fn metrics_from_wire(metrics: HashMap<String, f64>) -> Metrics {
    let metric = |(name, value)| (name, Metric::from(value));
    metrics.into_iter().map(metric).collect()
}

impl From<SkippedRecord> for v1::SkippedRecord {
    fn from(record: SkippedRecord) -> Self {
        Self {
            display: record.display,
            offset: record.offset,
            bytes: record.bytes.into(),
            problem: record.problem,
        }
    }
}

impl From<v1::SkippedRecord> for SkippedRecord {
    fn from(record: v1::SkippedRecord) -> Self {
        Self {
            display: record.display,
            offset: record.offset,
            bytes: record.bytes.into(),
            problem: record.problem,
        }
    }
}

impl From<AttemptFailure> for v1::FailedOutcome {
    fn from(failure: AttemptFailure) -> Self {
        Self {
            cause: Some(failure.cause.into()),
            input: failure.input.map(Into::into),
            output_tail: failure.output_tail,
            log: failure.log.map(Into::into),
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
            log: log_from_wire(failed.log)?,
        })
    }
}

impl From<ClosedBroadcast> for v1::closed_outcome::Broadcast {
    fn from(broadcast: ClosedBroadcast) -> Self {
        match broadcast {
            ClosedBroadcast::Inline(bytes) => Self::Inline(bytes.into()),
            ClosedBroadcast::Stored(blocks) => Self::Stored(v1::StoredBlocks {
                blocks: blocks.into_iter().map(Into::into).collect(),
            }),
        }
    }
}

fn broadcast_from_wire(
    broadcast: Option<v1::closed_outcome::Broadcast>,
) -> Result<ClosedBroadcast, WireError> {
    use v1::closed_outcome::Broadcast as Wire;
    Ok(match broadcast {
        None => ClosedBroadcast::Inline(Vec::new()),
        Some(Wire::Inline(bytes)) => ClosedBroadcast::Inline(bytes.into()),
        Some(Wire::Stored(stored)) => ClosedBroadcast::Stored(collect(stored.blocks)?),
    })
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
        Outcome::Mapped {
            segments,
            counters,
            skipped,
            log,
        } => Wire::Mapped(v1::MappedOutcome {
            sizes: sizes_to_wire(&segments),
            counters: counters.into_iter().collect(),
            skipped: skipped.into_iter().map(Into::into).collect(),
            log: log.map(Into::into),
        }),
        Outcome::Reduced {
            output,
            blocks,
            counters,
            skipped,
            log,
        } => Wire::Reduced(v1::ReducedOutcome {
            output: Some(output.into()),
            blocks: blocks.into_iter().map(Into::into).collect(),
            counters: counters.into_iter().collect(),
            skipped: skipped.into_iter().map(Into::into).collect(),
            log: log.map(Into::into),
        }),
        Outcome::Closed {
            broadcast,
            metrics,
            again,
        } => Wire::Closed(v1::ClosedOutcome {
            broadcast: Some(broadcast.into()),
            metrics: metrics_to_wire(metrics),
            again,
        }),
        Outcome::Committed => Wire::Committed(v1::CommittedOutcome {}),
        Outcome::Notified => Wire::Notified(v1::NotifiedOutcome {}),
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
            skipped: mapped.skipped.into_iter().map(Into::into).collect(),
            log: log_from_wire(mapped.log)?,
        },
        Wire::Reduced(reduced) => Outcome::Reduced {
            output: required(reduced.output, "output")?.into(),
            blocks: collect(reduced.blocks)?,
            counters: reduced.counters.into_iter().collect(),
            skipped: reduced.skipped.into_iter().map(Into::into).collect(),
            log: log_from_wire(reduced.log)?,
        },
        Wire::Closed(closed) => Outcome::Closed {
            broadcast: broadcast_from_wire(closed.broadcast)?,
            metrics: metrics_from_wire(closed.metrics),
            again: closed.again,
        },
        Wire::Committed(v1::CommittedOutcome {}) => Outcome::Committed,
        Wire::Notified(v1::NotifiedOutcome {}) => Outcome::Notified,
        Wire::Failed(failed) => Outcome::Failed(failed.try_into()?),
        Wire::Killed(v1::KilledOutcome {}) => Outcome::Killed,
        Wire::HandedBack(v1::HandedBackOutcome {}) => Outcome::HandedBack,
    };
    Ok((attempt, outcome))
}
