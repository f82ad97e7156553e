//! Runs seeds.
//!
//! ```text
//! cargo run -p vivat-system-simulation -- replay SEED [lying-disks]
//! cargo run -p vivat-system-simulation -- run --seeds A..B
//! ```
//!
//! `replay` prints what happened in one run, with `RUST_LOG` also what the
//! processes say; `run` prints what went wrong in which, and what happened in
//! all. Exits 1 when something went wrong.
//!
//! `one SEED` runs a seed for another process. There, and in `replay`, all
//! chance comes from the seed: `mad-turmoil` stands in for the system's source
//! of randomness, which seeds hash maps, tokio and every generator, and for its
//! clocks, which then show virtual time.

use std::io::{self, Write};
use std::ops::Range;
use std::process::{Command, ExitCode, Stdio};

use rand::SeedableRng;
use rand::rngs::StdRng;
use vivat_system_simulation::{Evidence, Honesty, Run, describe, parse, report, run};

const USAGE: &str = "usage: vivat-system-simulation replay SEED [lying-disks]\n       \
                     vivat-system-simulation run --seeds A..B";
/// Of the thread that runs all hosts.
const STACK_BYTES: usize = 64 * 1024 * 1024;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["replay", seed, rest @ ..] => match (seed.parse(), honesty(rest)) {
            (Ok(seed), Some(honesty)) => replay(seed, honesty),
            (_, _) => usage(),
        },
        ["one", seed, rest @ ..] => match (seed.parse(), honesty(rest)) {
            (Ok(seed), Some(honesty)) => one(seed, honesty),
            (_, _) => usage(),
        },
        ["run", "--seeds", range] => match parse_range(range) {
            Some(seeds) => run_all(seeds),
            None => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> io::Result<ExitCode> {
    writeln!(io::stderr(), "{USAGE}")?;
    Ok(ExitCode::from(2))
}

fn honesty(words: &[&str]) -> Option<Honesty> {
    match words {
        [] => Some(Honesty::Honest),
        ["lying-disks"] => Some(Honesty::Lying),
        _ => None,
    }
}

fn parse_range(text: &str) -> Option<Range<u64>> {
    let (first, end) = text.split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

/// Runs a seed in a directory of its own, on a thread whose chance is the
/// seed's from its beginning.
fn seeded(seed: u64, honesty: Honesty) -> io::Result<Run> {
    let folder = tempfile::tempdir()?;
    std::env::set_current_dir(folder.path())?;
    mad_turmoil::rand::set_rng(StdRng::seed_from_u64(seed));
    let clocks = mad_turmoil::time::SimClocksGuard::init();
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let ended = thread.spawn(move || run(seed, honesty))?.join();
    drop(clocks);
    std::env::set_current_dir("/")?;
    ended.unwrap_or_else(|_| Err(io::Error::other("the run panicked")))
}

fn replay(seed: u64, honesty: Honesty) -> io::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .init();
    let run = seeded(seed, honesty)?;
    let mut out = io::stdout().lock();
    out.write_all(run.trace.as_bytes())?;
    write!(out, "{}", run.evidence)?;
    writeln!(out, "trace {:016x}", run.trace_hash())?;
    let Some(violation) = &run.violation else {
        return Ok(ExitCode::SUCCESS);
    };
    writeln!(out, "{}", describe(seed, violation))?;
    Ok(ExitCode::FAILURE)
}

fn one(seed: u64, honesty: Honesty) -> io::Result<ExitCode> {
    let run = seeded(seed, honesty)?;
    io::stdout().lock().write_all(report(&run).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn run_all(seeds: Range<u64>) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let mut evidence = Evidence::default();
    let (mut failed, mut count) = (0_u64, 0_u64);
    for seed in seeds {
        let output = Command::new(std::env::current_exe()?)
            .args(["one", &seed.to_string()])
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let run = parse(&text, &String::from_utf8_lossy(&output.stderr));
        count += 1;
        evidence.add(&run.evidence);
        if let Some(violation) = &run.violation {
            failed += 1;
            writeln!(out, "{}", describe(seed, violation))?;
        }
    }
    writeln!(out, "{count} seeds, {failed} failed\n{evidence}")?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
