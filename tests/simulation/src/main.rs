//! Runs seeds by hand.
//!
//! ```text
//! cargo run -p vivat-simulation -- replay SEED
//! cargo run -p vivat-simulation -- run --seeds A..B [--first]
//! ```
//!
//! `replay` prints everything that happened in one run; `run` prints what went
//! wrong in which, and what happened in all; `--first` stops at the first.
//! Exits 1 when something went wrong.

use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;

use vivat_simulation::{Evidence, describe, run};

const USAGE: &str = "usage: vivat-simulation replay SEED\n       \
                     vivat-simulation run --seeds A..B [--first]";

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["replay", seed] => match seed.parse() {
            Ok(seed) => replay(seed),
            Err(_) => usage(),
        },
        ["run", "--seeds", range] => match parse_range(range) {
            Some(seeds) => run_all(seeds, usize::MAX),
            None => usage(),
        },
        ["run", "--seeds", range, "--first"] => match parse_range(range) {
            Some(seeds) => run_all(seeds, 1),
            None => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> io::Result<ExitCode> {
    writeln!(io::stderr(), "{USAGE}")?;
    Ok(ExitCode::from(2))
}

fn parse_range(text: &str) -> Option<Range<u64>> {
    let (first, end) = text.split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

fn replay(seed: u64) -> io::Result<ExitCode> {
    let run = run(seed, true);
    let mut out = io::stdout().lock();
    out.write_all(run.trace.as_bytes())?;
    writeln!(out, "{} entries, {} ms", run.entries, run.took_ms)?;
    let Some(violation) = &run.violation else {
        return Ok(ExitCode::SUCCESS);
    };
    writeln!(out, "{}", describe(seed, violation))?;
    Ok(ExitCode::FAILURE)
}

fn run_all(seeds: Range<u64>, failures_max: usize) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let mut evidence = Evidence::default();
    let (mut failed, mut count, mut entries, mut took_ms) = (0, 0_u64, 0_u64, 0_u64);
    for seed in seeds {
        let run = run(seed, false);
        count += 1;
        entries += run.entries;
        took_ms += run.took_ms;
        evidence.add(&run.evidence);
        if let Some(violation) = &run.violation {
            failed += 1;
            writeln!(out, "{}", describe(seed, violation))?;
            if failed == failures_max {
                break;
            }
        }
    }
    writeln!(
        out,
        "{count} seeds, {failed} failed; {entries} entries, {} virtual minutes",
        took_ms / 60_000
    )?;
    writeln!(out, "{evidence}")?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
