//! Workloads over data: our cluster beside a hand-written program and the peers,
//! all in turn within one run, on one machine, over the same files.
//!
//! A workload is a row of the table in `rows`. What all sides wrote is compared
//! with what the hand-written program wrote before a time is printed. The time of
//! ours is that of the command a user types, from its start to its exit, on a
//! cluster that was there; a peer is timed by itself, once it is imported and its
//! session is open, so that nobody is charged for starting an interpreter.

mod check;
mod phases;
mod report;
mod rows;
mod sides;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use crate::attempts::LOG_FILTER;
use crate::harness::{Cluster, Extras, Shape, describe, vivat};
use crate::limit;
use crate::memory;
use crate::options::Options;
use check::assert_same;
use phases::Phases;
use report::Line;
use rows::{ROWS, Row};
use sides::Side;

/// Workers of a cluster, of one slot each: as many as the machine has cores.
const WORKERS: usize = 2;

/// Runs the rows of these names, or all.
pub fn run(options: &Options, names: &[&str]) {
    for name in names {
        let known = ROWS.iter().any(|row| row.name == *name);
        assert!(known, "no workload `{name}`: {}", row_names().join(", "));
    }
    let peers = sides::peers(options.python.as_deref());
    for row in ROWS {
        if !names.is_empty() && !names.contains(&row.name) {
            continue;
        }
        match missing(&row) {
            Some(missing) => println!("{}: skipped, there is no {missing} yet\n", row.name),
            None => Bench::start(row, options, &peers).run(options.runs),
        }
    }
}

/// The hand-written program of a workload: its name, the output, the inputs.
pub fn run_limit(words: &[&str]) {
    let [name, output, inputs @ ..] = words else {
        panic!("limit NAME OUTPUT INPUT...");
    };
    let row = ROWS.iter().find(|row| row.name == *name);
    let row = row.unwrap_or_else(|| panic!("no workload `{name}`"));
    let task = limit::Task {
        inputs: inputs.iter().map(PathBuf::from).collect(),
        output: PathBuf::from(output),
    };
    (row.limit)(&task).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn row_names() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.name).collect()
}

/// What a row needs and the binary does not have.
fn missing(row: &Row) -> Option<String> {
    let here = std::env::temp_dir();
    let has = |args: &[&str]| vivat(&here, None, args).status.success();
    if !has(&["program", "show", row.program]) {
        return Some(format!("program {}", row.program));
    }
    let kind = row.input.kind;
    let probe = here.join(format!("vivat-bench-probe-{}", std::process::id()));
    let probe = probe.to_str().expect("temporary paths are text");
    let generates = has(&["gen", kind, "--size", "64KiB", "--seed", "1", probe]);
    let _none = fs::remove_file(probe);
    (!generates).then(|| format!("generator of {kind}"))
}

/// A row with its cluster, its input and its sides.
struct Bench {
    row: Row,
    cluster: Cluster,
    inputs: Vec<PathBuf>,
    sides: Vec<Side>,
}

impl Bench {
    fn start(row: Row, options: &Options, peers: &[sides::Peer]) -> Self {
        let shape = Shape {
            workers: WORKERS,
            ..Shape::default()
        };
        let extras = Extras {
            worker_log: Some(LOG_FILTER.to_owned()),
            ..Extras::default()
        };
        let cluster = Cluster::start_with(shape, &extras);
        let asked = options.size * row.input.factor;
        let bytes = row.input.fixed.unwrap_or(asked);
        println!(
            "{}: {:.1} MiB of {} in {} file(s), {} runs of each side in turn",
            row.name,
            bytes as f64 / f64::from(1 << 20),
            row.input.kind,
            row.input.files,
            options.runs
        );
        let inputs = generate(&cluster, &row, bytes);
        let sides = sides::of(&row, peers);
        Self {
            row,
            cluster,
            inputs,
            sides,
        }
    }

    fn run(mut self, runs: usize) {
        let mut lines: Vec<Line> = self.sides.iter().map(Line::of).collect();
        let mut phases = None;
        // In turn, so that a slow minute of the machine hits all.
        for turn in 0..runs {
            self.warm();
            let mut limits = Vec::new();
            for (side, line) in self.sides.iter().zip(&mut lines) {
                let output = self.cluster.path(&format!("out-{}-{turn}", side.name));
                let ran = side.run(&self.row, &self.cluster, &self.inputs, &output);
                line.add(&ran);
                if ran.took.is_none() {
                    continue;
                }
                let wrote = self.row.check.read(&output);
                match side.is_limit() {
                    true => limits = wrote,
                    false => assert_same(&side.name, &wrote, &limits),
                }
                phases = phases.or(ran.job);
                remove(&output);
            }
        }
        let workers = (0..WORKERS).map(|worker| self.cluster.worker(worker).id());
        let peaks: Vec<u64> = workers.map(|pid| memory::peak_kib(pid.into())).collect();
        report::print(&self.row, &lines, &peaks);
        if let Some(job) = phases {
            Phases::read(&mut self.cluster, WORKERS, &job).print();
        }
        println!();
    }

    /// All of the input is in the page cache.
    fn warm(&self) {
        for input in &self.inputs {
            let mut file = File::open(input).expect("the input is there");
            io::copy(&mut file, &mut io::sink()).expect("the input can be read");
        }
    }
}

fn generate(cluster: &Cluster, row: &Row, bytes: u64) -> Vec<PathBuf> {
    let input = row.input;
    let each = (bytes / input.files).to_string();
    let files = 0..input.files;
    files
        .map(|number| {
            let name = format!("in-{number:02}.{}", input.extension);
            let seed = (number + 1).to_string();
            let args = ["gen", input.kind, "--size", &each, "--seed", &seed, &name];
            let generated = cluster.vivat(&args);
            assert!(generated.status.success(), "{}", describe(&generated));
            cluster.path(&name)
        })
        .collect()
}

fn remove(output: &std::path::Path) {
    let removed = match output.is_dir() {
        true => fs::remove_dir_all(output),
        false => fs::remove_file(output),
    };
    removed.unwrap_or_else(|error| panic!("{}: {error}", output.display()));
}
