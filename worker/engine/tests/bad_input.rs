//! Inputs that change between two reads, and records too large to be a key.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(dead_code, reason = "the bench serves other tests too")]

mod common;

use std::fs::File;
use std::path::PathBuf;

use common::{Bench, Join};
use vivat_engine::{EngineError, InputProblem, Runner};
use vivat_mapreduce::{Emit, MapContext, Mapper, Program, ProgramError, Record, ReduceContext};
use vivat_shared::attempt::counters;
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputFormat;

/// Emits every record as a key; sets the length of a file at the first one.
struct Resizes {
    path: PathBuf,
    bytes: Option<u64>,
}

struct ResizesAtFirst<'t>(&'t Resizes);

impl Program for Resizes {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    type Mapper<'t> = ResizesAtFirst<'t>;
    type Reducer<'t> = Join;

    fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<ResizesAtFirst<'t>, ProgramError> {
        Ok(ResizesAtFirst(self))
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Join, ProgramError> {
        Ok(Join)
    }
}

impl Mapper<Vec<u8>, Vec<u8>> for ResizesAtFirst<'_> {
    fn map<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        if let (0, Some(bytes)) = (record.offset, self.0.bytes) {
            let file = File::options().write(true).open(&self.0.path).unwrap();
            file.set_len(bytes).unwrap();
        }
        emit.emit(record.bytes, b"");
        Ok(())
    }
}

/// Bytes of an input that takes several reads.
const INPUT_BYTES: u64 = 5 << 20;

fn map_of_input_resized_to(bytes: u64) -> EngineError {
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    let bench = Bench::new(&line.repeat(5 << 10));
    assert_eq!(bench.file.bytes, INPUT_BYTES);
    let error = bench
        .map_all(&Runner::new(Resizes {
            path: bench.path("input"),
            bytes: Some(bytes),
        }))
        .unwrap_err();
    assert!(!bench.path("segment-0").exists(), "{error}");
    error
}

#[test]
fn a_file_that_shrinks_between_two_reads_is_a_changed_input() {
    for bytes in [0, 10, INPUT_BYTES / 2, INPUT_BYTES - 1] {
        let error = map_of_input_resized_to(bytes);
        let FailureCause::InputChanged { path, .. } = error.cause() else {
            panic!("{bytes}: {error}");
        };
        assert_eq!(path, "in/put");
    }
}

#[test]
fn a_file_that_grows_between_two_reads_is_a_changed_input() {
    let EngineError::BadInput { problem, .. } = map_of_input_resized_to(INPUT_BYTES + 1) else {
        panic!("another error");
    };
    let expected = InputProblem::SizeChanged {
        planned: INPUT_BYTES,
        found: INPUT_BYTES + 1,
    };
    assert_eq!(problem, expected);
}

#[test]
fn fixed_records_of_several_reads_are_all_read() {
    let mut bench = Bench::new(&b"seven77".repeat(400_000));
    bench.format = InputFormat::Fixed(7);
    let program = Runner::new(Resizes {
        path: bench.path("input"),
        bytes: None,
    });
    let report = bench.map_all(&program).unwrap();
    assert_eq!(report.counters[counters::MAP_INPUT_RECORDS], 400_000);
}

#[test]
fn a_key_past_the_limit_is_named_by_the_place_of_its_record() {
    let mut text = b"one\ntwo\n".to_vec();
    text.resize(text.len() + (17 << 20), b'a');
    text.extend_from_slice(b"\nthree\n");
    let bench = Bench::new(&text);
    let program = Runner::new(Resizes {
        path: bench.path("input"),
        bytes: None,
    });
    let error = bench.map_all(&program).unwrap_err();
    let cause = error.cause();
    assert!(cause.is_final(), "no retry makes a key smaller: {cause}");
    let FailureCause::InvalidInput { path, detail } = cause else {
        panic!("{cause}");
    };
    assert_eq!(path, "in/put");
    assert!(detail.ends_with("(record at or behind byte 8)"), "{detail}");
}
