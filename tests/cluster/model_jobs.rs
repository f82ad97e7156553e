//! Models that are trained in rounds: whoever dies in whichever round, rounds only
//! go forward, and the result has the bits of an undisturbed run (F1, F21, S2).

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use crate::harness::{Cluster, DEADLINE, JobView, Process, Shape, describe, output_bytes, vivat};
use crate::own_workers::Start;

const ROUNDS: u64 = 6;
const SHARDS: usize = 5;
/// What is trained: every option that has a state of its own.
const TRAINING: [&str; 12] = [
    "-p",
    "hidden=12",
    "-p",
    "epochs=3",
    "-p",
    "batch=32",
    "-p",
    "optimizer=adam",
    "-p",
    "scale=true",
    "-p",
    "eta=0.01",
];

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
        for shard in 0..SHARDS {
            letters(
                &cluster,
                &format!("train-{shard}.txt"),
                12_000 + 900 * shard,
                shard,
            );
        }
        letters(&cluster, "validate.txt", 8_000, 99);
        Self {
            cluster,
            orders,
            starts,
            workers,
        }
    }

    fn order(&self, point: &str, number: u32, action: &str) {
        let path = self.orders.join(format!("{point}.{number}"));
        fs::write(path, action).expect("the directory is the test's");
    }

    fn submit(&self) -> String {
        let rounds = format!("rounds={ROUNDS}");
        let front = ["submit", "mlp-train", "train-*.txt", "--output", "model"];
        let more = ["-p", &rounds, "-p", "validate=validate.txt"];
        let output = self.cluster.vivat(&[&front[..], &TRAINING, &more].concat());
        assert!(output.status.success(), "{}", describe(&output));
        let id = String::from_utf8(output.stdout).expect("ids are text");
        id.trim_end().to_owned()
    }

    /// The job succeeded, its rounds are there once each, and the model has the
    /// bits of the oracle.
    fn assert_trained(&self, job: &str) -> JobView {
        let view = self.cluster.await_success(job);
        let rounds = view.0["rounds"].as_array().expect("rounds are a list");
        let trained = rounds.iter().filter(|round| round["step"] == 1);
        let trained: Vec<&Value> = trained.collect();
        let numbers: Vec<u64> = trained
            .iter()
            .filter_map(|it| it["round"].as_u64())
            .collect();
        assert_eq!(numbers, (0..ROUNDS).collect::<Vec<_>>(), "{}", view.0);
        for metric in [
            "train_error",
            "train_loss",
            "validation_error",
            "validation_loss",
        ] {
            let told = trained
                .iter()
                .filter_map(|it| it["metrics"][metric].as_f64());
            let told: Vec<f64> = told.collect();
            assert_eq!(told.len(), numbers.len(), "{metric}: {}", view.0);
            assert!(told[told.len() - 1] < told[0], "{metric}: {told:?}");
        }
        let rounds = format!("rounds={ROUNDS}");
        let front = ["run", "--sequential", "mlp-train", "train-*.txt"];
        let more = ["-p", &rounds, "-p", "validate=validate.txt"];
        let oracle = vivat(
            self.cluster.dir(),
            None,
            &[&front[..], &TRAINING, &more].concat(),
        );
        assert!(oracle.status.success(), "{}", describe(&oracle));
        assert!(output_bytes(&self.cluster.path("model")) == oracle.stdout);
        view
    }
}

fn letters(cluster: &Cluster, name: &str, bytes: usize, seed: usize) {
    let (bytes, seed) = (bytes.to_string(), seed.to_string());
    let args = ["gen", "letters", "--size", &bytes, "--seed", &seed, name];
    let made = vivat(cluster.dir(), None, &args);
    assert!(made.status.success(), "{}", describe(&made));
}

/// Notes every look: step and round only go forward.
struct Forward {
    last: Cell<(u64, u64)>,
}

impl Forward {
    fn new() -> Self {
        Self {
            last: Cell::new((0, 0)),
        }
    }

    fn look(&self, view: &JobView) -> (u64, u64) {
        let number = |field: &str| view.0[field].as_u64().expect("it is a number");
        let now = (number("step"), number("round"));
        assert!(now >= self.last.get(), "{:?}: {}", self.last.get(), view.0);
        self.last.set(now);
        now
    }
}

/// Kills the leader in the phase of a round, and follows the job to its end.
fn leader_dies(round: u64, point: &str, orders: std::ops::RangeInclusive<u32>) {
    let mut bench = Bench::start();
    for number in orders {
        bench.order(point, number, "sleep");
    }
    let forward = Forward::new();
    let id = bench.submit();
    bench.cluster.await_job(&id, "the round", |view| {
        assert!(
            !view.is_final(),
            "it ended before its leader could be killed"
        );
        forward.look(view) >= (1, round)
    });
    let kill = bench.cluster.kill_leader();
    bench.cluster.await_other_leader(kill);
    let after = Cell::new(0);
    bench.cluster.await_job(&id, "the end", |view| {
        forward.look(view);
        after.set(after.get() + 1);
        view.is_final()
    });
    let view = bench.assert_trained(&id);
    assert!(view.finished_at() > kill.at, "{}", view.0);
    for field in ["reruns_of_completed", "lost", "failed"] {
        assert_eq!(view.attempts(field), 0, "{field}: {}", view.0);
    }
    bench.cluster.assert_serves_another_job();
}

#[test]
fn leader_killed_while_shards_of_a_round_learn_changes_no_bit_of_the_model() {
    // Every map of the trained rounds takes a while.
    leader_dies(1, "map-done", 1..=40);
}

#[test]
fn leader_killed_while_a_round_is_closed_changes_no_bit_of_the_model() {
    leader_dies(2, "close-done", 1..=8);
}

#[test]
fn workers_killed_in_several_rounds_change_no_bit_of_the_model() {
    let mut bench = Bench::start();
    for (point, number) in [
        ("map-done", 8),
        ("map-done", 17),
        ("part-done", 3),
        ("close-done", 4),
    ] {
        bench.order(point, number, "kill");
    }
    let forward = Forward::new();
    let id = bench.submit();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let view = bench.cluster.show(&id);
        if let Some(view) = &view {
            forward.look(view);
        }
        if view.is_some_and(|view| view.is_final()) {
            break;
        }
        for (start, worker) in bench.starts.iter().zip(&mut bench.workers) {
            if worker.exit_status().is_some() {
                *worker = start.spawn(&bench.cluster);
            }
        }
        assert!(Instant::now() < deadline, "{id} did not end");
    }
    let struck = fs::read_dir(&bench.orders).expect("it is the test's");
    let names = struck.map(|entry| entry.expect("it can be listed").file_name());
    let names: Vec<String> = names.map(|it| it.to_string_lossy().into_owned()).collect();
    let is_struck = |name: &&String| name.ends_with(".struck");
    assert!(names.iter().filter(is_struck).count() >= 2, "{names:?}");
    let view = bench.assert_trained(&id);
    assert_eq!(view.attempts("failed"), 0, "{}", view.0);
    bench.cluster.assert_serves_another_job();
}

#[test]
fn rounds_are_listed_and_drawn_and_the_model_predicts() {
    let bench = Bench::start();
    let id = bench.submit();
    bench.assert_trained(&id);
    let table = bench.cluster.vivat(&["job", "curve", &id]);
    assert!(table.status.success(), "{}", describe(&table));
    let text = String::from_utf8(table.stdout).expect("it is text");
    assert!(text.contains("VALIDATION_ERROR"), "{text}");
    let drawn = bench
        .cluster
        .vivat(&["job", "curve", &id, "--svg", "loss.svg"]);
    assert!(drawn.status.success(), "{}", describe(&drawn));
    let drawing = fs::read_to_string(bench.cluster.path("loss.svg")).expect("it was written");
    assert!(
        drawing.starts_with("<svg") && drawing.contains("validation_error"),
        "{drawing}"
    );
    // A result's directory stands for its part.
    let args = ["run", "mlp-predict", "validate.txt", "-p", "model=model"];
    let predicted = bench.cluster.vivat(&args);
    assert!(predicted.status.success(), "{}", describe(&predicted));
    let oracle = vivat(
        bench.cluster.dir(),
        None,
        &[&args[..], &["--sequential"]].concat(),
    );
    assert!(oracle.status.success(), "{}", describe(&oracle));
    assert_eq!(predicted.stdout, oracle.stdout);
    let missing = [
        "run",
        "mlp-train",
        "train-0.txt",
        "-p",
        "validate=nowhere.txt",
    ];
    let refused = bench.cluster.vivat(&missing);
    assert_eq!(refused.status.code(), Some(3), "{}", describe(&refused));
}
