//! Workers' disks and the output's: full, damaged, emptied.
//! F15, F16, F21, F23; S2, S7, L1, L4, mistakes 10 and 11.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use vivat_testkit::small_disk::SmallDisk;

use crate::faults::{assert_accounted, await_true};
use crate::harness::{
    Cluster, Job, JobView, Process, Shape, assert_same_as_oracle, describe, output_bytes, vivat,
};
use crate::own_workers::{Start, listing};

const MIB: usize = 1024 * 1024;

/// The worker is what is tried here: one master will do.
const NO_WORKERS: Shape = Shape {
    masters: 1,
    workers: 0,
    slots: 1,
};

/// A disk of its own; none, with a line that says so, where that needs a right
/// that we do not have.
fn small_disk(bytes: usize) -> Option<SmallDisk> {
    match SmallDisk::mount(u64::try_from(bytes).expect("small")) {
        Ok(disk) => Some(disk),
        Err(error) => {
            eprintln!("SKIPPED: no small disk can be mounted here: {error}");
            None
        }
    }
}

fn await_workers(cluster: &Cluster, count: u64) {
    cluster.await_status("all workers", |status| status.workers_live() == count);
}

/// Lines as they are: output as large as the input.
const GREP: [&str; 3] = ["grep", "-p", "pattern=.*"];

fn submit_grep(cluster: &Cluster, output: &Path) -> String {
    let output = output.to_string_lossy();
    let more = ["words.txt", "--reducers", "2", "--split-size", "1MiB"];
    let args = [&["submit"], &GREP[..], &more, &["--output", &output]].concat();
    let submitted = cluster.vivat(&args);
    assert!(submitted.status.success(), "{}", describe(&submitted));
    let id = String::from_utf8(submitted.stdout).expect("ids are text");
    id.trim_end().to_owned()
}

fn grep_oracle(cluster: &Cluster) -> Vec<u8> {
    let more = ["words.txt", "--reducers", "2"];
    let args = [&["run", "--sequential"], &GREP[..], &more].concat();
    let oracle = vivat(cluster.dir(), None, &args);
    assert!(oracle.status.success(), "{}", describe(&oracle));
    oracle.stdout
}

/// How the job ended, which was not well, and with the words of `parts`.
fn assert_failed_for_a_full_disk(cluster: &Cluster, id: &str, parts: &[&str]) {
    let view = cluster.await_job(id, "an end", JobView::is_final);
    assert_eq!(view.state(), "failed", "{}", view.0);
    assert_eq!(view.0["failure"]["code"], "disk-full", "{}", view.0);
    let waited = cluster.vivat(&["job", "wait", id]);
    assert_eq!(waited.status.code(), Some(1), "{}", describe(&waited));
    let stderr = String::from_utf8_lossy(&waited.stderr);
    for part in parts {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

fn assert_alive(worker: &mut Process) {
    let ended = worker.exit_status();
    assert!(ended.is_none(), "{ended:?}\n{}", worker.log_tail());
}

#[test]
fn a_worker_whose_disk_is_full_says_so_and_another_does_its_work() {
    let Some(disk) = small_disk(8 * MIB) else {
        return;
    };
    let cluster = Cluster::start(NO_WORKERS);
    let mut full = Start::at("full", disk.path().join("worker")).spawn(&cluster);
    await_workers(&cluster, 1);
    assert!(disk.fill().expect("it is empty") > 0);
    let mut roomy = Start::at("roomy", cluster.path("roomy")).spawn(&cluster);
    await_workers(&cluster, 2);

    cluster.write_words("words.txt", MIB, 61);
    let job = Job {
        input: "words.txt".to_owned(),
        output: "out".to_owned(),
        split_bytes: 64 * 1024,
        reducers: 4,
        key: None,
    };
    let id = cluster.submit(&job);
    let view = cluster.await_success(&id);
    assert!(view.attempts("failed") > 0, "nothing failed: {}", view.0);
    assert_accounted(&view);
    assert_same_as_oracle(&cluster, &job);
    let mount = disk.path().to_string_lossy().into_owned();
    let place = format!("{mount}/worker");
    let said = full.log();
    for part in [
        "no space left for ",
        &place,
        &format!("on the disk at {mount}"),
    ] {
        assert!(said.contains(part), "{part}: {}", full.log_tail());
    }
    assert_alive(&mut full);
    assert_alive(&mut roomy);
    let status = cluster.await_status("the same workers", |status| status.workers_live() == 2);
    assert_eq!(status.workers_lost(), 0, "{}", status.0);

    disk.free().expect("it was filled");
    roomy.kill();
    cluster.assert_serves_another_job();
}

#[test]
fn a_job_too_large_for_the_only_workers_disk_fails_and_the_next_one_runs() {
    let Some(disk) = small_disk(4 * MIB) else {
        return;
    };
    let cluster = Cluster::start(NO_WORKERS);
    let dir = disk.path().join("worker");
    let mut worker = Start::at("small", dir.clone()).spawn(&cluster);
    await_workers(&cluster, 1);
    cluster.write_words("words.txt", 12 * MIB, 62);
    let id = submit_grep(&cluster, &cluster.path("out"));
    // As it goes: what is left never falls below the reserve of 1 %, except by
    // what a note or two take.
    let mut least_free = u64::MAX;
    await_true("the job's end", || {
        let free = statvfs(disk.path()).expect("it is mounted");
        least_free = least_free.min(free.f_bavail * free.f_frsize);
        cluster.show(&id).is_some_and(|view| view.is_final())
    });
    assert!(least_free >= 32 * 1024, "{least_free} bytes were left");
    let place = dir.to_string_lossy();
    assert_failed_for_a_full_disk(&cluster, &id, &["no space left for a", &place, "MiB free"]);
    assert!(!cluster.path("out").exists(), "an output of a failed job");
    await_true("the failed job's files are gone", || {
        listing(&dir.join("segments")).is_empty()
    });
    assert_alive(&mut worker);
    cluster.assert_serves_another_job();
}

#[test]
fn an_output_that_finds_no_room_fails_the_job_and_leaves_nothing() {
    let Some(disk) = small_disk(2 * MIB) else {
        return;
    };
    let cluster = Cluster::start(NO_WORKERS);
    let mut worker = Start::at("worker", cluster.path("worker")).spawn(&cluster);
    await_workers(&cluster, 1);
    cluster.write_words("words.txt", 4 * MIB, 63);
    let out = disk.path().join("out");
    let id = submit_grep(&cluster, &out);
    let mount = disk.path().to_string_lossy().into_owned();
    assert_failed_for_a_full_disk(&cluster, &id, &["output", &mount, "MiB free"]);
    await_true("nothing is left of it", || listing(disk.path()).is_empty());
    assert_alive(&mut worker);

    cluster.write_words("words.txt", MIB / 2, 64);
    let id = submit_grep(&cluster, &out);
    cluster.await_success(&id);
    assert!(output_bytes(&out) == grep_oracle(&cluster), "other bytes");
    assert_eq!(listing(disk.path()), ["out"]);
}

/// Finished map outputs on a worker's disk.
fn segments_of(worker_dir: &Path, job: &str) -> Vec<PathBuf> {
    let dir = worker_dir.join("segments").join(job);
    let names = listing(&dir).into_iter();
    names
        .filter(|name| name.ends_with(".seg"))
        .map(|name| dir.join(name))
        .collect()
}

/// Enough reduces that some are to come while segments are damaged.
fn long_job() -> Job {
    Job {
        input: "words.txt".to_owned(),
        output: "out".to_owned(),
        split_bytes: 256 * 1024,
        reducers: 600,
        key: None,
    }
}

#[test]
fn segments_damaged_while_they_are_fetched_are_made_again_and_no_others() {
    let cluster = Cluster::start(Shape {
        masters: 1,
        ..Shape::default()
    });
    cluster.write_words("words.txt", 2 * MIB, 65);
    let job = long_job();
    let id = cluster.submit(&job);
    let before = cluster.await_job(&id, "some reduces done, some not", JobView::is_amid_reduces);
    let damaged_at = jiff::Timestamp::now();
    let (one, other) = (cluster.path("worker-0"), cluster.path("worker-1"));
    let (ones, others) = (segments_of(&one, &id), segments_of(&other, &id));
    assert!(!ones.is_empty() && !others.is_empty(), "{}", before.0);
    // All of a file is another: whichever partition is next, it is hit.
    let mut bytes = fs::read(&ones[0]).expect("it is there");
    for byte in bytes.iter_mut().skip(64).step_by(16) {
        *byte ^= 1;
    }
    fs::write(&ones[0], &bytes).expect("it can be written");
    let file = fs::File::options().write(true).open(&others[0]);
    file.and_then(|file| file.set_len(100))
        .expect("it can be cut");

    let view = cluster.await_success(&id);
    assert!(view.finished_at() > damaged_at, "too late: {}", view.0);
    assert_accounted(&view);
    let again = view.attempts("reruns_of_completed");
    assert_eq!(again, 2, "two were damaged: {}", view.0);
    let status = cluster.await_status("no worker is blamed", |status| status.workers_live() == 2);
    assert_eq!(status.workers_lost(), 0, "{}", status.0);
    assert_same_as_oracle(&cluster, &job);
    cluster.assert_serves_another_job();
}

/// A worker dies amid reduces; its disk is treated; it comes back. How many maps
/// ran again.
fn reruns_after(treat: impl FnOnce(&Path, &str) -> u64) {
    let mut cluster = Cluster::start(Shape {
        masters: 1,
        ..Shape::default()
    });
    cluster.write_words("words.txt", 2 * MIB, 66);
    let job = long_job();
    let id = cluster.submit(&job);
    cluster.await_job(&id, "some reduces done, some not", JobView::is_amid_reduces);
    let killed_at = jiff::Timestamp::now();
    cluster.kill_worker(0);
    let lost = treat(&cluster.path("worker-0"), &id);
    cluster.restart_worker(0);

    let view = cluster.await_success(&id);
    assert!(view.finished_at() > killed_at, "too late: {}", view.0);
    assert_accounted(&view);
    let again = view.attempts("reruns_of_completed");
    assert_eq!(again, lost, "re-runs, and lost outputs: {}", view.0);
    assert_same_as_oracle(&cluster, &job);
    cluster.assert_serves_another_job();
}

#[test]
fn a_worker_that_returns_with_an_empty_disk_costs_what_it_held_and_no_more() {
    reruns_after(|dir, job| {
        let lost = segments_of(dir, job).len();
        assert!(lost > 0, "it held nothing");
        fs::remove_dir_all(dir).expect("its process is gone");
        u64::try_from(lost).expect("few")
    });
}

#[test]
fn a_worker_that_returns_without_some_segments_costs_those_alone() {
    reruns_after(|dir, job| {
        let segments = segments_of(dir, job);
        assert!(segments.len() > 1, "it held {}", segments.len());
        fs::remove_file(&segments[0]).expect("its process is gone");
        1
    });
}

#[test]
fn a_map_without_a_record_is_not_made_again_when_its_worker_returns() {
    let mut cluster = Cluster::start(Shape {
        masters: 1,
        workers: 1,
        slots: 1,
    });
    // One word in front of many splits that have none.
    let mut text = b"word ".to_vec();
    text.resize(MIB, b'\n');
    fs::write(cluster.path("words.txt"), text).expect("the directory is the test's");
    let job = Job {
        split_bytes: 64 * 1024,
        reducers: 400,
        ..long_job()
    };
    let id = cluster.submit(&job);
    cluster.await_job(&id, "some reduces done, some not", JobView::is_amid_reduces);
    let killed_at = jiff::Timestamp::now();
    cluster.kill_worker(0);
    cluster.restart_worker(0);
    let view = cluster.await_success(&id);
    assert!(view.finished_at() > killed_at, "too late: {}", view.0);
    assert_eq!(view.map("total"), 16, "{}", view.0);
    assert_eq!(view.attempts("reruns_of_completed"), 0, "{}", view.0);
    assert_same_as_oracle(&cluster, &job);
}
