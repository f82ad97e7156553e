//! The ends of rounds, and what goes from one round to the next.
//!
//! What a round reads beside its input is in the grant when it is small. A larger
//! one lies in blocks: it is fetched once for each worker and round, every block
//! checked on its way, and lies in the job's scratch from then on, so that the
//! tasks of the round read a file. Tasks that run at the same time share one copy
//! in memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use vivat_engine::failpoint::point;
use vivat_engine::{ClosePart, CloseTask, InputError, InputOpener, InputReader};
use vivat_mapreduce::SideFiles;
use vivat_shared::attempt::{
    Broadcast, ClosedBroadcast, Counters, InputFile, InputOrigin, Metric, Metrics, Outcome,
    PartOutput,
};
use vivat_shared::cause::FailureCause;
use vivat_shared::dataset::{LocatedBlock, ReplicatedBlock};
use vivat_shared::ids::{BlockId, DatasetId, JobId};
use vivat_shared::job::{InputFormat, JobSpec, StepInput, StepSpec};
use vivat_shared::limits::{BROADCAST_INLINE_BYTES_MAX, METRICS_MAX, STREAM_CHUNK_BYTES};

use super::work::fault;
use super::{Fault, Runner};
use crate::datasets::{DatasetOpener, DatasetPart, PartOrder, Served};
use crate::dir::remove_file;
use crate::held::Grant;

/// Broadcasts of one job that lie in its scratch: a round's own, and the next
/// one's while stragglers of the round still read.
const KEPT_PER_JOB: usize = 2;

/// What a round's tasks read beside their input.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) broadcast: Arc<[u8]>,
    pub(super) side_files: Arc<SideFiles>,
}

/// The end of a round, as it was granted.
#[derive(Debug)]
pub(super) struct RoundEnd<'t> {
    pub(super) parts: &'t [Vec<LocatedBlock>],
    pub(super) outputs: &'t [PartOutput],
    pub(super) round: u32,
    pub(super) rounds_max: u32,
    pub(super) broadcast: &'t Broadcast,
    pub(super) output: DatasetId,
}

/// How the bytes of a step's input become records: what a step wrote are lines.
pub(super) fn format_of(spec: &JobSpec, step: &StepSpec) -> InputFormat {
    match step.input {
        StepInput::Job => spec.format,
        StepInput::Previous => InputFormat::Text,
    }
}

/// Broadcasts that lie in the jobs' scratch. The first block names one.
#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    jobs: Mutex<HashMap<JobId, Vec<Arc<Kept>>>>,
}

/// One broadcast: whoever comes first fetches it under the lock.
#[derive(Debug)]
struct Kept {
    block: BlockId,
    state: Mutex<KeptState>,
}

#[derive(Debug, Default)]
struct KeptState {
    /// In the file; none: not fetched yet.
    crc32c: Option<u32>,
    memory: Option<Weak<[u8]>>,
}

impl Broadcasts {
    /// The place of a broadcast, and those that make room for it.
    fn place(&self, job: JobId, block: BlockId) -> (Arc<Kept>, Vec<BlockId>) {
        let mut jobs = self.lock();
        let kept = jobs.entry(job).or_default();
        if let Some(found) = kept.iter().find(|kept| kept.block == block) {
            return (found.clone(), Vec::new());
        }
        let surplus = (kept.len() + 1).saturating_sub(KEPT_PER_JOB);
        let gone = kept.drain(..surplus).map(|kept| kept.block).collect();
        let place = Arc::new(Kept {
            block,
            state: Mutex::default(),
        });
        kept.push(place.clone());
        (place, gone)
    }

    pub(super) fn forget(&self, jobs: &[JobId]) {
        self.lock().retain(|job, _| !jobs.contains(job));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Vec<Arc<Kept>>>> {
        // Whole at every moment.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner {
    /// What the tasks of an attempt's round read beside their input.
    pub(super) fn given(&self, grant: &Arc<Grant>, given: &Broadcast) -> Result<Given, Fault> {
        let broadcast = match given {
            Broadcast::None => Arc::default(),
            Broadcast::Inline(bytes) => bytes.clone(),
            Broadcast::Stored { bytes, blocks } => self.stored(grant, *bytes, blocks)?,
        };
        Ok(Given {
            broadcast,
            side_files: self.side_files(grant)?,
        })
    }

    fn stored(
        &self,
        grant: &Arc<Grant>,
        bytes: u64,
        blocks: &[LocatedBlock],
    ) -> Result<Arc<[u8]>, Fault> {
        let Some(first) = blocks.first() else {
            return Err(internal("a stored broadcast came without blocks"));
        };
        let job = grant.attempt.job();
        let scratch = self.dir.job_scratch(job).map_err(self.storage(BROADCAST))?;
        let (place, gone) = self.broadcasts.place(job, first.summary.id);
        for block in gone {
            remove_file(&scratch.join(file_name(block))).map_err(self.storage(BROADCAST))?;
        }
        let mut state = place.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = state.memory.as_ref().and_then(Weak::upgrade) {
            return Ok(shared);
        }
        let path = scratch.join(file_name(place.block));
        let kept = match state.crc32c {
            Some(crc32c) => read_kept(&path, crc32c),
            None => None,
        };
        let shared: Arc<[u8]> = match kept {
            Some(kept) => kept.into(),
            None => {
                let fetched = self.fetch_blocks(grant, bytes, blocks)?;
                point("broadcast-write")
                    .and_then(|()| fs::write(&path, &fetched))
                    .map_err(self.storage(BROADCAST))?;
                state.crc32c = Some(crc32c::crc32c(&fetched));
                fetched.into()
            }
        };
        state.memory = Some(Arc::downgrade(&shared));
        Ok(shared)
    }

    fn fetch_blocks(
        &self,
        grant: &Arc<Grant>,
        bytes: u64,
        blocks: &[LocatedBlock],
    ) -> Result<Vec<u8>, Fault> {
        let mut reader = self
            .block_reader(grant, bytes, blocks)
            .map_err(|error| unreadable(BROADCAST, error))?;
        let mut fetched = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        let mut piece = vec![0; STREAM_CHUNK_BYTES];
        while (fetched.len() as u64) < bytes {
            let read = reader.read_at(&mut piece, fetched.len() as u64);
            match read.map_err(|error| unreadable(BROADCAST, error))? {
                0 => return Err(internal("a stored broadcast is shorter than was said")),
                read => fetched.extend_from_slice(&piece[..read]),
            }
        }
        Ok(fetched)
    }

    /// Reads blocks one behind the other.
    fn block_reader(
        &self,
        grant: &Arc<Grant>,
        bytes: u64,
        blocks: &[LocatedBlock],
    ) -> Result<Box<dyn InputReader>, InputError> {
        let opener = DatasetOpener {
            blocks: &self.blocks,
            located: blocks,
            start: 0,
            stopped: &grant.stopped,
            served: Arc::new(Served::default()),
        };
        opener.open(&InputFile {
            header: Vec::new(),
            path: String::new(),
            display: String::new(),
            bytes,
            origin: InputOrigin::Dataset {
                dataset: DatasetId(0),
                start: 0,
            },
        })
    }

    /// Ends a round: runs the program's close over the parts, and stores what it
    /// hands on when that is large.
    pub(super) fn close(&self, grant: &Arc<Grant>, end: &RoundEnd<'_>) -> Result<Outcome, Fault> {
        if end.parts.len() != end.outputs.len() {
            return Err(internal("a round ends with parts that are not described"));
        }
        let program = self.programs.get(grant.attempt.task.round, &grant.spec)?;
        let given = self.given(grant, end.broadcast)?;
        let described = end.parts.iter().zip(end.outputs);
        let parts = described.map(|(blocks, output)| ClosePart {
            output: *output,
            open: Box::new(|| self.block_reader(grant, output.bytes, blocks)),
        });
        let report = program.executable.close(&mut CloseTask {
            round: end.round,
            rounds_max: end.rounds_max,
            parts: parts.collect(),
            parameters: &program.parameters,
            broadcast: &given.broadcast,
            side_files: &given.side_files,
            progress: &grant.progress,
            cancel: &grant.cancel,
        });
        let report = report.map_err(fault)?;
        point("close-done").map_err(self.storage("the end of a round"))?;
        let closed = report.closed;
        let broadcast = if closed.broadcast.len() <= BROADCAST_INLINE_BYTES_MAX {
            ClosedBroadcast::Inline(closed.broadcast)
        } else {
            ClosedBroadcast::Stored(self.store(grant, end, &closed.broadcast)?)
        };
        Ok(Outcome::Closed {
            broadcast,
            metrics: metrics(&closed.metrics, report.counters),
            again: closed.again,
        })
    }

    /// Writes a broadcast as blocks: here, and where the leader says.
    fn store(
        &self,
        grant: &Arc<Grant>,
        end: &RoundEnd<'_>,
        bytes: &[u8],
    ) -> Result<Vec<ReplicatedBlock>, Fault> {
        let failed = |error: io::Error| {
            if grant.cancel.is_cancelled() {
                return Fault::Stopped;
            }
            let detail = format!("a block of {BROADCAST}: {error}");
            FailureCause::Storage { detail }.into()
        };
        let partition = u32::try_from(end.parts.len()).unwrap_or(u32::MAX);
        let mut part = DatasetPart::new(PartOrder {
            blocks: &self.blocks,
            leader: &self.leader,
            stopped: &grant.stopped,
            output: end.output,
            partition,
            attempt: grant.attempt.number,
            worker: grant.worker.worker,
        });
        part.write_all(bytes).map_err(failed)?;
        let written = part.finish().map_err(failed)?;
        Ok(written)
    }

    /// Copies a part of a round from its blocks to where the output goes.
    pub(super) fn copy_part(
        &self,
        grant: &Arc<Grant>,
        (part, blocks): (PartOutput, &[LocatedBlock]),
        out: &mut dyn Write,
        failed: &dyn Fn(&io::Error) -> FailureCause,
    ) -> Result<(), Fault> {
        const WHAT: &str = "a part of the last round";
        let mut reader = self
            .block_reader(grant, part.bytes, blocks)
            .map_err(|error| unreadable(WHAT, error))?;
        let (mut at, mut crc32c) = (0, 0);
        let mut piece = vec![0; STREAM_CHUNK_BYTES];
        while at < part.bytes {
            let read = reader.read_at(&mut piece, at);
            let read = read.map_err(|error| unreadable(WHAT, error))?;
            if read == 0 {
                break;
            }
            at += read as u64;
            crc32c = crc32c::crc32c_append(crc32c, &piece[..read]);
            out.write_all(&piece[..read])
                .map_err(|error| failed(&error))?;
        }
        if (at, crc32c) != (part.bytes, part.crc32c) {
            return Err(FailureCause::Storage {
                detail: format!("{WHAT} is not what its reduce wrote"),
            }
            .into());
        }
        Ok(())
    }
}

const BROADCAST: &str = "what a round hands on";

/// A file of a job's scratch that holds a broadcast.
fn file_name(block: BlockId) -> String {
    format!("broadcast-{}-{}", block.dataset, block.index)
}

/// What was kept, if it is still what it was.
fn read_kept(path: &Path, crc32c: u32) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    File::open(path).ok()?.read_to_end(&mut kept).ok()?;
    (crc32c::crc32c(&kept) == crc32c).then_some(kept)
}

/// What the program tells of the round; its counters are among it, as far as
/// there is room.
fn metrics(told: &std::collections::BTreeMap<String, f64>, counters: Counters) -> Metrics {
    let told = told.iter().map(|(name, value)| (name.clone(), *value));
    let mut metrics: Metrics = told
        .map(|(name, value)| (name, Metric::from(value)))
        .collect();
    for (name, sum) in counters {
        if metrics.len() >= METRICS_MAX {
            break;
        }
        #[expect(clippy::cast_precision_loss, reason = "it is told to people")]
        metrics
            .entry(name)
            .or_insert_with(|| Metric::from(sum as f64));
    }
    metrics
}

fn unreadable(what: &str, error: InputError) -> Fault {
    match error {
        InputError::Stopped => Fault::Stopped,
        InputError::Unreachable { detail } => FailureCause::InputUnreachable {
            path: what.to_owned(),
            detail,
        }
        .into(),
        InputError::Io(_) | InputError::Problem(_) => FailureCause::InputUnreadable {
            path: what.to_owned(),
            detail: error.to_string(),
        }
        .into(),
    }
}

fn internal(detail: &str) -> Fault {
    FailureCause::Internal {
        detail: detail.to_owned(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(index: u64) -> BlockId {
        BlockId {
            dataset: DatasetId(7),
            index,
        }
    }

    #[test]
    fn job_keeps_two_broadcasts_and_gives_up_the_oldest_for_a_third() {
        let broadcasts = Broadcasts::default();
        let (first, gone) = broadcasts.place(JobId(1), block(1));
        assert!(gone.is_empty());
        assert!(Arc::ptr_eq(&first, &broadcasts.place(JobId(1), block(1)).0));
        assert!(broadcasts.place(JobId(1), block(2)).1.is_empty());
        assert!(broadcasts.place(JobId(2), block(9)).1.is_empty());
        assert_eq!(broadcasts.place(JobId(1), block(3)).1, [block(1)]);
        broadcasts.forget(&[JobId(1)]);
        assert!(broadcasts.place(JobId(1), block(4)).1.is_empty());
    }

    #[test]
    fn kept_broadcast_that_changed_on_the_disk_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(file_name(block(1)));
        assert_eq!(read_kept(&path, 0), None);
        fs::write(&path, b"cut points").unwrap();
        let crc32c = crc32c::crc32c(b"cut points");
        assert_eq!(read_kept(&path, crc32c).unwrap(), b"cut points");
        fs::write(&path, b"cut pointz").unwrap();
        assert_eq!(read_kept(&path, crc32c), None);
    }

    #[test]
    fn counters_of_a_close_are_told_as_metrics_where_there_is_room() {
        let told = std::collections::BTreeMap::from([("error".to_owned(), 0.5)]);
        let counters = [("error", 3), ("rows", 2)].map(|(name, sum)| (name.to_owned(), sum));
        let metrics = metrics(&told, counters.into());
        assert_eq!(metrics["error"].value().to_bits(), 0.5_f64.to_bits());
        assert_eq!(metrics["rows"].value().to_bits(), 2.0_f64.to_bits());
    }
}
