//! Runs a whole job on the calling thread: the sequential path, and the tests'.
//!
//! Maps run one after another, then reduces; the parts go to one writer in
//! order, as a cluster's output reads when its parts are concatenated.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vivat_mapreduce::{Closed, NO_HOST, SideFiles};
use vivat_shared::attempt::{Counters, InputFile, InputOrigin, PartOutput, SplitRange};
use vivat_shared::job::InputFormat;

use crate::close::{ClosePart, CloseTask};
use crate::error::{EngineError, StorageUse};
use crate::input::{Compression, InputError, InputReader, LocalFiles, csv_cuts};
use crate::segment::{SegmentCompression, SegmentFile};
use crate::task::{
    CancelFlag, Executable, MapTask, Progress, ReduceTask, SegmentData, SegmentSource,
};

/// How a local job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOptions {
    /// How bytes become records.
    pub format: InputFormat,
    /// Bytes of a split, at least 1.
    pub split_bytes: u64,
    /// Partitions, at least 1.
    pub reducers: u32,
    /// Bytes that gathered records may take.
    pub memory_bytes: usize,
    /// How segments and spills are compressed.
    pub compression: SegmentCompression,
    /// Bad records that a map may skip; 0: none.
    pub skipped_max: u64,
    /// The program's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Files beside the inputs.
    pub side_files: SideFiles,
}

/// Runs all maps over the inputs, given as path and display name, then all
/// reduces, and returns the sums of all counters. `scratch` is an existing
/// directory; segment files in it are deleted at the end.
///
/// # Errors
///
/// The first task's error.
pub fn run(
    program: &dyn Executable,
    inputs: &[(PathBuf, String)],
    options: &LocalOptions,
    scratch: &Path,
    output: &mut dyn Write,
) -> Result<Counters, EngineError> {
    run_after(program, inputs, options, &[], scratch, output)
}

/// Like [`run`], of a step whose tasks were handed a broadcast.
///
/// # Errors
///
/// The first task's error.
pub fn run_after(
    program: &dyn Executable,
    inputs: &[(PathBuf, String)],
    options: &LocalOptions,
    broadcast: &[u8],
    scratch: &Path,
    output: &mut dyn Write,
) -> Result<Counters, EngineError> {
    let job = Job::new(program, options, broadcast, scratch);
    let mut sums = Counters::new();
    let segments = job.maps(inputs, &mut sums)?;
    for partition in 0..options.reducers {
        job.reduce(partition, &segments, output, &mut sums)?;
    }
    remove(segments)?;
    Ok(sums)
}

/// Runs a step that closes: rounds over the same inputs until its program does
/// not want another, `rounds_max` at most. Returns what each round came to.
/// `output` gets the parts of the last one.
///
/// # Errors
///
/// The first task's error.
pub fn run_rounds(
    program: &dyn Executable,
    inputs: &[(PathBuf, String)],
    (options, rounds_max): (&LocalOptions, u32),
    broadcast: &[u8],
    scratch: &Path,
    output: &mut dyn Write,
) -> Result<Vec<Closed>, EngineError> {
    let mut rounds: Vec<Closed> = Vec::new();
    loop {
        let round = u32::try_from(rounds.len()).unwrap_or(u32::MAX);
        let given = rounds
            .last()
            .map_or(broadcast, |closed| closed.broadcast.as_slice());
        let job = Job::new(program, options, given, scratch);
        let mut sums = Counters::new();
        let segments = job.maps(inputs, &mut sums)?;
        let mut parts = Vec::new();
        for partition in 0..options.reducers {
            let mut part = Vec::new();
            let written = job.reduce(partition, &segments, &mut part, &mut sums)?;
            parts.push((written, part));
        }
        remove(segments)?;
        let closed = job.close((round, rounds_max), &parts)?;
        let is_last = !closed.again || round + 1 >= rounds_max;
        rounds.push(closed);
        if is_last {
            for (_, part) in parts {
                let written = output.write_all(&part);
                written.map_err(|source| EngineError::Output { source })?;
            }
            return Ok(rounds);
        }
    }
}

fn remove(segments: Vec<(u32, PathBuf)>) -> Result<(), EngineError> {
    for (_, path) in segments {
        fs::remove_file(&path).map_err(|source| EngineError::Storage {
            usage: StorageUse::Segment,
            path,
            source,
        })?;
    }
    Ok(())
}

/// Size and time of an input as a plan would record them.
///
/// # Errors
///
/// When the file cannot be looked at.
pub fn describe(path: &Path, display: &str) -> Result<InputFile, EngineError> {
    let metadata = fs::metadata(path).map_err(|source| EngineError::Input {
        display: display.to_owned(),
        source,
    })?;
    Ok(InputFile {
        header: Vec::new(),
        path: path.to_string_lossy().into_owned(),
        display: display.to_owned(),
        bytes: metadata.len(),
        origin: InputOrigin::FileSystem {
            modified_ns: metadata
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(metadata.mtime_nsec()),
        },
    })
}

/// Cuts files into splits of `split_bytes`, the last of a file shorter; an
/// empty file is one empty split, because programs may speak of every file, and
/// a compressed one is one split.
#[must_use]
pub fn cut(files: &[InputFile], split_bytes: u64) -> Vec<SplitRange> {
    let mut splits = Vec::new();
    for (file, described) in (0_u32..).zip(files) {
        let mut offset = 0;
        loop {
            let step = match Compression::of(described) {
                Some(_) => u64::MAX,
                None => split_bytes.max(1),
            };
            let bytes = step.min(described.bytes - offset);
            splits.push(SplitRange {
                file,
                offset,
                bytes,
            });
            offset += bytes;
            if offset >= described.bytes {
                break;
            }
        }
    }
    splits
}

/// Cuts as the format wants it.
fn cut_as(files: &[InputFile], options: &LocalOptions) -> Result<Vec<SplitRange>, EngineError> {
    match options.format {
        InputFormat::Csv => cut_csv(files, options.split_bytes),
        InputFormat::Text | InputFormat::WholeFile | InputFormat::Fixed(_) => {
            Ok(cut(files, options.split_bytes))
        }
    }
}

/// Cuts CSV files at line ends that end records.
fn cut_csv(files: &[InputFile], split_bytes: u64) -> Result<Vec<SplitRange>, EngineError> {
    let mut splits = Vec::new();
    for (file, described) in (0_u32..).zip(files) {
        let mut ends = csv_cuts(described, &LocalFiles, split_bytes, &|| false)?;
        ends.push(described.bytes);
        let mut offset = 0;
        for end in ends {
            splits.push(SplitRange {
                file,
                offset,
                bytes: end - offset,
            });
            offset = end;
        }
    }
    Ok(splits)
}

struct Job<'j> {
    program: &'j dyn Executable,
    options: &'j LocalOptions,
    broadcast: &'j [u8],
    scratch: &'j Path,
    progress: Progress,
    cancel: CancelFlag,
}

impl<'j> Job<'j> {
    fn new(
        program: &'j dyn Executable,
        options: &'j LocalOptions,
        broadcast: &'j [u8],
        scratch: &'j Path,
    ) -> Self {
        Self {
            program,
            options,
            broadcast,
            scratch,
            progress: Progress::default(),
            cancel: CancelFlag::default(),
        }
    }

    /// Runs all maps; returns the segment files of those that wrote one.
    fn maps(
        &self,
        inputs: &[(PathBuf, String)],
        sums: &mut Counters,
    ) -> Result<Vec<(u32, PathBuf)>, EngineError> {
        let files = inputs
            .iter()
            .map(|(path, display)| describe(path, display))
            .collect::<Result<Vec<_>, _>>()?;
        let splits = cut_as(&files, self.options)?;
        let mut segments = Vec::with_capacity(splits.len());
        for (index, range) in splits.iter().enumerate() {
            let map = u32::try_from(index).unwrap_or(u32::MAX);
            let segment = self.map(&files, *range, (index, splits.len()), sums)?;
            segments.extend(segment.map(|path| (map, path)));
        }
        Ok(segments)
    }

    fn close(
        &self,
        (round, rounds_max): (u32, u32),
        parts: &[(PartOutput, Vec<u8>)],
    ) -> Result<Closed, EngineError> {
        let parts = parts.iter().map(|(output, bytes)| {
            let open = move || -> Result<Box<dyn InputReader>, InputError> {
                Ok(Box::new(MemoryPart(bytes.clone())))
            };
            ClosePart {
                output: *output,
                open: Box::new(open),
            }
        });
        let report = self.program.close(&mut CloseTask {
            round,
            rounds_max,
            parts: parts.collect(),
            parameters: &self.options.parameters,
            broadcast: self.broadcast,
            side_files: &self.options.side_files,
            progress: &self.progress,
            cancel: &self.cancel,
        })?;
        Ok(report.closed)
    }

    fn map(
        &self,
        files: &[InputFile],
        range: SplitRange,
        (index, splits): (usize, usize),
        sums: &mut Counters,
    ) -> Result<Option<PathBuf>, EngineError> {
        let segment_path = self.scratch.join(format!("map-{index}.segment"));
        let report = self.program.map(&mut MapTask {
            file: &files[range.file as usize],
            input: &LocalFiles,
            range,
            format: self.options.format,
            split: u32::try_from(index).unwrap_or(u32::MAX),
            splits: u32::try_from(splits).unwrap_or(u32::MAX),
            partitions: self.options.reducers,
            segment_path: &segment_path,
            scratch: self.scratch,
            memory_bytes: self.options.memory_bytes,
            compression: self.options.compression,
            skipped_max: self.options.skipped_max,
            parameters: &self.options.parameters,
            broadcast: self.broadcast,
            side_files: &self.options.side_files,
            host: NO_HOST,
            progress: &self.progress,
            cancel: &self.cancel,
        })?;
        add(sums, &report.counters);
        let is_empty = report.stored_bytes.iter().all(|bytes| *bytes == 0);
        Ok((!is_empty).then_some(segment_path))
    }

    fn reduce(
        &self,
        partition: u32,
        segments: &[(u32, PathBuf)],
        output: &mut dyn Write,
        sums: &mut Counters,
    ) -> Result<PartOutput, EngineError> {
        let mut sources = Vec::new();
        for &(map, ref path) in segments {
            let file =
                SegmentFile::open(path).map_err(|source| EngineError::Segment { map, source })?;
            if let Some((offset, bytes)) = file.partition_range(partition) {
                let path = path.clone();
                let data = SegmentData::File {
                    path,
                    offset,
                    bytes,
                };
                sources.push(SegmentSource { map, data });
            }
        }
        let mut output = io::BufWriter::new(output);
        let report = self.program.reduce(&mut ReduceTask {
            partition,
            partitions: self.options.reducers,
            sources,
            output: &mut output,
            scratch: self.scratch,
            memory_bytes: self.options.memory_bytes,
            compression: self.options.compression,
            parameters: &self.options.parameters,
            broadcast: self.broadcast,
            side_files: &self.options.side_files,
            host: NO_HOST,
            progress: &self.progress,
            cancel: &self.cancel,
        })?;
        add(sums, &report.counters);
        Ok(report.output)
    }
}

/// A part that is small enough to be kept.
#[derive(Debug)]
struct MemoryPart(Vec<u8>);

impl InputReader for MemoryPart {
    fn length(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    fn check(&mut self) -> Result<(), InputError> {
        Ok(())
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, InputError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.0.get(from..).unwrap_or_default();
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        Ok(taken)
    }
}

fn add(sums: &mut Counters, more: &Counters) {
    for (name, amount) in more {
        *sums.entry(name.clone()).or_default() += amount;
    }
}
