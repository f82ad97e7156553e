//! Map and reduce tasks by themselves: order, formats, and what goes wrong.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{Bench, ByFirstByte, in_memory, stored};
use vivat_engine::{EngineError, InputProblem, Runner, SegmentData, SegmentSource, SegmentWriter};
use vivat_shared::attempt::counters;
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputFormat;

const PLAIN: Runner<ByFirstByte<false>> = Runner::new(ByFirstByte::<false>);
const COMBINING: Runner<ByFirstByte<true>> = Runner::new(ByFirstByte::<true>);

#[test]
fn values_come_in_the_order_of_maps_and_then_of_emission() {
    let bench = Bench::new(b"b3\na1\nb1\na2\nb2\na0\n");
    let mut sources = Vec::new();
    for (split, range) in [(0, (0, 7)), (1, (7, 11))] {
        bench.map(&PLAIN, (split, 2), range).unwrap();
        sources.push(in_memory(
            split,
            stored(&bench.path(&format!("segment-{split}")), 0),
        ));
    }
    let (out, report) = bench.reduce(&PLAIN, 0, sources).unwrap();
    assert_eq!(out, b"a\ta1,a2,a0\nb\tb3,b1,b2\n");
    assert_eq!(report.output.bytes, out.len() as u64);
    assert_eq!(report.output.records, 2);
    assert_eq!(report.output.crc32c, crc32c::crc32c(&out));
    assert_eq!(report.counters[counters::REDUCE_INPUT_RECORDS], 6);
    assert_eq!(report.counters[counters::REDUCE_INPUT_KEYS], 2);
}

#[test]
fn spills_merges_of_spills_and_a_combiner_keep_the_order() {
    let text: String = (0..2_000)
        .map(|index| format!("{}{index}\n", index % 3))
        .collect();
    let expected = {
        let bench = Bench::new(text.as_bytes());
        bench.map_all(&PLAIN).unwrap();
        let source = in_memory(0, stored(&bench.path("segment-0"), 0));
        bench.reduce(&PLAIN, 0, vec![source]).unwrap().0
    };
    for memory_bytes in [1, 500, 200_000] {
        for program in [&PLAIN as &dyn vivat_engine::Executable, &COMBINING] {
            let mut bench = Bench::new(text.as_bytes());
            bench.memory_bytes = memory_bytes;
            let report = bench.map_all(program).unwrap();
            let spills = report.counters[counters::MAP_SPILLS];
            assert_eq!(
                spills > 0,
                memory_bytes < 200_000,
                "{memory_bytes}: {spills}"
            );
            assert_eq!(report.counters[counters::MAP_OUTPUT_RECORDS], 2_000);
            assert_eq!(report.counters["test.maps"], 1);
            let source = in_memory(0, stored(&bench.path("segment-0"), 0));
            let (out, _) = bench.reduce(program, 0, vec![source]).unwrap();
            assert!(out == expected, "{memory_bytes}");
            assert!(bench.leftovers().is_empty(), "{:?}", bench.leftovers());
        }
    }
}

/// One small segment per map, each with the keys `a` and its own number.
fn many_sources(bench: &Bench, count: u32) -> Vec<SegmentSource> {
    (0..count)
        .map(|map| {
            let path = bench.path(&format!("segment-{map}"));
            let mut writer = SegmentWriter::create(&path, 1).unwrap();
            writer.push(0, b"a", map.to_string().as_bytes()).unwrap();
            writer
                .push(0, format!("b{map:05}").as_bytes(), b"x")
                .unwrap();
            writer.finish().unwrap();
            in_memory(map, stored(&path, 0))
        })
        .collect()
}

#[test]
fn hundreds_of_sources_are_merged_in_passes_in_their_order() {
    let bench = Bench::new(b"");
    for count in [0, 1, 2, 3, 5, 16, 17, 300, 700] {
        let sources = many_sources(&bench, count);
        let (out, report) = bench.reduce(&PLAIN, 0, sources).unwrap();
        let mut expected = String::new();
        if count > 0 {
            let all: Vec<String> = (0..count).map(|map| map.to_string()).collect();
            expected = format!("a\t{}\n", all.join(","));
        }
        for map in 0..count {
            expected.push_str(&format!("b{map:05}\tx\n"));
        }
        assert!(out == expected.as_bytes(), "{count} sources");
        assert_eq!(
            report.counters[counters::REDUCE_INPUT_RECORDS],
            u64::from(count) * 2
        );
        assert!(bench.leftovers().is_empty());
    }
}

#[test]
fn a_damaged_source_is_named_by_its_map_directly_and_in_a_pass() {
    let bench = Bench::new(b"");
    for count in [3, 100] {
        let mut sources = many_sources(&bench, count);
        let mut bytes = stored(&bench.path("segment-2"), 0);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        sources[2] = in_memory(2, bytes);
        let error = bench.reduce(&PLAIN, 0, sources).unwrap_err();
        assert!(
            matches!(error, EngineError::Segment { map: 2, .. }),
            "{count}: {error}"
        );
    }
    let mut sources = many_sources(&bench, 2);
    let path = bench.path("nowhere");
    let data = SegmentData::File {
        path,
        offset: 0,
        bytes: 9,
    };
    sources[1] = SegmentSource { map: 1, data };
    let error = bench.reduce(&PLAIN, 0, sources).unwrap_err();
    assert!(
        matches!(error, EngineError::Segment { map: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_map_without_output_leaves_no_file() {
    let mut bench = Bench::new(b"");
    bench.partitions = 3;
    let report = bench.map_all(&PLAIN).unwrap();
    assert_eq!(report.stored_bytes, [0, 0, 0]);
    assert!(!bench.path("segment-0").exists());
}

#[test]
fn an_input_of_another_size_or_time_is_refused() {
    let mut bench = Bench::new(b"a\n");
    bench.modify(1);
    let error = bench.map_all(&PLAIN).unwrap_err();
    assert!(
        matches!(error.cause(), FailureCause::InputChanged { .. }),
        "{error}"
    );
    bench.modify(-1);
    bench.file.bytes += 1;
    let error = bench.map_all(&PLAIN).unwrap_err();
    assert!(
        matches!(error.cause(), FailureCause::InputChanged { .. }),
        "{error}"
    );
}

#[test]
fn an_input_that_changes_while_it_is_read_is_refused() {
    let bench = Bench::new(b"touch\n");
    let program = Runner::new(TouchesInput(bench.path("input")));
    let error = bench.map_all(&program).unwrap_err();
    let EngineError::BadInput { problem, .. } = error else {
        panic!("{error}");
    };
    assert!(matches!(
        problem,
        InputProblem::SizeChanged {
            planned: 6,
            found: 9
        }
    ));
    assert!(!bench.path("segment-0").exists());
}

struct TouchesInput(std::path::PathBuf);

impl vivat_mapreduce::Program for TouchesInput {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    type Mapper<'t> = common::First;
    type Reducer<'t> = common::Join;

    fn mapper<'t>(
        &'t self,
        _: &'t vivat_mapreduce::MapContext<'t>,
    ) -> Result<common::First, vivat_mapreduce::ProgramError> {
        std::fs::write(&self.0, b"touched!\n").unwrap();
        Ok(common::First)
    }

    fn reducer<'t>(
        &'t self,
        _: &'t vivat_mapreduce::ReduceContext<'t>,
    ) -> Result<common::Join, vivat_mapreduce::ProgramError> {
        Ok(common::Join)
    }
}

#[test]
fn inputs_that_cannot_be_read_have_their_own_causes() {
    let mut bench = Bench::new(b"a\n");
    let directory = bench.directory.path().to_string_lossy().into_owned();
    bench.file.path = format!("{directory}/nothing");
    let cause = bench.map_all(&PLAIN).unwrap_err().cause();
    assert_eq!(
        cause,
        FailureCause::InputNotFound {
            path: "in/put".to_owned()
        }
    );
    bench.file.path = directory;
    let cause = bench.map_all(&PLAIN).unwrap_err().cause();
    assert_eq!(
        cause,
        FailureCause::InputIsDirectory {
            path: "in/put".to_owned()
        }
    );
}

#[test]
fn a_full_disk_is_a_full_disk() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let bench = Bench::new(b"a\n");
    bench.map_all(&PLAIN).unwrap();
    let source = in_memory(0, stored(&bench.path("segment-0"), 0));
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let error = bench
        .reduce_into(&PLAIN, vec![source], &mut &full)
        .unwrap_err();
    assert!(
        matches!(error.cause(), FailureCause::DiskFull { .. }),
        "{error}"
    );
}

#[test]
fn a_cancelled_task_stops() {
    let bench = Bench::new(b"a\nb\n");
    bench.cancel.cancel();
    let error = bench.map_all(&PLAIN).unwrap_err();
    assert!(matches!(error, EngineError::Cancelled), "{error}");
    assert!(!bench.path("segment-0").exists());
    let bench = Bench::new(b"");
    let sources = many_sources(&bench, 3_000);
    bench.cancel.cancel();
    let error = bench.reduce(&PLAIN, 0, sources).unwrap_err();
    assert!(matches!(error, EngineError::Cancelled), "{error}");
}

#[test]
fn a_program_error_names_the_record() {
    let bench = Bench::new(b"a\nb\nfail\nc\n");
    let cause = bench.map_all(&PLAIN).unwrap_err().cause();
    let detail = "asked to fail (record at byte 4)".to_owned();
    assert_eq!(cause, FailureCause::Program { detail });
}

#[test]
fn progress_counts_every_byte_and_record_of_all_splits_once() {
    let bench = Bench::new(b"one\ntwo\n\nthree\r\nfour");
    for (split, offset) in (0..20).zip(0..) {
        bench.map(&PLAIN, (split, 20), (offset, 1)).unwrap();
    }
    assert_eq!((bench.progress.bytes(), bench.progress.records()), (20, 5));
}

#[test]
fn fixed_records_and_whole_files_belong_to_one_split_each() {
    let mut bench = Bench::new(b"aabbcc");
    bench.format = InputFormat::Fixed(2);
    let mut sizes = Vec::new();
    for (split, offset) in (0..6).zip(0..) {
        let report = bench.map(&PLAIN, (split, 6), (offset, 1)).unwrap();
        sizes.push(report.counters[counters::MAP_INPUT_RECORDS]);
    }
    assert_eq!(sizes, [1, 0, 1, 0, 1, 0]);
    bench.format = InputFormat::Fixed(4);
    let cause = bench.map_all(&PLAIN).unwrap_err().cause();
    assert!(
        matches!(cause, FailureCause::InvalidInput { .. }),
        "{cause}"
    );
    bench.format = InputFormat::WholeFile;
    let whole = bench.map(&PLAIN, (0, 2), (0, 3)).unwrap();
    assert_eq!(whole.counters[counters::MAP_INPUT_RECORDS], 1);
    assert_eq!(whole.counters[counters::MAP_INPUT_BYTES], 6);
    let rest = bench.map(&PLAIN, (1, 2), (3, 3)).unwrap();
    assert_eq!(rest.counters[counters::MAP_INPUT_RECORDS], 0);
    bench.format = InputFormat::Csv;
    let rows = bench.map(&PLAIN, (0, 1), (0, 6)).unwrap();
    assert_eq!(rows.counters[counters::MAP_INPUT_RECORDS], 0);
}
