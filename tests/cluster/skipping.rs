//! Records that a program fails on, with leave to skip some of them and without:
//! what is skipped is counted and told, once, whoever dies meanwhile; one record
//! more than allowed is the job's end (F26, S4, L7).

use std::fs;

use serde_json::Value;

use crate::harness::{Cluster, JobView, Process, Shape, describe, output_bytes, vivat};
use crate::own_workers::{Start, listing};

/// Rows whose points are none.
const BAD_ROWS: [usize; 5] = [0, 1, 777, 1_500, 2_999];
const ROWS: usize = 3_000;
/// Many splits; the first two bad rows share one.
const SPLIT_BYTES: &str = "4KiB";
const COUNT: [&str; 9] = [
    "group-by",
    "--format",
    "csv",
    "-p",
    "key=team",
    "-p",
    "aggregate=count,sum(points)",
    "--reducers",
    "3",
];

/// A table with bad rows, and the same without them.
struct Tables {
    all: String,
    good: String,
}

fn tables() -> Tables {
    let mut tables = Tables {
        all: "team,points\n".to_owned(),
        good: "team,points\n".to_owned(),
    };
    for row in 0..ROWS {
        if BAD_ROWS.contains(&row) {
            tables
                .all
                .push_str(&format!("team-{},bad-{row}\n", row % 17));
            continue;
        }
        let line = format!("team-{},{}\n", row % 17, row % 31);
        tables.all.push_str(&line);
        tables.good.push_str(&line);
    }
    tables
}

/// One master, two workers that obey orders.
struct Bench {
    cluster: Cluster,
    starts: Vec<Start>,
    workers: Vec<Process>,
    tables: Tables,
}

impl Bench {
    fn start() -> Self {
        let cluster = Cluster::start(Shape {
            masters: 1,
            workers: 0,
            slots: 1,
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
        let tables = tables();
        for (name, text) in [("games.csv", &tables.all), ("good.csv", &tables.good)] {
            fs::write(cluster.path(name), text).expect("the directory is the test's");
        }
        Self {
            cluster,
            starts,
            workers,
            tables,
        }
    }

    fn submit(&self, flags: &[&str]) -> String {
        let more = ["games.csv", "--split-size", SPLIT_BYTES, "--output", "out"];
        let args = [&["submit"], &COUNT[..], &more, flags].concat();
        let output = self.cluster.vivat(&args);
        assert!(output.status.success(), "{}", describe(&output));
        let id = String::from_utf8(output.stdout).expect("ids are text");
        id.trim_end().to_owned()
    }

    /// The output is what the good rows give, and what was skipped is told.
    fn assert_skipped(&self, view: &JobView) {
        let args = [&["run", "--sequential"], &COUNT[..], &["good.csv"]].concat();
        let oracle = vivat(self.cluster.dir(), None, &args);
        assert!(oracle.status.success(), "{}", describe(&oracle));
        let found = output_bytes(&self.cluster.path("out"));
        assert!(
            found == oracle.stdout,
            "{}",
            String::from_utf8_lossy(&found)
        );
        let all = BAD_ROWS.len();
        assert_eq!(skipped_count(view), all as u64, "{}", view.0);
        assert_eq!(view.attempts("failed"), 0, "{}", view.0);
        let mut offsets: Vec<u64> = Vec::new();
        for record in skipped(view) {
            assert_eq!(record["input"], "games.csv", "{record}");
            let bytes = record["bytes"].as_str().expect("it is text");
            let offset = record["offset"].as_u64().expect("a place");
            let place = usize::try_from(offset).expect("a small file");
            let there = &self.tables.all[place..place + bytes.len()];
            assert_eq!(there, bytes, "{record}");
            assert!(bytes.contains(",bad-"), "{record}");
            let problem = record["problem"].as_str().expect("it is text");
            assert!(problem.contains("points"), "{record}");
            offsets.push(offset);
        }
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len(), all, "each once: {}", view.0);
    }

    /// How the job ended, which was not well: its error, and nothing of an output.
    fn assert_failed(&self, id: &str, code: &str) -> (JobView, String) {
        let view = self.cluster.await_job(id, "an end", JobView::is_final);
        assert_eq!(view.state(), "failed", "{}", view.0);
        assert_eq!(view.0["failure"]["code"], code, "{}", view.0);
        assert!(!self.cluster.path("out").exists(), "an output of it");
        let waited = self.cluster.vivat(&["job", "wait", id]);
        assert_eq!(waited.status.code(), Some(1), "{}", describe(&waited));
        (view, String::from_utf8_lossy(&waited.stderr).into_owned())
    }
}

fn skipped(view: &JobView) -> &[Value] {
    view.0["skipped"].as_array().expect("a list")
}

fn skipped_count(view: &JobView) -> u64 {
    let count = &view.0["counters"]["map.records.skipped"];
    count.as_u64().unwrap_or(0)
}

#[test]
fn bad_records_are_skipped_told_and_counted_and_the_rest_gives_what_it_gives_alone() {
    let bench = Bench::start();
    let id = bench.submit(&["--skip-bad-records", "5"]);
    let view = bench.cluster.await_success(&id);
    bench.assert_skipped(&view);
    let shown = bench.cluster.vivat(&["job", "show", &id]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for row in BAD_ROWS {
        assert!(shown.contains(&format!("bad-{row}")), "{row}: {shown}");
    }
    bench.cluster.assert_serves_another_job();
}

#[test]
fn maps_that_run_again_after_a_loss_skip_the_same_records_and_count_them_once() {
    let mut bench = Bench::start();
    fs::write(bench.cluster.path("orders/part-done.1"), "kill").expect("it is the test's");
    let id = bench.submit(&["--skip-bad-records", "5"]);
    crate::faults::await_true("a worker's death", || {
        let mut all = bench.workers.iter_mut();
        let dead = all.position(|worker| worker.exit_status().is_some());
        let Some(dead) = dead else { return false };
        // All that it mapped is to be mapped again.
        let segments = bench.starts[dead].dir.join("segments");
        fs::remove_dir_all(segments).expect("its process is gone");
        bench.workers[dead] = bench.starts[dead].spawn(&bench.cluster);
        true
    });
    assert_eq!(
        listing(&bench.cluster.path("orders")),
        ["part-done.1.struck"]
    );
    let view = bench.cluster.await_success(&id);
    assert!(view.attempts("lost") > 0, "{}", view.0);
    assert!(view.attempts("reruns_of_completed") > 0, "{}", view.0);
    bench.assert_skipped(&view);
    bench.cluster.assert_serves_another_job();
}

#[test]
fn one_bad_record_more_than_allowed_fails_the_job_with_all_that_were_skipped() {
    let bench = Bench::start();
    let id = bench.submit(&["--skip-bad-records", "4"]);
    let (view, said) = bench.assert_failed(&id, "too-many-skipped");
    assert!(
        said.contains("5 bad records were skipped, 4 may be"),
        "{said}"
    );
    assert!(said.contains("--skip-bad-records"), "{said}");
    assert_eq!(skipped(&view).len(), BAD_ROWS.len(), "{}", view.0);
    assert_eq!(view.attempts("failed"), 0, "{}", view.0);
    bench.cluster.assert_serves_another_job();
}

#[test]
fn a_split_with_more_bad_records_than_allowed_fails_with_the_error_of_one() {
    let bench = Bench::start();
    let id = bench.submit(&["--skip-bad-records", "1"]);
    let (view, said) = bench.assert_failed(&id, "invalid-input");
    assert!(
        said.contains("games.csv: line 3: column `points`"),
        "{said}"
    );
    assert!(skipped(&view).len() <= 1, "{}", view.0);
}

#[test]
fn without_leave_nothing_is_skipped_and_the_first_bad_record_fails_the_job() {
    let bench = Bench::start();
    let id = bench.submit(&[]);
    let (view, said) = bench.assert_failed(&id, "invalid-input");
    assert!(said.contains("column `points`"), "{said}");
    assert!(said.contains("games.csv: line "), "{said}");
    assert_eq!(skipped(&view).len(), 0, "{}", view.0);
    assert_eq!(skipped_count(&view), 0, "{}", view.0);
    bench.cluster.assert_serves_another_job();
}
