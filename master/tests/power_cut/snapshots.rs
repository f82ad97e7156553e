//! Snapshots of growing indexes, until the power goes in the middle of one.

use std::ops::Range;

use bytes::Bytes;
use vivat_master::storage::{SnapshotFiles, StoredSnapshot};
use vivat_testkit::dice::Dice;
use vivat_testkit::lossy_fs::{CAPACITY_BYTES, Cut, LossyFs};

/// Cuts on one disk.
const CUTS: u64 = 20;
/// Saving one takes about six operations of the file system.
const OPERATIONS_BEFORE_CUT_MAX: u64 = 30;

fn snapshot(index: u64, dice: &mut Dice) -> StoredSnapshot {
    let words = usize::try_from(dice.up_to(3_000)).unwrap();
    let mut content = Dice::new(index);
    let content: Vec<u8> = (0..words)
        .flat_map(|_| content.roll().to_be_bytes())
        .collect();
    StoredSnapshot {
        index,
        meta: Bytes::from(format!("meta of {index}")),
        content: content.into(),
    }
}

/// Every cut leaves the last acknowledged snapshot, or the one that was being
/// written, whole.
pub fn survive(seeds: Range<u64>) {
    let mut lost = 0;
    let mut cuts = 0;
    for seed in seeds {
        let backing = tempfile::tempdir().unwrap();
        let mount_point = tempfile::tempdir().unwrap();
        let fs = LossyFs::mount(backing.path(), mount_point.path(), CAPACITY_BYTES).unwrap();
        let mut dice = Dice::new(seed);
        let mut acknowledged: Option<StoredSnapshot> = None;
        for _ in 0..CUTS {
            let cut_seed = dice.roll();
            let cut = match dice.up_to(2) {
                0 => Cut::Drop,
                1 => Cut::Reorder { seed: cut_seed },
                _ => Cut::Torn { seed: cut_seed },
            };
            fs.arm(dice.up_to(OPERATIONS_BEFORE_CUT_MAX), cut);
            let begun = save_until_the_cut(&fs, &mut dice, &mut acknowledged);
            let report = fs.wait_for_cut(std::time::Duration::ZERO).unwrap();
            fs.remount().unwrap();
            let files = SnapshotFiles::open(&fs.mount_point().join("snapshots")).unwrap();
            let newest = files.newest().unwrap();
            assert!(
                newest == acknowledged || newest == begun,
                "seed={seed}: acknowledged {:?}, found {:?}; replay: POWER_CUT_SEED={seed} \
                 cargo test -p vivat-master --test power_cut newest_snapshot",
                acknowledged.map(|it| it.index),
                newest.map(|it| it.index),
            );
            // What was found is what counts from now on.
            acknowledged = newest;
            cuts += 1;
            lost += u64::from(report.took_something());
        }
    }
    assert!(lost > cuts / 4, "{lost} of {cuts} cuts took something");
}

/// The snapshot that was being saved when the power went.
fn save_until_the_cut(
    fs: &LossyFs,
    dice: &mut Dice,
    acknowledged: &mut Option<StoredSnapshot>,
) -> Option<StoredSnapshot> {
    let files = SnapshotFiles::open(&fs.mount_point().join("snapshots")).ok()?;
    loop {
        let index = acknowledged.as_ref().map_or(1, |it| it.index + 1);
        let next = snapshot(index, dice);
        if files.save(&next).is_err() {
            return Some(next);
        }
        *acknowledged = Some(next);
    }
}
