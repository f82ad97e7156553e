//! A program that fails on some records, mapped without them.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use common::{Bench, Join, in_memory, stored};
use vivat_engine::{EngineError, MapReport, Runner};
use vivat_mapreduce::{
    Combiner, Emit, MapContext, Mapper, Program, ProgramError, Record, ReduceContext,
};
use vivat_shared::attempt::counters;
use vivat_shared::limits::{SKIPPED_BYTES_MAX, SKIPPED_RECORDS_MAX};

/// Emits each line under its first byte, after which it fails on `error...`,
/// panics on `panic...`, and on the third `third...` of a mapper.
#[derive(Debug, Clone, Copy)]
struct Fragile;

struct State(u32);

impl Program for Fragile {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    type Mapper<'t> = State;
    type Reducer<'t> = Join;
    const COMBINER: Combiner = Combiner::None;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<State, ProgramError> {
        context.counter("test.maps")?.add(1);
        Ok(State(0))
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Join, ProgramError> {
        Ok(Join)
    }
}

impl Mapper<Vec<u8>, Vec<u8>> for State {
    fn map<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        emit.emit(&record.bytes[..record.bytes.len().min(1)], record.bytes);
        if record.bytes.starts_with(b"error") {
            return Err(ProgramError::new("asked to fail"));
        }
        assert!(!record.bytes.starts_with(b"panic"), "asked to panic");
        self.0 += u32::from(record.bytes.starts_with(b"third"));
        if self.0 == 3 {
            return Err(ProgramError::new("three is too many"));
        }
        Ok(())
    }
}

const FRAGILE: Runner<Fragile> = Runner::new(Fragile);

fn mapped(text: &str, skipped_max: u64) -> (Bench, Result<MapReport, EngineError>) {
    let mut bench = Bench::new(text.as_bytes());
    bench.skipped_max = skipped_max;
    let report = bench.map_all(&FRAGILE);
    (bench, report)
}

fn output(bench: &Bench) -> Vec<u8> {
    let source = in_memory(0, stored(&bench.path("segment-0"), 0));
    bench.reduce(&FRAGILE, 0, vec![source]).unwrap().0
}

/// A text of several chunks with bad lines among good ones.
fn text() -> (String, String) {
    let mut all = String::new();
    let mut good = String::new();
    for line in 0..20_000 {
        match line {
            0 | 7 | 9_999 => all.push_str(&format!("error {line}\n")),
            8 | 15_000 | 19_999 => all.push_str(&format!("panic {line}\n")),
            _ => {
                let line = format!("line {line}\r\n");
                all.push_str(&line);
                good.push_str(&line);
            }
        }
    }
    (all, good)
}

#[test]
fn output_is_that_of_the_input_without_the_bad_records() {
    let (all, good) = text();
    let (bench, report) = mapped(&all, 6);
    let report = report.unwrap();
    assert_eq!(bench.progress.records(), 20_000 - 6);
    let (clean, expected) = mapped(&good, 0);
    let expected = expected.unwrap();
    assert!(output(&bench) == output(&clean));
    assert_eq!(report.counters[counters::MAP_RECORDS_SKIPPED], 6);
    for name in [
        counters::MAP_INPUT_RECORDS,
        counters::MAP_OUTPUT_RECORDS,
        "test.maps",
    ] {
        assert_eq!(report.counters[name], expected.counters[name], "{name}");
    }
    assert!(
        !expected
            .counters
            .contains_key(counters::MAP_RECORDS_SKIPPED)
    );
    let told: Vec<(u64, &[u8], &str)> = report
        .skipped
        .iter()
        .map(|record| (record.offset, &record.bytes[..], record.problem.as_str()))
        .collect();
    assert_eq!(told.len(), 6);
    assert_eq!(told[0], (0, &b"error 0\n"[..], "asked to fail"));
    let panicked = all.find("panic 8").unwrap() as u64;
    assert_eq!(
        told[2],
        (panicked, &b"panic 8\n"[..], "panicked: asked to panic")
    );
    assert!(
        report
            .skipped
            .iter()
            .all(|record| record.display == "in/put")
    );
    assert!(bench.leftovers().is_empty());
}

#[test]
#[should_panic(expected = "asked to panic")]
fn panic_of_one_bad_record_more_than_allowed_goes_on_to_the_worker() {
    let (all, _) = text();
    let (_, report) = mapped(&all, 2);
    panic!("not this: {report:?}");
}

#[test]
fn without_leave_to_skip_the_first_bad_record_fails_the_task() {
    let (_, report) = mapped("good\nerror\nerror\n", 0);
    let Err(EngineError::Program { source }) = report else {
        panic!("{report:?}");
    };
    assert_eq!(
        (source.detail.as_str(), source.offset),
        ("asked to fail", Some(5))
    );
    let (_, report) = mapped("good\nerror\nerror\n", 1);
    let Err(EngineError::Program { source }) = report else {
        panic!("{report:?}");
    };
    assert_eq!(source.offset, Some(11));
}

#[test]
fn record_that_fails_for_what_came_before_it_is_skipped_after_two_failures() {
    let (bench, report) = mapped("third a\nthird b\nx\nthird c\ny\n", 1);
    let report = report.unwrap();
    assert_eq!(output(&bench), b"t\tthird a,third b\nx\tx\ny\ty\n");
    assert_eq!(report.skipped.len(), 1);
    assert_eq!(report.skipped[0].bytes, b"third c\n");
    let (_, report) = mapped("third a\nthird b\nx\nthird c\nthird d\n", 1);
    assert!(
        matches!(report, Err(EngineError::Program { .. })),
        "{report:?}"
    );
}

#[test]
fn few_of_many_skipped_records_are_told_with_their_first_bytes() {
    let line = format!("error {}\n", "x".repeat(1_000));
    let (_, report) = mapped(&line.repeat(100), 100);
    let report = report.unwrap();
    assert_eq!(report.counters[counters::MAP_RECORDS_SKIPPED], 100);
    assert_eq!(report.skipped.len(), SKIPPED_RECORDS_MAX);
    assert_eq!(report.skipped[15].offset, 15 * line.len() as u64);
    assert_eq!(
        report.skipped[0].bytes,
        line.as_bytes()[..SKIPPED_BYTES_MAX]
    );
}
