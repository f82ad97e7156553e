//! What the engine costs on one thread, by hand:
//!
//! ```text
//! cargo bench -p vivat-engine --bench engine            # everything, 64 MiB
//! cargo bench -p vivat-engine --bench engine -- 256 sort
//! ```
//!
//! Every variant runs several times, in turn with the others, so that a slow
//! moment of the machine hits all of them; the best time of each counts. The
//! last column is the time as a multiple of the group's first variant, which is
//! what a plain loop over the same bytes in memory takes: no disk, no bound on
//! memory, no checksum.

mod data;
mod programs;
mod task;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use task::Bench;

/// Times that every variant runs.
const TURNS: usize = 5;

/// One way to do a thing: its name and what does it.
type Variant<'v> = (&'v str, Box<dyn FnMut() + 'v>);

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let mut mebibytes = 64;
    let mut wanted = Vec::new();
    for argument in arguments {
        match argument.parse() {
            Ok(number) => mebibytes = number,
            Err(_) => wanted.push(argument),
        }
    }
    let bytes = mebibytes << 20;
    let is_wanted = |group: &str| wanted.is_empty() || wanted.iter().any(|name| name == group);
    if is_wanted("count") {
        let text = data::words(bytes);
        let bench = Bench::new(&text);
        let lower = Box::new(|| data::count_in_memory(&text));
        measure(
            "count words: map",
            bytes,
            vec![
                ("in memory", lower),
                ("map", Box::new(|| bench.map(&programs::Count))),
            ],
        );
        measure(
            "count words: reduce",
            bytes,
            bench.reduces(&programs::Count),
        );
    }
    if is_wanted("sort") {
        let lines = data::lines(bytes, 100);
        sorts("sort lines of 100", &lines);
    }
    if is_wanted("prefix") {
        let lines = data::prefixed(bytes);
        sorts("sort lines with a common front", &lines);
    }
    if is_wanted("text") {
        let lines = data::sentences(bytes);
        sorts("sort lines of words", &lines);
    }
    if is_wanted("lines") {
        let text = data::words(bytes);
        let bench = Bench::new(&text);
        measure(
            "split into lines: map",
            bytes,
            vec![
                ("in memory", Box::new(|| data::lines_in_memory(&text))),
                ("map", Box::new(|| bench.map(&programs::Nothing))),
            ],
        );
    }
}

fn sorts(name: &str, lines: &[u8]) {
    let bytes = lines.len();
    let bench = Bench::new(lines);
    let lower = Box::new(|| data::sort_in_memory(lines));
    let small = bench.with_memory(bytes / 16);
    measure(
        &format!("{name}: map"),
        bytes,
        vec![
            ("in memory", lower),
            ("map", Box::new(|| bench.map(&programs::Sort))),
            ("map, 20 spills", Box::new(|| small.map(&programs::Sort))),
        ],
    );
    measure(
        &format!("{name}: reduce"),
        bytes,
        bench.reduces(&programs::Sort),
    );
}

fn measure(group: &str, bytes: usize, mut variants: Vec<Variant<'_>>) {
    let mut best = vec![Duration::MAX; variants.len()];
    for _ in 0..TURNS {
        for ((_, run), best) in variants.iter_mut().zip(&mut best) {
            let started = Instant::now();
            run();
            *best = started.elapsed().min(*best);
        }
    }
    let mut out = io::stderr();
    let first = best[0].as_secs_f64();
    // A measurement that nobody can read is of no use, and nothing else is lost.
    let _printed = writeln!(out, "{group}");
    for ((name, _), best) in variants.iter().zip(&best) {
        let seconds = best.as_secs_f64();
        let rate = bytes as f64 / 1e6 / seconds;
        let ratio = seconds / first;
        let _printed = writeln!(out, "  {name:24} {seconds:.3} s {rate:6.0} MB/s {ratio:.2}");
    }
}
