//! The four kinds of work, each from its grant to its outcome.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vivat_client::{ClientError, Refusal};
use vivat_engine::failpoint::point;
use vivat_engine::{EngineError, MapTask, ReduceTask};
use vivat_proto::convert::attempt::chunk_to_wire;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::attempt::{
    CommittedPart, InputFile, Outcome, OutputIdentity, PlanChunk, SplitRange,
};
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::AttemptId;
use vivat_shared::job::StepSpec;
use vivat_shared::size_code::SizeCode;

use super::{Fault, Runner, SendChunk};
use crate::held::Grant;
use crate::session::{call_leader, is_stale};
use crate::shuffle::Fetched;
use crate::sink::{CommitOrder, OutputPaths, check_output, commit};
use crate::source::{PlanWriter, list};

const CHUNK_TIMEOUT: Duration = Duration::from_secs(5);
const SEARCH_BUDGET: Duration = Duration::from_secs(30);

impl Runner {
    /// Checks program, parameters, inputs and output, in the order in which a
    /// user would want to be told, and sends the splits.
    pub(super) fn plan(
        &self,
        grant: &Arc<Grant>,
        mut send: &mut SendChunk<'_>,
    ) -> Result<Outcome, Fault> {
        let spec = &grant.spec;
        self.programs.get(grant.attempt.task.round, spec)?;
        let stopped = || grant.cancel.is_cancelled();
        let files = list(&spec.inputs, &stopped)?;
        let paths = self.output(grant)?;
        let replaces = check_output(&paths, spec.overwrite)?;
        let mut writer = PlanWriter::new(spec.format, spec.split_bytes);
        for file in files {
            writer.add(file, &mut send)?;
        }
        let sums = writer.finish(&mut send)?;
        point("plan-done").map_err(|error| paths.cause(&error))?;
        if stopped() {
            return Err(Fault::Stopped);
        }
        Ok(Outcome::Planned {
            chunks: sums.chunks,
            files: sums.files,
            splits: sums.splits,
            crc32c: sums.crc32c,
            replaces,
        })
    }

    pub(super) fn map(
        &self,
        grant: &Arc<Grant>,
        file: &InputFile,
        range: SplitRange,
        splits: u32,
        cell: usize,
    ) -> Result<Outcome, Fault> {
        let attempt = grant.attempt;
        let program = self.programs.get(attempt.task.round, &grant.spec)?;
        let segment_path = self
            .dir
            .new_segment_path(attempt)
            .map_err(self.storage("a segment"))?;
        let scratch = self
            .dir
            .slot_scratch(cell)
            .map_err(self.storage("a spill"))?;
        let report = program.executable.map(&mut MapTask {
            file,
            range,
            format: grant.spec.format,
            split: attempt.task.index,
            splits,
            partitions: step(grant)?.reducers,
            segment_path: &segment_path,
            scratch: &scratch,
            memory_bytes: self.slot_memory_bytes,
            parameters: &program.parameters,
            broadcast: &[],
            progress: &grant.progress,
            cancel: &grant.cancel,
        });
        let report = report.map_err(fault)?;
        point("map-done").map_err(self.storage("a segment"))?;
        Ok(Outcome::Mapped {
            segments: report
                .stored_bytes
                .iter()
                .copied()
                .map(SizeCode::of)
                .collect(),
            counters: report.counters,
        })
    }

    pub(super) fn reduce(
        &self,
        grant: &Arc<Grant>,
        fetched: Option<&Fetched>,
        cell: usize,
    ) -> Result<Outcome, Fault> {
        let attempt = grant.attempt;
        let program = self.programs.get(attempt.task.round, &grant.spec)?;
        let sources = fetched.map(Fetched::sources).unwrap_or_default();
        let paths = self.output(grant)?;
        paths.create_staging()?;
        let mut part = Part::create(&paths.attempt_file(attempt)).map_err(|e| paths.cause(&e))?;
        let scratch = self
            .dir
            .slot_scratch(cell)
            .map_err(self.storage("a merge"))?;
        let report = program.executable.reduce(&mut ReduceTask {
            partition: attempt.task.index,
            partitions: step(grant)?.reducers,
            sources,
            output: &mut part,
            scratch: &scratch,
            memory_bytes: self.slot_memory_bytes,
            parameters: &program.parameters,
            broadcast: &[],
            progress: &grant.progress,
            cancel: &grant.cancel,
        });
        let report = match report {
            Err(EngineError::Output { source }) => return Err(paths.cause(&source).into()),
            report => report.map_err(fault)?,
        };
        part.sync()
            .and_then(|()| paths.sync_staging())
            .and_then(|()| point("part-done"))
            .map_err(|error| paths.cause(&error))?;
        if let Err(error) = self.dir.remove_scratch(attempt) {
            tracing::warn!(%attempt, error = %error, "cannot delete fetched segments");
        }
        let mut counters = report.counters;
        if let Some(fetched) = fetched {
            let name = vivat_shared::attempt::counters::SHUFFLE_BYTES.to_owned();
            counters.insert(name, fetched.bytes());
        }
        Ok(Outcome::Reduced {
            output: report.output,
            counters,
        })
    }

    pub(super) fn commit(
        &self,
        grant: &Arc<Grant>,
        parts: &[CommittedPart],
        replaces: Option<&OutputIdentity>,
    ) -> Result<Outcome, Fault> {
        let paths = self.output(grant)?;
        commit(&CommitOrder {
            paths: &paths,
            cluster: grant.cluster,
            job: grant.attempt.job(),
            parts,
            replaces,
        })?;
        Ok(Outcome::Committed)
    }

    /// The output's paths, once it is remembered that this worker writes there.
    fn output(&self, grant: &Grant) -> Result<OutputPaths, Fault> {
        let job = grant.attempt.job();
        let paths = OutputPaths::new(&grant.spec.output, grant.cluster, job)?;
        self.dir
            .remember_staging(job, &paths.staging)
            .map_err(self.storage("a note of the output"))?;
        Ok(paths)
    }

    /// What an error of the worker's own disk means for the attempt.
    fn storage(&self, what: &'static str) -> impl Fn(io::Error) -> Fault {
        move |error| self.dir.cause(what, &error).into()
    }

    /// Sends one chunk and blocks until a leader has it.
    pub(super) fn append(
        &self,
        grant: &Grant,
        chunk: u32,
        content: PlanChunk,
    ) -> Result<(), Fault> {
        self.runtime.block_on(self.send(grant, chunk, content))
    }

    /// Sends one chunk and waits until a leader has it.
    pub(super) async fn send(
        &self,
        grant: &Grant,
        chunk: u32,
        content: PlanChunk,
    ) -> Result<(), Fault> {
        let (files, splits) = chunk_to_wire(content);
        let request = v1::AppendPlanRequest {
            worker: Some(grant.worker.into()),
            attempt: Some(grant.attempt.into()),
            chunk,
            files,
            splits,
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

fn fault(error: EngineError) -> Fault {
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

/// The file of one reduce attempt.
struct Part(File);

impl Part {
    fn create(path: &Path) -> io::Result<Self> {
        point("part-create")?;
        File::create(path).map(Self)
    }

    fn sync(&self) -> io::Result<()> {
        point("part-sync")?;
        self.0.sync_all()
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        point("part-write")?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
