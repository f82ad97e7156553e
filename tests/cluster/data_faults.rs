//! Datasets while workers, the leader and disks fail (F1, F15, F21, S6, S7).
//!
//! Whatever happens, the bytes are right or there is an error that names the
//! dataset and the block, and in the end directory and disks agree.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::datasets::{
    Piped, await_agreement, await_that, block_files, copies, differences, put_with_a_break,
    refused, three_workers, vivat, worker_id,
};
use crate::harness::{Cluster, describe, parse, words};

/// What is done to a block's file.
type Damage = fn(&Path);

/// Blocks of the put that breaks are a fortieth of it.
const BYTES: usize = 20 * 1024 * 1024;

#[test]
fn worker_killed_during_put_costs_no_byte_and_no_copy_for_long() {
    let mut cluster = Cluster::start(three_workers());
    let text = words::generate(BYTES, 21);
    put_with_a_break(&mut cluster, "words", &text, |cluster| {
        assert!(!block_files(cluster, 1).is_empty(), "it has part of it");
        cluster.kill_worker(1);
    });
    assert!(copies(&cluster, "words").iter().all(|&copies| copies >= 1));
    assert!(vivat(&cluster, &["data", "cat", "words"]) == text.as_bytes());
    cluster.await_status("the loss", |status| status.workers_lost() == 1);
    await_agreement(&cluster);
    assert!(copies(&cluster, "words").iter().all(|&copies| copies == 2));
    // Its disk comes back with copies that others have made meanwhile.
    cluster.restart_worker(1);
    cluster.await_status("its return", |status| status.workers_live() == 3);
    await_agreement(&cluster);
    assert!(vivat(&cluster, &["data", "cat", "words"]) == text.as_bytes());
    cluster.assert_serves_another_job();
}

#[test]
fn leader_killed_during_put_is_not_noticed_by_it() {
    let mut cluster = Cluster::start(three_workers());
    let text = words::generate(BYTES, 22);
    let mut kill = None;
    put_with_a_break(&mut cluster, "words", &text, |cluster| {
        kill = Some(cluster.kill_leader());
    });
    cluster.await_other_leader(kill.expect("it was killed"));
    assert!(vivat(&cluster, &["data", "cat", "words"]) == text.as_bytes());
    await_agreement(&cluster);
    assert!(copies(&cluster, "words").iter().all(|&copies| copies == 2));
    cluster.assert_serves_another_job();
}

#[test]
fn worker_and_leader_killed_during_get_cost_no_byte() {
    let mut cluster = Cluster::start(three_workers());
    // More than is read ahead and stands in the connections.
    let text = words::generate(6 * BYTES, 23);
    fs::write(cluster.path("words.txt"), &text).unwrap();
    vivat(
        &cluster,
        &["data", "put", "words", "words.txt", "--block-size", "3MiB"],
    );
    let mut cat = Piped::start(&cluster, &["data", "cat", "words"]);
    let half = BYTES;
    let mut got = cat.read(half);
    cluster.kill_worker(2);
    cluster.kill_leader();
    got.extend(cat.read(text.len() - half));
    let output = cat.end();
    assert!(output.status.success(), "{}", describe(&output));
    assert!(got == text.as_bytes());
    cluster.await_status("the loss", |status| status.workers_lost() == 1);
    await_agreement(&cluster);
    cluster.assert_serves_another_job();
}

#[test]
fn two_of_three_workers_killed_lose_what_only_they_had_and_it_is_named() {
    let mut cluster = Cluster::start(three_workers());
    fs::write(cluster.path("x.txt"), words::generate(10_000, 24)).unwrap();
    let names: Vec<String> = (0..9).map(|number| format!("set-{number}")).collect();
    for name in &names {
        vivat(&cluster, &["data", "put", name, "x.txt"]);
    }
    let on_survivor = block_files(&cluster, 0).len();
    assert!(
        on_survivor > 0 && on_survivor < names.len(),
        "{on_survivor}"
    );
    cluster.kill_worker(1);
    cluster.kill_worker(2);
    cluster.await_status("the losses", |status| status.workers_lost() == 2);

    let text = fs::read(cluster.path("x.txt")).unwrap();
    let (mut served, mut lost) = (0, 0);
    for name in &names {
        if copies(&cluster, name) == [1] {
            assert!(vivat(&cluster, &["data", "cat", name]) == text);
            served += 1;
            continue;
        }
        let said = refused(&cluster, 5, &["data", "get", name, "out"]);
        let named = format!("block 0 of dataset `{name}`");
        assert!(said.contains(&named) && said.contains("is lost"), "{said}");
        assert!(!cluster.path("out").exists());
        lost += 1;
    }
    assert_eq!((served, lost), (on_survivor, names.len() - on_survivor));
    let found = differences(&cluster);
    let count = |kind: &str| found.iter().filter(|found| *found == kind).count();
    assert_eq!((count("short"), count("lost")), (served, lost), "{found:?}");
    assert_eq!(found.len(), names.len(), "{found:?}");

    // Nothing was given up that a disk still has.
    cluster.restart_worker(1);
    cluster.restart_worker(2);
    await_agreement(&cluster);
    for name in &names {
        assert!(vivat(&cluster, &["data", "cat", name]) == text);
    }
    cluster.assert_serves_another_job();
}

#[test]
fn damaged_copies_are_never_served_and_are_made_anew() {
    let cluster = Cluster::start(three_workers());
    let text = words::generate(1024 * 1024, 25);
    fs::write(cluster.path("words.txt"), &text).unwrap();
    vivat(
        &cluster,
        &["data", "put", "words", "words.txt", "--block-size", "64KiB"],
    );
    await_agreement(&cluster);
    let damages: [(&str, Damage); 3] = [
        ("a flipped byte", flip),
        ("a truncated file", truncate),
        ("a deleted file", delete),
    ];
    for (what, damage) in damages {
        let files = block_files(&cluster, 1);
        assert!(files.len() > 3, "{what}: {}", files.len());
        damage(&files[0]);
        damage(&files[files.len() / 2]);
        // By whoever reads it first: a reader, or the check.
        assert!(
            vivat(&cluster, &["data", "cat", "words"]) == text.as_bytes(),
            "{what}"
        );
        differences(&cluster);
        await_agreement(&cluster);
        assert!(copies(&cluster, "words").iter().all(|&copies| copies == 2));
        assert!(
            vivat(&cluster, &["data", "cat", "words"]) == text.as_bytes(),
            "{what}"
        );
    }
    cluster.assert_serves_another_job();
}

#[test]
fn check_finds_every_sort_of_damage() {
    let cluster = Cluster::start(three_workers());
    fs::write(cluster.path("words.txt"), words::generate(512 * 1024, 26)).unwrap();
    vivat(
        &cluster,
        &["data", "put", "words", "words.txt", "--block-size", "64KiB"],
    );
    await_agreement(&cluster);
    let files = block_files(&cluster, 2);
    flip(&files[0]);
    truncate(&files[1]);
    delete(&files[2]);
    let found = differences(&cluster);
    assert_eq!(found, ["damaged"; 3], "each by reading it");
    await_agreement(&cluster);
}

#[test]
fn block_that_is_damaged_everywhere_is_named_and_its_bytes_are_not_served() {
    let cluster = Cluster::start(three_workers());
    let text = words::generate(512 * 1024, 27);
    fs::write(cluster.path("words.txt"), &text).unwrap();
    vivat(
        &cluster,
        &["data", "put", "words", "words.txt", "--block-size", "64KiB"],
    );
    await_agreement(&cluster);
    let victim = block_files(&cluster, 0)[0].file_name().unwrap().to_owned();
    let mut flipped = 0;
    for worker in 0..3 {
        for file in block_files(&cluster, worker) {
            if file.file_name() == Some(&victim) {
                flip(&file);
                flipped += 1;
            }
        }
    }
    assert_eq!(flipped, 2);
    let output = cluster.vivat(&["data", "cat", "words"]);
    assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("of dataset `words` (dataset-"), "{said}");
    assert!(
        text.as_bytes().starts_with(&output.stdout),
        "a right beginning"
    );
    assert!(output.stdout.len() < text.len());
    await_that("it counts as lost", || {
        differences(&cluster).contains(&"lost".to_owned())
    });
    refused(&cluster, 1, &["data", "get", "words", "out"]);
    vivat(&cluster, &["data", "rm", "words", "--yes"]);
    await_agreement(&cluster);
    cluster.assert_serves_another_job();
}

#[test]
fn worker_that_was_drained_can_go_with_its_only_copies_made_elsewhere() {
    let mut cluster = Cluster::start(three_workers());
    let text = words::generate(1024 * 1024, 28);
    fs::write(cluster.path("words.txt"), &text).unwrap();
    let put = ["data", "put", "words", "words.txt", "--block-size", "64KiB"];
    vivat(&cluster, &[&put[..], &["--replicas", "1"]].concat());
    let worker = worker_id(&mut cluster, 0);
    assert!(
        !block_files(&cluster, 0).is_empty(),
        "it has what nobody else has"
    );
    vivat(
        &cluster,
        &["node", "drain", &worker, "--wait", "--timeout", "100"],
    );
    let node = parse(&cluster.vivat(&["node", "show", &worker, "-o", "json"]));
    assert_eq!(node["state"], "draining", "{node}");
    assert_eq!(node["may_go"], true, "{node}");
    cluster.kill_worker(0);
    cluster.await_status("the loss", |status| status.workers_lost() == 1);
    assert!(vivat(&cluster, &["data", "cat", "words"]) == text.as_bytes());
    await_agreement(&cluster);
    cluster.assert_serves_another_job();
}

fn open(file: &Path) -> File {
    let open = File::options().read(true).write(true).open(file);
    open.expect("a block's file can be opened")
}

/// One bit in the middle of the data.
fn flip(file: &Path) {
    let content = fs::read(file).expect("a block's file can be read");
    let middle = content.len() / 2;
    let at = u64::try_from(middle).expect("a file's length");
    let mut open = open(file);
    open.seek(SeekFrom::Start(at)).expect("it is a file");
    let flipped = [content[middle] ^ 0x10];
    open.write_all(&flipped).expect("it can be written");
}

fn truncate(file: &Path) {
    let bytes = fs::metadata(file).expect("it is there").len();
    let cut = open(file).set_len(bytes * 2 / 3);
    cut.expect("it can be cut");
}

fn delete(file: &Path) {
    fs::remove_file(file).expect("it is there");
}
