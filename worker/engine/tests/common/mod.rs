//! Programs and tasks for the engine's own tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vivat_engine::local::describe;
use vivat_engine::{
    CancelFlag, EngineError, Executable, LocalFiles, MapReport, MapTask, Progress, ReduceReport,
    ReduceTask, SegmentCompression, SegmentData, SegmentFile, SegmentSource,
};
use vivat_mapreduce::{
    Combiner, Emit, EmitValue, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};
use vivat_shared::attempt::{InputFile, InputOrigin, SplitRange};
use vivat_shared::job::InputFormat;

/// Emits each record under its first byte; the reducer joins the values.
#[derive(Debug, Clone, Copy)]
pub struct ByFirstByte<const COMBINES: bool>;

impl<const COMBINES: bool> Program for ByFirstByte<COMBINES> {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    type Mapper<'t> = First;
    type Reducer<'t> = Join;
    const COMBINER: Combiner = if COMBINES {
        Combiner::Combine
    } else {
        Combiner::None
    };

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<First, ProgramError> {
        context.counter("test.maps")?.add(1);
        Ok(First)
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Join, ProgramError> {
        Ok(Join)
    }

    fn combine<S: Values<Vec<u8>>, E: EmitValue<Vec<u8>>>(
        &self,
        _: &[u8],
        values: &mut S,
        emit: &mut E,
    ) {
        emit.emit(&join(values));
    }
}

pub struct First;

impl Mapper<Vec<u8>, Vec<u8>> for First {
    fn map<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        if record.bytes == b"fail" {
            return Err(ProgramError::new("asked to fail"));
        }
        emit.emit(&record.bytes[..record.bytes.len().min(1)], record.bytes);
        Ok(())
    }
}

pub struct Join;

impl Reducer<Vec<u8>, Vec<u8>> for Join {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        key: &[u8],
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        out.raw(key);
        out.raw(b"\t");
        out.line(&join(values));
        Ok(())
    }
}

fn join<S: Values<Vec<u8>>>(values: &mut S) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(value) = values.next() {
        if !all.is_empty() {
            all.push(b',');
        }
        all.extend_from_slice(value);
    }
    all
}

/// A directory with an input, and what a task needs beside it.
pub struct Bench {
    pub directory: TempDir,
    pub file: InputFile,
    pub format: InputFormat,
    pub partitions: u32,
    pub memory_bytes: usize,
    pub compression: SegmentCompression,
    pub skipped_max: u64,
    pub progress: Progress,
    pub cancel: CancelFlag,
    parameters: BTreeMap<String, String>,
}

impl Bench {
    pub fn new(content: &[u8]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("input");
        std::fs::write(&path, content).unwrap();
        Self {
            file: describe(&path, "in/put").unwrap(),
            directory,
            format: InputFormat::Text,
            partitions: 1,
            memory_bytes: 1 << 20,
            compression: SegmentCompression::default(),
            skipped_max: 0,
            progress: Progress::default(),
            cancel: CancelFlag::default(),
            parameters: BTreeMap::new(),
        }
    }

    /// Moves the time that the plan saw.
    pub fn modify(&mut self, by_ns: i64) {
        let InputOrigin::FileSystem { modified_ns } = &mut self.file.origin else {
            panic!("an input of the file system");
        };
        *modified_ns += by_ns;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn map(
        &self,
        program: &dyn Executable,
        (split, splits): (u32, u32),
        (offset, bytes): (u64, u64),
    ) -> Result<MapReport, EngineError> {
        program.map(&mut MapTask {
            file: &self.file,
            input: &LocalFiles,
            range: SplitRange {
                file: 0,
                offset,
                bytes,
            },
            format: self.format,
            split,
            splits,
            partitions: self.partitions,
            segment_path: &self.path(&format!("segment-{split}")),
            scratch: self.directory.path(),
            memory_bytes: self.memory_bytes,
            compression: self.compression,
            skipped_max: self.skipped_max,
            parameters: &self.parameters,
            broadcast: &[],
            side_files: vivat_mapreduce::NO_SIDE_FILES,
            host: vivat_mapreduce::NO_HOST,
            progress: &self.progress,
            cancel: &self.cancel,
        })
    }

    /// Maps the whole file as one split.
    pub fn map_all(&self, program: &dyn Executable) -> Result<MapReport, EngineError> {
        self.map(program, (0, 1), (0, self.file.bytes))
    }

    pub fn reduce(
        &self,
        program: &dyn Executable,
        partition: u32,
        sources: Vec<SegmentSource>,
    ) -> Result<(Vec<u8>, ReduceReport), EngineError> {
        let mut output = Vec::new();
        let report = self.reduce_to(program, partition, sources, &mut output)?;
        Ok((output, report))
    }

    pub fn reduce_into(
        &self,
        program: &dyn Executable,
        sources: Vec<SegmentSource>,
        output: &mut dyn std::io::Write,
    ) -> Result<ReduceReport, EngineError> {
        self.reduce_to(program, 0, sources, output)
    }

    fn reduce_to(
        &self,
        program: &dyn Executable,
        partition: u32,
        sources: Vec<SegmentSource>,
        output: &mut dyn std::io::Write,
    ) -> Result<ReduceReport, EngineError> {
        program.reduce(&mut ReduceTask {
            partition,
            partitions: self.partitions,
            sources,
            output,
            scratch: self.directory.path(),
            memory_bytes: self.memory_bytes,
            compression: self.compression,
            parameters: &self.parameters,
            broadcast: &[],
            side_files: vivat_mapreduce::NO_SIDE_FILES,
            host: vivat_mapreduce::NO_HOST,
            progress: &self.progress,
            cancel: &self.cancel,
        })
    }

    /// Names of files that are neither input nor segment.
    pub fn leftovers(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.directory.path()).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".tmp") || !is_known(name))
            .collect()
    }
}

/// The bytes of one partition of a segment file, as they would be sent.
pub fn stored(path: &Path, partition: u32) -> Vec<u8> {
    let (offset, bytes) = SegmentFile::open(path)
        .unwrap()
        .partition_range(partition)
        .unwrap();
    let all = std::fs::read(path).unwrap();
    let range = usize::try_from(offset).unwrap()..usize::try_from(offset + bytes).unwrap();
    all[range].to_vec()
}

pub fn in_memory(map: u32, bytes: Vec<u8>) -> SegmentSource {
    SegmentSource {
        map,
        data: SegmentData::Memory(bytes.into()),
    }
}

fn is_known(name: &str) -> bool {
    name == "input" || name.starts_with("segment-")
}
