//! Runs a whole job on the calling thread: the sequential path, and the tests'.
//!
//! Maps run one after another, then reduces; the parts go to one writer in
//! order, as a cluster's output reads when its parts are concatenated.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vivat_shared::attempt::{Counters, InputFile, InputOrigin, SplitRange};
use vivat_shared::job::InputFormat;

use crate::error::{EngineError, StorageUse};
use crate::input::{Compression, LocalFiles};
use crate::segment::SegmentFile;
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
    /// The program's parameters.
    pub parameters: BTreeMap<String, String>,
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
    let files = inputs
        .iter()
        .map(|(path, display)| describe(path, display))
        .collect::<Result<Vec<_>, _>>()?;
    let splits = cut(&files, options.split_bytes);
    let job = Job {
        program,
        options,
        scratch,
        progress: Progress::default(),
        cancel: CancelFlag::default(),
    };
    let mut sums = Counters::new();
    let mut segments = Vec::with_capacity(splits.len());
    for (index, range) in splits.iter().enumerate() {
        segments.push(job.map(&files, *range, (index, splits.len()), &mut sums)?);
    }
    for partition in 0..options.reducers {
        job.reduce(partition, &segments, output, &mut sums)?;
    }
    for path in segments {
        fs::remove_file(&path).map_err(|source| EngineError::Storage {
            usage: StorageUse::Segment,
            path,
            source,
        })?;
    }
    Ok(sums)
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

struct Job<'j> {
    program: &'j dyn Executable,
    options: &'j LocalOptions,
    scratch: &'j Path,
    progress: Progress,
    cancel: CancelFlag,
}

impl Job<'_> {
    fn map(
        &self,
        files: &[InputFile],
        range: SplitRange,
        (index, splits): (usize, usize),
        sums: &mut Counters,
    ) -> Result<PathBuf, EngineError> {
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
            parameters: &self.options.parameters,
            broadcast: &[],
            progress: &self.progress,
            cancel: &self.cancel,
        })?;
        add(sums, &report.counters);
        Ok(segment_path)
    }

    fn reduce(
        &self,
        partition: u32,
        segments: &[PathBuf],
        output: &mut dyn Write,
        sums: &mut Counters,
    ) -> Result<(), EngineError> {
        let mut sources = Vec::new();
        for (map, path) in (0_u32..).zip(segments) {
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
            parameters: &self.options.parameters,
            broadcast: &[],
            progress: &self.progress,
            cancel: &self.cancel,
        })?;
        add(sums, &report.counters);
        Ok(())
    }
}

fn add(sums: &mut Counters, more: &Counters) {
    for (name, amount) in more {
        *sums.entry(name.clone()).or_default() += amount;
    }
}
