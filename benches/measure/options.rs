//! What the runner is told on its command line.

use std::path::PathBuf;

/// Of a workload's input.
const SIZE_DEFAULT: u64 = 256 << 20;
/// Of each side of a workload, in turn.
const RUNS_DEFAULT: usize = 3;
/// The interpreter of the peers, where `--python` does not name it.
const PYTHON: &str = "VIVAT_BENCH_PYTHON";

/// Options and what stands between them.
#[derive(Debug)]
pub struct Options {
    /// Names and numbers, in order.
    pub words: Vec<String>,
    /// Bytes of input.
    pub size: u64,
    /// Runs of each side.
    pub runs: usize,
    /// A Python that has the peers.
    pub python: Option<PathBuf>,
}

impl Options {
    /// Reads the command line; cargo's own `--bench` is passed over.
    pub fn read(args: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            words: Vec::new(),
            size: SIZE_DEFAULT,
            runs: RUNS_DEFAULT,
            python: std::env::var_os(PYTHON).map(PathBuf::from),
        };
        let mut args = args.filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
            match arg.as_str() {
                "--size" => options.size = bytes(&value()),
                "--runs" => options.runs = value().parse().expect("--runs is a number"),
                "--python" => options.python = Some(value().into()),
                _ => options.words.push(arg),
            }
        }
        assert!(options.runs > 0, "--runs 0 measures nothing");
        options
    }

    /// The number after the name of what to run.
    pub fn number(&self) -> Option<usize> {
        self.words.get(1).and_then(|word| word.parse().ok())
    }

    /// Words from a place on.
    pub fn words_from(&self, from: usize) -> Vec<&str> {
        self.words.iter().skip(from).map(String::as_str).collect()
    }
}

fn bytes(text: &str) -> u64 {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let unit = units.iter().find(|(unit, _)| text.ends_with(unit));
    let (unit, shift) = unit.copied().unwrap_or(("", 0));
    let number = text.trim_end_matches(unit).parse::<u64>();
    number.expect("a size is like 64KiB, 256MiB or 1GiB") << shift
}
