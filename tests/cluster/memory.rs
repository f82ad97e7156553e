//! A worker keeps to the memory that it was given, and 64 MiB, whatever the data:
//! twenty times as much goes through a cluster, and what the operating system saw
//! of each worker at most is looked at. What was made of it is right.
//!
//! The pages of its binary are not counted.
//!
//! `VIVAT_WORKER_MEMORY_MIB=N` tries another memory than 16 MiB a worker.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use crate::harness::{Cluster, JobView, Process, Shape, describe};
use crate::own_workers::Start;

const MIB: u64 = 1024 * 1024;
const MEMORY_MIB: u64 = 16;
/// What a worker may have beside it: code, threads, connections, what it reads
/// and writes at the moment.
const BESIDE_BYTES: u64 = 64 * MIB;
const TIMES: u64 = 20;
/// Commands that wait for one job.
const WAITS_MAX: usize = 4;
/// Bytes of a line of the input: eight words.
const LINE_BYTES: u64 = 80;
const WORDS_A_LINE: u64 = 8;

/// A cluster of two workers with little memory, and much to do.
struct Bench {
    cluster: Cluster,
    workers: Vec<Process>,
    memory: u64,
    lines: u64,
}

impl Bench {
    fn start() -> Self {
        let memory = std::env::var("VIVAT_WORKER_MEMORY_MIB");
        let memory = memory.map_or(MEMORY_MIB, |it| it.parse().expect("a number of MiB")) * MIB;
        let cluster = Cluster::start(Shape {
            masters: 1,
            workers: 0,
            slots: 1,
        });
        // Of a test process: it ends soon.
        let bytes: &'static str = memory.to_string().leak();
        let args: &'static [&'static str] = vec!["--memory", bytes].leak();
        let workers = ["worker-a", "worker-b"].map(|name| {
            let start = Start {
                args,
                ..Start::at(name, cluster.path(name))
            };
            start.spawn(&cluster)
        });
        cluster.await_status("both workers", |status| status.workers_live() == 2);
        let lines = TIMES * memory / LINE_BYTES;
        write_lines(&cluster.path("words.txt"), lines);
        Self {
            cluster,
            workers: workers.into(),
            memory,
            lines,
        }
    }

    fn words(&self) -> u64 {
        self.lines * WORDS_A_LINE
    }

    /// Runs it, sees that it spilled, and that no worker took too much.
    fn run(&self, args: &[&str]) -> JobView {
        let output = self.cluster.vivat(&[&["submit"], args].concat());
        assert!(output.status.success(), "{}", describe(&output));
        let id = String::from_utf8(output.stdout).expect("ids are text");
        let id = id.trim_end();
        // Each waits for as long as a command may take; a busy machine takes longer.
        let wait = |_| self.cluster.vivat(&["job", "wait", id]);
        let waited = (0..WAITS_MAX)
            .map(wait)
            .find(|it| it.status.code().is_some());
        let waited = waited.unwrap_or_else(|| panic!("{args:?} goes on and on"));
        assert!(waited.status.success(), "{args:?}: {}", describe(&waited));
        let view = self.cluster.await_success(id);
        assert_eq!(view.attempts("failed"), 0, "{args:?}: {}", view.0);
        for worker in &self.workers {
            let most = most_resident_bytes(worker.id());
            let name = args[0];
            eprintln!("{name}: a worker had {} MiB at most", most / MIB);
            let allowed = self.memory + BESIDE_BYTES;
            assert!(most <= allowed, "{name}: {most} bytes of {allowed}");
        }
        view
    }

    fn counter(view: &JobView, name: &str) -> u64 {
        view.0["counters"][name].as_u64().unwrap_or(0)
    }

    /// What `validate-sort` says of files, by name.
    fn report(&self, input: &str, out: &str) -> Vec<String> {
        let args = ["validate-sort", input, "--output", out, "--reducers", "1"];
        self.run(&args);
        let part = self.cluster.path(out).join("part-00000");
        let text = fs::read_to_string(part).expect("a report is one part");
        text.lines().map(str::to_owned).collect()
    }
}

fn value_of<'a>(report: &'a [String], name: &str) -> &'a str {
    let mut lines = report.iter().filter_map(|line| line.split_once('\t'));
    let found = lines.find_map(|(key, value)| (key == name).then_some(value));
    found.unwrap_or_else(|| panic!("no {name} in {report:?}"))
}

#[test]
fn a_sort_of_twenty_times_the_memory_keeps_to_it() {
    let bench = Bench::start();
    let view = bench.run(&["sort", "words.txt", "--output", "sorted", "--reducers", "4"]);
    assert!(Bench::counter(&view, "map.spills") > 0, "{}", view.0);
    let before = bench.report("words.txt", "before");
    let after = bench.report("sorted/part-*", "after");
    assert_eq!(value_of(&before, "checksum"), value_of(&after, "checksum"));
    assert_eq!(value_of(&after, "records"), bench.lines.to_string());
    assert_eq!(value_of(&after, "out-of-order"), "0");
}

#[test]
fn counting_as_many_different_words_as_there_are_keeps_to_the_memory() {
    let bench = Bench::start();
    let view = bench.run(&["word-count", "words.txt", "--output", "counts"]);
    assert!(Bench::counter(&view, "map.spills") > 0, "{}", view.0);
    let counts = counts(&bench.cluster.path("counts"));
    assert_eq!(counts, (bench.words(), bench.words()), "words, and in all");
}

#[test]
fn an_index_of_as_many_words_as_there_are_keeps_to_the_memory() {
    let bench = Bench::start();
    let args = ["inverted-index", "words.txt", "--output", "index"];
    let view = bench.run(&args);
    assert!(Bench::counter(&view, "map.spills") > 0, "{}", view.0);
    let (words, _) = counts(&bench.cluster.path("index"));
    assert_eq!(words, bench.words());
}

#[test]
fn a_sort_of_lines_that_are_all_the_same_keeps_to_the_memory() {
    let bench = Bench::start();
    let same = [b'x'; 79];
    let path = bench.cluster.path("words.txt");
    let mut file = BufWriter::new(File::create(&path).expect("it is the test's"));
    for _ in 0..bench.lines {
        file.write_all(&same)
            .and_then(|()| file.write_all(b"\n"))
            .expect("there is room");
    }
    file.flush().expect("there is room");
    let view = bench.run(&["sort", "words.txt", "--output", "sorted", "--reducers", "4"]);
    assert!(Bench::counter(&view, "map.spills") > 0, "{}", view.0);
    let after = bench.report("sorted/part-*", "after");
    assert_eq!(value_of(&after, "records"), bench.lines.to_string());
}

/// Lines of words, each of which comes once in all.
fn write_lines(path: &Path, lines: u64) {
    let mut file = BufWriter::new(File::create(path).expect("the directory is the test's"));
    let mut line = Vec::new();
    for number in 0..lines {
        line.clear();
        for column in 0..WORDS_A_LINE {
            // Odd, so that no number comes twice; large, so that they are scattered.
            let scattered = (number * WORDS_A_LINE + column).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            push_word(&mut line, scattered);
        }
        line.pop();
        line.push(b'\n');
        assert_eq!(line.len() as u64, LINE_BYTES);
        file.write_all(&line).expect("there is room");
    }
    file.flush().expect("there is room");
}

/// Nine letters that stand for the upper bits of a number, and a blank. Two
/// numbers may have the same only when there are very many of them.
fn push_word(line: &mut Vec<u8>, number: u64) {
    let mut rest = (u128::from(number) * 26_u128.pow(9)) >> 64;
    for _ in 0..9 {
        let letter = u8::try_from(rest % 26).expect("below 26");
        line.push(b'a' + letter);
        rest /= 26;
    }
    line.push(b' ');
}

/// Lines of all parts, and the sum of the counts at their ends, if they are counts.
fn counts(output: &Path) -> (u64, u64) {
    assert!(output.join("_SUCCESS").exists(), "{}", output.display());
    let (mut lines, mut sum) = (0, 0);
    for entry in fs::read_dir(output).expect("it was listed").flatten() {
        if !entry.file_name().to_string_lossy().starts_with("part-") {
            continue;
        }
        let mut part = BufReader::new(File::open(entry.path()).expect("it was listed"));
        let mut line = Vec::new();
        while part.read_until(b'\n', &mut line).expect("it can be read") > 0 {
            let text = String::from_utf8_lossy(&line);
            let count = text.trim_end().rsplit('\t').next();
            sum += count.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
            lines += 1;
            line.clear();
        }
    }
    (lines, sum)
}

/// The most memory that a process had at one time, without pages of files.
fn most_resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|it| it.trim().strip_suffix(" kB"));
        kib.and_then(|it| it.parse().ok()).expect("a number of kB")
    };
    (kib("VmHWM:") - kib("RssFile:")) * 1024
}
