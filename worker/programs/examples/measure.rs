//! Measures a program on one thread over generated text, map and reduce apart:
//!
//! ```text
//! cargo run --release -p vivat-programs --example measure -- 256 word-count
//! cargo run --release -p vivat-programs --example measure -- 256 grep pattern=xin
//! ```
//!
//! The first argument is the size in MiB, the second the program, the others
//! its parameters.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use vivat_engine::local::{cut, describe};
use vivat_engine::{
    CancelFlag, Executable, LocalFiles, MapTask, Progress, ReduceTask, SegmentCompression,
    SegmentData, SegmentFile, SegmentSource,
};
use vivat_programs::{find, generate, validate_parameters};
use vivat_shared::job::{InputFormat, SPLIT_BYTES_DEFAULT};

const REDUCERS: u32 = 4;
const MEMORY_BYTES: usize = 256 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mebibytes: u64 = arguments.next().ok_or("size in MiB missing")?.parse()?;
    let name = arguments.next().unwrap_or_else(|| "word-count".to_owned());
    let given: BTreeMap<String, String> = arguments
        .filter_map(|text| {
            text.split_once('=')
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
        })
        .collect();
    let entry = find(&name).ok_or("no such program")?;
    let parameters = validate_parameters(entry, &given)?;
    let program = (entry.build)(&parameters)?;
    let mut log = io::stderr();

    let scratch = tempfile::TempDir::new()?;
    let path = scratch.path().join("words.txt");
    let started = Instant::now();
    generate::words(mebibytes << 20, 1, &mut File::create(&path)?)?;
    tell(&mut log, "generate", mebibytes << 20, started)?;

    let bench = Bench {
        program: program.as_ref(),
        scratch: scratch.path(),
        parameters: parameters.to_map(),
        progress: Progress::default(),
        cancel: CancelFlag::default(),
    };
    let started = Instant::now();
    let segments = bench.map(&path)?;
    tell(&mut log, "map", mebibytes << 20, started)?;
    let started = Instant::now();
    let mut written = 0;
    for partition in 0..REDUCERS {
        written += bench.reduce(partition, &segments)?;
    }
    tell(&mut log, "reduce", mebibytes << 20, started)?;
    writeln!(log, "output   {written} bytes")?;
    Ok(())
}

struct Bench<'b> {
    program: &'b dyn Executable,
    scratch: &'b Path,
    parameters: BTreeMap<String, String>,
    progress: Progress,
    cancel: CancelFlag,
}

impl Bench<'_> {
    fn map(&self, path: &Path) -> Result<Vec<(u32, PathBuf)>, Box<dyn Error>> {
        let file = describe(path, "words.txt")?;
        let splits = cut(std::slice::from_ref(&file), SPLIT_BYTES_DEFAULT);
        let mut segments = Vec::new();
        for (index, range) in (0_u32..).zip(&splits) {
            let segment_path = self.scratch.join(format!("map-{index}"));
            self.program.map(&mut MapTask {
                file: &file,
                input: &LocalFiles,
                range: *range,
                format: InputFormat::Text,
                split: index,
                splits: u32::try_from(splits.len())?,
                partitions: REDUCERS,
                segment_path: &segment_path,
                scratch: self.scratch,
                memory_bytes: MEMORY_BYTES,
                compression: SegmentCompression::default(),
                skipped_max: 0,
                parameters: &self.parameters,
                broadcast: &[],
                side_files: vivat_mapreduce::NO_SIDE_FILES,
                host: vivat_mapreduce::NO_HOST,
                progress: &self.progress,
                cancel: &self.cancel,
            })?;
            segments.push((index, segment_path));
        }
        Ok(segments)
    }

    fn reduce(&self, partition: u32, segments: &[(u32, PathBuf)]) -> Result<u64, Box<dyn Error>> {
        let mut sources = Vec::new();
        for (map, path) in segments {
            if let Some((offset, bytes)) = SegmentFile::open(path)?.partition_range(partition) {
                let path = path.clone();
                let data = SegmentData::File {
                    path,
                    offset,
                    bytes,
                };
                sources.push(SegmentSource { map: *map, data });
            }
        }
        let report = self.program.reduce(&mut ReduceTask {
            partition,
            partitions: REDUCERS,
            sources,
            output: &mut io::sink(),
            scratch: self.scratch,
            memory_bytes: MEMORY_BYTES,
            compression: SegmentCompression::default(),
            parameters: &self.parameters,
            broadcast: &[],
            side_files: vivat_mapreduce::NO_SIDE_FILES,
            host: vivat_mapreduce::NO_HOST,
            progress: &self.progress,
            cancel: &self.cancel,
        })?;
        Ok(report.output.bytes)
    }
}

fn tell(log: &mut dyn Write, what: &str, bytes: u64, started: Instant) -> io::Result<()> {
    let seconds = started.elapsed().as_secs_f64();
    let rate = bytes as f64 / 1e6 / seconds;
    writeln!(log, "{what:8} {seconds:.3} s, {rate:.0} MB/s of input")
}
