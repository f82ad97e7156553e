//! Word count and grep give their oracles' bytes whatever shape a job has:
//! reducers, splits, memory, compression.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use vivat_engine::SegmentCompression;
use vivat_engine::local::{self, LocalOptions};
use vivat_programs::{OracleInput, find, validate_parameters};
use vivat_shared::attempt::counters;
use vivat_shared::job::InputFormat;

/// Program and parameters.
const PROGRAMS: [(&str, &[(&str, &str)]); 3] = [
    ("word-count", &[]),
    ("grep", &[("pattern", "the")]),
    ("grep", &[("pattern", "the"), ("line-numbers", "true")]),
];
const REDUCERS: [u32; 3] = [1, 2, 7];
/// A few records, a piece of the file, all of it.
const SPLITS: [u64; 3] = [97, 8 << 10, 1 << 30];
/// The first spills whenever there is something to spill.
const MEMORIES: [usize; 2] = [1, 64 << 20];

#[test]
fn output_is_the_oracles_for_every_shape_of_a_job() {
    let directory = tempfile::tempdir().unwrap();
    let scratch = directory.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let inputs = inputs(directory.path());
    let paths: Vec<(PathBuf, String)> = inputs
        .iter()
        .map(|input| (input.path.clone(), input.display.clone()))
        .collect();
    for (name, given) in PROGRAMS {
        let entry = find(name).unwrap();
        let given: BTreeMap<String, String> = given
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let parameters = validate_parameters(entry, &given).unwrap();
        let program = (entry.build)(&parameters).unwrap();
        for reducers in REDUCERS {
            let mut expected = Vec::new();
            (entry.oracle)(&parameters, &inputs, reducers, &mut expected).unwrap();
            assert!(!expected.is_empty());
            for shape in shapes() {
                let (split_bytes, memory_bytes, compression) = shape;
                let options = LocalOptions {
                    format: InputFormat::Text,
                    split_bytes,
                    reducers,
                    memory_bytes,
                    compression,
                    skipped_max: 0,
                    parameters: parameters.to_map(),
                };
                let mut out = Vec::new();
                let sums =
                    local::run(program.as_ref(), &paths, &options, &scratch, &mut out).unwrap();
                assert!(out == expected, "{name} {given:?} {reducers} {shape:?}");
                let spills = sums[counters::MAP_SPILLS];
                assert_eq!(spills > 0, memory_bytes == 1, "{name} {shape:?}: {spills}");
            }
        }
    }
}

fn shapes() -> impl Iterator<Item = (u64, usize, SegmentCompression)> {
    SPLITS.into_iter().flat_map(|split| {
        MEMORIES.into_iter().flat_map(move |memory| {
            SegmentCompression::ALL
                .into_iter()
                .map(move |compression| (split, memory, compression))
        })
    })
}

/// Two files of lines of all lengths, some of them empty.
fn inputs(directory: &std::path::Path) -> Vec<OracleInput> {
    let mut words = Vec::new();
    vivat_programs::generate::words(20_000, 3, &mut words).unwrap();
    let lines: String = (0..300)
        .map(|line| format!("{} the sea {}\r\n\n", line % 23, "of ".repeat(line % 5)))
        .collect();
    [words, lines.into_bytes()]
        .into_iter()
        .enumerate()
        .map(|(number, content)| {
            let path = directory.join(format!("input-{number}"));
            std::fs::write(&path, content).unwrap();
            let display = format!("in/{number}");
            OracleInput { path, display }
        })
        .collect()
}
