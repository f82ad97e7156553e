//! Masters that die between the steps of `apply`, of a snapshot and of its
//! installation; and disks that were damaged while their master was down (F3,
//! F14, F27; S1, S7, L3, mistakes 2 and 3).

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use crate::disk_load::Load;
use crate::faults::{assert_agree, await_true, leader_of, others};
use crate::harness::{Cluster, Extras, Shape};

const KILLS: u64 = 3;
const SIGKILL: i32 = 9;
const EXIT_FAILED: i32 = 1;
const MASTERS: Shape = Shape {
    masters: 3,
    workers: 0,
    slots: 1,
};
/// Submissions between two looks at how far the logs were purged.
const JOBS_BETWEEN_LOOKS: usize = 30;

/// So small that a few dozen entries make a snapshot and a purge.
fn small_logs() -> Extras {
    let args = [
        "--in-flight",
        "8",
        "--snapshot-entries",
        "20",
        "--log-margin-entries",
        "16",
    ];
    Extras {
        master_args: args.map(str::to_owned).to_vec(),
        ..Extras::default()
    }
}

/// Waits until the order killed the master, and starts it again.
fn await_kill(cluster: &mut Cluster, seat: usize, order: &str) {
    let mut status = None;
    await_true(order, || {
        status = cluster.master(seat).exit_status();
        status.is_some()
    });
    let signal = status.and_then(|status| status.signal());
    let log = cluster.master(seat).log_tail();
    assert_eq!(signal, Some(SIGKILL), "{order}: {log}");
    assert_eq!(cluster.orders(seat).take_struck(), [order]);
    cluster.orders(seat).withdraw();
    cluster.restart_master(seat);
}

#[test]
fn a_master_that_dies_in_apply_or_in_a_snapshot_comes_back_with_everything() {
    let mut cluster = Cluster::start_with(MASTERS, &small_logs());
    let mut load = Load::new(&cluster);
    load.submit(80);
    for point in ["apply-begin", "apply-done", "build-begin", "build-saved"] {
        for kill in 0..KILLS {
            // The leader as often as a follower.
            let (leader, _) = leader_of(&cluster);
            let seat = match kill % 2 {
                0 => leader,
                _ => others(leader)[0],
            };
            let order = format!("{point} kill {}", kill % 2);
            cluster.orders(seat).give(&[&order]);
            load.begin();
            await_kill(&mut cluster, seat, &order);
            load.end();
            cluster.await_status("all masters, caught up", |status| status.is_caught_up());
            load.assert_nothing_missing();
        }
    }
    assert_agree(&cluster);
}

/// Submits until no log has the entries any more that a master lacks which died
/// just now. A number of entries would not do: the snapshot that lets them go
/// can be older than most of them, and only more entries make the next one.
fn pass_by(cluster: &Cluster, load: &mut Load) {
    let lacks = cluster
        .await_status("masters", |status| status.masters_reachable() == 2)
        .applied_max();
    await_true("the others purge what the dead one lacks", || {
        load.submit(JOBS_BETWEEN_LOOKS);
        let status = cluster.await_status("a leader", |status| status.leader().is_some());
        status.masters_reachable() == 2 && status.purged_min() > lacks
    });
}

#[test]
fn a_follower_that_dies_while_it_takes_a_snapshot_in_takes_it_in_again() {
    let mut cluster = Cluster::start_with(MASTERS, &small_logs());
    let mut load = Load::new(&cluster);
    load.submit(80);
    for point in ["install-begin", "install-saved"] {
        for _ in 0..KILLS {
            let (leader, _) = leader_of(&cluster);
            let seat = others(leader)[0];
            cluster.kill_master(seat);
            pass_by(&cluster, &mut load);
            // The first is its own file, at its start.
            let order = format!("{point} kill 1");
            cluster.orders(seat).give(&[&order]);
            cluster.restart_master(seat);
            await_kill(&mut cluster, seat, &order);
            cluster.await_status("all masters, caught up", |status| status.is_caught_up());
        }
    }
    load.assert_nothing_missing();
    assert_agree(&cluster);
}

/// A kind of damage, and where.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 9] = [
    ("a bit of the log", |dir| {
        flip(&dir.join("log/db"), |bytes| bytes / 2)
    }),
    ("the log's end", |dir| {
        cut(&dir.join("log/db"), |bytes| bytes / 2)
    }),
    ("the log's file", |dir| remove(&dir.join("log/db"))),
    ("the log", |dir| {
        fs::remove_dir_all(dir.join("log")).expect("it is there");
    }),
    ("the log's guard", |dir| remove(&dir.join("log/guard"))),
    ("a bit of the snapshot", |dir| {
        flip(&snapshot(dir), |bytes| bytes - 9)
    }),
    ("the snapshot's end", |dir| {
        cut(&snapshot(dir), |bytes| bytes - 1)
    }),
    ("the snapshot", |dir| remove(&snapshot(dir))),
    ("a bit of the identity", |dir| {
        flip(&dir.join("identity"), |bytes| bytes - 2)
    }),
];

fn snapshot(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("snapshots")).expect("it is there");
    let mut files: Vec<PathBuf> = files
        .map(|file| file.expect("it is there").path())
        .collect();
    files.sort();
    files.pop().expect("there was one")
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn cut(path: &Path, keep: fn(usize) -> usize) {
    let mut bytes = fs::read(path).expect("it is there");
    bytes.truncate(keep(used(&bytes)));
    fs::write(path, bytes).expect("it is the test's");
}

fn flip(path: &Path, at: fn(usize) -> usize) {
    let mut bytes = fs::read(path).expect("it is there");
    let at = at(used(&bytes));
    bytes[at] ^= 4;
    fs::write(path, bytes).expect("it is the test's");
}

/// Without the room behind the end that the database keeps.
fn used(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|byte| *byte != 0);
    last.expect("it is not empty") + 1
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it is the test's");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it is there");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("it has one").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("it can be copied");
        }
    }
}

#[test]
fn a_damaged_disk_is_refused_with_words_on_what_to_do_and_the_others_serve() {
    let mut cluster = Cluster::start_with(MASTERS, &small_logs());
    let mut load = Load::new(&cluster);
    load.submit(100);
    let (leader, _) = leader_of(&cluster);
    let seat = others(leader)[0];
    cluster.await_status("all masters, caught up", |status| status.is_caught_up());
    await_true("a snapshot", || {
        let files = fs::read_dir(cluster.master_dir(seat).join("snapshots"));
        files.is_ok_and(|mut files| {
            files.any(|file| {
                let path = file.map(|file| file.path()).unwrap_or_default();
                path.extension().is_some_and(|ending| ending == "snapshot")
            })
        })
    });
    cluster.kill_master(seat);
    let (dir, whole) = (cluster.master_dir(seat), cluster.path("whole"));
    copy(&dir, &whole);
    for (what, damage) in DAMAGES {
        fs::remove_dir_all(&dir).expect("it is there");
        copy(&whole, &dir);
        damage(&dir);
        let said_before = cluster.master(seat).log().len();
        cluster.restart_master(seat);
        let mut status = None;
        await_true(what, || {
            status = cluster.master(seat).exit_status();
            status.is_some()
        });
        let said = cluster.master(seat).log().split_off(said_before);
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(EXIT_FAILED), "{what}: {said}");
        let hint = format!("see `vivat cluster replace {seat}`");
        assert!(said.contains(&hint), "{what}: {said}");
    }
    load.submit(5);
    fs::remove_dir_all(&dir).expect("it is there");
    copy(&whole, &dir);
    cluster.restart_master(seat);
    cluster.await_status("all masters, caught up", |status| status.is_caught_up());
    load.assert_nothing_missing();
    assert_agree(&cluster);
}
