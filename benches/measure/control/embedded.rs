//! `vivat run` of 1 KiB: a whole cluster comes up, works and goes.

use std::time::{Duration, Instant};

use crate::figures::Times;
use crate::harness::{describe, vivat, words};
use crate::options::Options;

const TIMES: usize = 20;
const INPUT_BYTES: usize = 1024;
const GOAL: Duration = Duration::from_millis(400);
const BIN: Duration = Duration::from_millis(10);

/// From the process's start to its exit.
pub fn run(_options: &Options) {
    println!("vivat run word-count over {INPUT_BYTES} bytes, start to exit");
    let dir = tempfile::tempdir().expect("a directory can be made");
    let input = words::generate(INPUT_BYTES, 1);
    std::fs::write(dir.path().join("words.txt"), input).expect("a file can be written");
    let times = (0..TIMES).map(|_| {
        let began = Instant::now();
        let ran = vivat(dir.path(), None, &["run", "word-count", "words.txt"]);
        let took = began.elapsed();
        assert!(ran.status.success(), "{}", describe(&ran));
        took
    });
    let times = Times::new(times.collect());
    times.print("embedded", BIN);
    times.goal(50, GOAL);
}
