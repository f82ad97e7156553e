//! Runs attempts on threads of their own: one for each slot and one for the
//! control slot.
//!
//! A slot takes an attempt, does its work, hands the outcome over and takes the
//! next; it knows neither the leader nor the epoch. Whatever user code does,
//! short of ending the process, ends in an outcome.

mod commit;
mod elsewhere;
mod here;
mod log;
mod notify;
mod panics;
mod programs;
mod rounds;
mod side;
mod tables;
mod times;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tokio::runtime::Handle;
use vivat_client::LeaderClient;
use vivat_engine::SegmentCompression;
use vivat_programs::ProgramEntry;
use vivat_shared::attempt::{AttemptFailure, Outcome, PlanChunk, Work};
use vivat_shared::cause::{FailureCause, InputRange};
use vivat_shared::ids::{AttemptId, JobId, TaskKind};
use vivat_shared::job::OutputLocation;
use vivat_shared::limits::OUTPUT_TAIL_BYTES_MAX;

use crate::blocks::Blocks;
use crate::core::Core;
use crate::dir::{CELL_CONTROL, RunningCells, WorkerDir};
use crate::held::{Grant, SlotKind, Taken};
use crate::load::{self, Load};
use crate::remote::Stores;
use crate::shuffle::Shuffle;
use crate::sink::OutputPaths;
use log::{KeptLog, Seat};
use programs::Programs;
use rounds::{Broadcasts, RoundEnd};
use side::SideFilesOfJobs;
use work::Slice;

/// Of a message within a cause, so that a report stays far below an entry.
const DETAIL_BYTES_MAX: usize = 1024;

/// How soon a delayed attempt notices that it was stopped.
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(50);

/// About a tenth of the share of a thread that is not nice, when both want to run.
const TASK_NICENESS: i32 = 10;

/// How a piece of work ended without an outcome.
#[derive(Debug)]
enum Fault {
    /// It was told to stop.
    Stopped,
    /// The attempt failed.
    Cause(FailureCause),
    /// A segment of a reduce is bad and must be had again.
    BadSegment { map: u32 },
}

impl From<FailureCause> for Fault {
    fn from(cause: FailureCause) -> Self {
        Self::Cause(cause)
    }
}

/// How the work of an attempt ended: a panic is its message.
type Ended = Result<Result<Outcome, Fault>, String>;

/// Takes the pieces of a plan, each with its number, and the outcome with the last.
type SendChunk<'s> = dyn FnMut(u32, PlanChunk, Option<&Outcome>) -> Result<(), Fault> + 's;

/// What runs attempts.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) core: Arc<Core>,
    pub(crate) dir: Arc<WorkerDir>,
    pub(crate) leader: LeaderClient,
    pub(crate) shuffle: Arc<Shuffle>,
    pub(crate) blocks: Blocks,
    stores: Arc<Stores>,
    pub(crate) runtime: Handle,
    pub(crate) slot_memory_bytes: usize,
    pub(crate) segment_compression: SegmentCompression,
    cells: RunningCells,
    programs: Programs,
    broadcasts: Broadcasts,
    side_files: SideFilesOfJobs,
    fail_after: Option<u32>,
    pub(crate) load: Load,
    ended: AtomicU32,
    /// For slots that stand in for others.
    next_cell: AtomicUsize,
}

/// What a runner is made of, beside its own.
pub(crate) struct RunnerParts {
    pub(crate) core: Arc<Core>,
    pub(crate) dir: Arc<WorkerDir>,
    pub(crate) leader: LeaderClient,
    pub(crate) shuffle: Arc<Shuffle>,
    pub(crate) blocks: Blocks,
    pub(crate) runtime: Handle,
    pub(crate) slots: u32,
    pub(crate) slot_memory_bytes: usize,
    pub(crate) segment_compression: SegmentCompression,
    pub(crate) cells: RunningCells,
    pub(crate) catalogue: &'static [ProgramEntry],
    pub(crate) fail_after: Option<u32>,
    pub(crate) load: Load,
}

impl Runner {
    pub(crate) fn new(parts: RunnerParts) -> Self {
        panics::install_hook();
        Self {
            core: parts.core,
            dir: parts.dir,
            leader: parts.leader,
            shuffle: parts.shuffle,
            blocks: parts.blocks,
            stores: Arc::default(),
            runtime: parts.runtime,
            slot_memory_bytes: parts.slot_memory_bytes,
            segment_compression: parts.segment_compression,
            cells: parts.cells,
            programs: Programs::new(parts.catalogue),
            broadcasts: Broadcasts::default(),
            side_files: SideFilesOfJobs::default(),
            fail_after: parts.fail_after,
            load: parts.load,
            ended: AtomicU32::new(0),
            next_cell: AtomicUsize::new(parts.slots as usize + 1),
        }
    }

    /// Starts the threads; they end when the core does.
    pub(crate) fn start(self: &Arc<Self>, slots: u32) -> std::io::Result<Vec<JoinHandle<()>>> {
        let mut threads = Vec::new();
        for (kind, cell) in self::slots(slots) {
            let runner = self.clone();
            let name = match kind {
                SlotKind::Control => "control".to_owned(),
                SlotKind::Task => format!("slot-{}", cell - 1),
            };
            let thread = thread::Builder::new().name(name);
            threads.push(thread.spawn(move || runner.run_slot(kind, cell))?);
        }
        Ok(threads)
    }

    /// Starts slots for those that are taken by code which does not stop. What
    /// it does is of no consequence any more, but no thread can be ended.
    pub(crate) fn replace_stuck(self: &Arc<Self>) {
        let now = std::time::Instant::now();
        for kind in self.core.change(|held| held.give_up_stuck(now)) {
            let cell = self.next_cell.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(?kind, "a program does not stop; another slot stands in");
            let runner = self.clone();
            let thread = thread::Builder::new().name(format!("slot-{}", cell - 1));
            // It ends with the process, like what it stands in for.
            if let Err(error) = thread.spawn(move || runner.run_slot(kind, cell)) {
                tracing::error!(error = %error, "cannot start a slot");
            }
        }
    }

    /// The leader knows of these crashes: they are told once.
    pub(crate) fn forget_crashes(&self, crashed: &mut Vec<AttemptId>) {
        if crashed.is_empty() {
            return;
        }
        tracing::warn!(
            attempts = crashed.len(),
            "attempts that ran in a crash were reported"
        );
        crashed.clear();
        if let Err(error) = self.cells.clear() {
            tracing::warn!(error = %error, "cannot clear the list of running attempts");
        }
    }

    /// Drops what is kept of jobs that have ended.
    pub(crate) fn forget_jobs(&self, jobs: &[JobId]) {
        self.programs.forget(jobs);
        self.broadcasts.forget(jobs);
        self.side_files.forget(jobs);
        self.forget_objects(jobs);
    }

    /// Deletes what an attempt wrote, because nobody wants it.
    pub(crate) fn discard(&self, grant: &Grant) {
        let attempt = grant.attempt;
        let deleted = match attempt.task.kind {
            TaskKind::Map => self.dir.remove_segment(attempt),
            TaskKind::Reduce => {
                if let OutputLocation::Objects { url } = &grant.spec.output {
                    self.discard_object(grant, url);
                }
                // Blocks of a dataset are found by the next report of what is here.
                match OutputPaths::new(&grant.spec.output, grant.cluster, attempt.job()) {
                    Ok(paths) => paths.remove_attempt(attempt),
                    Err(_) => Ok(()),
                }
            }
            TaskKind::Plan | TaskKind::Close | TaskKind::Commit | TaskKind::Notify => Ok(()),
        };
        if let Err(error) = deleted.and_then(|()| self.dir.remove_scratch(attempt)) {
            tracing::warn!(%attempt, error = %error, "cannot delete an attempt's files");
        }
    }

    fn run_slot(&self, kind: SlotKind, cell: usize) {
        // What the former process left in the cell stays until a leader knows.
        let mut marked = false;
        let unmark = |marked: bool| {
            if marked {
                self.mark(cell, None);
            }
        };
        while let Some(taken) = self.core.next(kind, || unmark(marked)) {
            let attempt = taken.grant.attempt;
            self.mark(cell, Some(attempt));
            if kind == SlotKind::Task && !marked {
                yield_to_others();
            }
            marked = true;
            self.run_one(taken, cell);
            if self.core.change(|held| held.is_replaced(attempt)) {
                tracing::warn!(%attempt, "code that was given up has ended");
                break;
            }
        }
        unmark(marked);
    }

    fn run_one(&self, taken: Taken, cell: usize) {
        tracing::debug!(attempt = %taken.grant.attempt, "attempt started");
        let seat = self.seat(&taken, cell);
        let ended = panics::caught(|| {
            self.work(&taken, &seat, &mut |number, chunk, seal| {
                self.append(&taken.grant, number, chunk, seal)
            })
        });
        self.end(taken, &seat, ended);
    }

    fn seat(&self, taken: &Taken, cell: usize) -> Seat {
        let directory = self.dir.slot_scratch_path(cell);
        Seat {
            cell,
            log: KeptLog::new(taken.grant.attempt, directory),
        }
    }

    /// Makes an outcome of how the work ended.
    fn end(&self, taken: Taken, seat: &Seat, ended: Ended) {
        let grant = taken.grant.clone();
        self.die_if_asked(seat.cell);
        let mut outcome = match ended {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(Fault::Stopped)) => Outcome::Killed,
            Ok(Err(Fault::Cause(cause))) => failed(&grant, cause, String::new()),
            Ok(Err(Fault::BadSegment { map })) => return self.fetch_again(taken, map),
            Err(panic) => self.panicked(&grant, panic, seat.cell),
        };
        self.keep_log(&grant, &seat.log, &mut outcome);
        match &outcome {
            Outcome::Failed(failure) => tracing::warn!(
                attempt = %grant.attempt,
                cause = %failure.cause,
                "attempt failed"
            ),
            outcome => tracing::debug!(attempt = %grant.attempt, ?outcome, "attempt ended"),
        }
        let produced = outcome.is_result();
        let wanted = self.core.change(|held| held.finish(&taken, outcome));
        if !wanted || !produced {
            self.discard(&grant);
        }
    }

    fn panicked(&self, grant: &Grant, message: String, cell: usize) -> Outcome {
        if let Err(error) = self.dir.clear_slot_scratch(cell) {
            tracing::warn!(error = %error, "cannot delete what a panic left");
        }
        let cause = FailureCause::Panicked {
            message: message.clone(),
        };
        failed(grant, cause, message)
    }

    fn fetch_again(&self, taken: Taken, map: u32) {
        tracing::warn!(attempt = %taken.grant.attempt, map, "segment is bad; fetched again");
        if self.core.change(|held| held.fetch_again(&taken)) {
            let fetched = taken.fetched.map(|mut fetched| {
                fetched.give_up(map);
                fetched
            });
            self.shuffle.fetch(taken.grant, fetched);
        } else {
            self.discard(&taken.grant);
        }
    }

    fn work(&self, taken: &Taken, seat: &Seat, send: &mut SendChunk<'_>) -> Result<Outcome, Fault> {
        let grant = &taken.grant;
        self.delay_if_asked(grant);
        if grant.cancel.is_cancelled() {
            return Err(Fault::Stopped);
        }
        match &grant.work {
            Work::Plan { datasets, previous } => self.plan(grant, datasets, *previous, send),
            Work::Map {
                file,
                split,
                splits,
                blocks,
                blocks_start,
                broadcast,
            } => {
                let given = self.given(grant, broadcast)?;
                let slice = Slice {
                    given: &given,
                    file,
                    range: *split,
                    splits: *splits,
                    blocks,
                    blocks_start: *blocks_start,
                };
                self.map(grant, &slice, seat)
            }
            Work::Reduce { output, .. } => {
                self.reduce(grant, taken.fetched.as_ref(), *output, seat)
            }
            Work::Close {
                parts,
                outputs,
                round,
                rounds_max,
                broadcast,
                output,
            } => {
                let end = RoundEnd {
                    parts,
                    outputs,
                    round: *round,
                    rounds_max: *rounds_max,
                    broadcast,
                    output: *output,
                };
                self.close(grant, &end)
            }
            Work::Commit {
                parts,
                blocks,
                replaces,
            } => self.commit(grant, (parts, blocks), replaces.as_ref()),
            Work::Notify { notify, event } => self.notify(grant, notify, event),
        }
    }

    fn mark(&self, cell: usize, attempt: Option<AttemptId>) {
        let marked = match attempt {
            Some(attempt) => self.cells.set(cell, attempt),
            None => self.cells.unset(cell),
        };
        // It only serves to find the one to blame after a crash.
        if let Err(error) = marked {
            tracing::debug!(error = %error, "cannot note the running attempt");
        }
    }

    /// The busy machine that `--load-probability` orders.
    fn delay_if_asked(&self, grant: &Grant) {
        if !self.load.delays(grant.attempt) {
            return;
        }
        tracing::debug!(attempt = %grant.attempt, "delayed, as --load-probability asks");
        let end = std::time::Instant::now() + load::DELAY;
        while std::time::Instant::now() < end && !grant.cancel.is_cancelled() {
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// The fault that `--fail-after` orders: no report, no good-bye. The
    /// attempt is not to blame for it, so it is not named as running.
    fn die_if_asked(&self, cell: usize) {
        let ended = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        if self.fail_after == Some(ended) {
            tracing::warn!(attempts = ended, "exiting hard, as --fail-after asks");
            self.mark(cell, None);
            let this = rustix::process::getpid();
            if rustix::process::kill_process(this, rustix::process::Signal::KILL).is_err() {
                std::process::abort();
            }
        }
    }
}

/// User code takes the cores that nobody else wants: heartbeats, segments and,
/// beside us, a master come first. On Linux a priority is a thread's own.
fn yield_to_others() {
    if let Err(error) = rustix::process::setpriority_process(None, TASK_NICENESS) {
        tracing::debug!(error = %error, "cannot lower the priority of a slot");
    }
}

/// The slots of a worker, each with its cell among those that run.
pub(crate) fn slots(count: u32) -> impl Iterator<Item = (SlotKind, usize)> {
    let tasks = (CELL_CONTROL + 1..=count as usize).map(|cell| (SlotKind::Task, cell));
    std::iter::once((SlotKind::Control, CELL_CONTROL)).chain(tasks)
}

fn failed(grant: &Grant, mut cause: FailureCause, mut output_tail: String) -> Outcome {
    if let FailureCause::Program { detail }
    | FailureCause::Panicked { message: detail }
    | FailureCause::Internal { detail } = &mut cause
    {
        clip(detail, DETAIL_BYTES_MAX);
    }
    clip(&mut output_tail, OUTPUT_TAIL_BYTES_MAX);
    let input = match &grant.work {
        Work::Map { file, split, .. } => Some(InputRange {
            path: file.display.clone(),
            offset: split.offset,
            bytes: split.bytes,
        }),
        Work::Plan { .. }
        | Work::Reduce { .. }
        | Work::Close { .. }
        | Work::Commit { .. }
        | Work::Notify { .. } => None,
    };
    Outcome::Failed(AttemptFailure {
        log: None,
        cause,
        input,
        output_tail,
    })
}

fn clip(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = text.floor_char_boundary(bytes_max);
        text.truncate(end);
    }
}
