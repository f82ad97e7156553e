//! Every program gives its oracle's bytes whatever shape a job has: reducers, splits,
//! memory, compression, all of them with all others.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vivat_engine::SegmentCompression;
use vivat_engine::local::{self, LocalOptions};
use vivat_programs::{
    OracleInput, ProgramEntry, catalogue, expand, find, generate, validate_parameters,
};
use vivat_shared::attempt::counters;
use vivat_shared::job::{InputFormat, StepSpec};

const REDUCERS: [u32; 3] = [1, 2, 7];
/// A few records, a piece of the file, all of it.
const SPLITS: [u64; 3] = [997, 8 << 10, 1 << 30];
/// The first spills whenever there is more than one thing to spill.
const MEMORIES: [usize; 2] = [1, 64 << 20];

/// A program, what it is told, and which files it reads in which format.
struct Workload {
    program: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    format: InputFormat,
    files: &'static [&'static str],
}

impl Workload {
    const fn text(
        program: &'static str,
        parameters: &'static [(&'static str, &'static str)],
        files: &'static [&'static str],
    ) -> Self {
        Self {
            program,
            parameters,
            format: InputFormat::Text,
            files,
        }
    }

    /// The same of another format.
    const fn of(self, format: InputFormat) -> Self {
        Self { format, ..self }
    }
}

/// Programs with tests of their own, in fewer shapes: commands take their time to
/// start, models theirs to be trained.
const ELSEWHERE: [&str; 6] = [
    "exec",
    "k-means",
    "linear-predict",
    "linear-regression",
    "mlp-predict",
    "mlp-train",
];

const WORDS: &[&str] = &["words", "lines"];

const TEXTS: [Workload; 8] = [
    Workload::text("word-count", &[], WORDS),
    Workload::text("word-count", &[], WORDS).of(InputFormat::WholeFile),
    Workload::text("grep", &[("pattern", "the")], WORDS),
    Workload::text(
        "grep",
        &[("pattern", "the"), ("line-numbers", "true")],
        WORDS,
    ),
    Workload::text("inverted-index", &[], WORDS),
    Workload::text("inverted-index", &[("positions", "true")], WORDS),
    Workload::text("term-vector", &[("top", "5")], WORDS),
    Workload::text("distinct", &[("count", "true")], WORDS),
];

const LISTS: [Workload; 6] = [
    Workload::text("url-count", &[("bytes", "true")], &["access.log"]),
    Workload::text("reverse-links", &[], &["links.tsv"]),
    Workload::text("sample", &[("fraction", "0.3")], WORDS),
    Workload::text("sample", &[("count", "40"), ("seed", "3")], WORDS),
    Workload::text(
        "join",
        &[
            ("left", "*links.tsv"),
            ("right", "*pages.tsv"),
            ("type", "left"),
        ],
        &["links.tsv", "pages.tsv"],
    ),
    Workload::text(
        "group-by",
        &[
            ("key", "POSITION,TEAM_ABBREVIATION"),
            (
                "aggregate",
                "count,mean(PTS),quantile(MIN,0.5),distinct-list(PLAYER_NAME)",
            ),
        ],
        &["games.csv"],
    )
    .of(InputFormat::Csv),
];

const SORTS: [Workload; 5] = [
    Workload::text("sort", &[], WORDS),
    Workload::text("sort", &[("unique", "true"), ("reverse", "true")], WORDS),
    Workload::text(
        "sort",
        &[("csv-column", "PTS"), ("numeric", "true")],
        &["games.csv"],
    )
    .of(InputFormat::Csv),
    Workload::text("sort", &[("key-bytes", "10")], &["tera"]).of(InputFormat::Fixed(100)),
    Workload::text("validate-sort", &[], WORDS),
];

#[test]
fn programs_over_texts_give_the_oracles_bytes_for_every_shape_of_a_job() {
    check(&TEXTS);
}

#[test]
fn programs_over_lists_and_tables_give_the_oracles_bytes_for_every_shape_of_a_job() {
    check(&LISTS);
}

#[test]
fn sorts_give_the_oracles_bytes_for_every_shape_of_a_job() {
    check(&SORTS);
}

#[test]
fn no_program_of_the_catalogue_is_left_out() {
    let all = || TEXTS.iter().chain(&LISTS).chain(&SORTS);
    let elsewhere = |entry: &&ProgramEntry| ELSEWHERE.contains(&entry.name);
    for entry in catalogue().iter().filter(|entry| !elsewhere(entry)) {
        let is_there = all().any(|workload| workload.program == entry.name);
        assert!(is_there, "{} is in no workload", entry.name);
    }
}

/// How one run differs from another of the same workload.
#[derive(Debug, Clone, Copy)]
struct Shape {
    split_bytes: u64,
    memory_bytes: usize,
    compression: SegmentCompression,
}

fn shapes() -> impl Iterator<Item = Shape> {
    SPLITS.into_iter().flat_map(|split_bytes| {
        MEMORIES.into_iter().flat_map(move |memory_bytes| {
            let all = SegmentCompression::ALL.into_iter();
            all.map(move |compression| Shape {
                split_bytes,
                memory_bytes,
                compression,
            })
        })
    })
}

fn check(workloads: &[Workload]) {
    let bench = Bench::new();
    for workload in workloads {
        for reducers in REDUCERS {
            let steps = steps(workload, reducers);
            let expected = bench.expected(workload, &steps);
            assert!(!expected.is_empty(), "{} gives nothing", workload.program);
            let mut spilled = 0;
            for shape in shapes() {
                let (found, spills) = bench.run(workload, &steps, shape);
                let named = format!("{} {:?}", workload.program, workload.parameters);
                assert!(found == expected, "{named} {reducers} {shape:?}");
                let is_tight = shape.memory_bytes == 1;
                assert!(is_tight || spills == 0, "{named} {shape:?}");
                spilled += spills;
            }
            assert!(spilled > 0, "{} never spilled", workload.program);
        }
    }
}

fn steps(workload: &Workload, reducers: u32) -> Vec<StepSpec> {
    let given = workload.parameters.iter();
    let step = StepSpec {
        parameters: given
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..StepSpec::once(workload.program, reducers)
    };
    expand(&step, workload.format).unwrap()
}

/// The files that all workloads read, and room to work.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("scratch")).unwrap();
        for (name, content) in files() {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        Self { directory }
    }

    fn inputs(&self, workload: &Workload) -> Vec<OracleInput> {
        let files = workload.files.iter();
        let input = |name: &&str| OracleInput {
            path: self.directory.path().join(name),
            display: format!("in/{name}"),
        };
        files.map(input).collect()
    }

    /// What the last step's oracle makes of it: oracles know the whole.
    fn expected(&self, workload: &Workload, steps: &[StepSpec]) -> Vec<u8> {
        let step = steps.last().unwrap();
        let entry = find(&step.program).unwrap();
        let parameters = validate_parameters(entry, &step.parameters).unwrap();
        let mut out = Vec::new();
        let inputs = self.inputs(workload);
        (entry.oracle)(&parameters, &inputs, step.reducers, &mut out).unwrap();
        out
    }

    /// Runs the steps one behind the other, as a cluster would. Returns the last
    /// one's output, and how often any of them spilled.
    fn run(&self, workload: &Workload, steps: &[StepSpec], shape: Shape) -> (Vec<u8>, u64) {
        let inputs: Vec<(PathBuf, String)> = self
            .inputs(workload)
            .into_iter()
            .map(|input| (input.path, input.display))
            .collect();
        let scratch = self.directory.path().join("scratch");
        let mut broadcast = Vec::new();
        let mut found = Vec::new();
        let mut spills = 0;
        for step in steps {
            let entry = find(&step.program).unwrap();
            let parameters = validate_parameters(entry, &step.parameters).unwrap();
            let executable = (entry.build)(&parameters).unwrap();
            let options = LocalOptions {
                side_files: vivat_mapreduce::SideFiles::default(),
                format: workload.format,
                split_bytes: shape.split_bytes,
                reducers: step.reducers,
                memory_bytes: shape.memory_bytes,
                compression: shape.compression,
                skipped_max: 0,
                parameters: parameters.to_map(),
            };
            let executable = executable.as_ref();
            found.clear();
            if step.closes {
                let options = (&options, step.rounds_max);
                let rounds = local::run_rounds(
                    executable, &inputs, options, &broadcast, &scratch, &mut found,
                );
                broadcast = rounds.unwrap().pop().unwrap().broadcast;
            } else {
                let sums = local::run_after(
                    executable, &inputs, &options, &broadcast, &scratch, &mut found,
                );
                spills += sums.unwrap()[counters::MAP_SPILLS];
            }
            assert!(is_empty(&scratch), "left in {}", scratch.display());
        }
        (found, spills)
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

/// By name: lines of all lengths, some of them empty, some ended as elsewhere; a
/// log; links and what they lead to; a table; records of a fixed length.
fn files() -> BTreeMap<&'static str, Vec<u8>> {
    let lines: String = (0..200)
        .map(|line| format!("{} the sea {}\r\n\n", line % 23, "of ".repeat(line % 5)))
        .collect();
    let links: String = (0..400)
        .map(|line| {
            format!(
                "page-{}\tpage-{}\tpage-{}\n",
                line % 37,
                line % 11,
                line % 7
            )
        })
        .collect();
    let pages: String = (0..30)
        .map(|line| format!("page-{line}\ttitle {}\n", line % 4))
        .collect();
    BTreeMap::from([
        ("words", generated(12_000, generate::words)),
        ("lines", lines.into_bytes()),
        ("access.log", generated(12_000, generate::access_log)),
        ("links.tsv", links.into_bytes()),
        ("pages.tsv", pages.into_bytes()),
        ("games.csv", generated(12_000, generate::game_logs)),
        ("tera", generated(12_000, generate::tera)),
    ])
}

type Generator = fn(u64, u64, &mut dyn Write) -> io::Result<()>;

fn generated(bytes: u64, generator: Generator) -> Vec<u8> {
    let mut content = Vec::new();
    generator(bytes, 3, &mut content).unwrap();
    content
}
