//! The benchmarks of real processes; BENCHMARKS.md has method and figures.
//!
//! `cargo bench --bench measure -- leader-kill [KILLS [full|fast|idle ...]]`
//! `cargo bench --bench measure -- hand-over [TIMES [full|idle ...]]`
//! `cargo bench --bench measure -- long-job [SECONDS]`
//! `cargo bench --bench measure -- word-count [MEBIBYTES]`
//! `cargo bench --bench measure -- put [MEBIBYTES]`
//!
//! They are run by hand, on a machine with nothing else to do; no test is timed.
//! What must not happen fails them; a goal that was missed is printed.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod attempts;
mod figures;
mod hand_over;
#[path = "../../tests/cluster/harness/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests, which use the rest of it"
)]
mod harness;
mod leader_kill;
mod load;
mod long_job;
mod put;
mod word_count;
mod writer;

const KILLS_DEFAULT: usize = 60;
const HAND_OVERS_DEFAULT: usize = 20;
const SECONDS_DEFAULT: usize = 60;
const MEBIBYTES_DEFAULT: usize = 256;
const PUT_MEBIBYTES_DEFAULT: usize = 1024;

fn main() {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let number = args.get(1).and_then(|arg| arg.parse().ok());
    let names: Vec<&str> = args.iter().skip(2).map(String::as_str).collect();
    match args.first().map(String::as_str) {
        Some("leader-kill") => leader_kill::run(number.unwrap_or(KILLS_DEFAULT), &names),
        Some("hand-over") => hand_over::run(number.unwrap_or(HAND_OVERS_DEFAULT), &names),
        Some("long-job") => long_job::run(number.unwrap_or(SECONDS_DEFAULT)),
        Some("put") => put::run(number.unwrap_or(PUT_MEBIBYTES_DEFAULT)),
        Some("word-count") => word_count::run(number.unwrap_or(MEBIBYTES_DEFAULT)),
        None => {
            leader_kill::run(KILLS_DEFAULT, &[]);
            hand_over::run(HAND_OVERS_DEFAULT, &[]);
            long_job::run(SECONDS_DEFAULT);
            word_count::run(MEBIBYTES_DEFAULT);
            put::run(PUT_MEBIBYTES_DEFAULT);
        }
        Some(other) => panic!("`{other}`: leader-kill, hand-over, long-job, word-count or put"),
    }
}
