//! Power cuts, failed syncs and deaths at every point under the real log store,
//! snapshots and identity; and damaged disks (S1, S9, S13, F3, F13, F14, F17;
//! mistakes 1, 2, 3 and 18).
//!
//! A process of its own writes to a disk that loses power at a seeded moment,
//! dies with it, and another one opens what is left: a life of many cuts. What
//! it finds must be what the first so many of the writes before the cut make of
//! the log, and these must include every acknowledged one. A store that refuses
//! to open loses its replica loudly, which is allowed and counted; one that
//! opens and is wrong is the bug.
//!
//! That the test can fail is shown with stores that acknowledge too early.
//!
//! A failure prints its seed. `POWER_CUT_SEED=N` lives that life only,
//! `POWER_CUT_LIVES=N` that many. The cut lies between two operations of the file
//! system, which are the same for the same seed but for the store's own threads.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod damage;
mod diary;
mod kills;
mod life;
mod snapshots;
mod state;
mod subject;
mod writer;

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use damage::Disk;
use life::{Life, Totals};
use subject::{Kind, record};
use vivat_master::failpoints;
use vivat_master::storage::{LogStore, SledLog, StorageError};
use vivat_testkit::failpoints::{Orders, VARIABLE};
use vivat_testkit::lossy_fs;

/// Lives of the real store, where the environment asks for nothing else.
const LIVES: u64 = 12;
/// Cuts in each.
const CUTS: u64 = 10;
/// Disks that may be lost, loudly: cuts while the database makes its first files.
const REFUSED_PERCENT_MAX: u64 = 5;
/// Cuts that must have torn a write.
const TORN_MIN: u64 = 20;
/// Within which a panic must be known, though nobody writes.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);
/// Where the process that idles finds its disk.
const IDLE_DIRECTORY: &str = "POWER_CUT_IDLE";
/// What it says at the end.
const IDLE_VERDICT: &str = "the log failed by itself";
/// Points of the state machine, which a store alone does not pass; the tests of
/// whole masters go through them.
const OF_THE_MACHINE: [&str; 3] = ["apply-", "build-", "install-"];
/// Lives within which a store that acknowledges too early must be caught.
const LIVES_UNTIL_CAUGHT: u64 = 3;

/// Why the tests cannot run here, said once for each.
fn is_skipped() -> bool {
    match lossy_fs::probe() {
        Ok(()) => false,
        Err(reason) => {
            eprintln!("SKIPPED: {reason}");
            true
        }
    }
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

fn seeds() -> std::ops::Range<u64> {
    match number_from_environment("POWER_CUT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from_environment("POWER_CUT_LIVES").unwrap_or(LIVES),
    }
}

/// Not a test: the process that writes, started by the others.
#[test]
fn process_that_writes_until_its_disk_dies() {
    writer::run_if_asked();
}

#[test]
fn no_acknowledged_record_or_vote_is_missing_after_a_power_cut() {
    if is_skipped() {
        return;
    }
    let mut totals = Totals::default();
    for seed in seeds() {
        match Life::new(Kind::Real, seed).live(CUTS) {
            Ok(life) => totals.add(life),
            Err(wrong) => panic!(
                "{wrong}\nseed={seed}; replay: POWER_CUT_SEED={seed} \
                 cargo test -p vivat-master --test power_cut no_acknowledged"
            ),
        }
    }
    eprintln!("seeds {:?}: {totals:?}", seeds());
    if number_from_environment("POWER_CUT_SEED").is_none() {
        assert!(totals.cuts >= 100, "{totals:?}");
        assert!(totals.acknowledged > totals.cuts, "{totals:?}");
        assert!(totals.cuts_that_took > totals.cuts / 4, "{totals:?}");
        assert!(
            totals.lost_bytes > 0 && totals.torn >= TORN_MIN,
            "{totals:?}"
        );
        let refused_percent = totals.refused * 100 / totals.cuts;
        assert!(refused_percent <= REFUSED_PERCENT_MAX, "{totals:?}");
    }
}

fn is_caught(kind: Kind) {
    if is_skipped() {
        return;
    }
    let mut totals = Totals::default();
    for seed in 0..LIVES_UNTIL_CAUGHT {
        match Life::new(kind, seed).live(CUTS) {
            Ok(life) => totals.add(life),
            Err(wrong) => {
                eprintln!("caught with seed {seed}: {wrong}");
                return;
            }
        }
    }
    panic!("{kind:?} lost nothing: {totals:?}");
}

#[test]
fn store_that_trusts_the_flush_of_its_database_is_caught() {
    is_caught(Kind::TrustsFlush);
}

#[test]
fn store_that_acknowledges_before_the_disk_is_caught() {
    is_caught(Kind::Hasty);
}

#[test]
fn store_ends_with_its_first_failed_sync_and_loses_nothing() {
    if is_skipped() {
        return;
    }
    for seed in seeds() {
        let life = Life::new(Kind::Real, seed).live_with_a_failed_sync(None);
        assert_eq!(life, Ok(false), "seed={seed}: it went on");
    }
}

#[test]
fn store_that_tries_a_failed_sync_again_is_caught() {
    if is_skipped() {
        return;
    }
    // Soon after: its database writes pages anew, and that covers the loss.
    let is_wrong = |seed| {
        Life::new(Kind::RetriesSync, seed)
            .live_with_a_failed_sync(Some(4))
            .is_err()
    };
    let caught = (0..LIVES).any(is_wrong);
    assert!(caught, "what the failed sync dropped was found again");
}

#[test]
fn newest_snapshot_is_whole_and_no_older_than_acknowledged_after_a_power_cut() {
    if is_skipped() {
        return;
    }
    snapshots::survive(seeds());
}

/// The points of a kind of store, from the table of all.
fn points(kind: Kind) -> Vec<&'static str> {
    let all = failpoints::NAMES.iter().map(|(_, name)| *name);
    let of = |name: &str| {
        let of_the_machine = OF_THE_MACHINE.iter().any(|part| name.starts_with(part));
        match (name.starts_with("snapshot-"), name.starts_with("identity-")) {
            (true, _) => Some(Kind::Snapshots),
            (_, true) => Some(Kind::Identity),
            _ => (!of_the_machine).then_some(Kind::Real),
        }
    };
    all.filter(|name| of(name) == Some(kind)).collect()
}

/// Kills, panics, errors and stalls at each point of these.
fn dies_everywhere(kind: Kind, points: &[&str]) {
    let began = Instant::now();
    let totals = kills::survive(kind, points, 1);
    eprintln!(
        "{} points: {totals:?} in {:?}",
        points.len(),
        began.elapsed()
    );
    let points = points.len() as u64;
    assert_eq!(totals.kills, 3 * points);
    assert_eq!(totals.panics_and_errors, 2 * points);
    assert_eq!(totals.stalls, points);
    assert!(totals.acknowledged > 5 * points, "{totals:?}");
}

#[test]
fn every_point_belongs_to_a_store_or_to_the_machine() {
    let kinds = [Kind::Real, Kind::Snapshots, Kind::Identity];
    let stores: usize = kinds.map(|kind| points(kind).len()).iter().sum();
    assert_eq!(stores + 6, failpoints::NAMES.len());
    assert!(failpoints::NAMES.len() >= 45);
}

#[test]
fn log_that_dies_at_any_point_while_it_appends_or_opens_keeps_what_it_acknowledged() {
    let points = points(Kind::Real);
    dies_everywhere(Kind::Real, &points[..points.len() / 2]);
}

#[test]
fn log_that_dies_at_any_other_point_keeps_what_it_acknowledged() {
    let points = points(Kind::Real);
    dies_everywhere(Kind::Real, &points[points.len() / 2..]);
}

#[test]
fn snapshots_and_identity_are_whole_whenever_their_writer_dies() {
    dies_everywhere(Kind::Snapshots, &points(Kind::Snapshots));
    dies_everywhere(Kind::Identity, &points(Kind::Identity));
}

/// Not a test: writes one record, after which the writer's thread panics, and
/// then nothing.
#[test]
fn process_that_idles_after_a_panic() {
    let Some(directory) = std::env::var_os(IDLE_DIRECTORY) else {
        return;
    };
    let log = SledLog::open(directory.as_ref()).unwrap();
    let (told, outcomes) = channel();
    let done = move |outcome: Result<(), _>| told.send(outcome.is_ok()).unwrap();
    log.append(vec![record(1, 1, 100)], Box::new(done));
    assert_eq!(outcomes.recv(), Ok(true));
    let end = Instant::now() + KNOWN_WITHIN;
    while Instant::now() < end {
        if let Some(error) = log.failure().borrow().as_deref() {
            assert!(matches!(error, StorageError::WriterPanicked), "{error:?}");
            eprintln!("{IDLE_VERDICT}");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn panic_of_the_writer_is_known_at_once_though_nobody_writes() {
    let dir = tempfile::tempdir().unwrap();
    let orders = Orders::at(&dir.path().join("orders"));
    orders.give(&["acknowledge-done panic"]);
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["process_that_idles_after_a_panic", "--exact", "--nocapture"])
        .env(IDLE_DIRECTORY, dir.path().join("log"))
        .env(VARIABLE, orders.file())
        .output()
        .unwrap();
    assert_eq!(orders.struck(), ["acknowledge-done panic"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(IDLE_VERDICT), "mistake 18: {said}");
}

#[test]
fn disk_with_flipped_bits_or_a_torn_end_is_refused_or_whole() {
    let disk = Disk::write(1);
    let flipped = disk.flip_bits(60, 2);
    let torn = disk.tear(24, 3);
    eprintln!("flipped: {flipped:?}, torn: {torn:?}");
    assert!(flipped.refused > 0 && torn.refused > 0);
}

#[test]
fn disk_that_lacks_a_file_is_refused_or_whole() {
    let disk = Disk::write(4);
    let totals = disk.lose_files();
    eprintln!("{totals:?}");
    assert!(totals.refused > 0);
    assert!(!disk.leave_unfinished(), "it is the database's to forget");
}

#[test]
fn newest_record_that_is_damaged_is_missed_also_within_the_guards_second() {
    let totals = Disk::write(5).flip_newest();
    assert!(totals.refused >= 12, "{totals:?}");
}
