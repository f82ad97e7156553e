//! The engine keeps to its memory whatever the data are: twenty times the budget
//! goes through it, and the most that was allocated at one time is looked at.
//!
//! One test, because the peak is the process's own.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use common::Bench;
use peak_alloc::PeakAlloc;
use vivat_engine::{Runner, SegmentData, SegmentFile, SegmentSource};
use vivat_mapreduce::{
    Combiner, Emit, MapContext, Mapper, Output, Program, ProgramError, Record, ReduceContext,
    Reducer, Values,
};
use vivat_shared::attempt::counters;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

const MEMORY_BYTES: usize = 4 << 20;
/// Read buffers, blocks on their way to a file, and small things.
const SLACK_BYTES: usize = 8 << 20;
const DATA_BYTES: usize = 20 * MEMORY_BYTES;

/// Emits each line under its first eight bytes; counts what comes out.
#[derive(Debug, Clone, Copy)]
struct Carry;

struct Lines;

impl Program for Carry {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    type Mapper<'t> = Lines;
    type Reducer<'t> = Lines;
    const COMBINER: Combiner = Combiner::None;

    fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Lines, ProgramError> {
        Ok(Lines)
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Lines, ProgramError> {
        Ok(Lines)
    }
}

impl Mapper<Vec<u8>, Vec<u8>> for Lines {
    fn map<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        emit.emit(&record.bytes[..8], record.bytes);
        Ok(())
    }
}

impl Reducer<Vec<u8>, Vec<u8>> for Lines {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        _: &[u8],
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while let Some(value) = values.next() {
            out.line(&value[..8]);
        }
        Ok(())
    }
}

struct Case {
    name: &'static str,
    line_bytes: usize,
    one_key: bool,
    partitions: u32,
}

const CASES: [Case; 5] = [
    Case {
        name: "unique keys",
        line_bytes: 100,
        one_key: false,
        partitions: 3,
    },
    Case {
        name: "one key for everything",
        line_bytes: 100,
        one_key: true,
        partitions: 1,
    },
    Case {
        name: "large values",
        line_bytes: 64 << 10,
        one_key: false,
        partitions: 1,
    },
    Case {
        name: "huge values",
        line_bytes: 1 << 20,
        one_key: false,
        partitions: 1,
    },
    Case {
        name: "many partitions",
        line_bytes: 100,
        one_key: false,
        partitions: 4_096,
    },
];

#[test]
fn twenty_times_the_memory_goes_through_and_the_memory_is_kept_to() {
    for case in CASES {
        let mut bench = Bench::new(&text(&case));
        bench.memory_bytes = MEMORY_BYTES;
        bench.partitions = case.partitions;
        // A huge record is in the read buffer, the sort buffer, and as a block.
        let allowed = MEMORY_BYTES + SLACK_BYTES + 8 * case.line_bytes;
        let program = Runner::new(Carry);
        let before = PEAK.current_usage();
        PEAK.reset_peak_usage();
        let report = bench.map_all(&program).unwrap();
        let peak = PEAK.peak_usage() - before;
        assert!(
            peak < allowed,
            "{}: map took {peak} of {allowed}",
            case.name
        );
        assert!(report.counters[counters::MAP_SPILLS] >= 20, "{}", case.name);

        // The same segment as if it came from twenty maps.
        let path = bench.path("segment-0");
        let range = SegmentFile::open(&path).unwrap().partition_range(0);
        let (offset, bytes) = range.unwrap();
        let sources = (0..20).map(|map| SegmentSource {
            map,
            data: SegmentData::File {
                path: path.clone(),
                offset,
                bytes,
            },
        });
        let sources: Vec<_> = sources.collect();
        PEAK.reset_peak_usage();
        let before = PEAK.current_usage();
        let reduced = bench.reduce_into(&program, sources, &mut std::io::sink());
        let peak = PEAK.peak_usage() - before;
        assert!(
            peak < allowed,
            "{}: reduce took {peak} of {allowed}",
            case.name
        );
        let records = reduced.unwrap().counters[counters::REDUCE_INPUT_RECORDS];
        assert!(
            records > 0 && records.is_multiple_of(20),
            "{}: {records}",
            case.name
        );
    }
}

fn text(case: &Case) -> Vec<u8> {
    let mut text = Vec::with_capacity(DATA_BYTES + case.line_bytes);
    let mut noise = 7_u64;
    while text.len() < DATA_BYTES {
        let end = text.len() + case.line_bytes - 1;
        if case.one_key {
            text.extend_from_slice(b"one key ");
        }
        // It hardly packs, so that what is stored is what it was.
        while text.len() < end {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005) + 1;
            text.push(b' ' + (noise >> 57) as u8 % 94);
        }
        text.push(b'\n');
    }
    text
}
