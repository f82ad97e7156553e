//! The control plane as its clients may see it (S1, S3, S5, S10, S11).
//!
//! A key names at most one job, for ever: the first submission creates it, every
//! other is told of it. A job moves forward only, by itself or by a cancel, and
//! its end is final.
//!
//! Jobs move between the clients' calls, unseen. So the state of a job here is
//! the *set* of states it may be in: an answer narrows the set, and an answer
//! that leaves nothing of it is the violation. The point of no return, after
//! which a cancel is too late, is one of the states though clients see it as
//! `Running`.

use std::collections::BTreeMap;

use super::{Model, Operation};

/// The model; see the module.
///
/// Each attempt to submit is an operation of its own, also when a client library
/// repeats it: a lost answer is one of unknown outcome, and only with it can
/// `Existing` be the first answer that anybody saw. An id that no submission of
/// the history returned belongs to no job. Forgetting jobs is not modelled.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobQueue;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOp {
    /// A job, under an idempotency key.
    Submit {
        /// Made by the client.
        key: String,
    },
    /// The end of a job.
    Cancel {
        /// The job.
        id: u64,
    },
    /// The state of a job.
    Get {
        /// The job.
        id: u64,
    },
}

/// What it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobAnswer {
    /// The submission made this job.
    Created(u64),
    /// An earlier submission with this key made this job.
    Existing(u64),
    /// The job is cancelled, now or since an earlier cancel.
    Cancelled,
    /// The job ended, or its output is about to become visible.
    TooLate,
    /// No job has this id.
    NotFound,
    /// The job's state.
    State(Seen),
}

/// A job's state as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing was granted yet.
    Queued,
    /// At work, or committing its output.
    Running,
    /// Final.
    Succeeded,
    /// Final.
    Failed,
    /// Final.
    Cancelled,
}

/// States that a job may be in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Phases(u8);

impl Phases {
    const QUEUED: Self = Self(1);
    const RUNNING: Self = Self(2);
    const COMMITTING: Self = Self(4);
    const SUCCEEDED: Self = Self(8);
    const FAILED: Self = Self(16);
    const CANCELLED: Self = Self(32);
    /// A cancel takes effect in these.
    const CANCELLABLE: Self = Self(1 | 2 | 32);
    /// A cancel may be told that it is too late in these. A cancelled job has
    /// ended: both answers to a second cancel are true.
    const TOO_LATE: Self = Self(4 | 8 | 16 | 32);

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn is_none(self) -> bool {
        self.0 == 0
    }

    /// With what may become of the job by itself.
    fn later(self) -> Self {
        let ends = Self::SUCCEEDED.or(Self::FAILED);
        let mut all = self;
        if !self.and(Self::QUEUED).is_none() {
            all = all.or(Self::RUNNING);
        }
        if !all.and(Self::RUNNING).is_none() {
            all = all.or(Self::COMMITTING);
        }
        if !all.and(Self::COMMITTING).is_none() {
            all = all.or(ends);
        }
        all
    }

    fn seen_as(seen: Seen) -> Self {
        match seen {
            Seen::Queued => Self::QUEUED,
            Seen::Running => Self::RUNNING.or(Self::COMMITTING),
            Seen::Succeeded => Self::SUCCEEDED,
            Seen::Failed => Self::FAILED,
            Seen::Cancelled => Self::CANCELLED,
        }
    }
}

impl std::fmt::Debug for Phases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            (Self::QUEUED, "queued"),
            (Self::RUNNING, "running"),
            (Self::COMMITTING, "committing"),
            (Self::SUCCEEDED, "succeeded"),
            (Self::FAILED, "failed"),
            (Self::CANCELLED, "cancelled"),
        ];
        let words: Vec<&str> = names
            .into_iter()
            .filter(|(phase, _)| !self.and(*phase).is_none())
            .map(|(_, word)| word)
            .collect();
        f.write_str(&words.join("|"))
    }
}

/// The job of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Job {
    /// Not known while every answer that named it is lost.
    id: Option<u64>,
    phases: Phases,
}

/// All jobs of a part of the history, by key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct JobSet {
    jobs: BTreeMap<String, Job>,
}

impl JobSet {
    /// The key of the job with this id; else of one whose id nobody was told.
    fn key_of(&self, id: u64) -> Option<String> {
        let known = self.jobs.iter().find(|(_, job)| job.id == Some(id));
        let unknown = || self.jobs.iter().find(|(_, job)| job.id.is_none());
        known.or_else(unknown).map(|(key, _)| key.clone())
    }

    fn with(&self, key: String, id: Option<u64>, phases: Phases) -> Option<Self> {
        if phases.is_none() {
            return None;
        }
        let mut next = self.clone();
        let phases = phases.later();
        next.jobs.insert(key, Job { id, phases });
        Some(next)
    }

    fn submit(&self, key: &str, answer: Option<&JobAnswer>) -> Option<Self> {
        let taken = |id: u64| self.jobs.values().any(|job| job.id == Some(id));
        match (self.jobs.get(key), answer) {
            (None, None) => self.with(key.to_owned(), None, Phases::QUEUED),
            (None, Some(JobAnswer::Created(id))) if !taken(*id) => {
                self.with(key.to_owned(), Some(*id), Phases::QUEUED)
            }
            (Some(_), None) => Some(self.clone()),
            (Some(job), Some(JobAnswer::Existing(id))) => match job.id {
                Some(known) => (known == *id).then(|| self.clone()),
                None if taken(*id) => None,
                None => self.with(key.to_owned(), Some(*id), job.phases),
            },
            (None | Some(_), Some(_)) => None,
        }
    }

    fn cancel(&self, id: u64, answer: Option<&JobAnswer>) -> Option<Self> {
        let Some(key) = self.key_of(id) else {
            return matches!(answer, None | Some(JobAnswer::NotFound)).then(|| self.clone());
        };
        let phases = self.jobs.get(&key)?.phases;
        let cancelled = if phases.and(Phases::CANCELLABLE).is_none() {
            Phases(0)
        } else {
            Phases::CANCELLED
        };
        let too_late = phases.and(Phases::TOO_LATE);
        match answer {
            None => self.with(key, Some(id), cancelled.or(too_late)),
            Some(JobAnswer::Cancelled) => self.with(key, Some(id), cancelled),
            Some(JobAnswer::TooLate) => self.with(key, Some(id), too_late),
            Some(
                JobAnswer::NotFound
                | JobAnswer::Created(_)
                | JobAnswer::Existing(_)
                | JobAnswer::State(_),
            ) => None,
        }
    }

    fn get(&self, id: u64, answer: Option<&JobAnswer>) -> Option<Self> {
        let Some(answer) = answer else {
            return Some(self.clone());
        };
        let Some(key) = self.key_of(id) else {
            return (*answer == JobAnswer::NotFound).then(|| self.clone());
        };
        let phases = self.jobs.get(&key)?.phases;
        match answer {
            JobAnswer::State(seen) => self.with(key, Some(id), phases.and(Phases::seen_as(*seen))),
            JobAnswer::NotFound
            | JobAnswer::Created(_)
            | JobAnswer::Existing(_)
            | JobAnswer::Cancelled
            | JobAnswer::TooLate => None,
        }
    }
}

impl Model for JobQueue {
    type State = JobSet;
    type Op = JobOp;
    type Output = JobAnswer;

    fn init(&self) -> JobSet {
        JobSet::default()
    }

    fn step(&self, state: &JobSet, op: &JobOp, output: Option<&JobAnswer>) -> Option<JobSet> {
        match op {
            JobOp::Submit { key } => state.submit(key, output),
            JobOp::Cancel { id } => state.cancel(*id, output),
            JobOp::Get { id } => state.get(*id, output),
        }
    }

    /// By key; ids go with the key whose submission returned them. Keys that were
    /// told the same id, which is a bug, are checked together so that it shows.
    fn partition(&self, operations: &[Operation<JobOp, JobAnswer>]) -> Vec<Vec<usize>> {
        let mut groups = Groups::default();
        for operation in operations {
            if let JobOp::Submit { key } = &operation.op {
                groups.key(key);
                if let Some(JobAnswer::Created(id) | JobAnswer::Existing(id)) = operation.output() {
                    groups.tie(key, *id);
                }
            }
        }
        let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (position, operation) in operations.iter().enumerate() {
            let group = match &operation.op {
                JobOp::Submit { key } => groups.key(key),
                JobOp::Cancel { id } | JobOp::Get { id } => groups.id(*id),
            };
            parts.entry(group).or_default().push(position);
        }
        parts.into_values().collect()
    }
}

/// Keys and ids that belong together.
#[derive(Default)]
struct Groups {
    keys: BTreeMap<String, usize>,
    ids: BTreeMap<u64, usize>,
    fresh: usize,
}

impl Groups {
    fn key(&mut self, key: &str) -> usize {
        let fresh = &mut self.fresh;
        *self
            .keys
            .entry(key.to_owned())
            .or_insert_with(|| next(fresh))
    }

    fn id(&mut self, id: u64) -> usize {
        let fresh = &mut self.fresh;
        *self.ids.entry(id).or_insert_with(|| next(fresh))
    }

    fn tie(&mut self, key: &str, id: u64) {
        let kept = self.key(key);
        let joined = self.id(id);
        for group in self.keys.values_mut().chain(self.ids.values_mut()) {
            if *group == joined {
                *group = kept;
            }
        }
    }
}

fn next(fresh: &mut usize) -> usize {
    *fresh += 1;
    *fresh
}
