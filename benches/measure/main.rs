//! The benchmarks of real processes; BENCHMARKS.md has method and figures.
//!
//! `cargo bench --bench measure -- leader-kill [KILLS]`
//! `cargo bench --bench measure -- word-count [MEBIBYTES]`
//!
//! They are run by hand, on a machine with nothing else to do; no test is timed.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "../../tests/cluster/harness/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests, which use the rest of it"
)]
mod harness;
mod leader_kill;
mod word_count;

const KILLS_DEFAULT: usize = 20;
const MEBIBYTES_DEFAULT: usize = 256;

fn main() {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let number = args.get(1).and_then(|arg| arg.parse().ok());
    match args.first().map(String::as_str) {
        Some("leader-kill") => leader_kill::run(number.unwrap_or(KILLS_DEFAULT)),
        Some("word-count") => word_count::run(number.unwrap_or(MEBIBYTES_DEFAULT)),
        None => {
            leader_kill::run(KILLS_DEFAULT);
            word_count::run(MEBIBYTES_DEFAULT);
        }
        Some(other) => panic!("`{other}`: leader-kill or word-count"),
    }
}
