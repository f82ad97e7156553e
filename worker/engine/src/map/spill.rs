//! Spilled runs of one map task, and their merge into the segment.
//!
//! A spill is a segment file that nobody else reads; its name is removed as
//! soon as it is open, so that nothing is left behind however the task ends.
//! When there are as many as one merge may read, they become one, and as many of
//! those become one of the next level: a record is written again as often as the
//! runs have levels, not once for every merge.

use std::fs;
use std::path::PathBuf;

use vivat_mapreduce::{Combiner, EmitValue, Key, Program, Value, Values};

use super::run::{Place, RunFile, storage};
use crate::error::{EngineError, StorageUse};
use crate::failpoint::point;
use crate::merge::{Groups, group_len};
use crate::segment::{FileRange, SegmentCompression, SegmentError, SegmentFile, SegmentReader};
use crate::task::{MapTask, Progress};

/// The part of a task's memory that merges may take while records are gathered.
const MERGE_SHARE: usize = 8;

/// The spills of one task.
pub(super) struct Spills {
    scratch: PathBuf,
    segment_path: PathBuf,
    partitions: u32,
    compression: SegmentCompression,
    /// What gathered records may take.
    pub memory_bytes: usize,
    /// What a merge may take beside them, and what it may take without them.
    merge_bytes: (usize, usize),
    runs: Vec<SpilledRun>,
    /// Files made, for their names.
    made: u64,
    sums: SpillSums,
}

/// A sorted run on disk.
struct SpilledRun {
    file: SegmentFile,
    /// What reading it takes in memory.
    reader_bytes: usize,
    /// How many merges its records went through. Runs stand in the order in which
    /// their records were emitted, and so those of a level stand together, the
    /// highest first: as many as one merge may read become one of the next level.
    level: u32,
}

/// What spilling came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SpillSums {
    /// Runs written because memory was full.
    pub runs: u64,
    /// Records in them.
    pub records: u64,
    /// Their stored bytes, and those of merge passes.
    pub bytes: u64,
    /// Merges of runs into a run.
    pub passes: u64,
}

impl Spills {
    pub fn new(task: &MapTask<'_>) -> Self {
        let beside = task.memory_bytes / MERGE_SHARE;
        Self {
            scratch: task.scratch.to_owned(),
            segment_path: task.segment_path.to_owned(),
            partitions: task.partitions.max(1),
            compression: task.compression,
            memory_bytes: task.memory_bytes - beside,
            merge_bytes: (beside, task.memory_bytes),
            runs: Vec::new(),
            made: 0,
            sums: SpillSums::default(),
        }
    }

    /// Whether nothing was spilled so far.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Writes a run of so many records because memory is full: `write` fills the
    /// file.
    pub fn spill<P: Program>(
        &mut self,
        place: Place<'_, P>,
        records: usize,
        write: impl FnOnce(&mut RunFile<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        place.cancel.check()?;
        self.sums.runs += 1;
        self.sums.records += records as u64;
        let run = self.write_run(0, write)?;
        self.runs.push(run);
        self.merge_levels(place, self.merge_bytes.0)
    }

    /// Ends a task that spilled nothing: `write` fills the segment with the records that
    /// were emitted. Without one there is no file: nobody asks for it, and to make one
    /// takes longer than all else in a task that finds nothing.
    pub fn finish_in_memory(
        self,
        records: usize,
        write: impl FnOnce(&mut RunFile<'_>) -> Result<(), EngineError>,
    ) -> Result<(Vec<u64>, SpillSums), EngineError> {
        if records == 0 {
            return Ok((vec![0; self.partitions as usize], self.sums));
        }
        let mut segment = self.segment()?;
        write(&mut segment)?;
        Ok((segment.finish()?.0, self.sums))
    }

    /// Ends a task whose records are all spilled: merges them into the segment.
    pub fn finish<P: Program>(
        mut self,
        place: Place<'_, P>,
    ) -> Result<(Vec<u64>, SpillSums), EngineError> {
        let memory_bytes = self.merge_bytes.1;
        while self.group_len(0, memory_bytes) < self.runs.len() {
            let mut merged = Vec::new();
            let mut rest = std::mem::take(&mut self.runs);
            while !rest.is_empty() {
                let count = group_len(rest.iter().map(|run| run.reader_bytes), memory_bytes);
                let behind = rest.split_off(count);
                if rest.len() == 1 {
                    merged.append(&mut rest);
                } else {
                    merged.push(self.merge_run(place, &rest)?);
                }
                rest = behind;
            }
            self.runs = merged;
        }
        let mut segment = self.segment()?;
        merge_files(
            place,
            &self.runs,
            self.partitions,
            &mut segment,
            &self.scratch,
        )?;
        Ok((segment.finish()?.0, self.sums))
    }

    /// Merges the runs of the lowest level as soon as they are as many as one
    /// merge may read, then those of the next one.
    fn merge_levels<P: Program>(
        &mut self,
        place: Place<'_, P>,
        memory_bytes: usize,
    ) -> Result<(), EngineError> {
        while let Some(lowest) = self.runs.last().map(|run| run.level) {
            let from = self.runs.partition_point(|run| run.level > lowest);
            let count = self.runs.len() - from;
            // One more would not fit.
            let next = self.runs[from..].iter().map(|run| run.reader_bytes);
            let largest = next.clone().max().unwrap_or(0);
            if group_len(next.chain([largest]), memory_bytes) > count {
                break;
            }
            let group = self.runs.split_off(from);
            let merged = self.merge_run(place, &group)?;
            self.runs.push(merged);
        }
        Ok(())
    }

    fn group_len(&self, from: usize, memory_bytes: usize) -> usize {
        group_len(
            self.runs[from..].iter().map(|run| run.reader_bytes),
            memory_bytes,
        )
    }

    fn segment(&self) -> Result<RunFile<'_>, EngineError> {
        RunFile::create(
            &self.segment_path,
            (self.partitions, self.compression),
            StorageUse::Segment,
        )
    }

    fn merge_run<P: Program>(
        &mut self,
        place: Place<'_, P>,
        group: &[SpilledRun],
    ) -> Result<SpilledRun, EngineError> {
        self.sums.passes += 1;
        let level = group.iter().map(|run| run.level).max().unwrap_or(0) + 1;
        let (scratch, partitions) = (self.scratch.clone(), self.partitions);
        self.write_run(level, |run| {
            merge_files(place, group, partitions, run, &scratch)
        })
    }

    fn write_run(
        &mut self,
        level: u32,
        write: impl FnOnce(&mut RunFile<'_>) -> Result<(), EngineError>,
    ) -> Result<SpilledRun, EngineError> {
        let path = self.scratch.join(format!("spill-{}", self.made));
        self.made += 1;
        let shape = (self.partitions, self.compression);
        let mut run = RunFile::create(&path, shape, StorageUse::Spill)?;
        write(&mut run)?;
        let (stored_bytes, reader_bytes) = run.finish()?;
        self.sums.bytes += stored_bytes.iter().sum::<u64>();
        let failed = |source| storage(StorageUse::Spill, &path, source);
        let file = SegmentFile::open(&path).map_err(failed)?;
        fs::remove_file(&path).map_err(|source| failed(SegmentError::Io { source }))?;
        Ok(SpilledRun {
            file,
            reader_bytes,
            level,
        })
    }
}

fn merge_files<P: Program>(
    place: Place<'_, P>,
    runs: &[SpilledRun],
    partitions: u32,
    target: &mut RunFile<'_>,
    scratch: &std::path::Path,
) -> Result<(), EngineError> {
    point("spill-read").map_err(|source| {
        let source = SegmentError::Io { source };
        storage(StorageUse::Spill, scratch, source)
    })?;
    let progress = Progress::default();
    for partition in 0..partitions {
        let readers = runs
            .iter()
            .filter_map(|run| run.file.run(partition))
            .map(|range| SegmentReader::of_partition(range, partition))
            .collect();
        let mut merging = Merging {
            place,
            groups: Groups::new(readers, &progress, place.cancel),
            scratch,
        };
        merging.write(partition, target)?;
    }
    Ok(())
}

struct Merging<'t, P> {
    place: Place<'t, P>,
    groups: Groups<'t, FileRange>,
    scratch: &'t std::path::Path,
}

impl<P: Program> Merging<'_, P> {
    fn write(&mut self, partition: u32, run: &mut RunFile<'_>) -> Result<(), EngineError> {
        let scratch = self.scratch;
        let failed = |error: crate::merge::GroupError| {
            error.into_engine(|error| storage(StorageUse::Spill, scratch, error.source))
        };
        let mut key = Vec::new();
        let mut encoded = Vec::new();
        while self.groups.next_key().map_err(failed)? {
            self.groups.copy_key(&mut key);
            match P::COMBINER {
                Combiner::None => {
                    while let Some(value) = self.groups.next_value().map_err(failed)? {
                        run.push(partition, &key, value)?;
                    }
                }
                Combiner::Merge => {
                    let mut sum: Option<P::Value> = None;
                    while let Some(value) = self.groups.next_value().map_err(failed)? {
                        let value = decode::<P>(value)?;
                        match &mut sum {
                            Some(sum) => self.place.program.merge(sum, value),
                            None => sum = Some(P::Value::own(value)),
                        }
                    }
                    if let Some(sum) = sum {
                        encoded.clear();
                        P::Value::encode(sum.view(), &mut encoded);
                        run.push(partition, &key, &encoded)?;
                    }
                }
                Combiner::Combine => {
                    let mut values = GroupValues {
                        groups: &mut self.groups,
                        error: None,
                        scratch,
                        program: std::marker::PhantomData::<P>,
                    };
                    combine(self.place.program, partition, &key, &mut values, run)?;
                    if let Some(error) = values.error {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

struct GroupValues<'g, 't, P> {
    groups: &'g mut Groups<'t, FileRange>,
    error: Option<EngineError>,
    scratch: &'g std::path::Path,
    program: std::marker::PhantomData<P>,
}

impl<P: Program> Values<P::Value> for GroupValues<'_, '_, P> {
    fn next(&mut self) -> Option<<P::Value as Value>::View<'_>> {
        match self.groups.next_value() {
            Ok(bytes) => match decode::<P>(bytes?) {
                Ok(value) => Some(value),
                Err(error) => {
                    self.error.get_or_insert(error);
                    None
                }
            },
            Err(error) => {
                self.error.get_or_insert(
                    error.into_engine(|error| {
                        storage(StorageUse::Spill, self.scratch, error.source)
                    }),
                );
                None
            }
        }
    }
}

/// Runs the program's combiner over the values of one key into `run`.
pub(super) fn combine<P: Program, S: Values<P::Value>>(
    program: &P,
    partition: u32,
    key: &[u8],
    values: &mut S,
    run: &mut RunFile<'_>,
) -> Result<(), EngineError> {
    let decoded = P::Key::decode(key).map_err(|source| EngineError::Decode {
        what: "key",
        source,
    })?;
    let mut emit = RunValues {
        partition,
        key,
        run,
        encoded: Vec::new(),
        error: None,
    };
    program.combine(decoded, values, &mut emit);
    emit.error.map_or(Ok(()), Err)
}

struct RunValues<'r, 'f> {
    partition: u32,
    key: &'r [u8],
    run: &'r mut RunFile<'f>,
    encoded: Vec<u8>,
    error: Option<EngineError>,
}

impl<V: Value> EmitValue<V> for RunValues<'_, '_> {
    fn emit(&mut self, value: V::View<'_>) {
        self.encoded.clear();
        V::encode(value, &mut self.encoded);
        if self.error.is_none()
            && let Err(error) = self.run.push(self.partition, self.key, &self.encoded)
        {
            self.error = Some(error);
        }
    }
}

pub(super) fn decode<P: Program>(
    bytes: &[u8],
) -> Result<<P::Value as Value>::View<'_>, EngineError> {
    P::Value::decode(bytes).map_err(|source| EngineError::Decode {
        what: "value",
        source,
    })
}
