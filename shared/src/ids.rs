//! Identifiers, one newtype each, with the text form in which people and files
//! see them.
//!
//! Ids that name replicated things (jobs, workers, epochs, attempts) are minted
//! by `apply` and by nothing else, so they are the same on every master.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not the id it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseIdError {
    /// What was read.
    pub text: String,
    /// The form that was wanted, with an example.
    pub expected: &'static str,
}

fn parse_number<T: FromStr>(
    text: &str,
    prefix: &str,
    expected: &'static str,
) -> Result<T, ParseIdError> {
    text.strip_prefix(prefix)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected,
        })
}

/// A job, in the order of submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-{}", self.0)
    }
}

impl FromStr for JobId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_number(text, "job-", "a job id like job-17").map(Self)
    }
}

/// A worker's place in the cluster: the same for every epoch of one `--dir`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u32);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker-{}", self.0)
    }
}

impl FromStr for WorkerId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_number(text, "worker-", "a worker id like worker-3").map(Self)
    }
}

/// One registration of a worker. What carries an older one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch-{}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_number(text, "epoch-", "an epoch like epoch-42").map(Self)
    }
}

/// A Raft member, minted once and never used again after its disk is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node-{}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_number(text, "node-", "a node id like node-2").map(Self)
    }
}

/// A master's place in the configuration (`--id`, the StatefulSet's ordinal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seat(pub u32);

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seat-{}", self.0)
    }
}

impl FromStr for Seat {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_number(text, "seat-", "a seat like seat-0").map(Self)
    }
}

/// A cluster, minted at its formation; carried by every call between masters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

impl FromStr for ClusterId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseIdError {
            text: text.to_owned(),
            expected: "32 hexadecimal digits",
        };
        // One text per id: capitals and `+` parse as numbers but are not ours.
        u128::from_str_radix(text, 16)
            .map(Self)
            .ok()
            .filter(|id| id.to_string() == text)
            .ok_or_else(error)
    }
}

/// What a task does in its round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskKind {
    /// Lists the inputs and cuts the splits.
    Plan,
    /// Maps one split.
    Map,
    /// Reduces one partition.
    Reduce,
    /// Reads a round's outputs and decides whether another follows.
    Close,
    /// Makes the job's output visible as a whole.
    Commit,
    /// Tells somebody that the job ended; its index is which of the job's ends.
    Notify,
}

impl TaskKind {
    /// Whether the task runs in the worker's control slot, so that no job's
    /// end waits behind another job's task.
    #[must_use]
    pub fn is_control(self) -> bool {
        match self {
            Self::Plan | Self::Close | Self::Commit | Self::Notify => true,
            Self::Map | Self::Reduce => false,
        }
    }

    /// The word in ids and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Map => "map",
            Self::Reduce => "reduce",
            Self::Close => "close",
            Self::Commit => "commit",
            Self::Notify => "notify",
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One round of one step of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoundId {
    /// The job.
    pub job: JobId,
    /// The step, from 0.
    pub step: u16,
    /// The round of the step, from 0.
    pub round: u32,
}

impl fmt::Display for RoundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.job, self.step, self.round)
    }
}

/// One split (map), one partition (reduce), or one of the control tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// Where it belongs.
    pub round: RoundId,
    /// What it does.
    pub kind: TaskKind,
    /// Split or partition number, from 0; 0 for control tasks of a round.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}-{}", self.round, self.kind, self.index)
    }
}

/// One numbered try at a task; `job-17.0.0.map-3.1` in text and in file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task.
    pub task: TaskId,
    /// The try, from 1, never used twice for one task.
    pub number: u16,
}

impl AttemptId {
    /// The job that the attempt belongs to.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.task.round.job
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.number)
    }
}

const ATTEMPT_FORM: &str = "an attempt id like job-17.0.0.map-3.1";

impl FromStr for AttemptId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_attempt(text).ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected: ATTEMPT_FORM,
        })
    }
}

fn parse_attempt(text: &str) -> Option<AttemptId> {
    let mut parts = text.split('.');
    let job = parts.next()?.parse().ok()?;
    let step = parts.next()?.parse().ok()?;
    let round = parts.next()?.parse().ok()?;
    let (word, index) = parts.next()?.split_once('-')?;
    let kind = [
        TaskKind::Plan,
        TaskKind::Map,
        TaskKind::Reduce,
        TaskKind::Close,
        TaskKind::Commit,
        TaskKind::Notify,
    ]
    .into_iter()
    .find(|kind| kind.word() == word)?;
    let index = index.parse().ok()?;
    let number = parts.next()?.parse().ok()?;
    if parts.next().is_some() {
        return None;
    }
    let task = TaskId {
        round: RoundId { job, step, round },
        kind,
        index,
    };
    let id = AttemptId { task, number };
    // One text per id: `+1` and `01` parse as numbers but are not ours.
    (id.to_string() == text).then_some(id)
}

/// One map attempt's sorted records for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId {
    /// The map attempt that wrote it.
    pub attempt: AttemptId,
    /// The partition it is for.
    pub partition: u32,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.attempt, self.partition)
    }
}

/// A dataset, minted when its `put` begins and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DatasetId(pub u64);

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dataset-{}", self.0)
    }
}

impl FromStr for DatasetId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_number(text, "dataset-", "a dataset id like dataset-4").map(Self)
    }
}

/// A block of a dataset; `dataset-4.block-17` in text. The same id means the
/// same bytes wherever it lies: who sends other bytes uses another index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockId {
    /// The dataset.
    pub dataset: DatasetId,
    /// Which of its blocks, never used for other bytes.
    pub index: u64,
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.block-{}", self.dataset, self.index)
    }
}

impl FromStr for BlockId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (dataset, index) = text.split_once('.')?;
            let id = Self {
                dataset: dataset.parse().ok()?,
                index: index.strip_prefix("block-")?.parse().ok()?,
            };
            (id.to_string() == text).then_some(id)
        };
        parse().ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected: "a block id like dataset-4.block-17",
        })
    }
}

/// A worker at one registration: the pair that every fenced call carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerEpoch {
    /// The worker.
    pub worker: WorkerId,
    /// Its registration.
    pub epoch: Epoch,
}

impl fmt::Display for WorkerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.worker, self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempt_id_reads_back_what_it_prints() {
        let id = AttemptId {
            task: TaskId {
                round: RoundId {
                    job: JobId(17),
                    step: 2,
                    round: 5,
                },
                kind: TaskKind::Reduce,
                index: 1_000_000,
            },
            number: 3,
        };
        assert_eq!(id.to_string(), "job-17.2.5.reduce-1000000.3");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn attempt_id_has_one_text_form_only() {
        for text in [
            "job-17.0.0.map-03.1",
            "job-+1.0.0.map-3.1",
            "job-1.0.0.map-3",
            "../x",
            "",
        ] {
            assert!(text.parse::<AttemptId>().is_err(), "{text}");
        }
    }

    #[test]
    fn cluster_id_has_one_text_form_only() {
        let id = ClusterId(0xab << 100);
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        let signed = format!("+{}", &text[1..]);
        for other in [text.to_uppercase(), signed, text[1..].to_owned()] {
            assert!(other.parse::<ClusterId>().is_err(), "{other}");
        }
    }

    #[test]
    fn block_id_has_one_text_form_only() {
        let id = BlockId {
            dataset: DatasetId(4),
            index: u64::MAX,
        };
        assert_eq!(id.to_string(), "dataset-4.block-18446744073709551615");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "dataset-04.block-1",
            "dataset-4.block-+1",
            "dataset-4.block-1.",
            "dataset-4/../x",
            "",
        ] {
            assert!(text.parse::<BlockId>().is_err(), "{text}");
        }
    }
}
