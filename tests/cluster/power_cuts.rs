//! The power of all three masters goes at once, under load, again and again (F13,
//! S1, S5, S8, S9; mistake 1).
//!
//! `MASTER_CUTS=N` cuts so often, `MASTER_CUT_SEED=N` chooses other moments. What
//! a client hears and when the kernel writes are not in our hands, so a seed
//! gives the same kinds of cuts, not the same bytes.

use vivat_testkit::dice::Dice;

use crate::disk_load::Load;
use crate::disk_mounts::{LossyDisk, cut_all, on_disks};
use crate::faults::{assert_agree, leader_of};
use crate::harness::{Cluster, Shape};

const CUTS: u64 = 10;
/// Entries before the first cut: hashes are compared every 64.
const JOBS_BEFORE: usize = 80;
const JOBS_BEFORE_CUT_MAX: u64 = 40;

fn number(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => usual,
    }
}

#[test]
fn acknowledged_jobs_survive_when_the_power_of_all_masters_goes_at_once() {
    let Some(disks) = LossyDisk::mount_three() else {
        return;
    };
    let (cuts, seed) = (number("MASTER_CUTS", CUTS), number("MASTER_CUT_SEED", 1));
    let shape = Shape {
        masters: disks.len(),
        workers: 0,
        slots: 1,
    };
    let mut cluster = Cluster::start_with(shape, &on_disks(&disks));
    let mut dice = Dice::new(seed);
    let mut load = Load::new(&cluster);
    load.submit(JOBS_BEFORE);
    let (mut took, mut lost_bytes) = (0, 0);
    for cut in 1..=cuts {
        let (_, term) = leader_of(&cluster);
        load.begin();
        let jobs = dice.between(1, JOBS_BEFORE_CUT_MAX);
        load.await_more(usize::try_from(jobs).expect("few"));
        let reports = cut_all(&disks, &mut dice);
        for seat in 0..disks.len() {
            // With its disk it may have ended already.
            cluster.master(seat).kill();
        }
        load.end();
        took += reports.iter().filter(|it| it.took_something()).count();
        lost_bytes += reports.iter().map(|it| it.lost_bytes).sum::<u64>();
        for (seat, disk) in disks.iter().enumerate() {
            disk.fs.remount().expect("its power is off");
            cluster.restart_master(seat);
        }
        eprintln!("seed={seed}, cut {cut}: {reports:?}");
        // A vote that is forgotten may be given twice: the term of what was
        // acknowledged never comes again.
        cluster.await_status("a leader in a later term", |status| {
            status.leader().is_some() && status.term() > term
        });
        load.assert_nothing_missing();
        assert_agree(&cluster);
    }
    let jobs = load.acknowledged().len();
    eprintln!("{cuts} cuts of {took} disks took {lost_bytes} bytes; {jobs} jobs are there");
    assert!(
        took as u64 >= cuts && lost_bytes > 0,
        "no cut took anything"
    );
}
