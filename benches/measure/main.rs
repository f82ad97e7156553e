//! The benchmarks of real processes; BENCHMARKS.md has method and figures.
//!
//! `cargo bench --bench measure -- leader-kill [KILLS [full|fast|idle ...]]`
//! `cargo bench --bench measure -- hand-over [TIMES [full|idle ...]]`
//! `cargo bench --bench measure -- long-job [SECONDS]`
//! `cargo bench --bench measure -- put [MEBIBYTES]`
//! `cargo bench --bench measure -- workloads [NAME ...] [--size 256MiB] [--runs 3] [--python P]`
//! `cargo bench --bench measure -- control [tasks|one-record|embedded|million ...] [--runs 3]`
//!
//! They are run by hand, on a machine with nothing else to do; no test is timed.
//! What must not happen fails them; a goal that was missed is printed. Without a
//! name everything runs.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod attempts;
mod control;
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
#[path = "../limit/mod.rs"]
mod limit;
mod load;
mod long_job;
mod memory;
mod options;
mod put;
mod workloads;
mod writer;

use options::Options;

/// The limits and the product stand on the same allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KILLS_DEFAULT: usize = 60;
const HAND_OVERS_DEFAULT: usize = 20;
const SECONDS_DEFAULT: usize = 60;
const PUT_MEBIBYTES_DEFAULT: usize = 1024;

fn main() {
    let options = Options::read(std::env::args().skip(1));
    let number = options.number();
    match options.words.first().map(String::as_str) {
        Some("leader-kill") => {
            leader_kill::run(number.unwrap_or(KILLS_DEFAULT), &options.words_from(2));
        }
        Some("hand-over") => {
            hand_over::run(number.unwrap_or(HAND_OVERS_DEFAULT), &options.words_from(2));
        }
        Some("long-job") => long_job::run(number.unwrap_or(SECONDS_DEFAULT)),
        Some("put") => put::run(number.unwrap_or(PUT_MEBIBYTES_DEFAULT)),
        Some("workloads") => workloads::run(&options, &options.words_from(1)),
        Some("control") => control::run(&options, &options.words_from(1)),
        // A side of a workload, in a process of its own.
        Some("limit") => workloads::run_limit(&options.words_from(1)),
        None => {
            leader_kill::run(KILLS_DEFAULT, &[]);
            hand_over::run(HAND_OVERS_DEFAULT, &[]);
            long_job::run(SECONDS_DEFAULT);
            put::run(PUT_MEBIBYTES_DEFAULT);
            workloads::run(&options, &[]);
            control::run(&options, &[]);
        }
        Some(other) => {
            panic!("`{other}`: leader-kill, hand-over, long-job, put, workloads or control")
        }
    }
}
