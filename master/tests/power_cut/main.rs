//! Power cuts and failed syncs under the real log store, power cuts under
//! snapshots (S1, S9, S13, F13, F17, torn writes of F14; mistakes 1 and 2).
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

mod diary;
mod life;
mod snapshots;
mod state;
mod subject;
mod writer;

use life::{Life, Totals};
use subject::Kind;
use vivat_testkit::lossy_fs;

/// Lives of the real store, where the environment asks for nothing else.
const LIVES: u64 = 12;
/// Cuts in each.
const CUTS: u64 = 10;
/// Disks that may be lost, loudly: cuts while the database makes its first files.
const REFUSED_PERCENT_MAX: u64 = 5;
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
        assert!(totals.lost_bytes > 0 && totals.torn > 0, "{totals:?}");
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
