//! Compressed inputs: the same records as the text, or an error that names the
//! file; never some of the records without an error.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(dead_code, reason = "the bench serves other tests too")]

mod common;

use std::io::Write;

use common::{Bench, ByFirstByte, in_memory, stored};
use flate2::write::GzEncoder;
use vivat_engine::local::{cut, describe};
use vivat_engine::{EngineError, InputProblem, MapReport, Runner};
use vivat_shared::attempt::counters;
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputFormat;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;
const BOTH: [(&str, Compress); 2] = [("input.gz", gzip), ("input.zst", zstd)];

/// A bench whose input has this name and content.
fn bench(name: &str, content: &[u8]) -> Bench {
    let mut bench = Bench::new(b"");
    std::fs::write(bench.path(name), content).unwrap();
    bench.file = describe(&bench.path(name), &format!("in/{name}")).unwrap();
    bench
}

fn map(bench: &Bench) -> Result<MapReport, EngineError> {
    bench.map_all(&Runner::new(ByFirstByte::<false>))
}

/// What the program makes of all of the input.
fn output(bench: &Bench) -> Vec<u8> {
    map(bench).unwrap();
    let sources = vec![in_memory(0, stored(&bench.path("segment-0"), 0))];
    let program = Runner::new(ByFirstByte::<false>);
    bench.reduce(&program, 0, sources).unwrap().0
}

fn lines() -> Vec<u8> {
    let line = |i: u32| format!("{} line {i} of this text\n", i * 7919 % 1000);
    (0..60_000).flat_map(|i| line(i).into_bytes()).collect()
}

#[test]
fn text_in_several_members_is_read_as_one() {
    let text = lines();
    let plain = output(&bench("input", &text));
    for (name, compress) in BOTH {
        // The members end within lines.
        let members: Vec<u8> = text.chunks(700_001).flat_map(compress).collect();
        assert!(output(&bench(name, &members)) == plain, "{name}");
    }
}

#[test]
fn compressed_file_is_one_split() {
    for (name, compress) in BOTH {
        let bench = bench(name, &compress(&lines()));
        let splits = cut(std::slice::from_ref(&bench.file), 1_000);
        assert_eq!(splits.len(), 1);
        assert_eq!(splits[0].bytes, bench.file.bytes);
    }
}

#[test]
fn formats_mean_the_text_and_not_its_compressed_form() {
    for (name, compress) in BOTH {
        for (format, records) in [(InputFormat::Fixed(4), 3), (InputFormat::WholeFile, 1)] {
            let mut bench = bench(name, &compress(b"onceuponatim"));
            bench.format = format;
            let report = map(&bench).unwrap();
            assert_eq!(report.counters[counters::MAP_INPUT_RECORDS], records);
            assert_eq!(report.counters[counters::MAP_INPUT_BYTES], 12);
        }
        let mut cut_short = bench(name, &compress(b"onceupo"));
        cut_short.format = InputFormat::Fixed(4);
        let error = map(&cut_short).unwrap_err();
        assert!(matches!(
            error,
            EngineError::BadInput {
                problem: InputProblem::RecordCutShort { bytes: 3, .. },
                ..
            }
        ));
    }
}

#[test]
fn empty_text_has_no_records() {
    for (name, compress) in BOTH {
        let report = map(&bench(name, &compress(b""))).unwrap();
        assert_eq!(report.counters[counters::MAP_INPUT_RECORDS], 0);
    }
}

fn assert_invalid(error: &EngineError, name: &str) {
    let FailureCause::InvalidInput { path, .. } = error.cause() else {
        panic!("{name}: {error}");
    };
    assert_eq!(path, format!("in/{name}"));
}

#[test]
fn file_that_is_cut_anywhere_is_invalid() {
    let text = lines();
    for (name, compress) in BOTH {
        let whole = compress(&text);
        for kept in [0, 1, 5, 12, whole.len() / 2, whole.len() - 1] {
            let error = map(&bench(name, &whole[..kept])).unwrap_err();
            assert_invalid(&error, name);
            let EngineError::BadInput { problem, .. } = error else {
                panic!("{name} {kept}");
            };
            assert!(
                matches!(problem, InputProblem::Truncated { .. }),
                "{kept}: {problem}"
            );
        }
    }
}

#[test]
fn flipped_byte_is_found_and_names_the_file() {
    let text = lines();
    for (name, compress) in BOTH {
        let mut damaged = compress(&text);
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x10;
        assert_invalid(&map(&bench(name, &damaged)).unwrap_err(), name);
        // And what is not compressed at all.
        assert_invalid(&map(&bench(name, b"plain text\n")).unwrap_err(), name);
    }
}

#[test]
fn text_a_thousand_times_larger_than_its_file_streams() {
    const LINE: &[u8] = b"all work and no play makes jack a dull boy, said the shining mill\n";
    const LINES: u64 = 400_000;
    let text = LINE.repeat(usize::try_from(LINES).unwrap());
    let mut spilled = bench("input.zst", &zstd(&text));
    assert!(spilled.file.bytes * 1_000 < text.len() as u64);
    spilled.memory_bytes = 4 << 20;
    let report = map(&spilled).unwrap();
    assert_eq!(report.counters[counters::MAP_INPUT_RECORDS], LINES);
}
