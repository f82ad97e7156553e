//! Spilled runs of one map task, and their merge into the segment.
//!
//! A spill is a segment file that nobody else reads; its name is removed as
//! soon as it is open, so that nothing is left behind however the task ends.
//! When there are as many as one merge may read, they become one.

use std::fs;
use std::path::PathBuf;

use vivat_mapreduce::{Combiner, EmitValue, Key, Program, Value, Values};

use super::Gathered;
use super::run::{Place, RunFile, storage};
use crate::error::{EngineError, StorageUse};
use crate::failpoint::point;
use crate::merge::{FAN_IN_MAX, FAN_IN_MIN, Groups, RUN_BYTES};
use crate::segment::{FileRange, SegmentError, SegmentFile, SegmentReader};
use crate::task::{MapTask, Progress};

/// The spills of one task.
pub(super) struct Spills {
    scratch: PathBuf,
    segment_path: PathBuf,
    partitions: u32,
    pub memory_bytes: usize,
    fan_in: usize,
    files: Vec<SegmentFile>,
    /// Runs written because memory was full.
    spilled: u64,
    /// Files made, for their names.
    made: u64,
}

impl Spills {
    pub fn new(task: &MapTask<'_>) -> Self {
        Self {
            scratch: task.scratch.to_owned(),
            segment_path: task.segment_path.to_owned(),
            partitions: task.partitions.max(1),
            memory_bytes: task.memory_bytes,
            fan_in: (task.memory_bytes / RUN_BYTES).clamp(FAN_IN_MIN, FAN_IN_MAX),
            files: Vec::new(),
            spilled: 0,
            made: 0,
        }
    }

    /// Writes a run because memory is full: `write` fills the file.
    pub fn spill<P: Program>(
        &mut self,
        place: Place<'_, P>,
        write: impl FnOnce(&mut RunFile<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        place.cancel.check()?;
        if self.files.len() >= self.fan_in {
            self.merge_all(place)?;
        }
        self.spilled += 1;
        self.add(write)
    }

    /// Ends the task: `write` fills a file with what is still in memory, unless
    /// that `is_empty`.
    pub fn finish<P: Program>(
        mut self,
        place: Place<'_, P>,
        is_empty: bool,
        emitted: u64,
        write: impl FnOnce(&mut RunFile<'_>) -> Result<(), EngineError>,
    ) -> Result<Gathered, EngineError> {
        let stored_bytes = if !self.files.is_empty() {
            if !is_empty {
                self.add(write)?;
            }
            let mut segment = self.segment()?;
            self.merge_into(place, &mut segment)?;
            segment.finish()?
        } else {
            // Without a record too: a worker that comes back shows by the file
            // that the map is done.
            let mut segment = self.segment()?;
            if !is_empty {
                write(&mut segment)?;
            }
            segment.finish()?
        };
        Ok(Gathered {
            stored_bytes,
            emitted,
            spills: self.spilled,
        })
    }

    fn segment(&self) -> Result<RunFile<'_>, EngineError> {
        RunFile::create(&self.segment_path, self.partitions, StorageUse::Segment)
    }

    fn add(
        &mut self,
        write: impl FnOnce(&mut RunFile<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let path = self.scratch.join(format!("spill-{}", self.made));
        self.made += 1;
        let mut run = RunFile::create(&path, self.partitions, StorageUse::Spill)?;
        write(&mut run)?;
        run.finish()?;
        let failed = |source| storage(StorageUse::Spill, &path, source);
        let file = SegmentFile::open(&path).map_err(failed)?;
        fs::remove_file(&path).map_err(|source| failed(SegmentError::Io { source }))?;
        self.files.push(file);
        Ok(())
    }

    fn merge_all<P: Program>(&mut self, place: Place<'_, P>) -> Result<(), EngineError> {
        let files = std::mem::take(&mut self.files);
        let (scratch, partitions) = (self.scratch.clone(), self.partitions);
        self.add(|run| merge_files(place, &files, partitions, run, &scratch))
    }

    fn merge_into<P: Program>(
        &self,
        place: Place<'_, P>,
        run: &mut RunFile<'_>,
    ) -> Result<(), EngineError> {
        merge_files(place, &self.files, self.partitions, run, &self.scratch)
    }
}

fn merge_files<P: Program>(
    place: Place<'_, P>,
    files: &[SegmentFile],
    partitions: u32,
    run: &mut RunFile<'_>,
    scratch: &std::path::Path,
) -> Result<(), EngineError> {
    point("spill-read").map_err(|source| {
        let source = SegmentError::Io { source };
        storage(StorageUse::Spill, scratch, source)
    })?;
    let progress = Progress::default();
    for partition in 0..partitions {
        let readers = files
            .iter()
            .filter_map(|file| file.run(partition))
            .map(|range| SegmentReader::of_partition(range, partition))
            .collect();
        let mut merging = Merging {
            place,
            groups: Groups::new(readers, &progress, place.cancel),
            scratch,
        };
        merging.write(partition, run)?;
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
