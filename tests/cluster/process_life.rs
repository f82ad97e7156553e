//! Processes that pause, end and return: what a master, a worker and `dev` do
//! when the operating system or an operator has other plans.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::harness::{
    Cluster, DEADLINE, Job, JobView, Process, Shape, assert_same_as_oracle, command, vivat,
};

/// What L10 gives a process to end in.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

fn long_job() -> Job {
    Job {
        input: "words.txt".to_owned(),
        output: "out".to_owned(),
        split_bytes: 2 * 1024,
        reducers: 4,
        key: None,
    }
}

#[test]
fn a_paused_leader_is_replaced_and_follows_when_it_wakes() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 4 * 1024 * 1024, 21);
    let job = long_job();
    let id = cluster.submit(&job);
    cluster.await_job(&id, "some maps done, some not", JobView::is_amid_maps);

    let before = cluster.await_status("a leader", |status| status.leader().is_some());
    let seat = before.leader().expect("awaited just now");
    cluster.master(seat).pause();
    let after = cluster.await_status("another leader in a later term", |status| {
        status.leader().is_some_and(|leader| leader != seat) && status.term() > before.term()
    });
    cluster.master(seat).resume();
    cluster.await_status("all masters, one leader", |status| {
        status.is_caught_up() && status.term() >= after.term()
    });

    let view = cluster.await_success(&id);
    assert_eq!(view.attempts("reruns_of_completed"), 0, "{}", view.0);
    assert_eq!(view.attempts("lost"), 0, "{}", view.0);
    assert_same_as_oracle(&cluster, &job);
    cluster.assert_serves_another_job();
}

#[test]
fn a_worker_that_returns_with_its_disk_keeps_its_finished_maps() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 4 * 1024 * 1024, 22);
    let job = long_job();
    let id = cluster.submit(&job);
    let before = cluster.await_job(&id, "some maps done, some not", JobView::is_amid_maps);
    let done = before.map("completed");
    cluster.kill_worker(0);
    cluster.restart_worker(0);

    let view = cluster.await_success(&id);
    let reruns = view.attempts("reruns_of_completed");
    assert!(
        reruns < done,
        "{reruns} of {done} finished maps ran again: {}",
        view.0
    );
    assert_same_as_oracle(&cluster, &job);
    cluster.assert_serves_another_job();
}

#[test]
fn a_master_that_was_killed_catches_up_by_its_own_disk_and_its_peers() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.kill_master(1);
    cluster.assert_serves_another_job();
    cluster.restart_master(1);
    cluster.await_status("all masters, caught up", |status| status.is_caught_up());
}

#[test]
fn all_masters_killed_at_once_lose_no_job() {
    let mut cluster = Cluster::start(Shape::default());
    cluster.write_words("words.txt", 4 * 1024 * 1024, 23);
    let job = long_job();
    let id = cluster.submit(&job);
    let before = cluster.await_job(&id, "some maps done, some not", JobView::is_amid_maps);
    for seat in 0..3 {
        cluster.kill_master(seat);
    }
    for seat in 0..3 {
        cluster.restart_master(seat);
    }
    cluster.await_status("a leader in a later term", |status| {
        status.leader().is_some()
    });

    let view = cluster.await_success(&id);
    assert!(
        view.map("completed") >= before.map("completed"),
        "{}",
        view.0
    );
    assert_eq!(view.attempts("reruns_of_completed"), 0, "{}", view.0);
    assert_same_as_oracle(&cluster, &job);
    cluster.assert_serves_another_job();
}

#[test]
fn a_process_asked_to_end_ends_in_time_and_without_an_error() {
    let mut cluster = Cluster::start(Shape::default());
    for role in ["worker", "master"] {
        let process = match role {
            "worker" => cluster.worker(0),
            _ => cluster.master(0),
        };
        process.terminate();
        let asked_at = Instant::now();
        let status = loop {
            if let Some(status) = process.exit_status() {
                break status;
            }
            assert!(
                asked_at.elapsed() < ENDS_WITHIN,
                "{role}: {}",
                process.log_tail()
            );
            std::thread::yield_now();
        };
        assert!(status.success(), "{role}: {status}\n{}", process.log_tail());
    }
    cluster.assert_serves_another_job();
}

#[test]
fn dev_tells_what_a_client_needs_and_takes_its_children_along() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut command = command(dir.path());
    command.args(["dev", "--workers", "2", "--port", "0"]);
    let mut dev = Process::spawn("dev", command, &dir.path().join("dev.log"));
    let cluster = await_export(&mut dev);

    fs::write(dir.path().join("in.txt"), "one two two\n").expect("it is ours");
    let args = ["run", "word-count", "in.txt"];
    let counted = vivat(dir.path(), Some(&cluster), &args);
    assert!(counted.status.success(), "{counted:?}");
    assert!(
        String::from_utf8_lossy(&counted.stdout).contains("two\t2"),
        "{counted:?}"
    );

    let pids = pids_of(dir.path(), &cluster);
    assert_eq!(pids.len(), 5, "three masters and two workers");
    dev.terminate();
    let asked_at = Instant::now();
    while dev.exit_status().is_none() {
        assert!(asked_at.elapsed() < ENDS_WITHIN, "{}", dev.log_tail());
        std::thread::yield_now();
    }
    for pid in pids {
        assert!(test_kill_process(pid).is_err(), "{pid:?} outlived dev");
    }
}

#[test]
fn the_end_of_the_terminal_ends_dev_in_order_and_leaves_no_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let temporary = dir.path().join("tmp");
    fs::create_dir(&temporary).expect("it is ours");
    // Whoever runs the tests may have told them to outlive their terminal, as
    // nohup does, and dev would obey that.
    let dev = command(dir.path());
    let mut command = std::process::Command::new("env");
    command
        .arg("--default-signal=HUP")
        .arg(dev.get_program())
        .args(["dev", "--workers", "1", "--port", "0"])
        .current_dir(dir.path())
        .env("TMPDIR", &temporary);
    for (name, value) in dev.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut dev = Process::spawn("dev", command, &dir.path().join("dev.log"));
    let cluster = await_export(&mut dev);
    let pids = pids_of(dir.path(), &cluster);
    let left = || fs::read_dir(&temporary).expect("it is there").count();
    assert!(left() > 0, "dev keeps its directories elsewhere");

    let pid = i32::try_from(dev.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), Signal::HUP).expect("it runs");
    let asked_at = Instant::now();
    while dev.exit_status().is_none() {
        assert!(asked_at.elapsed() < ENDS_WITHIN, "{}", dev.log_tail());
        std::thread::yield_now();
    }
    assert_eq!(left(), 0, "{}", dev.log_tail());
    for pid in pids {
        assert!(test_kill_process(pid).is_err(), "{pid:?} outlived dev");
    }
}

/// The addresses of the line that a user pastes.
pub fn await_export(dev: &mut Process) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let found = dev.log().lines().find_map(|line| {
            let (_, rest) = line.split_once("export VIVAT_CLUSTER=")?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        if let Some(addresses) = found {
            return addresses;
        }
        assert!(dev.exit_status().is_none(), "dev ended: {}", dev.log_tail());
        assert!(
            Instant::now() < deadline,
            "no export line: {}",
            dev.log_tail()
        );
        std::thread::yield_now();
    }
}

/// Masters and workers, as the cluster itself tells.
fn pids_of(dir: &std::path::Path, cluster: &str) -> Vec<Pid> {
    let read = |args: &[&str]| -> serde_json::Value {
        let output = vivat(dir, Some(cluster), args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let status = read(&["cluster", "status", "-o", "json"]);
    let nodes = read(&["node", "list", "-o", "json"]);
    let masters = status["masters"].as_array().expect("a list");
    let workers = nodes.as_array().expect("a list");
    masters
        .iter()
        .chain(workers)
        .map(|role| {
            let pid = role["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
            pid.and_then(Pid::from_raw)
                .unwrap_or_else(|| panic!("no pid in {role}"))
        })
        .collect()
}
