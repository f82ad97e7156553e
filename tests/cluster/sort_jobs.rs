//! Jobs of several steps with the end of a round between them: a total-order
//! sort, whose first step samples the keys and hands on cut points (F1, F21, S2).
//!
//! Whoever dies in whichever step: the parts in order are the sorted input.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use crate::faults_points::{ACTIONS, ROUND_POINTS};
use crate::harness::{Cluster, DEADLINE, JobView, Process, Shape, describe, output_bytes, vivat};
use crate::own_workers::{Start, listing};

const REDUCERS: &str = "12";
const SPLIT_BYTES: &str = "32768";
const INPUT_BYTES: usize = 2 * 1024 * 1024;

/// A cluster of three masters, and two workers that obey orders.
struct Bench {
    cluster: Cluster,
    orders: PathBuf,
    starts: Vec<Start>,
    workers: Vec<Process>,
}

impl Bench {
    fn start() -> Self {
        let cluster = Cluster::start(Shape {
            workers: 0,
            ..Shape::default()
        });
        let orders = cluster.path("orders");
        fs::create_dir(&orders).expect("the directory is the test's");
        let start = |name| Start {
            orders: Some(orders.clone()),
            ..Start::at(name, cluster.path(name))
        };
        let starts: Vec<Start> = ["worker-a", "worker-b"].map(start).into();
        let workers = starts.iter().map(|start| start.spawn(&cluster)).collect();
        cluster.await_status("both workers", |status| status.workers_live() == 2);
        cluster.write_words("words.txt", INPUT_BYTES, 5);
        Self {
            cluster,
            orders,
            starts,
            workers,
        }
    }

    fn order(&self, point: &str, action: &str) {
        self.order_nth(point, 1, action);
    }

    fn order_nth(&self, point: &str, number: u32, action: &str) {
        let path = self.orders.join(format!("{point}.{number}"));
        fs::write(path, action).expect("the directory is the test's");
    }

    fn is_struck(&self, point: &str) -> bool {
        self.orders.join(format!("{point}.1.struck")).exists()
    }

    fn submit(&self, reducers: &str) -> String {
        submit(&self.cluster, reducers)
    }

    fn restart_the_dead(&mut self) {
        for (start, worker) in self.starts.iter().zip(&mut self.workers) {
            if worker.exit_status().is_some() {
                *worker = start.spawn(&self.cluster);
            }
        }
    }

    /// The job succeeded and its parts in order are the sorted input.
    fn assert_sorted(&self, job: &str) -> JobView {
        let view = self.cluster.await_success(job);
        assert_sorted(&self.cluster, &view);
        self.cluster.assert_serves_another_job();
        view
    }
}

fn submit(cluster: &Cluster, reducers: &str) -> String {
    let args = ["submit", "sort", "words.txt", "--output", "out"];
    let more = ["--reducers", reducers, "--split-size", SPLIT_BYTES];
    let output = cluster.vivat(&[&args[..], &more].concat());
    assert!(output.status.success(), "{}", describe(&output));
    let id = String::from_utf8(output.stdout).expect("ids are text");
    id.trim_end().to_owned()
}

fn assert_sorted(cluster: &Cluster, view: &JobView) {
    let oracle = vivat(
        cluster.dir(),
        None,
        &["run", "--sequential", "sort", "words.txt"],
    );
    assert!(oracle.status.success(), "{}", describe(&oracle));
    assert!(output_bytes(&cluster.path("out")) == oracle.stdout);
    let rounds = view.0["rounds"].as_array().expect("rounds are a list");
    let sampled = rounds.iter().filter(|round| round["step"] == 0);
    let sampled: Vec<&Value> = sampled.collect();
    assert_eq!(sampled.len(), 1, "{}", view.0);
    let keys = sampled[0]["metrics"]["sampled_keys"].as_f64();
    assert!(keys.is_some_and(|keys| keys >= 1_024.0), "{}", view.0);
}

fn is_in(step: u64, phase: &'static str) -> impl Fn(&JobView) -> bool {
    move |view| {
        view.0["step"] == step
            && view.phase() == phase
            && match phase {
                "map" => view.is_amid_maps(),
                "reduce" => view.is_amid_reduces(),
                _ => true,
            }
    }
}

fn leader_dies_in(step: u64, phase: &'static str) {
    let mut bench = Bench::start();
    match phase {
        "close" => bench.order("close-done", "sleep"),
        // The sample's only reduce takes the first of them.
        "reduce" => (1..=9).for_each(|number| bench.order_nth("part-done", number, "sleep")),
        _ => {}
    }
    let id = bench.submit(REDUCERS);
    bench
        .cluster
        .await_job(&id, "the step's phase", is_in(step, phase));
    let kill = bench.cluster.kill_leader();
    bench.cluster.await_other_leader(kill);
    let view = bench.assert_sorted(&id);
    assert!(view.finished_at() > kill.at, "{}", view.0);
    for field in ["reruns_of_completed", "lost", "failed"] {
        assert_eq!(view.attempts(field), 0, "{field}: {}", view.0);
    }
}

#[test]
fn leader_killed_while_a_sort_samples_disturbs_no_task() {
    leader_dies_in(0, "map");
}

#[test]
fn leader_killed_while_the_sample_is_closed_disturbs_no_task() {
    leader_dies_in(0, "close");
}

#[test]
fn leader_killed_while_a_sort_maps_disturbs_no_task() {
    leader_dies_in(1, "map");
}

#[test]
fn leader_killed_while_a_sort_reduces_disturbs_no_task() {
    leader_dies_in(1, "reduce");
}

fn worker_dies_at(point: &'static str, step: u64, phase: &'static str) {
    let mut bench = Bench::start();
    if step == 0 {
        bench.order(point, "kill");
    }
    let id = bench.submit(REDUCERS);
    if step > 0 {
        bench
            .cluster
            .await_job(&id, "the step's phase", is_in(step, phase));
        bench.order(point, "kill");
    }
    let view = bench.assert_sorted(&id);
    assert!(bench.is_struck(point), "nobody died at {point}");
    let dead = bench.workers.iter_mut();
    let dead = dead.filter_map(Process::exit_status).count();
    assert_eq!(dead, 1, "{}", view.0);
    assert_eq!(view.attempts("failed"), 0, "{}", view.0);
}

#[test]
fn worker_killed_while_a_sort_samples_costs_nothing_of_the_result() {
    worker_dies_at("map-done", 0, "map");
}

#[test]
fn worker_killed_in_the_close_of_the_sample_costs_nothing_of_the_result() {
    worker_dies_at("close-done", 0, "close");
}

#[test]
fn worker_killed_in_the_second_step_costs_nothing_of_the_result() {
    worker_dies_at("map-done", 1, "map");
}

#[test]
fn worker_killed_while_a_sort_reduces_costs_nothing_of_the_result() {
    // Once it maps, the sample's reduce is over and its part written.
    worker_dies_at("part-done", 1, "map");
}

/// Cut points of so many parts are more than the log takes: they are stored, which
/// the place that is struck where a worker keeps them proves.
#[test]
fn an_error_a_panic_a_death_and_a_pause_at_the_ends_of_rounds_cost_nothing_of_the_result() {
    let mut bench = Bench::start();
    for point in ROUND_POINTS {
        for (number, action) in (1..).zip(ACTIONS) {
            let path = bench.orders.join(format!("{point}.{number}"));
            fs::write(path, action).expect("the directory is the test's");
        }
    }
    let id = bench.submit("700");
    let deadline = Instant::now() + DEADLINE;
    while !bench.cluster.show(&id).is_some_and(|view| view.is_final()) {
        bench.restart_the_dead();
        assert!(Instant::now() < deadline, "{:?}", listing(&bench.orders));
    }
    let view = bench.assert_sorted(&id);
    assert_eq!(view.reduce("total"), 700, "{}", view.0);
    let struck = listing(&bench.orders);
    let is_struck = |name: &String| name.ends_with(".struck");
    assert!(struck.iter().all(is_struck), "{struck:?}: {}", view.0);
    assert_eq!(struck.len(), ROUND_POINTS.len() * ACTIONS.len());
}

#[test]
fn sort_runs_on_the_cluster_inside_the_command() {
    let cluster = Cluster::start(Shape {
        masters: 1,
        workers: 0,
        slots: 1,
    });
    fs::write(cluster.path("numbers.txt"), "10\n9\nx\n-3\n").expect("the test's directory");
    let args = ["run", "sort", "numbers.txt", "-p", "numeric=true"];
    let output = vivat(cluster.dir(), None, &args);
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(output.stdout, b"x\n-3\n9\n10\n");

    let made = vivat(
        cluster.dir(),
        None,
        &["gen", "tera", "--size", "100000", "data.bin"],
    );
    assert!(made.status.success(), "{}", describe(&made));
    let format = ["--format", "fixed:100", "-p", "key-bytes=10"];
    let sorted = [
        &["run", "sort", "data.bin", "--output", "sorted"],
        &format[..],
    ]
    .concat();
    let sorted = vivat(cluster.dir(), None, &sorted);
    assert!(sorted.status.success(), "{}", describe(&sorted));
    let report = |input: &str| {
        let args = [&["run", "validate-sort", input], &format[..]].concat();
        let output = vivat(cluster.dir(), None, &args);
        assert!(output.status.success(), "{}", describe(&output));
        let text = String::from_utf8(output.stdout).expect("a report is text");
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let lines = lines.map(|(name, value)| (name.to_owned(), value.to_owned()));
        lines.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (before, after) = (report("data.bin"), report("sorted/part-*"));
    assert_eq!(before["checksum"], after["checksum"]);
    assert_eq!(after["records"], "1000");
    assert_eq!(after["out-of-order"], "0");
    assert_ne!(before["out-of-order"], "0");
}
