//! The control plane: what a task, a job and a cluster cost when there is
//! nothing to compute.

mod embedded;
mod million;
mod one_record;
mod tasks;

use crate::harness::{Cluster, Shape, describe};
use crate::options::Options;

/// A row's name, and what measures it.
type Row = (&'static str, fn(&Options));

/// All by name.
const ROWS: [Row; 4] = [
    ("tasks", tasks::run),
    ("one-record", one_record::run),
    ("embedded", embedded::run),
    ("million", million::run),
];

/// Runs the rows of these names, or all.
pub fn run(options: &Options, names: &[&str]) {
    for name in names {
        let known = ROWS.iter().any(|(row, _)| row == name);
        assert!(
            known,
            "no row `{name}`: tasks, one-record, embedded or million"
        );
    }
    for (name, row) in ROWS {
        if names.is_empty() || names.contains(&name) {
            row(options);
            println!();
        }
    }
}

/// Three masters, two workers of one slot.
fn cluster() -> Cluster {
    Cluster::start(Shape::default())
}

/// Bytes of a line of the input of no-ops.
const LINE: &str = "nothing";

/// A file of so many lines of eight bytes: each is a split of its own.
fn write_lines(cluster: &Cluster, name: &str, lines: usize) {
    let text = format!("{LINE}\n").repeat(lines);
    std::fs::write(cluster.path(name), text).expect("a file can be written");
}

/// Submits a search for what is not there, one task a line; answers the job's id.
fn submit_noops(cluster: &Cluster, input: &str, output: &str, reducers: &str) -> String {
    let submitted = cluster.vivat(&[
        "submit",
        "grep",
        input,
        "-p",
        "pattern=something",
        "--split-size",
        "8B",
        "--reducers",
        reducers,
        "--output",
        output,
    ]);
    assert!(submitted.status.success(), "{}", describe(&submitted));
    let id = String::from_utf8(submitted.stdout).expect("ids are text");
    id.trim_end().to_owned()
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

/// The one in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
