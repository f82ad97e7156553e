//! The four kinds of work, each from its grant to its outcome.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use vivat_client::{ClientError, Refusal};
use vivat_engine::failpoint::point;
use vivat_engine::{EngineError, InputOpener, LocalFiles, MapTask, ReduceReport, ReduceTask};
use vivat_proto::convert::{attempt::chunk_to_wire, outcome::report_to_wire};
use vivat_proto::v1::{self, error_detail::Kind};
use vivat_shared::attempt::{
    Broadcast, Counters, InputFile, InputOrigin, Outcome, PartOutput, PlanChunk, SplitRange, Work,
    counters,
};
use vivat_shared::cause::FailureCause;
use vivat_shared::dataset::{LocatedBlock, ReplicatedBlock};
use vivat_shared::ids::{AttemptId, DatasetId};
use vivat_shared::job::{InputFormat, OutputLocation, StepSpec, is_url};
use vivat_shared::limits::INPUT_FILES_MAX;
use vivat_shared::size_code::SizeCode;

use super::commit::Part;
use super::rounds::{Given, format_of};
use super::times::Times;
use super::{Fault, Runner, Seat, SendChunk, elsewhere};
use crate::datasets::{DatasetOpener, DatasetPart, PartOrder, PlannedFile, Served};
use crate::held::Grant;
use crate::session::{call_leader, is_stale};
use crate::shuffle::Fetched;
use crate::sink::{OutputPaths, check_output};
use crate::source::{PlanSums, PlanWriter, RemoteOpener, list, list_remote};

/// What a map reads.
pub(super) struct Slice<'t> {
    pub(super) file: &'t InputFile,
    pub(super) range: SplitRange,
    /// Splits of the round in all.
    pub(super) splits: u32,
    /// Of a dataset's file: the blocks that it lies in.
    pub(super) blocks: &'t [LocatedBlock],
    pub(super) blocks_start: u64,
    /// What the round reads beside its input.
    pub(super) given: &'t Given,
}

/// What a reduce wrote: its part, the part's blocks, sums.
pub(super) type Reduced = (PartOutput, Vec<ReplicatedBlock>, Counters);

const CHUNK_TIMEOUT: Duration = Duration::from_secs(5);
const SEARCH_BUDGET: Duration = Duration::from_secs(30);

impl Runner {
    /// Checks program, parameters, inputs and output, in the order in which a
    /// user would want to be told, and sends the splits.
    pub(super) fn plan(
        &self,
        grant: &Arc<Grant>,
        datasets: &[DatasetId],
        previous: Option<DatasetId>,
        send: &mut SendChunk<'_>,
    ) -> Result<Outcome, Fault> {
        let spec = &grant.spec;
        self.programs.get(grant.attempt.task.round, spec)?;
        let files = match previous {
            None => self.inputs(grant, datasets)?,
            Some(written) => {
                let display = format!("output of step {}", grant.attempt.task.round.step);
                let listing = crate::datasets::files(&self.leader, written, &display);
                let listed = self.blocks.wait(listing, &grant.stopped);
                listed.ok_or(Fault::Stopped)??
            }
        };
        let replaces = match &spec.output {
            OutputLocation::Directory { .. } => check_output(&self.output(grant)?, spec.overwrite)?,
            // Whether the name is taken, the log knows.
            OutputLocation::Dataset { .. } => None,
            OutputLocation::Objects { url } => {
                let checked = self.objects(grant, url)?.check(spec.overwrite);
                checked.map_err(|cause| elsewhere::unless_stopped(grant, cause))?
            }
        };
        let (sums, last) = write_plan(self, grant, files, send)?;
        point("plan-done").map_err(self.storage("a plan"))?;
        if grant.cancel.is_cancelled() {
            return Err(Fault::Stopped);
        }
        let planned = Outcome::Planned {
            chunks: sums.chunks,
            files: sums.files,
            splits: sums.splits,
            crc32c: sums.crc32c,
            replaces,
        };
        if let Some((number, chunk)) = last {
            send(number, chunk, Some(&planned))?;
        }
        Ok(planned)
    }

    /// The files of all inputs, in the order of the inputs.
    fn inputs(
        &self,
        grant: &Arc<Grant>,
        datasets: &[DatasetId],
    ) -> Result<Vec<PlannedFile>, Fault> {
        let stopped = || grant.cancel.is_cancelled();
        let mut datasets = datasets.iter();
        let mut files = Vec::new();
        for input in &grant.spec.inputs {
            if is_url(&input.path) {
                let listed = list_remote(&self.stores, input, &self.waiting(grant));
                files.extend(listed.map_err(|cause| elsewhere::unless_stopped(grant, cause))?);
                continue;
            }
            if input.dataset().is_none() {
                let listed = list(std::slice::from_ref(input), &stopped)?;
                files.extend(listed.into_iter().map(PlannedFile::of));
                continue;
            }
            let dataset = datasets.next().ok_or_else(|| FailureCause::Internal {
                detail: format!("{} came without an id", input.display),
            })?;
            let listing = crate::datasets::files(&self.leader, *dataset, &input.display);
            let listed = self.blocks.wait(listing, &grant.stopped);
            files.extend(listed.ok_or(Fault::Stopped)??);
        }
        if files.len() > INPUT_FILES_MAX as usize {
            let detail = format!("more than {INPUT_FILES_MAX} input files");
            return Err(FailureCause::PlanTooLarge { detail }.into());
        }
        Ok(files)
    }

    pub(super) fn map(
        &self,
        grant: &Arc<Grant>,
        slice: &Slice<'_>,
        seat: &Seat,
    ) -> Result<Outcome, Fault> {
        let served = Arc::new(Served::default());
        let dataset = DatasetOpener {
            blocks: &self.blocks,
            located: slice.blocks,
            start: slice.blocks_start,
            stopped: &grant.stopped,
            served: Arc::clone(&served),
        };
        let remote = RemoteOpener {
            stores: &self.stores,
            waiting: self.waiting(grant),
        };
        let input: &dyn InputOpener = match slice.file.origin {
            InputOrigin::FileSystem { .. } => &LocalFiles,
            InputOrigin::Remote { .. } => &remote,
            InputOrigin::Dataset { .. } => &dataset,
        };
        let attempt = grant.attempt;
        let program = self.programs.get(attempt.task.round, &grant.spec)?;
        let segment_path = self
            .dir
            .new_segment_path(attempt)
            .map_err(self.storage("a segment"))?;
        let scratch = self
            .dir
            .slot_scratch(seat.cell)
            .map_err(self.storage("a spill"))?;
        let times = Times::start(self.dir.threads());
        let report = program.executable.map(&mut MapTask {
            file: slice.file,
            input,
            range: slice.range,
            format: format_of(&grant.spec, step(grant)?),
            split: attempt.task.index,
            splits: slice.splits,
            partitions: step(grant)?.reducers,
            segment_path: &segment_path,
            scratch: &scratch,
            memory_bytes: self.slot_memory_bytes,
            compression: self.segment_compression,
            skipped_max: grant.spec.skipped_max,
            parameters: &program.parameters,
            broadcast: &slice.given.broadcast,
            side_files: &slice.given.side_files,
            host: &seat.log,
            progress: &grant.progress,
            cancel: &grant.cancel,
        });
        let mut report =
            report.map_err(|error| fault_of(grant, self.with_line(grant, slice.file, error)))?;
        let (elapsed, cpu) = (counters::MAP_ELAPSED_US, counters::MAP_CPU_US);
        times.count(&mut report.counters, elapsed, cpu);
        count_read(&served, &mut report.counters);
        point("map-done").map_err(self.storage("a segment"))?;
        Ok(Outcome::Mapped {
            log: None,
            segments: report
                .stored_bytes
                .iter()
                .copied()
                .map(SizeCode::of)
                .collect(),
            counters: report.counters,
            skipped: report.skipped,
        })
    }

    pub(super) fn reduce(
        &self,
        grant: &Arc<Grant>,
        fetched: Option<&Fetched>,
        output: Option<DatasetId>,
        seat: &Seat,
    ) -> Result<Outcome, Fault> {
        let times = Times::start(self.dir.threads());
        let (output, blocks, mut sums) = match (output, &grant.spec.output) {
            (Some(output), _) => self.reduce_to_dataset(grant, fetched, output, seat)?,
            (None, OutputLocation::Objects { url }) => {
                self.reduce_to_objects(grant, fetched, url, seat)?
            }
            (None, OutputLocation::Directory { .. } | OutputLocation::Dataset { .. }) => {
                self.reduce_to_file(grant, fetched, seat)?
            }
        };
        let attempt = grant.attempt;
        if let Err(error) = self.dir.remove_scratch(attempt) {
            tracing::warn!(%attempt, error = %error, "cannot delete fetched segments");
        }
        let (elapsed, cpu) = (counters::REDUCE_ELAPSED_US, counters::REDUCE_CPU_US);
        times.count(&mut sums, elapsed, cpu);
        if let Some(fetched) = fetched {
            sums.insert(counters::SHUFFLE_BYTES.to_owned(), fetched.bytes());
            fetched.sums().count(self.dir.threads(), &mut sums);
        }
        Ok(Outcome::Reduced {
            log: None,
            output,
            blocks,
            counters: sums,
            skipped: Vec::new(),
        })
    }

    fn reduce_to_file(
        &self,
        grant: &Arc<Grant>,
        fetched: Option<&Fetched>,
        seat: &Seat,
    ) -> Result<Reduced, Fault> {
        let paths = self.output(grant)?;
        paths.create_staging()?;
        let file = paths.attempt_file(grant.attempt);
        let mut part = Part::create(&file).map_err(|e| paths.cause(&e))?;
        let report = match self.reduce_into(&mut part, grant, fetched, seat)? {
            Err(EngineError::Output { source }) => return Err(paths.cause(&source).into()),
            report => report.map_err(|error| fault_of(grant, error))?,
        };
        part.sync()
            .and_then(|()| paths.sync_staging())
            .and_then(|()| point("part-done"))
            .map_err(|error| paths.cause(&error))?;
        Ok((report.output, Vec::new(), report.counters))
    }

    fn reduce_to_dataset(
        &self,
        grant: &Arc<Grant>,
        fetched: Option<&Fetched>,
        output: DatasetId,
        seat: &Seat,
    ) -> Result<Reduced, Fault> {
        let failed = |error: &io::Error| {
            if grant.cancel.is_cancelled() {
                return Fault::Stopped;
            }
            let detail = format!("a block of the output: {error}");
            FailureCause::Storage { detail }.into()
        };
        let mut part = DatasetPart::new(PartOrder {
            blocks: &self.blocks,
            leader: &self.leader,
            stopped: &grant.stopped,
            output,
            partition: grant.attempt.task.index,
            attempt: grant.attempt.number,
            worker: grant.worker.worker,
        });
        let report = match self.reduce_into(&mut part, grant, fetched, seat)? {
            Err(EngineError::Output { source }) => return Err(failed(&source)),
            report => report.map_err(|error| fault_of(grant, error))?,
        };
        let blocks = part.finish().map_err(|error| failed(&error))?;
        Ok((report.output, blocks, report.counters))
    }

    /// Runs the program; what the engine says is the caller's to judge.
    pub(super) fn reduce_into(
        &self,
        output: &mut dyn Write,
        grant: &Arc<Grant>,
        fetched: Option<&Fetched>,
        seat: &Seat,
    ) -> Result<Result<ReduceReport, EngineError>, Fault> {
        let attempt = grant.attempt;
        let program = self.programs.get(attempt.task.round, &grant.spec)?;
        let given = match &grant.work {
            Work::Reduce { broadcast, .. } => self.given(grant, broadcast)?,
            Work::Plan { .. }
            | Work::Map { .. }
            | Work::Close { .. }
            | Work::Commit { .. }
            | Work::Notify { .. } => self.given(grant, &Broadcast::None)?,
        };
        let sources = fetched.map(Fetched::sources).unwrap_or_default();
        let scratch = self
            .dir
            .slot_scratch(seat.cell)
            .map_err(self.storage("a merge"))?;
        Ok(program.executable.reduce(&mut ReduceTask {
            partition: attempt.task.index,
            partitions: step(grant)?.reducers,
            sources,
            output,
            scratch: &scratch,
            memory_bytes: self.slot_memory_bytes,
            compression: self.segment_compression,
            parameters: &program.parameters,
            broadcast: &given.broadcast,
            side_files: &given.side_files,
            host: &seat.log,
            progress: &grant.progress,
            cancel: &grant.cancel,
        }))
    }

    /// The output's paths, once it is remembered that this worker writes there.
    pub(super) fn output(&self, grant: &Grant) -> Result<OutputPaths, Fault> {
        let job = grant.attempt.job();
        let paths = OutputPaths::new(&grant.spec.output, grant.cluster, job)?;
        self.dir
            .remember_staging(job, &paths.staging)
            .map_err(self.storage("a note of the output"))?;
        Ok(paths)
    }

    /// What an error of the worker's own disk means for the attempt.
    pub(super) fn storage(&self, what: &'static str) -> impl Fn(io::Error) -> Fault {
        move |error| self.dir.cause(what, &error).into()
    }

    /// Sends one chunk and blocks until a leader has it.
    pub(super) fn append(
        &self,
        grant: &Grant,
        chunk: u32,
        content: PlanChunk,
        seal: Option<&Outcome>,
    ) -> Result<(), Fault> {
        self.runtime
            .block_on(self.send(grant, chunk, content, seal))
    }

    /// Sends one chunk and waits until a leader has it.
    pub(super) async fn send(
        &self,
        grant: &Grant,
        chunk: u32,
        content: PlanChunk,
        seal: Option<&Outcome>,
    ) -> Result<(), Fault> {
        let (files, splits) = chunk_to_wire(content);
        let request = v1::AppendPlanRequest {
            worker: Some(grant.worker.into()),
            attempt: Some(grant.attempt.into()),
            chunk,
            files,
            splits,
            seal: seal.map(|outcome| report_to_wire(grant.attempt, outcome.clone())),
        };
        point("plan-send").map_err(self.storage("a plan"))?;
        let send = async {
            loop {
                let answer = call_leader(
                    &self.leader,
                    SEARCH_BUDGET,
                    CHUNK_TIMEOUT,
                    &request,
                    |mut client, request| async move { client.append_plan(request).await },
                )
                .await;
                match answer {
                    Ok(v1::AppendPlanResponse {}) => return Ok(()),
                    Err(error) if is_stale(&error) => return Err(Fault::Stopped),
                    // No leader, or one that was busy for all of the budget.
                    Err(error) if is_temporary(&error) => {}
                    Err(error) => return Err(refused_chunk(grant.attempt, &error)),
                }
            }
        };
        tokio::select! {
            sent = send => sent,
            () = grant.stopped.cancelled() => Err(Fault::Stopped),
        }
    }
}

/// A piece of a plan and its number.
type Piece = (u32, PlanChunk);

/// Counts the bytes of datasets that a map read, by where they came from.
fn count_read(served: &Served, sums: &mut Counters) {
    for (name, bytes) in [
        (counters::MAP_INPUT_LOCAL_BYTES, served.local()),
        (counters::MAP_INPUT_REMOTE_BYTES, served.remote()),
    ] {
        if bytes > 0 {
            sums.insert(name.to_owned(), bytes);
        }
    }
}

/// Sends all pieces of the plan but the last one, which goes with what the plan comes
/// to: in one entry.
fn write_plan(
    runner: &Runner,
    grant: &Arc<Grant>,
    files: Vec<PlannedFile>,
    send: &mut SendChunk<'_>,
) -> Result<(PlanSums, Option<Piece>), Fault> {
    let spec = &grant.spec;
    let format = format_of(spec, step(grant)?);
    let multiline = step(grant)?.parameters.get("multiline");
    let multiline = multiline.is_none_or(|value| value != "false");
    let mut last: Option<Piece> = None;
    let mut hold = |number, chunk| match last.replace((number, chunk)) {
        Some((number, chunk)) => send(number, chunk, None),
        None => Ok(()),
    };
    let mut writer = PlanWriter::new(format, spec.split_bytes);
    for mut file in files {
        if format == InputFormat::Csv {
            file = runner.cut_csv(grant, file, (spec.split_bytes, multiline))?;
        }
        writer.add(file, &mut hold)?;
    }
    let sums = writer.finish(&mut hold)?;
    Ok((sums, last))
}

fn is_temporary(error: &ClientError) -> bool {
    let limit = matches!(error.detail(), Some(Kind::Limit(_)));
    !limit && error.refusal() == Refusal::Temporary
}

fn refused_chunk(attempt: AttemptId, error: &ClientError) -> Fault {
    tracing::warn!(%attempt, error = %error, "a piece of the plan was refused");
    FailureCause::Internal {
        detail: format!("a piece of the plan was refused: {error}"),
    }
    .into()
}

fn step(grant: &Grant) -> Result<&StepSpec, Fault> {
    let step = usize::from(grant.attempt.task.round.step);
    grant.spec.steps.get(step).ok_or_else(|| {
        FailureCause::Internal {
            detail: format!("{} has no step in its specification", grant.attempt),
        }
        .into()
    })
}

/// What an error of the engine means for an attempt: one that was told to stop did not
/// fail, whatever its program makes of that.
pub(super) fn fault_of(grant: &Grant, error: EngineError) -> Fault {
    match grant.cancel.is_cancelled() {
        true => Fault::Stopped,
        false => fault(error),
    }
}

pub(super) fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::Cancelled => Fault::Stopped,
        EngineError::Segment { map, source } => {
            tracing::warn!(map, error = %source, "segment cannot be read");
            Fault::BadSegment { map }
        }
        error => {
            tracing::debug!(error = %error, "engine failed");
            error.cause().into()
        }
    }
}
