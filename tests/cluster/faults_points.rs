//! An error, a panic, the death of its process and a pause at every step that a
//! worker takes with files and reports: F17, F16; S2, S4, S7, L1, L7, mistake 10.
//!
//! Most places strike four times in one job, whose tasks have four attempts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::faults::{assert_accounted, await_true};
use crate::harness::{Cluster, DEADLINE, JobView, Process, Shape, describe, output_bytes, vivat};
use crate::own_workers::{Start, listing};

const MAP_POINTS: [&str; 10] = [
    "plan-send",
    "plan-done",
    "spill-create",
    "spill-written",
    "spill-read",
    "run-write",
    "run-rename",
    "segment-create",
    "segment-renamed",
    "map-done",
];
const REDUCE_POINTS: [&str; 10] = [
    "memo-write",
    "staging-create",
    "segment-serve",
    "source-open",
    "part-create",
    "part-write",
    "part-sync",
    "staging-sync",
    "part-done",
    "report-send",
];
const COMMIT_POINTS: [&str; 13] = [
    "report-answered",
    "commit-begin",
    "part-rename",
    "parts-renamed",
    "manifest-write",
    "manifest-rename",
    "success-write",
    "success-sync",
    "old-move",
    "old-moved",
    "output-show",
    "output-sync",
    "old-delete",
];
/// Struck by jobs that have ends of rounds, see `sort_jobs`.
pub const ROUND_POINTS: [&str; 2] = ["broadcast-write", "close-done"];
const BLOCK_POINT: &str = "block-serve";
/// In this order, each once.
pub const ACTIONS: [&str; 4] = ["error", "panic", "kill", "sleep"];

const JOBS_MAX: usize = 5;
const MIB: usize = 1024 * 1024;

const WORKERS: [&str; 2] = ["worker-a", "worker-b"];
const REDUCERS: &str = "3";
const GREP: [&str; 3] = ["grep", "-p", "pattern=.*"];

/// A cluster whose workers obey orders.
struct Bench {
    cluster: Cluster,
    orders: PathBuf,
    starts: Vec<Start>,
    workers: Vec<Process>,
    split_size: &'static str,
    oracle: Vec<u8>,
}

impl Bench {
    /// Maps spill when their splits have more than a megabyte.
    fn start(input_bytes: usize, split_size: &'static str) -> Self {
        let cluster = Cluster::start(Shape {
            masters: 1,
            workers: 0,
            slots: 1,
        });
        let orders = cluster.path("orders");
        fs::create_dir(&orders).expect("the directory is the test's");
        let starts: Vec<Start> = WORKERS
            .into_iter()
            .map(|name| Start {
                // Little memory, so that maps spill.
                args: &["--memory", "1MiB"],
                orders: Some(orders.clone()),
                ..Start::at(name, cluster.path(name))
            })
            .collect();
        let workers = starts.iter().map(|start| start.spawn(&cluster)).collect();
        cluster.await_status("both workers", |status| status.workers_live() == 2);
        cluster.write_words("words.txt", input_bytes, 71);
        let more = ["words.txt", "--reducers", REDUCERS];
        let args = [&["run", "--sequential"], &GREP[..], &more].concat();
        let oracle = vivat(cluster.dir(), None, &args);
        assert!(oracle.status.success(), "{}", describe(&oracle));
        Self {
            cluster,
            orders,
            starts,
            workers,
            split_size,
            oracle: oracle.stdout,
        }
    }

    fn submit(&self) -> String {
        let more = [
            "words.txt",
            "--reducers",
            REDUCERS,
            "--split-size",
            self.split_size,
            "--output",
            "out",
            "--overwrite",
        ];
        let args = [&["submit"], &GREP[..], &more].concat();
        let submitted = self.cluster.vivat(&args);
        assert!(submitted.status.success(), "{}", describe(&submitted));
        let id = String::from_utf8(submitted.stdout).expect("ids are text");
        id.trim_end().to_owned()
    }

    /// Starts workers again that ended; how many did.
    fn restart_the_dead(&mut self) -> usize {
        let mut deaths = 0;
        for (start, worker) in self.starts.iter().zip(&mut self.workers) {
            if worker.exit_status().is_some() {
                deaths += 1;
                *worker = start.spawn(&self.cluster);
            }
        }
        deaths
    }

    /// Starts workers again that ended, until the job does; how often that was.
    fn await_end(&mut self, id: &str, point: &str) -> (JobView, usize) {
        let deadline = Instant::now() + DEADLINE;
        let mut deaths = 0;
        loop {
            deaths += self.restart_the_dead();
            let view = self.cluster.show(id);
            if let Some(view) = view.filter(JobView::is_final) {
                return (view, deaths);
            }
            assert!(
                Instant::now() < deadline,
                "{point}: {:?}",
                self.cluster.show(id)
            );
            // Between two looks, not instead of a look.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All that can happen at one place, in as many jobs as it takes: a place may
    /// be passed no more after a crash, or not at all if one worker does it all.
    fn strike(&mut self, point: &str) {
        let order = |number: usize| self.orders.join(format!("{point}.{number}"));
        for (number, action) in (1..).zip(ACTIONS) {
            fs::write(order(number), action).expect("the directory is the test's");
        }
        let struck: Vec<String> = (1..=ACTIONS.len())
            .map(|number| format!("{point}.{number}.struck"))
            .collect();
        let mut all_deaths = 0;
        for _ in 0..JOBS_MAX {
            let id = self.submit();
            let (view, deaths) = self.await_end(&id, point);
            all_deaths += deaths;
            assert_eq!(view.state(), "succeeded", "{point}: {}", view.0);
            assert_accounted(&view);
            self.assert_output(&id, point);
            if listing(&self.orders) == struck {
                break;
            }
        }
        assert_eq!(listing(&self.orders), struck, "{point} was not hit");
        for name in struck {
            fs::remove_file(self.orders.join(name)).expect("it was listed");
        }
        assert!(all_deaths > 0, "{point}: nobody died");
    }

    /// The oracle's bytes, of this very job, and nothing beside them (S2).
    fn assert_output(&self, id: &str, point: &str) {
        let out = self.cluster.path("out");
        assert!(output_bytes(&out) == self.oracle, "{point}: other bytes");
        let whole = [
            "_SUCCESS",
            "_manifest.json",
            "part-00000",
            "part-00001",
            "part-00002",
        ];
        assert_eq!(listing(&out), whole, "{point}");
        let manifest = fs::read_to_string(out.join("_manifest.json")).expect("it was listed");
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("it is JSON");
        assert_eq!(manifest["job_id"], id, "{point}: an output of another job");
        let names = listing(self.cluster.dir());
        let hidden: Vec<_> = names.iter().filter(|name| name.starts_with('.')).collect();
        assert!(
            hidden.is_empty(),
            "{point}: left beside the output: {hidden:?}"
        );
    }

    /// Of all jobs that were, on any worker.
    fn assert_nothing_left(&self) {
        await_true("no segment, no scratch and no note is left", || {
            WORKERS.iter().all(|worker| {
                let dir = self.cluster.path(worker);
                let kept = ["segments", "staging"].map(|kind| listing(&dir.join(kind)));
                // A slot's own directory stays, empty.
                let scratch = dir.join("scratch");
                let mut slots = listing(&scratch).into_iter();
                kept.iter().all(Vec::is_empty)
                    && slots.all(|slot| listing(&scratch.join(slot)).is_empty())
            })
        });
    }
}

fn strike_all(mut bench: Bench, points: &[&str]) {
    let id = bench.submit();
    bench.cluster.await_success(&id);
    bench.assert_output(&id, "no point");
    for point in points {
        bench.strike(point);
    }
    bench.assert_nothing_left();
    bench.cluster.assert_serves_another_job();
}

#[test]
fn every_step_of_plan_and_map_may_fail_panic_or_kill_and_the_job_is_whole() {
    strike_all(Bench::start(2 * MIB, "1MiB"), &MAP_POINTS);
}

#[test]
fn every_step_of_shuffle_and_reduce_may_fail_panic_or_kill_and_the_job_is_whole() {
    strike_all(Bench::start(MIB / 2, "32KiB"), &REDUCE_POINTS);
}

#[test]
fn every_step_of_commit_may_fail_panic_or_kill_and_the_output_is_shown_once() {
    strike_all(Bench::start(MIB / 8, "32KiB"), &COMMIT_POINTS);
}

#[test]
fn serving_a_block_may_fail_panic_or_kill_and_its_reader_gets_the_bytes() {
    let mut bench = Bench::start(MIB, "1MiB");
    let put = [
        "data",
        "put",
        "words",
        "words.txt",
        "--block-size",
        "200KiB",
    ];
    let output = bench.cluster.vivat(&put);
    assert!(output.status.success(), "{}", describe(&output));
    let words = fs::read(bench.cluster.path("words.txt")).expect("the test wrote it");
    for action in ACTIONS {
        let order = bench.orders.join(format!("{BLOCK_POINT}.1"));
        fs::write(&order, action).expect("the directory is the test's");
        let output = bench.cluster.vivat(&["data", "cat", "words"]);
        assert!(output.status.success(), "{action}: {}", describe(&output));
        assert!(output.stdout == words, "{action}: other bytes");
        let struck = [format!("{BLOCK_POINT}.1.struck")];
        assert_eq!(listing(&bench.orders), struck, "{action}");
        fs::remove_file(bench.orders.join(&struck[0])).expect("it was listed");
        if action == "kill" {
            bench.restart_the_dead();
        }
    }
    bench.cluster.assert_serves_another_job();
}

/// What stands in `point("...")` below a directory.
fn points_in(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("the sources are here") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            points_in(&path, found);
        } else {
            let source = fs::read_to_string(&path).expect("sources are text");
            let calls = source.split("point(\"").skip(1);
            found.extend(calls.filter_map(|call| Some(call.split_once('"')?.0.to_owned())));
        }
    }
}

#[test]
fn no_place_in_the_sources_is_left_out() {
    let mut found = BTreeSet::new();
    for dir in ["worker/src", "worker/engine/src"] {
        points_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut found);
    }
    let tried = [
        &MAP_POINTS[..],
        &REDUCE_POINTS,
        &COMMIT_POINTS,
        &ROUND_POINTS,
        &[BLOCK_POINT],
    ]
    .concat();
    let tried: BTreeSet<String> = tried.into_iter().map(str::to_owned).collect();
    assert_eq!(found, tried);
}
