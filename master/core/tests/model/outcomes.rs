//! What attempts come to: as they should, or not.

use vivat_core::command::{Command, Reply};
use vivat_shared::attempt::{Outcome, PlanChunk};
use vivat_shared::ids::{AttemptId, TaskKind, WorkerEpoch};
use vivat_shared::logs::AttemptLog;
use vivat_shared::plan::checksum;
use vivat_shared::size_code::SizeCode;

use crate::build;
use crate::world::World;

impl World {
    pub fn finish_something(&mut self, dice: [u16; 4], well: bool) {
        let Some((attempt, worker)) = self.some_attempt(dice) else {
            return;
        };
        let live = self.live().contains(&(attempt, worker));
        let outcome = match dice[2] % 4 {
            _ if well => self.success(attempt, worker, dice[3] % 5),
            0 => build::failed("program", said(attempt, worker, dice[3])),
            1 => build::failed("not-found", None),
            2 => Outcome::HandedBack,
            _ => Outcome::Killed,
        };
        let report = Command::FinishAttempt {
            attempt,
            worker,
            outcome,
        };
        // A report that is repeated is taken once (S2), a stale one never (S4).
        let replies = self.propose(vec![report.clone(), report]).replies;
        let taken = replies
            .iter()
            .filter(|reply| **reply == Reply::Done)
            .count();
        assert_eq!(taken, usize::from(live), "{replies:?}");
        if live {
            self.note_rounds(attempt);
        }
    }

    /// The outcome of an attempt that did what it should; sends a plan's chunks.
    pub fn success(&mut self, attempt: AttemptId, worker: WorkerEpoch, size: u16) -> Outcome {
        match attempt.task.kind {
            TaskKind::Plan => self.send_plan(attempt, worker, size),
            TaskKind::Map => {
                let spec = vivat_core::job_spec(self.state(), attempt.job());
                let reducers = spec.map_or(1, |spec| spec.steps[0].reducers);
                Outcome::Mapped {
                    log: said(attempt, worker, size),
                    segments: segments(attempt, reducers),
                    counters: build::counters(1),
                    skipped: Vec::new(),
                }
            }
            TaskKind::Reduce => self.reduced(attempt, worker, size),
            TaskKind::Close => self.closed(attempt, worker, size),
            TaskKind::Commit => Outcome::Committed,
            TaskKind::Notify => Outcome::Notified,
        }
    }

    fn send_plan(&mut self, attempt: AttemptId, worker: WorkerEpoch, chunks: u16) -> Outcome {
        let chunks = self.plan_chunks(attempt.job(), chunks);
        let mut crc32c = 0;
        for (chunk, content) in (0..).zip(&chunks) {
            checksum(&mut crc32c, content);
            let append = Command::AppendPlan {
                attempt,
                worker,
                chunk,
                content: content.clone(),
            };
            self.propose(vec![append.clone(), append]);
        }
        let count = |len: fn(&PlanChunk) -> usize| {
            u32::try_from(chunks.iter().map(len).sum::<usize>()).unwrap()
        };
        Outcome::Planned {
            chunks: count(|_| 1),
            files: count(|chunk| chunk.files.len()),
            splits: count(|chunk| chunk.splits.len()),
            crc32c,
            replaces: None,
        }
    }
}

/// What a map attempt wrote: known by its id, so that it can be told again.
pub fn segments(attempt: AttemptId, reducers: u32) -> Vec<SizeCode> {
    (0..reducers)
        .map(|partition| SizeCode::of(u64::from(attempt.task.index + partition) * 7))
        .collect()
}

/// What some attempts wrote to their standard error.
fn said(attempt: AttemptId, worker: WorkerEpoch, dice: u16) -> Option<AttemptLog> {
    (dice % 2 == 1).then(|| build::log(attempt, 10, &[worker.worker.0]))
}
