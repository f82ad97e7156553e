//! The reduce side: merges the segments of a partition and streams the values
//! of each key to the reducer.
//!
//! When there are more segments than one merge may read, neighbours are merged
//! into runs on disk first, as often as it takes; neighbours, because the order
//! of the sources is the order of the values.

use std::fs;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::path::PathBuf;

use vivat_mapreduce::{
    Attempt, CounterSet, Key, Output, Program, ReduceContext, Reducer, Value, Values,
};
use vivat_shared::attempt::{PartOutput, counters};

use crate::error::{EngineError, StorageUse};
use crate::failpoint::point;
use crate::map::storage;
use crate::merge::{Groups, Merge, MergeError, group_len};
use crate::segment::{SegmentError, SegmentFile, SegmentReader, SegmentWriter};
use crate::task::{ReduceReport, ReduceTask, SegmentSource};

type Reader = SegmentReader<Box<dyn Read + Send>>;

/// Where a run of the merge came from, to name it when it is damaged.
#[derive(Debug, Clone)]
enum Origin {
    Map(u32),
    Pass(PathBuf),
}

impl Origin {
    fn is_map(&self) -> bool {
        match self {
            Self::Map(_) => true,
            Self::Pass(_) => false,
        }
    }

    fn error(&self, source: SegmentError) -> EngineError {
        match self {
            Self::Map(map) => EngineError::Segment { map: *map, source },
            Self::Pass(path) => storage(StorageUse::Spill, path, source),
        }
    }
}

/// A run to be merged.
struct Run {
    input: RunInput,
    /// What reading it takes in memory.
    reader_bytes: usize,
}

/// A run that is not open yet, or a merge pass that is.
enum RunInput {
    Source(SegmentSource),
    Pass(PathBuf, SegmentFile),
}

impl Run {
    fn of(source: SegmentSource) -> Self {
        Self {
            reader_bytes: source.data.reader_bytes(),
            input: RunInput::Source(source),
        }
    }
}

pub(crate) fn run<P: Program>(
    program: &P,
    task: &mut ReduceTask<'_>,
) -> Result<ReduceReport, EngineError> {
    let counter_set = CounterSet::default();
    let context = ReduceContext {
        partition: task.partition,
        partitions: task.partitions.max(1),
        parameters: task.parameters,
        broadcast: task.broadcast,
        side_files: task.side_files,
        counters: &counter_set,
        attempt: Attempt {
            scratch: task.scratch,
            stop: task.cancel,
            host: task.host,
        },
    };
    let (runs, mut passes) = merge_in_passes(task)?;
    let (readers, origins) = open(runs, task.partition)?;
    let mut sink = Checked {
        inner: &mut *task.output,
        part: PartOutput::default(),
    };
    let mut out = Output::new(&mut sink);
    let mut groups = Groups::new(readers, task.progress, task.cancel);
    reduce_groups(program, &context, &mut groups, &origins, &mut out)?;
    out.check()
        .map_err(|source| EngineError::Output { source })?;
    let records = out.records();
    drop(out);
    sink.flush()
        .map_err(|source| EngineError::Output { source })?;
    let output = PartOutput {
        records,
        ..sink.part
    };
    passes.shuffled += groups.stored_bytes(|run| origins[run].is_map());
    let mut sums = counter_set.sums();
    for (name, sum) in [
        (counters::SHUFFLE_BYTES, passes.shuffled),
        (counters::REDUCE_INPUT_KEYS, groups.keys()),
        (counters::REDUCE_INPUT_RECORDS, groups.records()),
        (counters::REDUCE_OUTPUT_RECORDS, output.records),
        (counters::REDUCE_OUTPUT_BYTES, output.bytes),
    ] {
        sums.insert(name.to_owned(), sum);
    }
    for (name, sum) in [
        (counters::REDUCE_MERGE_PASSES, passes.count),
        (counters::REDUCE_SPILLED_RECORDS, passes.records),
        (counters::REDUCE_SPILLED_BYTES, passes.bytes),
    ] {
        if sum > 0 {
            sums.insert(name.to_owned(), sum);
        }
    }
    Ok(ReduceReport {
        output,
        counters: sums,
    })
}

fn reduce_groups<P: Program>(
    program: &P,
    context: &ReduceContext<'_>,
    groups: &mut Groups<'_, Box<dyn Read + Send>>,
    origins: &[Origin],
    out: &mut Output<'_>,
) -> Result<(), EngineError> {
    let failed = |source| EngineError::Program { source };
    let mut reducer = program.reducer(context).map_err(failed)?;
    let mut key = Vec::new();
    loop {
        let more = groups.next_key();
        if !more.map_err(|error| error.into_engine(|error| named(origins, error)))? {
            break;
        }
        groups.copy_key(&mut key);
        let decoded = P::Key::decode(&key).map_err(|source| EngineError::Decode {
            what: "key",
            source,
        })?;
        let mut values = SourceValues {
            groups,
            origins,
            error: None,
            value: PhantomData::<P::Value>,
        };
        let reduced = reducer.reduce(decoded, &mut values, out);
        // Values that ended early explain whatever the reducer says.
        if let Some(error) = values.error {
            return Err(error);
        }
        if out.has_failed() {
            return out.check().map_err(|source| EngineError::Output { source });
        }
        reduced.map_err(failed)?;
    }
    groups.report();
    let finished = reducer.finish(out);
    if out.has_failed() {
        return out.check().map_err(|source| EngineError::Output { source });
    }
    finished.map_err(failed)
}

fn named(origins: &[Origin], error: MergeError) -> EngineError {
    origins[error.source_index].error(error.source)
}

struct SourceValues<'g, 't, V> {
    groups: &'g mut Groups<'t, Box<dyn Read + Send>>,
    origins: &'g [Origin],
    error: Option<EngineError>,
    value: PhantomData<V>,
}

impl<V: Value> Values<V> for SourceValues<'_, '_, V> {
    #[inline]
    fn next(&mut self) -> Option<V::View<'_>> {
        match self.groups.next_value() {
            Ok(bytes) => match V::decode(bytes?) {
                Ok(value) => Some(value),
                Err(source) => {
                    let what = "value";
                    self.error
                        .get_or_insert(EngineError::Decode { what, source });
                    None
                }
            },
            Err(error) => {
                let error = error.into_engine(|error| named(self.origins, error));
                self.error.get_or_insert(error);
                None
            }
        }
    }
}

/// What the merge passes came to.
#[derive(Debug, Clone, Copy, Default)]
struct Passes {
    /// Stored bytes of the sources that were read.
    shuffled: u64,
    /// Merges of runs into a run on disk.
    count: u64,
    /// Records written to disk by them.
    records: u64,
    /// Stored bytes of those.
    bytes: u64,
}

/// Merges neighbours until all runs that are left fit into the memory of one merge.
fn merge_in_passes(task: &mut ReduceTask<'_>) -> Result<(Vec<Run>, Passes), EngineError> {
    let mut passes = Passes::default();
    let mut runs: Vec<Run> = task.sources.drain(..).map(Run::of).collect();
    loop {
        let sizes = || runs.iter().map(|run| run.reader_bytes);
        if group_len(sizes(), task.memory_bytes) == runs.len() {
            return Ok((runs, passes));
        }
        let mut merged = Vec::new();
        while !runs.is_empty() {
            let sizes = runs.iter().map(|run| run.reader_bytes);
            let behind = runs.split_off(group_len(sizes, task.memory_bytes));
            if runs.len() == 1 {
                merged.append(&mut runs);
            } else {
                let group = std::mem::take(&mut runs);
                merged.extend(merge_group(group, task, &mut passes)?);
            }
            runs = behind;
        }
        runs = merged;
    }
}

/// Records between two looks at the cancel flag.
const PULSE_RECORDS: u64 = 4096;

/// Merges some runs into one on disk; none when they hold no record.
fn merge_group(
    group: Vec<Run>,
    task: &ReduceTask<'_>,
    passes: &mut Passes,
) -> Result<Option<Run>, EngineError> {
    let partition = task.partition;
    let path = task.scratch.join(format!("pass-{}", passes.count));
    let failed = |source| storage(StorageUse::Spill, &path, source);
    let (readers, origins) = open(group, partition)?;
    let mut merge = Merge::new(readers);
    let mut writer = SegmentWriter::create(&path, partition + 1)
        .map_err(failed)?
        .compressed(task.compression);
    let mut records: u64 = 0;
    while merge.advance().map_err(|error| named(&origins, error))? {
        writer
            .push(partition, merge.key(), merge.value())
            .map_err(failed)?;
        records += 1;
        if records.is_multiple_of(PULSE_RECORDS) {
            task.cancel.check()?;
        }
    }
    let (stored_bytes, reader_bytes) = writer.finish_measured().map_err(failed)?;
    let file = SegmentFile::open(&path).map_err(failed)?;
    fs::remove_file(&path).map_err(|source| failed(SegmentError::Io { source }))?;
    passes.count += 1;
    passes.records += records;
    passes.bytes += stored_bytes.iter().sum::<u64>();
    passes.shuffled += merge.stored_bytes(|run| origins[run].is_map());
    Ok((records > 0).then_some(Run {
        input: RunInput::Pass(path, file),
        reader_bytes,
    }))
}

fn open(runs: Vec<Run>, partition: u32) -> Result<(Vec<Reader>, Vec<Origin>), EngineError> {
    let mut readers = Vec::with_capacity(runs.len());
    let mut origins = Vec::with_capacity(runs.len());
    for run in runs {
        let (origin, input): (Origin, io::Result<Box<dyn Read + Send>>) = match run.input {
            RunInput::Source(source) => {
                let opened = point("source-open").and_then(|()| source.data.open());
                (Origin::Map(source.map), opened)
            }
            RunInput::Pass(path, file) => {
                let input: Box<dyn Read + Send> = match file.run(partition) {
                    Some(range) => Box::new(range),
                    None => Box::new(io::empty()),
                };
                (Origin::Pass(path), Ok(input))
            }
        };
        let input = input.map_err(|source| origin.error(SegmentError::Io { source }))?;
        readers.push(SegmentReader::of_partition(input, partition));
        origins.push(origin);
    }
    Ok((readers, origins))
}

/// Passes bytes on and keeps their number and checksum.
struct Checked<'w> {
    inner: &'w mut dyn Write,
    part: PartOutput,
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.part.bytes += written as u64;
        self.part.crc32c = crc32c::crc32c_append(self.part.crc32c, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
