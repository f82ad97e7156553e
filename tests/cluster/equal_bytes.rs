//! Every program on a cluster whose workers, then whose leaders, die one job after
//! another: the parts in order are the oracle's bytes each time (F1, F21, S2, S7).
//!
//! The full product of the dimensions that need no cluster is in
//! `worker/programs/tests/combinations.rs`. Here they take turns: reducers, sizes of
//! splits, how segments are compressed (the workers differ, and change when they
//! come back), where in a job the death comes, and whether the segments survive it.
//! Workers have the least memory there is, so that what can spill does.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use vivat_programs::generate;

use crate::faults::{assert_ended_after, assert_sound, await_true};
use crate::harness::{Cluster, JobView, Process, Shape, describe, output_bytes, parse, vivat};
use crate::own_workers::{Start, listing};

/// A program, what it is told, and what it reads.
struct Workload {
    program: &'static str,
    inputs: &'static [&'static str],
    flags: &'static [&'static str],
}

const fn workload(
    program: &'static str,
    inputs: &'static [&'static str],
    flags: &'static [&'static str],
) -> Workload {
    Workload {
        program,
        inputs,
        flags,
    }
}

const WORKLOADS: [Workload; 16] = [
    workload("word-count", &["words.txt"], &[]),
    workload(
        "grep",
        &["words.txt"],
        &["-p", "pattern=e", "-p", "line-numbers=true"],
    ),
    workload("url-count", &["access.log"], &["-p", "bytes=true"]),
    workload("inverted-index", &["words.txt", "keys.txt"], &[]),
    workload("reverse-links", &["links.tsv"], &[]),
    workload("term-vector", &["words.txt", "keys.txt"], &["-p", "top=50"]),
    workload("distinct", &["keys.txt"], &["-p", "count=true"]),
    workload("sample", &["keys.txt"], &["-p", "fraction=0.5"]),
    workload("sample", &["keys.txt"], &["-p", "count=300"]),
    workload(
        "join",
        &["links.tsv", "pages.tsv"],
        &["-p", "left=*links.tsv", "-p", "right=*pages.tsv"],
    ),
    workload(
        "group-by",
        &["games.csv"],
        &[
            "--format",
            "csv",
            "-p",
            "key=PLAYER_NAME,GAME_DATE",
            "-p",
            "aggregate=count,mean(PTS)",
        ],
    ),
    workload(
        "linear-regression",
        &["games.csv"],
        &[
            "--format",
            "csv",
            "-p",
            "target=PTS",
            "-p",
            "features=MIN,FGA,FTA",
            "-p",
            "categories=POSITION",
        ],
    ),
    workload("sort", &["keys.txt"], &[]),
    workload(
        "sort",
        &["tera.bin"],
        &["--format", "fixed:100", "-p", "key-bytes=10"],
    ),
    workload("validate-sort", &["keys.txt"], &[]),
    workload(
        "exec",
        &["words.txt"],
        &["-p", "mapper=awk '{ print $1 }'", "-p", "reducer=uniq -c"],
    ),
];

/// Programs that need a model or many rounds: `model_jobs.rs` and `table_jobs.rs`
/// have them on clusters.
const ELSEWHERE: [&str; 4] = ["k-means", "linear-predict", "mlp-predict", "mlp-train"];

const KIB: u64 = 1024;
/// So much of everything: more than a worker has memory for.
const FILE_BYTES: u64 = 1536 * KIB;
const REDUCERS: [&str; 3] = ["1", "2", "7"];
const LARGE_SPLIT: &str = "1MiB";
const SMALL_SPLIT: &str = "32KiB";
/// What a worker is started with, each time the next.
const KINDS: [&[&str]; 3] = [
    &["--memory", "1MiB", "--segment-compression", "lz4"],
    &["--memory", "1MiB", "--segment-compression", "zstd"],
    &["--memory", "1MiB", "--segment-compression", "none"],
];
/// Where in a job a worker dies, and whether its segments die with it.
const DEATHS: [(&str, bool); 4] = [
    ("map-done", false),
    ("part-done", true),
    ("segment-renamed", true),
    ("part-done", false),
];
/// Orders that a place can have.
const ORDERS_MAX: usize = 9;

/// Masters, and two workers that obey orders and differ.
struct Bench {
    cluster: Cluster,
    orders: PathBuf,
    starts: Vec<Start>,
    workers: Vec<Process>,
    /// Starts of workers so far.
    started: usize,
    spills: u64,
}

impl Bench {
    fn start(masters: usize) -> Self {
        let cluster = Cluster::start(Shape {
            masters,
            workers: 0,
            slots: 1,
        });
        let orders = cluster.path("orders");
        fs::create_dir(&orders).expect("the directory is the test's");
        write_inputs(&cluster);
        let mut bench = Self {
            cluster,
            orders,
            starts: Vec::new(),
            workers: Vec::new(),
            started: 0,
            spills: 0,
        };
        for name in ["worker-a", "worker-b"] {
            let start = Start {
                args: bench.next_kind(),
                orders: Some(bench.orders.clone()),
                ..Start::at(name, bench.cluster.path(name))
            };
            bench.workers.push(start.spawn(&bench.cluster));
            bench.starts.push(start);
        }
        let two = bench
            .cluster
            .await_status("both workers", |status| status.workers_live() == 2);
        drop(two);
        bench
    }

    fn next_kind(&mut self) -> &'static [&'static str] {
        self.started += 1;
        KINDS[self.started % KINDS.len()]
    }

    fn order(&self, point: &str, number: usize, action: &str) {
        let path = self.orders.join(format!("{point}.{number}"));
        fs::write(path, action).expect("the directory is the test's");
    }

    fn is_struck(&self, point: &str) -> bool {
        self.orders.join(format!("{point}.1.struck")).exists()
    }

    /// Takes back what was ordered and did not come to pass, and forgets the rest.
    fn clear_orders(&self) {
        for name in listing(&self.orders) {
            // Somebody may carry it out at this moment.
            let _renamed = fs::remove_file(self.orders.join(name));
        }
    }

    fn submit(&self, round: &Round) -> String {
        let args = [
            &["submit"],
            &round.args()[..],
            &["--output", "out", "--overwrite"],
        ]
        .concat();
        let more = ["--split-size", round.split_size];
        let output = self.cluster.vivat(&[&args[..], &more].concat());
        assert!(output.status.success(), "{}", describe(&output));
        let id = String::from_utf8(output.stdout).expect("ids are text");
        id.trim_end().to_owned()
    }

    /// Success, and the oracle's bytes.
    fn assert_equal(&mut self, id: &str, round: &Round) -> JobView {
        let view = self.cluster.await_success(id);
        let args = [&["run", "--sequential"], &round.args()[..]].concat();
        let oracle = vivat(self.cluster.dir(), None, &args);
        assert!(oracle.status.success(), "{args:?}: {}", describe(&oracle));
        let found = output_bytes(&self.cluster.path("out"));
        assert!(
            found == oracle.stdout,
            "{args:?} {}: {} bytes, the oracle has {}",
            round.split_size,
            found.len(),
            oracle.stdout.len()
        );
        assert!(!found.is_empty(), "{args:?}: nothing proves nothing");
        let counters = self.cluster.vivat(&["job", "counters", id, "-o", "json"]);
        let counters = parse(&counters);
        for name in ["map.spills", "shuffle.spilled.bytes"] {
            self.spills += counters[name].as_u64().unwrap_or(0);
        }
        view
    }

    /// Starts the one again that died, as another kind; none while both live.
    fn bring_back_the_dead(&mut self, without_segments: bool) -> Option<usize> {
        let mut all = self.workers.iter_mut();
        let dead = all.position(|worker| worker.exit_status().is_some())?;
        if without_segments {
            let segments = self.starts[dead].dir.join("segments");
            fs::remove_dir_all(&segments).expect("its process is gone");
        }
        self.starts[dead].args = self.next_kind();
        self.workers[dead] = self.starts[dead].spawn(&self.cluster);
        Some(dead)
    }
}

/// One job: which workload in which shape.
struct Round {
    workload: &'static Workload,
    reducers: &'static str,
    split_size: &'static str,
}

impl Round {
    /// Neighbours differ in all; over the list every pair comes up.
    fn of(number: usize) -> Self {
        Self {
            workload: &WORKLOADS[number],
            reducers: REDUCERS[number % REDUCERS.len()],
            split_size: [LARGE_SPLIT, SMALL_SPLIT][number / 2 % 2],
        }
    }

    /// Where a process is to be struck: a step that closes writes blocks, and no part
    /// of a directory is ever done.
    fn point(&self, point: &'static str) -> &'static str {
        match self.workload.program {
            "linear-regression" => "map-done",
            _ => point,
        }
    }

    fn args(&self) -> Vec<&'static str> {
        let Workload {
            program,
            inputs,
            flags,
        } = self.workload;
        let reducers = ["--reducers", self.reducers];
        [&[*program], *inputs, *flags, &reducers].concat()
    }
}

#[test]
fn every_program_gives_the_oracles_bytes_while_workers_die_and_return() {
    let mut bench = Bench::start(1);
    let mut reruns = 0;
    for number in 0..WORKLOADS.len() {
        let round = Round::of(number);
        let (point, without_segments) = DEATHS[number % DEATHS.len()];
        let point = round.point(point);
        bench.order(point, 1, "kill");
        let id = bench.submit(&round);
        await_true("a worker's death", || {
            bench.bring_back_the_dead(without_segments).is_some()
        });
        assert!(bench.is_struck(point), "nobody died at {point}");
        let view = bench.assert_equal(&id, &round);
        assert!(view.attempts("lost") > 0, "{point}: {}", view.0);
        assert_eq!(view.attempts("failed"), 0, "{point}: {}", view.0);
        reruns += view.attempts("reruns_of_completed");
        bench.clear_orders();
    }
    assert!(reruns > 0, "no lost segment was made again");
    assert!(bench.spills > 0, "nothing spilled");
    bench.cluster.assert_serves_another_job();
}

#[test]
fn every_program_gives_the_oracles_bytes_while_leaders_die() {
    let mut bench = Bench::start(3);
    for number in 0..WORKLOADS.len() {
        // Many tasks, so that the job outlives its leader.
        let round = Round {
            split_size: SMALL_SPLIT,
            ..Round::of(number)
        };
        let point = round.point(match round.reducers {
            "7" => "part-done",
            _ => "map-done",
        });
        for order in 1..=ORDERS_MAX {
            bench.order(point, order, "sleep");
        }
        let id = bench.submit(&round);
        await_true("tasks that take a while", || bench.is_struck(point));
        let kill = bench.cluster.kill_leader();
        bench.cluster.await_other_leader(kill);
        let view = bench.assert_equal(&id, &round);
        assert_ended_after(&view, kill.at);
        for field in ["reruns_of_completed", "lost", "failed"] {
            assert_eq!(view.attempts(field), 0, "{field}: {}", view.0);
        }
        bench.clear_orders();
        bench.cluster.restart_master(kill.seat);
        let back = |status: &crate::harness::Status| status.is_caught_up();
        bench
            .cluster
            .await_status("the killed master is back", back);
    }
    assert!(bench.spills > 0, "nothing spilled");
    assert_sound(&bench.cluster);
}

#[test]
fn no_program_of_the_catalogue_is_left_out() {
    for entry in vivat_programs::catalogue() {
        let is_there =
            ELSEWHERE.contains(&entry.name) || WORKLOADS.iter().any(|it| it.program == entry.name);
        assert!(is_there, "{} is in no workload", entry.name);
    }
}

type Generator = fn(u64, u64, &mut dyn Write) -> io::Result<()>;

/// Texts with few words and with many, a log, links and pages, a table, records of
/// a fixed length.
fn write_inputs(cluster: &Cluster) {
    let generated: [(&str, Generator); 4] = [
        ("words.txt", generate::words),
        ("access.log", generate::access_log),
        ("games.csv", generate::game_logs),
        ("tera.bin", generate::tera),
    ];
    for (name, generator) in generated {
        let mut content = Vec::new();
        generator(FILE_BYTES, 11, &mut content).expect("memory takes all");
        fs::write(cluster.path(name), content).expect("the directory is the test's");
    }
    let lines = |count: u64, line: fn(u64) -> String| (0..count).map(line).collect::<String>();
    let scattered = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let keys: String = (0..FILE_BYTES / 24)
        .map(|number| format!("{:07} key {}\n", scattered(number), letters(number)))
        .collect();
    let texts = [
        ("keys.txt", keys),
        (
            "links.tsv",
            lines(FILE_BYTES / 40, |line| {
                format!("page-{line}\tpage-{}\tpage-{}\n", line % 997, line % 101)
            }),
        ),
        (
            "pages.tsv",
            lines(500, |line| format!("page-{line}\ttitle of {line}\n")),
        ),
    ];
    for (name, text) in texts {
        fs::write(cluster.path(name), text).expect("the directory is the test's");
    }
}

/// A word that stands for a number.
fn letters(mut number: u64) -> String {
    let mut word = String::new();
    while number > 0 || word.is_empty() {
        let letter = u8::try_from(number % 26).expect("below 26");
        word.push(char::from(b'a' + letter));
        number /= 26;
    }
    word
}
