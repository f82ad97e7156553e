//! Disks of masters that lose power, fail or fill up, one for each seat.
//!
//! A test declares them before its cluster, so that they go after it.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use vivat_testkit::dice::Dice;
use vivat_testkit::lossy_fs::{CAPACITY_BYTES, Cut, CutReport, LossyFs, probe};

use crate::harness::Extras;

/// Operations of one disk before the cut.
const OPERATIONS_MAX: u64 = 60;
const LOOK: Duration = Duration::from_millis(1);

/// A disk that loses power.
pub struct LossyDisk {
    pub fs: LossyFs,
    _backing: TempDir,
    _mount_point: TempDir,
}

impl LossyDisk {
    fn mount() -> Self {
        let backing = tempfile::tempdir().expect("a temporary directory");
        let mount_point = tempfile::tempdir().expect("a temporary directory");
        let fs = LossyFs::mount(backing.path(), mount_point.path(), CAPACITY_BYTES);
        Self {
            fs: fs.expect("the probe could mount one"),
            _backing: backing,
            _mount_point: mount_point,
        }
    }

    /// Of each of three seats; none, and a line that says why, where FUSE cannot
    /// be mounted.
    pub fn mount_three() -> Option<[Self; 3]> {
        match probe() {
            Ok(()) => Some([(); 3].map(|()| Self::mount())),
            Err(reason) => {
                eprintln!("SKIPPED: {reason}");
                None
            }
        }
    }
}

/// Masters on these disks.
pub fn on_disks(disks: &[LossyDisk]) -> Extras {
    let path = |disk: &LossyDisk| Some(disk.fs.mount_point().to_owned());
    on_paths(disks.iter().map(path).collect())
}

/// Masters in these folders.
pub fn on_paths(paths: Vec<Option<PathBuf>>) -> Extras {
    Extras {
        master_disks: paths,
        ..Extras::default()
    }
}

/// Takes the power of all of them: each waits for an operation of its own, and
/// the first that meets it takes the others along.
pub fn cut_all(disks: &[LossyDisk], dice: &mut Dice) -> Vec<CutReport> {
    let cuts: Vec<Cut> = disks.iter().map(|_| choose(dice)).collect();
    for (disk, cut) in disks.iter().zip(&cuts) {
        disk.fs.arm(dice.up_to(OPERATIONS_MAX), *cut);
    }
    while !disks
        .iter()
        .any(|disk| disk.fs.wait_for_cut(LOOK).is_some())
    {}
    let reports = disks.iter().zip(cuts).map(|(disk, cut)| {
        // It may have been its own turn meanwhile.
        disk.fs.power_cut(cut).ok();
        let report = disk.fs.wait_for_cut(Duration::ZERO);
        report.expect("its power is off")
    });
    reports.collect()
}

fn choose(dice: &mut Dice) -> Cut {
    let seed = dice.roll();
    match dice.up_to(2) {
        0 => Cut::Drop,
        1 => Cut::Reorder { seed },
        _ => Cut::Torn { seed },
    }
}
