//! Who ran which attempt, when: of rounds that are over, and of jobs that ended,
//! as long as there is room.
//!
//! The round that runs has its times in the columns of its tables; what failed, was
//! killed or lost in it is in a bounded list beside them. When the round is over
//! both become rows here, the oldest rows make room for new ones, and the tables go.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vivat_shared::ids::{AttemptId, JobId, RoundId, TaskId, TaskKind, WorkerId};
use vivat_shared::timeline::{AttemptEnd, AttemptSpan};

use super::job::{Active, Job};
use crate::limits::TIMELINE_ROWS_MAX;

/// One attempt that ended. Times are milliseconds since the job's submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub kind: TaskKind,
    pub index: u32,
    pub number: u16,
    pub worker: WorkerId,
    pub began_ms: u32,
    pub ended_ms: u32,
    pub end: AttemptEnd,
}

impl Span {
    fn in_round(self, round: RoundId) -> AttemptSpan {
        let task = TaskId {
            round,
            kind: self.kind,
            index: self.index,
        };
        AttemptSpan {
            attempt: AttemptId {
                task,
                number: self.number,
            },
            worker: self.worker,
            began_ms: self.began_ms,
            ended_ms: Some(self.ended_ms),
            end: Some(self.end),
        }
    }
}

/// The rows of one round that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RoundRows {
    round: RoundId,
    spans: Vec<Span>,
}

/// All rows, oldest rounds first. Clones of the state share them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Timeline {
    rounds: VecDeque<Arc<RoundRows>>,
    rows: u32,
}

impl Timeline {
    /// Keeps what a round came to. One that alone is too large is not kept.
    pub(crate) fn keep(&mut self, round: RoundId, spans: Vec<Span>) {
        self.rows += count(&spans);
        self.rounds.push_back(Arc::new(RoundRows { round, spans }));
        while self.rows > TIMELINE_ROWS_MAX
            && let Some(oldest) = self.rounds.pop_front()
        {
            self.rows -= count(&oldest.spans);
        }
    }

    /// The job is not known any more.
    pub(crate) fn forget(&mut self, job: JobId) {
        self.rounds.retain(|kept| kept.round.job != job);
        self.rows = self.rounds.iter().map(|kept| count(&kept.spans)).sum();
    }

    /// Rows in all.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    fn of(&self, job: JobId) -> impl Iterator<Item = AttemptSpan> + '_ {
        self.rounds
            .iter()
            .filter(move |kept| kept.round.job == job)
            .flat_map(|kept| {
                let spans = kept.spans.iter();
                spans.map(|span| span.in_round(kept.round))
            })
    }

    /// What is known of a job's attempts, in an order that only grows at its end
    /// once the job has ended.
    pub(crate) fn spans<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = AttemptSpan> + 'a {
        let current = job.active().into_iter().flat_map(|active| {
            let round = active.round().id;
            let ended = ended_spans(active).map(move |span| span.in_round(round));
            ended.chain(running_spans(active))
        });
        self.of(job.id).chain(current)
    }
}

fn count(spans: &[Span]) -> u32 {
    u32::try_from(spans.len()).unwrap_or(u32::MAX)
}

const KINDS: [TaskKind; 5] = [
    TaskKind::Plan,
    TaskKind::Map,
    TaskKind::Reduce,
    TaskKind::Close,
    TaskKind::Commit,
];

/// The attempts of the current round that ended: the accepted ones by task, then
/// the others.
pub(crate) fn ended_spans(active: &Active) -> impl Iterator<Item = Span> + '_ {
    let accepted = KINDS.into_iter().flat_map(|kind| {
        let round = active.round().id;
        let first = TaskId {
            round,
            kind,
            index: 0,
        };
        let table = active.table(first);
        let indexes = 0..table.map_or(0, super::TaskTable::len);
        indexes.filter_map(move |index| {
            let (running, began_ms, ended_ms) = table?.accepted_times(index)?;
            Some(Span {
                kind,
                index,
                number: running.number,
                worker: running.worker.worker,
                began_ms,
                ended_ms,
                end: AttemptEnd::Accepted,
            })
        })
    });
    accepted.chain(active.mishaps.iter().copied())
}

fn running_spans(active: &Active) -> impl Iterator<Item = AttemptSpan> + '_ {
    active.live().into_iter().map(|(attempt, worker)| {
        let began_ms = active
            .table(attempt.task)
            .and_then(|table| table.granted_at_ms(attempt.task.index, attempt.number));
        AttemptSpan {
            attempt,
            worker: worker.worker,
            began_ms: began_ms.unwrap_or(0),
            ended_ms: None,
            end: None,
        }
    })
}
