//! The file system keeps what was synced, and loses on command what was not.
//!
//! Skipped, with a line that says so, where FUSE cannot be mounted.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use tempfile::TempDir;
use vivat_testkit::lossy_fs::{CAPACITY_BYTES, Cut, Fault, LossyFs, probe};

/// A mounted disk, and what lies behind it.
struct Rig {
    fs: LossyFs,
    backing: TempDir,
    _mount_point: TempDir,
}

impl Rig {
    /// None, and a line that says why, where FUSE cannot be mounted.
    fn new() -> Option<Self> {
        if let Err(reason) = probe() {
            eprintln!("SKIPPED: {reason}");
            return None;
        }
        let backing = tempfile::tempdir().unwrap();
        let mount_point = tempfile::tempdir().unwrap();
        let fs = LossyFs::mount(backing.path(), mount_point.path(), CAPACITY_BYTES).unwrap();
        Some(Self {
            fs,
            backing,
            _mount_point: mount_point,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.fs.mount_point().join(name)
    }

    /// Writes and syncs a file, not its name.
    fn synced_file(&self, name: &str, content: &[u8]) -> File {
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(self.path(name))
            .unwrap();
        file.write_all_at(content, 0).unwrap();
        file.sync_all().unwrap();
        file
    }

    fn sync_names(&self) {
        let folder = File::open(self.fs.mount_point()).unwrap();
        folder.sync_all().unwrap();
    }

    fn cut_and_remount(&self, cut: Cut) {
        self.fs.power_cut(cut).unwrap();
        self.fs.remount().unwrap();
    }
}

fn is_eio<T>(result: io::Result<T>) -> bool {
    let errno = result.err().and_then(|error| error.raw_os_error());
    errno == Some(Errno::IO.raw_os_error())
}

#[test]
fn an_unsynced_write_is_seen_by_programs_and_lost_at_the_cut() {
    let Some(rig) = Rig::new() else { return };
    let file = rig.synced_file("log", b"first");
    rig.sync_names();
    file.write_all_at(b"second", 5).unwrap();
    assert_eq!(fs::read(rig.path("log")).unwrap(), b"firstsecond");
    assert_eq!(rig.fs.unsynced_bytes(), 6);

    let report = rig.fs.power_cut(Cut::Drop).unwrap();
    assert_eq!((report.lost_bytes, report.risked_bytes), (6, 6));
    assert!(report.took_something());
    assert_eq!(fs::read(rig.backing.path().join("log")).unwrap(), b"first");
    rig.fs.remount().unwrap();
    assert_eq!(fs::read(rig.path("log")).unwrap(), b"first");
}

#[test]
fn a_cut_that_had_nothing_to_take_says_so() {
    let Some(rig) = Rig::new() else { return };
    rig.synced_file("log", b"first");
    rig.sync_names();
    let report = rig.fs.power_cut(Cut::Drop).unwrap();
    assert!(!report.took_something(), "{report:?}");
    assert_eq!(report.risked_bytes, 0);
    rig.fs.remount().unwrap();
    let counters = rig.fs.counters();
    assert_eq!((counters.cuts, counters.lost_bytes), (1, 0));
    assert_eq!((counters.file_syncs, counters.folder_syncs), (1, 1));
    assert_eq!(counters.synced_bytes, 5);
}

#[test]
fn every_handle_is_dead_after_the_cut_and_stays_so() {
    let Some(rig) = Rig::new() else { return };
    let mut file = rig.synced_file("log", b"first");
    rig.sync_names();
    let mut byte = [0];
    assert_eq!(file.read(&mut byte).unwrap(), 1, "it is read once before");
    let folder = File::open(rig.fs.mount_point()).unwrap();
    rig.fs.power_cut(Cut::Drop).unwrap();
    for _ in 0..2 {
        assert!(is_eio(file.read_at(&mut byte, 0)));
        assert!(is_eio(file.write_at(b"x", 0)));
        assert!(is_eio(file.sync_data()));
        assert!(is_eio(file.set_len(0)));
        assert!(is_eio(file.metadata()));
        assert!(is_eio(folder.sync_all()));
        if rig.fs.counters().refused < 8 {
            assert!(is_eio(File::open(rig.path("log"))));
            assert!(is_eio(fs::read_dir(rig.fs.mount_point())));
            rig.fs.remount().unwrap();
        }
    }
    assert_eq!(fs::read(rig.path("log")).unwrap(), b"first");
    assert!(rig.fs.remount().is_err(), "the power is on");
}

#[test]
fn a_synced_file_without_a_synced_name_is_gone() {
    let Some(rig) = Rig::new() else { return };
    rig.synced_file("kept", b"x");
    rig.sync_names();
    rig.synced_file("nameless", b"x");
    let report = rig.fs.power_cut(Cut::Drop).unwrap();
    assert_eq!((report.lost_names, report.lost_bytes), (1, 0));
    rig.fs.remount().unwrap();
    assert!(rig.path("kept").exists());
    assert!(!rig.path("nameless").exists());
}

#[test]
fn a_folder_without_a_synced_name_takes_its_files_along() {
    let Some(rig) = Rig::new() else { return };
    fs::create_dir_all(rig.path("a/b")).unwrap();
    rig.synced_file("a/b/file", b"x");
    File::open(rig.path("a/b")).unwrap().sync_all().unwrap();
    File::open(rig.path("a")).unwrap().sync_all().unwrap();
    rig.cut_and_remount(Cut::Drop);
    assert!(!rig.path("a").exists());
}

#[test]
fn a_file_replaced_by_rename_is_the_old_one_or_the_new_one() {
    let Some(rig) = Rig::new() else { return };
    for is_synced in [false, true] {
        rig.synced_file("state", b"old");
        rig.sync_names();
        rig.synced_file("state.new", b"new");
        fs::rename(rig.path("state.new"), rig.path("state")).unwrap();
        if is_synced {
            rig.sync_names();
        }
        assert_eq!(fs::read(rig.path("state")).unwrap(), b"new");
        rig.cut_and_remount(Cut::Drop);
        let expected: &[u8] = if is_synced { b"new" } else { b"old" };
        assert_eq!(fs::read(rig.path("state")).unwrap(), expected);
    }
}

#[test]
fn a_rename_without_a_sync_of_the_file_may_leave_an_empty_one() {
    let Some(rig) = Rig::new() else { return };
    fs::write(rig.path("state"), b"never synced").unwrap();
    rig.sync_names();
    rig.cut_and_remount(Cut::Drop);
    assert_eq!(fs::read(rig.path("state")).unwrap(), b"");
}

#[test]
fn a_removed_file_comes_back_unless_its_folder_was_synced() {
    let Some(rig) = Rig::new() else { return };
    rig.synced_file("a", b"x");
    rig.sync_names();
    fs::remove_file(rig.path("a")).unwrap();
    rig.cut_and_remount(Cut::Drop);
    assert_eq!(fs::read(rig.path("a")).unwrap(), b"x");
    fs::remove_file(rig.path("a")).unwrap();
    rig.sync_names();
    rig.cut_and_remount(Cut::Drop);
    assert!(!rig.path("a").exists());
}

/// What is left of a file of `pages` unsynced pages, each filled with its number.
fn survivors(rig: &Rig, cut: Cut, pages: u8) -> Vec<u8> {
    let file = rig.synced_file("log", b"");
    rig.sync_names();
    for page in 1..=pages {
        let offset = u64::from(page - 1) * 4096;
        file.write_all_at(&[page; 4096], offset).unwrap();
    }
    rig.cut_and_remount(cut);
    fs::read(rig.path("log")).unwrap()
}

#[test]
fn reordered_survivors_are_some_of_the_writes_and_the_same_for_a_seed() {
    let Some(rig) = Rig::new() else { return };
    let mut holes = 0;
    let mut outcomes = BTreeSet::new();
    for seed in 0..20 {
        let cut = Cut::Reorder { seed };
        let left = survivors(&rig, cut, 8);
        assert_eq!(left, survivors(&rig, cut, 8), "seed {seed}");
        let pages: Vec<u8> = left.chunks(4096).map(|page| page[0]).collect();
        for (page, &number) in (1..).zip(&pages) {
            assert!(number == 0 || number == page, "seed {seed}: {pages:?}");
        }
        holes += u32::from(pages.contains(&0) && pages.iter().any(|&number| number != 0));
        outcomes.insert(pages);
    }
    assert!(
        holes > 5,
        "a later write survived an earlier one {holes} times"
    );
    assert!(outcomes.len() > 10);
}

#[test]
fn a_torn_write_survives_up_to_a_sector() {
    let Some(rig) = Rig::new() else { return };
    let mut lengths = BTreeSet::new();
    for seed in 0..40 {
        let left = survivors(&rig, Cut::Torn { seed }, 4);
        let in_order = (1..).zip(left.chunks(4096));
        for (page, content) in in_order {
            assert!(content.iter().all(|&byte| byte == page), "seed {seed}");
        }
        assert_eq!(left.len() % 512, 0, "seed {seed}");
        lengths.insert(left.len());
    }
    assert!(lengths.iter().any(|bytes| bytes % 4096 != 0));
    assert!(lengths.len() > 10, "{lengths:?}");
}

#[test]
fn a_cut_armed_before_a_sync_lets_writes_pass_and_takes_them() {
    let Some(rig) = Rig::new() else { return };
    let file = rig.synced_file("log", b"first");
    rig.sync_names();
    rig.fs.arm_before_sync(0, Cut::Drop);
    file.write_all_at(b"second", 5).unwrap();
    assert_eq!(rig.fs.wait_for_cut(Duration::ZERO), None);
    assert!(is_eio(file.sync_data()));
    let report = rig.fs.wait_for_cut(Duration::ZERO).unwrap();
    assert_eq!(report.lost_bytes, 6);
    rig.fs.remount().unwrap();
    assert_eq!(fs::read(rig.path("log")).unwrap(), b"first");
}

#[test]
fn an_armed_cut_lies_between_the_same_two_operations_every_time() {
    let Some(rig) = Rig::new() else { return };
    for survivors in 0..4_u8 {
        let file = rig.synced_file("log", b"");
        rig.sync_names();
        // Each turn of the loop is a write and a sync.
        rig.fs.arm(u64::from(survivors) * 2 + 1, Cut::Drop);
        assert_eq!(rig.fs.wait_for_cut(Duration::ZERO), None);
        let mut acknowledged = 0;
        for byte in 0..10_u8 {
            let place = u64::from(byte);
            let written = file.write_all_at(&[byte], place);
            if written.and_then(|()| file.sync_data()).is_err() {
                break;
            }
            acknowledged += 1;
        }
        assert_eq!(acknowledged, survivors);
        let report = rig.fs.wait_for_cut(Duration::ZERO).unwrap();
        assert_eq!(report.lost_bytes, 1, "the write before the sync");
        rig.fs.remount().unwrap();
        let left = fs::read(rig.path("log")).unwrap();
        assert_eq!(left.len(), usize::from(survivors));
    }
}

#[test]
fn a_write_that_asked_for_durability_survives() {
    let Some(rig) = Rig::new() else { return };
    rig.synced_file("log", b"");
    rig.sync_names();
    let flag = rustix::fs::OFlags::DSYNC.bits().cast_signed();
    let mut options = OpenOptions::new();
    let file = options.write(true).custom_flags(flag).open(rig.path("log"));
    file.unwrap().write_all(b"durable").unwrap();
    rig.cut_and_remount(Cut::Drop);
    assert_eq!(fs::read(rig.path("log")).unwrap(), b"durable");
}

#[test]
fn a_shutdown_keeps_everything() {
    let Some(rig) = Rig::new() else { return };
    fs::create_dir(rig.path("folder")).unwrap();
    fs::write(rig.path("folder/file"), b"never synced").unwrap();
    rig.fs.unmount().unwrap();
    let left = fs::read(rig.backing.path().join("folder/file")).unwrap();
    assert_eq!(left, b"never synced");
}

#[test]
fn what_a_failed_sync_left_is_lost_though_the_next_sync_succeeds() {
    let Some(rig) = Rig::new() else { return };
    let file = rig.synced_file("log", b"first");
    rig.sync_names();
    file.write_all_at(b"FIRST", 0).unwrap();
    rig.fs.set_fault(Some(Fault::SyncFails));
    assert!(is_eio(file.sync_data()));
    rig.fs.set_fault(None);
    file.sync_data().unwrap();
    assert_eq!(rig.fs.counters().faults, 1);
    assert_eq!(fs::read(rig.path("log")).unwrap(), b"FIRST");
    rig.cut_and_remount(Cut::Drop);
    assert_eq!(fs::read(rig.path("log")).unwrap(), b"first");
}

#[test]
fn every_handle_hears_once_of_a_failed_sync() {
    let Some(rig) = Rig::new() else { return };
    let first = rig.synced_file("log", b"first");
    let second = File::options().write(true).open(rig.path("log")).unwrap();
    first.write_all_at(b"FIRST", 0).unwrap();
    rig.fs.set_fault(Some(Fault::SyncFails));
    assert!(is_eio(first.sync_data()));
    rig.fs.set_fault(None);
    assert!(is_eio(second.sync_data()), "another one consumed the error");
    second.sync_data().unwrap();
    first.sync_data().unwrap();
    let third = File::options().write(true).open(rig.path("log")).unwrap();
    third.sync_data().unwrap();
}

#[test]
fn reads_and_writes_fail_while_they_are_told_to() {
    let Some(rig) = Rig::new() else { return };
    let file = rig.synced_file("log", b"first");
    let mut byte = [0];
    rig.fs.set_fault(Some(Fault::ReadFails));
    assert!(is_eio(file.read_at(&mut byte, 0)));
    rig.fs.set_fault(Some(Fault::WriteFails));
    assert!(is_eio(file.write_at(b"x", 0)));
    file.read_at(&mut byte, 0).unwrap();
    rig.fs.set_fault(Some(Fault::Full));
    file.write_all_at(b"FIRST", 0).unwrap();
    let grown = file.write_all_at(b"x", 5).unwrap_err();
    assert_eq!(grown.kind(), ErrorKind::StorageFull);
    let created = fs::write(rig.path("other"), b"").unwrap_err();
    assert_eq!(created.kind(), ErrorKind::StorageFull);
    file.set_len(1).unwrap();
    rig.fs.set_fault(None);
    fs::write(rig.path("other"), b"").unwrap();
    assert_eq!(rig.fs.counters().faults, 4);
}

#[test]
fn a_slow_sync_takes_its_time() {
    let Some(rig) = Rig::new() else { return };
    let file = rig.synced_file("log", b"first");
    let time = Duration::from_millis(200);
    rig.fs.set_fault(Some(Fault::SyncTakes(time)));
    let started = std::time::Instant::now();
    file.sync_data().unwrap();
    assert!(started.elapsed() >= time);
}

#[test]
fn files_and_folders_behave_as_elsewhere() {
    let Some(rig) = Rig::new() else { return };
    let mut file = rig.synced_file("f", b"0123456789");
    file.set_len(5).unwrap();
    file.set_len(8).unwrap();
    file.seek(SeekFrom::Start(3)).unwrap();
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"34\0\0\0");
    let mut appended = OpenOptions::new().append(true).open(rig.path("f")).unwrap();
    appended.write_all(b"end").unwrap();
    assert_eq!(fs::read(rig.path("f")).unwrap(), b"01234\0\0\0end");

    fs::create_dir(rig.path("folder")).unwrap();
    for number in 0..500 {
        fs::write(rig.path(&format!("folder/{number}")), b"x").unwrap();
    }
    assert_eq!(fs::read_dir(rig.path("folder")).unwrap().count(), 500);
    let full = fs::remove_dir(rig.path("folder")).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::DirectoryNotEmpty);
    fs::rename(rig.path("folder"), rig.path("moved")).unwrap();
    fs::remove_dir_all(rig.path("moved")).unwrap();
    let missing = fs::read(rig.path("moved")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let again = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(rig.path("f"));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn a_lock_is_held_against_another_handle_until_its_file_is_closed() {
    let Some(rig) = Rig::new() else { return };
    let first = rig.synced_file("db", b"");
    let second = File::open(rig.path("db")).unwrap();
    first.try_lock().unwrap();
    assert!(second.try_lock().is_err());
    drop(first);
    second.try_lock().unwrap();
}

#[test]
fn a_removed_file_lives_until_it_is_closed() {
    let Some(rig) = Rig::new() else { return };
    let file = rig.synced_file("a", b"still here");
    rig.sync_names();
    fs::remove_file(rig.path("a")).unwrap();
    rig.sync_names();
    let mut content = [0; 10];
    file.read_exact_at(&mut content, 0).unwrap();
    assert_eq!(&content, b"still here");
}

#[test]
fn nothing_stays_mounted_even_if_a_file_is_open() {
    let Some(rig) = Rig::new() else { return };
    let file = rig.synced_file("a", b"x");
    let mount_point = rig.fs.mount_point().to_str().unwrap().to_owned();
    let is_mounted = || {
        fs::read_to_string("/proc/self/mounts")
            .unwrap()
            .contains(&mount_point)
    };
    assert!(is_mounted());
    drop(rig);
    assert!(!is_mounted());
    let mut byte = [0];
    assert!(
        file.read_at(&mut byte, 0).is_err(),
        "nobody answers any more"
    );
}
