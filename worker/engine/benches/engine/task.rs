//! Runs the tasks of a program over a file, as a worker would.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use tempfile::TempDir;
use vivat_engine::local::describe;
use vivat_engine::{
    CancelFlag, Executable, LocalFiles, MapTask, Progress, ReduceTask, Runner, SegmentCompression,
    SegmentData, SegmentFile, SegmentSource,
};
use vivat_mapreduce::{NO_HOST, NO_SIDE_FILES, Program};
use vivat_shared::attempt::{InputFile, SplitRange};
use vivat_shared::job::InputFormat;

use super::Variant;

const PARTITIONS: u32 = 2;
/// Bytes of a split, as jobs have it.
const SPLIT_BYTES: u64 = 32 << 20;
/// Splits that a reduce merges, the same ones again and again: what is read is in the cache.
const MAPS: u32 = 8;

/// An input and a place for segments.
pub struct Bench {
    directory: Rc<TempDir>,
    file: InputFile,
    memory_bytes: usize,
    parameters: BTreeMap<String, String>,
}

impl Bench {
    pub fn new(content: &[u8]) -> Self {
        let directory = TempDir::new().expect("a directory can be made");
        let path = directory.path().join("input");
        std::fs::write(&path, content).expect("there is room for the input");
        Self {
            file: describe(&path, "input").expect("the input is there"),
            directory: Rc::new(directory),
            memory_bytes: 256 << 20,
            parameters: BTreeMap::new(),
        }
    }

    pub fn with_memory(&self, memory_bytes: usize) -> Self {
        Self {
            directory: self.directory.clone(),
            file: self.file.clone(),
            memory_bytes,
            parameters: BTreeMap::new(),
        }
    }

    /// Maps the whole input, split after split.
    pub fn map<P: Program + Copy + Default>(&self, _: &P) {
        let mut offset = 0;
        while offset < self.file.bytes {
            let bytes = SPLIT_BYTES.min(self.file.bytes - offset);
            self.map_split::<P>(0, offset, bytes);
            offset += bytes;
        }
    }

    fn map_split<P: Program + Copy + Default>(&self, split: u32, offset: u64, bytes: u64) {
        let mapped = Runner::new(P::default()).map(&mut MapTask {
            file: &self.file,
            input: &LocalFiles,
            range: SplitRange {
                file: 0,
                offset,
                bytes,
            },
            format: InputFormat::Text,
            split,
            splits: MAPS,
            partitions: PARTITIONS,
            segment_path: &self.segment(split),
            scratch: self.directory.path(),
            memory_bytes: self.memory_bytes,
            compression: SegmentCompression::default(),
            skipped_max: 0,
            parameters: &self.parameters,
            broadcast: &[],
            side_files: NO_SIDE_FILES,
            host: NO_HOST,
            progress: &Progress::default(),
            cancel: &CancelFlag::default(),
        });
        mapped.expect("the map succeeds");
    }

    fn segment(&self, split: u32) -> PathBuf {
        self.directory.path().join(format!("segment-{split}"))
    }

    /// Cuts the input into [`MAPS`] splits, maps them, and reduces both partitions.
    pub fn reduces<P: Program + Copy + Default>(&self, _: &P) -> Vec<Variant<'_>> {
        let step = self.file.bytes.div_ceil(u64::from(MAPS));
        for split in 0..MAPS {
            let offset = u64::from(split) * step;
            self.map_split::<P>(split, offset, step.min(self.file.bytes - offset));
        }
        vec![("reduce", Box::new(|| self.reduce_all::<P>()))]
    }

    fn reduce_all<P: Program + Copy + Default>(&self) {
        for partition in 0..PARTITIONS {
            let mut sources = Vec::new();
            for map in 0..MAPS {
                let path = self.segment(map);
                let file = SegmentFile::open(&path).expect("the segment is whole");
                if let Some((offset, bytes)) = file.partition_range(partition) {
                    let data = SegmentData::File {
                        path,
                        offset,
                        bytes,
                    };
                    sources.push(SegmentSource { map, data });
                }
            }
            let reduced = Runner::new(P::default()).reduce(&mut ReduceTask {
                partition,
                partitions: PARTITIONS,
                sources,
                output: &mut std::io::sink(),
                scratch: self.directory.path(),
                memory_bytes: self.memory_bytes,
                compression: SegmentCompression::default(),
                parameters: &self.parameters,
                broadcast: &[],
                side_files: NO_SIDE_FILES,
                host: NO_HOST,
                progress: &Progress::default(),
                cancel: &CancelFlag::default(),
            });
            reduced.expect("the reduce succeeds");
        }
    }
}
