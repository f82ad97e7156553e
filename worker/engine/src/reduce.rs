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

use vivat_mapreduce::{CounterSet, Key, Output, Program, ReduceContext, Reducer, Value, Values};
use vivat_shared::attempt::{PartOutput, counters};

use crate::error::{EngineError, StorageUse};
use crate::failpoint::point;
use crate::map::storage;
use crate::merge::{FAN_IN_MAX, FAN_IN_MIN, Groups, Merge, MergeError, RUN_BYTES};
use crate::segment::{SegmentError, SegmentFile, SegmentReader, SegmentWriter};
use crate::task::{CancelFlag, ReduceReport, ReduceTask, SegmentSource};

type Reader = SegmentReader<Box<dyn Read + Send>>;

/// Where a run of the merge came from, to name it when it is damaged.
#[derive(Debug, Clone)]
enum Origin {
    Map(u32),
    Pass(PathBuf),
}

impl Origin {
    fn error(&self, source: SegmentError) -> EngineError {
        match self {
            Self::Map(map) => EngineError::Segment { map: *map, source },
            Self::Pass(path) => storage(StorageUse::Spill, path, source),
        }
    }
}

/// A run that is not open yet, or a merge pass that is.
enum Run {
    Source(SegmentSource),
    Pass(PathBuf, SegmentFile),
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
    };
    let mut shuffled = 0;
    let runs = merge_in_passes(task, &mut shuffled)?;
    let passes = runs.iter().any(|run| matches!(run, Run::Pass(..)));
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
    if !passes {
        shuffled = groups.stored_bytes();
    }
    let mut sums = counter_set.sums();
    for (name, sum) in [
        (counters::SHUFFLE_BYTES, shuffled),
        (counters::REDUCE_INPUT_KEYS, groups.keys()),
        (counters::REDUCE_INPUT_RECORDS, groups.records()),
        (counters::REDUCE_OUTPUT_RECORDS, output.records),
        (counters::REDUCE_OUTPUT_BYTES, output.bytes),
    ] {
        sums.insert(name.to_owned(), sum);
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
        reduced.map_err(failed)?;
        if out.has_failed() {
            return out.check().map_err(|source| EngineError::Output { source });
        }
    }
    groups.report();
    reducer.finish(out).map_err(failed)
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

/// Merges neighbours until at most a fan-in of runs is left. Adds the stored
/// bytes of the sources that it read to `shuffled`.
fn merge_in_passes(task: &mut ReduceTask<'_>, shuffled: &mut u64) -> Result<Vec<Run>, EngineError> {
    let fan_in = (task.memory_bytes / RUN_BYTES).clamp(FAN_IN_MIN, FAN_IN_MAX);
    let mut runs: Vec<Run> = task.sources.drain(..).map(Run::Source).collect();
    let mut made = 0;
    while runs.len() > fan_in {
        let mut merged = Vec::with_capacity(runs.len().div_ceil(fan_in));
        let mut rest = runs.into_iter();
        loop {
            let group: Vec<Run> = rest.by_ref().take(fan_in).collect();
            if group.is_empty() {
                break;
            }
            let path = task.scratch.join(format!("pass-{made}"));
            made += 1;
            let from_sources = matches!(group[0], Run::Source(_));
            let (file, bytes) = merge_group(group, &path, task.partition, task.cancel)?;
            if from_sources {
                *shuffled += bytes;
            }
            if let Some(file) = file {
                merged.push(Run::Pass(path, file));
            }
        }
        runs = merged;
    }
    Ok(runs)
}

/// Records between two looks at the cancel flag.
const PULSE_RECORDS: u64 = 4096;

/// Merges some runs into one on disk; returns it and the stored bytes read.
fn merge_group(
    group: Vec<Run>,
    path: &std::path::Path,
    partition: u32,
    cancel: &CancelFlag,
) -> Result<(Option<SegmentFile>, u64), EngineError> {
    let failed = |source| storage(StorageUse::Spill, path, source);
    let (readers, origins) = open(group, partition)?;
    let mut merge = Merge::new(readers);
    let mut writer = SegmentWriter::create(path, partition + 1).map_err(failed)?;
    let mut records: u64 = 0;
    while merge.advance().map_err(|error| named(&origins, error))? {
        writer
            .push(partition, merge.key(), merge.value())
            .map_err(failed)?;
        records += 1;
        if records.is_multiple_of(PULSE_RECORDS) {
            cancel.check()?;
        }
    }
    writer.finish().map_err(failed)?;
    let file = SegmentFile::open(path).map_err(failed)?;
    fs::remove_file(path).map_err(|source| failed(SegmentError::Io { source }))?;
    Ok(((records > 0).then_some(file), merge.stored_bytes()))
}

fn open(runs: Vec<Run>, partition: u32) -> Result<(Vec<Reader>, Vec<Origin>), EngineError> {
    let mut readers = Vec::with_capacity(runs.len());
    let mut origins = Vec::with_capacity(runs.len());
    for run in runs {
        let (origin, input): (Origin, io::Result<Box<dyn Read + Send>>) = match run {
            Run::Source(source) => {
                let opened = point("source-open").and_then(|()| source.data.open());
                (Origin::Map(source.map), opened)
            }
            Run::Pass(path, file) => {
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
