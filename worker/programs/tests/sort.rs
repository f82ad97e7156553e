//! Sorting through the engine gives the bytes that its oracle gives, whatever
//! the records, the splits and the memory.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;
use vivat_engine::local::{self, LocalOptions};
use vivat_programs::{OracleInput, expand, find, generate, validate_parameters};
use vivat_shared::job::{InputFormat, StepSpec};

struct Job {
    directory: TempDir,
    inputs: Vec<OracleInput>,
    format: InputFormat,
    split_bytes: u64,
    memory_bytes: usize,
}

/// What all steps of a job came to: the output, and the sizes of its parts.
struct Sorted {
    parts: Vec<Vec<u8>>,
    broadcast: Vec<u8>,
}

impl Sorted {
    fn whole(&self) -> Vec<u8> {
        self.parts.concat()
    }
}

impl Job {
    fn new(contents: &[&[u8]], format: InputFormat) -> Self {
        let directory = TempDir::new().unwrap();
        let inputs = contents.iter().enumerate().map(|(index, content)| {
            let path = directory.path().join(format!("input-{index}"));
            std::fs::write(&path, content).unwrap();
            let display = format!("in/{index}");
            OracleInput { path, display }
        });
        Self {
            inputs: inputs.collect(),
            directory,
            format,
            split_bytes: 64,
            memory_bytes: 64 << 20,
        }
    }

    fn steps(&self, program: &str, parameters: &[(&str, &str)], reducers: u32) -> Vec<StepSpec> {
        let given = parameters.iter();
        let step = StepSpec {
            parameters: given
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..StepSpec::once(program, reducers)
        };
        expand(&step, self.format).unwrap()
    }

    /// Runs the steps one behind the other, as a cluster would.
    fn run(&self, program: &str, parameters: &[(&str, &str)], reducers: u32) -> Sorted {
        let mut sorted = Sorted {
            parts: Vec::new(),
            broadcast: Vec::new(),
        };
        for step in self.steps(program, parameters, reducers) {
            self.step(&step, &mut sorted);
        }
        sorted
    }

    fn step(&self, step: &StepSpec, sorted: &mut Sorted) {
        let entry = find(&step.program).unwrap();
        let checked = validate_parameters(entry, &step.parameters).unwrap();
        let executable = (entry.build)(&checked).unwrap();
        let inputs: Vec<(PathBuf, String)> = self
            .inputs
            .iter()
            .map(|input| (input.path.clone(), input.display.clone()))
            .collect();
        let options = LocalOptions {
            side_files: vivat_mapreduce::SideFiles::default(),
            format: self.format,
            split_bytes: self.split_bytes,
            reducers: step.reducers,
            memory_bytes: self.memory_bytes,
            parameters: checked.to_map(),
            compression: vivat_engine::SegmentCompression::default(),
            skipped_max: 0,
        };
        let scratch = self.directory.path().join("scratch");
        std::fs::create_dir_all(&scratch).unwrap();
        let given = sorted.broadcast.clone();
        let executable = executable.as_ref();
        if step.closes {
            let options = (&options, step.rounds_max);
            let mut out = Vec::new();
            let rounds =
                local::run_rounds(executable, &inputs, options, &given, &scratch, &mut out);
            let rounds = rounds.unwrap();
            assert_eq!(rounds.len(), 1);
            sorted.broadcast.clone_from(&rounds[0].broadcast);
            sorted.parts = vec![out];
            return;
        }
        let mut out = Parts::default();
        local::run_after(executable, &inputs, &options, &given, &scratch, &mut out).unwrap();
        sorted.parts = out.0;
    }

    fn expected(&self, program: &str, parameters: &[(&str, &str)]) -> Vec<u8> {
        let steps = self.steps(program, parameters, 2);
        let step = steps.last().unwrap();
        let entry = find(&step.program).unwrap();
        let checked = validate_parameters(entry, &step.parameters).unwrap();
        let mut out = Vec::new();
        (entry.oracle)(&checked, &self.inputs, 2, &mut out).unwrap();
        out
    }

    fn report(&self, parameters: &[(&str, &str)]) -> BTreeMap<String, String> {
        let found = self.run("validate-sort", parameters, 3).whole();
        assert_eq!(
            String::from_utf8(found.clone()).unwrap(),
            String::from_utf8(self.expected("validate-sort", parameters)).unwrap()
        );
        let text = String::from_utf8(found).unwrap();
        let lines = text.lines().map(|line| line.split_once('\t').unwrap());
        lines
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// Tells parts apart: an output is flushed at the end of each.
#[derive(Default)]
struct Parts(Vec<Vec<u8>>);

impl std::io::Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.last_mut() {
            Some(last) => last.extend_from_slice(bytes),
            None => self.0.push(bytes.to_vec()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.push(Vec::new());
        Ok(())
    }
}

const KEYS: [&[(&str, &str)]; 9] = [
    &[],
    &[("reverse", "true")],
    &[("unique", "true")],
    &[("numeric", "true")],
    &[("numeric", "true"), ("reverse", "true"), ("unique", "true")],
    &[("column", "2"), ("delimiter", "comma")],
    &[("column", "1"), ("delimiter", ","), ("unique", "true")],
    &[("column", "2"), ("delimiter", ","), ("numeric", "true")],
    &[("key-start", "1"), ("key-bytes", "2"), ("reverse", "true")],
];

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..12),
        3 => "[0-9,.eE+-]{0,8}".prop_map(String::into_bytes),
        2 => "[ab\\x00,]{0,5}".prop_map(String::into_bytes),
        1 => (-1000_i32..1000).prop_map(|number| number.to_string().into_bytes()),
    ];
    proptest::collection::vec(line, 0..60).prop_map(|lines| lines.join(&b'\n'))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_are_sorted_as_the_oracle_sorts_them(
        first in lines(),
        second in lines(),
        key in 0..KEYS.len(),
        split_bytes in 1_u64..80,
        spills in any::<bool>(),
    ) {
        let mut job = Job::new(&[&first, &second], InputFormat::Text);
        job.split_bytes = split_bytes;
        job.memory_bytes = if spills { 1 } else { 64 << 20 };
        let expected = job.expected("sort", KEYS[key]);
        for reducers in [1, 2, 7] {
            let found = job.run("sort", KEYS[key], reducers).whole();
            prop_assert_eq!(&found, &expected, "{:?}, {} reducers", KEYS[key], reducers);
        }
    }

    #[test]
    fn records_of_a_fixed_length_are_sorted_by_bytes_of_them(
        records in proptest::collection::vec(any::<[u8; 5]>(), 0..60),
        start in 0_usize..5,
        bytes in 0_usize..6,
        reverse in any::<bool>(),
    ) {
        let mut job = Job::new(&[&records.concat()], InputFormat::Fixed(5));
        job.split_bytes = 7;
        let (start, bytes) = (start.to_string(), bytes.to_string());
        let reverse = reverse.to_string();
        let parameters = [
            ("key-start", start.as_str()),
            ("key-bytes", &bytes),
            ("reverse", &reverse),
        ];
        let expected = job.expected("sort", &parameters);
        prop_assert_eq!(expected.len(), records.len() * 5);
        for reducers in [1, 3] {
            let found = job.run("sort", &parameters, reducers).whole();
            prop_assert_eq!(&found, &expected);
        }
    }
}

#[test]
fn records_of_csv_are_sorted_by_a_column_whatever_is_quoted_in_them() {
    let text = b"name,note,points\nBea,\"one, two\",10\n\"Al\"\"x\",\"two\nlines\",9\n\
        Cy,,x\r\n\nDi,\"\",-1\n\"\",z,9\n";
    let mut job = Job::new(&[text, b"name,note,points\n"], InputFormat::Csv);
    // Splits of CSV are cut where a plan finds ends of records.
    job.split_bytes = 1_000;
    for (column, numeric) in [("name", "false"), ("points", "true"), ("note", "false")] {
        for reverse in ["false", "true"] {
            let parameters = [
                ("csv-column", column),
                ("numeric", numeric),
                ("reverse", reverse),
            ];
            let expected = job.expected("sort", &parameters);
            assert_eq!(expected.iter().filter(|&&byte| byte == b'\n').count(), 6);
            for reducers in [1, 2, 7] {
                let found = job.run("sort", &parameters, reducers).whole();
                assert_eq!(
                    String::from_utf8_lossy(&found),
                    String::from_utf8_lossy(&expected),
                    "{parameters:?}"
                );
            }
            job.report(&parameters);
        }
    }
}

#[test]
fn sample_is_what_its_oracle_draws_for_every_split_size() {
    let mut text = Vec::new();
    generate::words(60_000, 4, &mut text).unwrap();
    text.extend_from_slice(b"last\r\n\r\n\0x");
    let mut job = Job::new(&[&text, b"", &text[..777]], InputFormat::Text);
    let parameters = [("parts", "5"), ("column", "2"), ("delimiter", "space")];
    let mut oracle = Vec::new();
    let step = StepSpec {
        parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        closes: true,
        ..StepSpec::once("sort-sample", 1)
    };
    let entry = find("sort-sample").unwrap();
    let checked = validate_parameters(entry, &step.parameters).unwrap();
    (entry.oracle)(&checked, &job.inputs, 1, &mut oracle).unwrap();
    assert!(oracle.len() > 1_000);
    for split_bytes in [1_000, 9_999, 1 << 20] {
        job.split_bytes = split_bytes;
        let mut sorted = Sorted {
            parts: Vec::new(),
            broadcast: Vec::new(),
        };
        job.step(&step, &mut sorted);
        assert!(sorted.whole() == oracle, "splits of {split_bytes}");
    }
}

#[test]
fn parts_of_a_sort_are_even_and_its_input_and_output_add_up_to_the_same() {
    let mut text = Vec::new();
    generate::tera(400_000, 9, &mut text).unwrap();
    let parameters = [("key-bytes", "10")];
    let mut job = Job::new(&[&text], InputFormat::Fixed(100));
    job.split_bytes = 50_000;
    let before = job.report(&parameters);
    assert_ne!(before["out-of-order"], "0");
    let sorted = job.run("sort", &parameters, 4);
    for part in sorted.parts.iter().take(4) {
        let share = part.len() * 100 / text.len();
        assert!((20..=30).contains(&share), "{share} % in one of 4 parts");
    }
    let parts: Vec<&[u8]> = sorted.parts.iter().map(Vec::as_slice).collect();
    let after = Job::new(&parts, InputFormat::Fixed(100)).report(&parameters);
    assert_eq!(after["checksum"], before["checksum"]);
    assert_eq!(after["records"], "4000");
    assert_eq!(after["out-of-order"], "0");
    assert_eq!(after["first-wrong"], "none");
}

#[test]
fn first_record_out_of_order_is_named_within_a_split_between_two_and_between_files() {
    let mut job = Job::new(&[b"a\nc\nb\nd\n", b"e\n"], InputFormat::Text);
    for split_bytes in [1, 4, 100] {
        job.split_bytes = split_bytes;
        let report = job.report(&[]);
        assert_eq!(report["first-wrong"], "in/0:4", "splits of {split_bytes}");
        assert_eq!(report["out-of-order"], "1");
    }
    let job = Job::new(&[b"a\nb\nb\n", b"", b"a\n"], InputFormat::Text);
    let report = job.report(&[]);
    assert_eq!(report["first-wrong"], "in/2:0");
    assert_eq!(report["duplicates"], "1");
    assert_eq!(job.report(&[("reverse", "true")])["first-wrong"], "in/0:2");
}

#[test]
fn numbers_sort_by_value_and_what_is_none_comes_first_in_its_order() {
    let text = b"10\n9\n-1e2\nnan\n0\n-0\n  7.5 \ninf\n+3\n1e999\n\n.5\n0x10\n";
    let job = Job::new(&[text], InputFormat::Text);
    let sorted = job.run("sort", &[("numeric", "true")], 1).whole();
    let expected = b"nan\ninf\n\n0x10\n-1e2\n0\n-0\n.5\n+3\n  7.5 \n9\n10\n1e999\n";
    assert_eq!(
        sorted.as_slice(),
        expected,
        "{}",
        String::from_utf8_lossy(&sorted)
    );
}

#[test]
fn sort_into_several_parts_without_cut_points_says_what_is_missing() {
    let job = Job::new(&[b"b\na\n"], InputFormat::Text);
    let steps = job.steps("sort", &[], 2);
    let entry = find("sort").unwrap();
    let checked = validate_parameters(entry, &steps[1].parameters).unwrap();
    let options = LocalOptions {
        side_files: vivat_mapreduce::SideFiles::default(),
        format: InputFormat::Text,
        split_bytes: 10,
        reducers: 2,
        memory_bytes: 1 << 20,
        parameters: checked.to_map(),
        compression: vivat_engine::SegmentCompression::default(),
        skipped_max: 0,
    };
    let inputs = [(job.inputs[0].path.clone(), "in".to_owned())];
    let executable = (entry.build)(&checked).unwrap();
    let directory = job.directory.path();
    let run = |broadcast: &[u8]| {
        let mut out = Vec::new();
        let executable = executable.as_ref();
        let ended = local::run_after(
            executable, &inputs, &options, broadcast, directory, &mut out,
        );
        ended.unwrap_err().cause().to_string()
    };
    assert!(run(b"").contains("sort-sample"), "{}", run(b""));
    let three = vivat_mapreduce::Ranges::encode([&b"a"[..], b"b", b"c"]);
    assert!(run(&three).contains("too many"), "{}", run(&three));
}

#[test]
fn generated_records_have_the_size_asked_for_and_differ_between_seeds_only() {
    let tera = |size, seed| {
        let mut out = Vec::new();
        generate::tera(size, seed, &mut out).unwrap();
        out
    };
    for (size, whole) in [(0, 0), (49, 0), (50, 100), (100, 100), (1_040, 1_000)] {
        assert_eq!(tera(size, 1).len(), whole);
    }
    let records = tera(300_000, 1);
    for record in records.chunks(100) {
        assert_eq!(record.iter().position(|&byte| byte == b'\n'), Some(99));
        assert!(record[..10].iter().all(|byte| (b' '..=b'~').contains(byte)));
    }
    assert!(records == tera(300_000, 1));
    assert!(records != tera(300_000, 2));
}

#[test]
fn generated_log_is_in_the_combined_format_skewed_and_in_the_order_of_time() {
    let log = |size, seed| {
        let mut out = Vec::new();
        generate::access_log(size, seed, &mut out).unwrap();
        out
    };
    let text = log(1 << 20, 1);
    assert!(text == log(1 << 20, 1) && text != log(1 << 20, 2));
    assert!(text.len().abs_diff(1 << 20) < 200);
    let line = concat!(
        r#"^10\.\d+\.\d+\.\d+ - (-|user\d+) \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "#,
        r#""(GET|POST) (/[^ "]+) HTTP/1\.1" \d{3} (-|\d+) "(-|https://[^"]+)" "[^"]+"$"#
    );
    let line = regex::Regex::new(line).unwrap();
    let mut pages: BTreeMap<&str, u32> = BTreeMap::new();
    let text = str::from_utf8(&text).unwrap();
    for request in text.lines() {
        let parts = line
            .captures(request)
            .unwrap_or_else(|| panic!("{request}"));
        *pages.entry(parts.get(3).unwrap().as_str()).or_default() += 1;
    }
    let requests: u32 = pages.values().sum();
    let most = pages.values().max().unwrap();
    assert!(most * 20 > requests, "{most} of {requests}");
    assert!(pages.len() > 1_000);
}
