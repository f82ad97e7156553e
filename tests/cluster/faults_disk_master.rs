//! Masters whose disk is full, fails, or takes seconds; and panics where nobody
//! sees them (F16, F17, F18; S1, S13, L2, L3; mistakes 4 and 18).

use std::time::{Duration, Instant};

use vivat_testkit::lossy_fs::{Cut, Fault};
use vivat_testkit::small_disk::SmallDisk;

use crate::disk_load::Load;
use crate::disk_mounts::{LossyDisk, on_disks, on_paths};
use crate::faults::{
    assert_ended_after, assert_sound, await_true, begin, leader_of, many_maps, others,
};
use crate::harness::{Cluster, Extras, Shape, assert_same_as_oracle};

/// A master that cannot go on.
const EXIT_FATAL: i32 = 70;
/// What a master has after a panic to end.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// Room for a database and its snapshots, and not much more.
const SMALL_BYTES: u64 = 32 * 1024 * 1024;
const STALL_MS: u64 = 10_000;
const FOLLOWER_STALL_MS: u64 = 2_000;
const SHAPE: Shape = Shape {
    masters: 3,
    workers: 2,
    slots: 1,
};

/// Waits for the master's own end, and that it says so as it should.
fn await_fatal(cluster: &mut Cluster, seat: usize) {
    let mut status = None;
    await_true("the master's end", || {
        status = cluster.master(seat).exit_status();
        status.is_some()
    });
    let code = status.and_then(|status| status.code());
    let log = cluster.master(seat).log_tail();
    assert_eq!(code, Some(EXIT_FATAL), "S13: {log}");
}

/// The others serve on, and what they acknowledge is there when it is back.
fn goes_on_without(cluster: &mut Cluster, load: &mut Load, seat: usize) {
    cluster.await_status("another leader", |status| {
        status.leader().is_some_and(|leader| leader != seat)
    });
    load.await_more(5);
    load.end();
}

fn takes_back(cluster: &mut Cluster, load: &Load, seat: usize) {
    cluster.restart_master(seat);
    cluster.await_status("all masters, caught up", |status| status.is_caught_up());
    load.assert_nothing_missing();
}

#[test]
fn a_leader_whose_disk_is_full_ends_and_returns_when_there_is_room() {
    let disks: std::io::Result<Vec<SmallDisk>> =
        (0..3).map(|_| SmallDisk::mount(SMALL_BYTES)).collect();
    let disks = match disks {
        Ok(disks) => disks,
        Err(error) => return eprintln!("SKIPPED: no small disk can be mounted: {error}"),
    };
    let paths = disks.iter().map(|disk| Some(disk.path().to_owned()));
    let mut cluster = Cluster::start_with(SHAPE, &on_paths(paths.collect()));
    let mut load = Load::new(&cluster);
    load.submit(20);
    let (seat, _) = leader_of(&cluster);
    let filled = disks[seat].fill().expect("it can be filled");
    assert!(filled > 0, "it was full before");
    load.begin();
    await_fatal(&mut cluster, seat);
    let log = cluster.master(seat).log();
    assert!(log.contains("No space left on device"), "{log}");
    goes_on_without(&mut cluster, &mut load, seat);
    disks[seat].free().expect("it was filled");
    takes_back(&mut cluster, &load, seat);
    assert_sound(&cluster);
}

#[test]
fn a_master_whose_disk_fails_ends_and_returns_with_what_the_disk_kept() {
    let Some(disks) = LossyDisk::mount_three() else {
        return;
    };
    let mut cluster = Cluster::start_with(SHAPE, &on_disks(&disks));
    let mut load = Load::new(&cluster);
    load.submit(20);
    for fault in [Fault::SyncFails, Fault::WriteFails] {
        let (seat, _) = leader_of(&cluster);
        let before = disks[seat].fs.counters().faults;
        disks[seat].fs.set_fault(Some(fault));
        load.begin();
        await_fatal(&mut cluster, seat);
        assert!(disks[seat].fs.counters().faults > before, "{fault:?}");
        goes_on_without(&mut cluster, &mut load, seat);
        disks[seat].fs.set_fault(None);
        // A failed sync is never tried again, so what it dropped was not promised.
        disks[seat]
            .fs
            .power_cut(Cut::Drop)
            .expect("its power is on");
        disks[seat].fs.remount().expect("its power is off");
        takes_back(&mut cluster, &load, seat);
    }
    assert_sound(&cluster);
}

#[test]
fn a_disk_that_stalls_under_the_leader_stalls_nobody_and_under_a_follower_nothing() {
    let cluster = Cluster::start(SHAPE);
    let job = many_maps("out");
    let id = begin(&cluster, &job, 61);
    let mut load = Load::new(&cluster);

    let (leader, _) = leader_of(&cluster);
    let stalled_at = jiff::Timestamp::now();
    let began = Instant::now();
    stall(&cluster, leader, STALL_MS);
    load.submit(3);
    let served = began.elapsed();
    eprintln!("three submissions took {served:?} while the leader's disk stood");
    assert!(!has_ended(&cluster, leader), "F18: it waited for the disk");
    await_end_of_stall(&cluster, leader);

    let before = leader_of(&cluster);
    let follower = others(before.0)[0];
    load.begin();
    stall(&cluster, follower, FOLLOWER_STALL_MS);
    load.await_more(20);
    await_end_of_stall(&cluster, follower);
    load.end();
    assert_eq!(leader_of(&cluster), before, "F18: of a follower");

    let view = cluster.await_success(&id);
    assert_ended_after(&view, stalled_at);
    assert_same_as_oracle(&cluster, &job);
    load.assert_nothing_missing();
    assert_sound(&cluster);
}

/// What tells of the end of a stall.
const END_OF_STALL: &str = "sync-done sleep=0";

/// Lets the next sync of a master's log take so long, and waits until it does.
fn stall(cluster: &Cluster, seat: usize, ms: u64) {
    let orders = cluster.orders(seat);
    orders.take_struck();
    orders.give(&[&format!("sync-begin sleep={ms}")]);
    await_true("the stall", || !orders.struck().is_empty());
    orders.give(&[END_OF_STALL]);
}

/// Whether the sync that was stalled is done.
fn has_ended(cluster: &Cluster, seat: usize) -> bool {
    let struck = cluster.orders(seat).struck();
    struck.iter().any(|order| order == END_OF_STALL)
}

fn await_end_of_stall(cluster: &Cluster, seat: usize) {
    await_true("the end of the stall", || has_ended(cluster, seat));
    cluster.orders(seat).withdraw();
}

#[test]
fn slow_syncs_elect_nobody_with_a_single_thread_and_a_blocked_one_does() {
    let shape = Shape {
        workers: 0,
        ..SHAPE
    };
    let extras = Extras {
        raft_threads: Some(1),
        ..Extras::default()
    };
    let cluster = Cluster::start_with(shape, &extras);
    let mut load = Load::new(&cluster);
    load.submit(3);
    let before = leader_of(&cluster);
    for seat in 0..3 {
        cluster.orders(seat).give(&["sync-begin sleep=300"]);
    }
    load.submit(12);
    for seat in 0..3 {
        assert!(!cluster.orders(seat).struck().is_empty(), "no sync slept");
        cluster.orders(seat).withdraw();
    }
    assert_eq!(leader_of(&cluster), before, "mistake 4");

    // That such an election would be seen: the same sleep where it must not be.
    let (leader, term) = before;
    cluster.orders(leader).give(&["apply-begin sleep=2500"]);
    load.begin();
    cluster.await_status("another leader", |status| status.term() > term);
    load.end();
    assert!(!cluster.orders(leader).struck().is_empty());
    cluster.orders(leader).withdraw();
}

#[test]
fn a_panic_in_the_log_or_in_apply_ends_an_idle_process_within_two_seconds() {
    let mut cluster = Cluster::start(SHAPE);
    let mut load = Load::new(&cluster);
    load.submit(5);
    let orders_of_all = [
        "acknowledge-done panic",
        "apply-begin panic",
        "apply-begin error",
    ];
    for order in orders_of_all {
        for of_leader in [false, true] {
            let (leader, _) = leader_of(&cluster);
            let seat = match of_leader {
                true => leader,
                false => others(leader)[0],
            };
            let orders = cluster.orders(seat);
            orders.take_struck();
            orders.give(&[order]);
            load.begin();
            await_true(order, || !orders.struck().is_empty());
            let began = Instant::now();
            // Nobody writes any more: it must know by itself.
            load.end();
            await_fatal(&mut cluster, seat);
            let ended = began.elapsed();
            eprintln!("{order}, leader {of_leader}: ended after {ended:?}");
            assert!(ended < ENDS_WITHIN, "mistake 18: {order} took {ended:?}");
            orders.withdraw();
            takes_back(&mut cluster, &load, seat);
        }
    }
    assert_sound(&cluster);
}
