//! A disk, and one writer after the other whose power goes.

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vivat_testkit::dice::Dice;
use vivat_testkit::lossy_fs::{CAPACITY_BYTES, Cut, CutReport, Fault, LossyFs};

use super::diary::Told;
use super::state::{Operation, State, operations_included};
use super::subject::Kind;
use super::writer::{Order, Process};

/// Operations of the file system before the cut: some cuts hit the opening.
const OPERATIONS_BEFORE_CUT_MAX: u64 = 120;
/// More than a writer gets to do.
const OPERATIONS: u64 = 10_000;
/// Failures after which a writer gives up that was told to be stubborn.
const FAILURES: u64 = 50;
/// Acknowledgements that show that a store is at work.
const SOME: u64 = 20;
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Numbers of one or more lives, to show that they were about something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub cuts: u64,
    /// Cuts that lost a write or a name.
    pub cuts_that_took: u64,
    /// Cuts that tore a write.
    pub torn: u64,
    pub lost_bytes: u64,
    pub acknowledged: u64,
    /// Disks that did not open any more.
    pub refused: u64,
}

impl Totals {
    pub fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.cuts_that_took += other.cuts_that_took;
        self.torn += other.torn;
        self.lost_bytes += other.lost_bytes;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
    }

    fn add_cut(&mut self, report: CutReport) {
        self.cuts += 1;
        self.cuts_that_took += u64::from(report.took_something());
        self.torn += u64::from(report.torn_kept_bytes.is_some_and(|bytes| bytes > 0));
        self.lost_bytes += report.lost_bytes;
    }
}

/// A store on a disk.
pub struct Life {
    kind: Kind,
    dice: Dice,
    fs: LossyFs,
    diaries: TempDir,
    backing: TempDir,
    _mount_point: TempDir,
    writers: u64,
    /// Counts replicas that were lost.
    disk: u64,
    /// What a writer found and synced when it opened the store.
    before: State,
    /// What was begun since.
    operations: Vec<Operation>,
    acknowledged: usize,
    /// Of the last writer, if its power went.
    last_cut: Option<CutReport>,
    /// Of the one before it.
    former_cut: Option<CutReport>,
    totals: Totals,
}

impl Life {
    pub fn new(kind: Kind, seed: u64) -> Self {
        let backing = tempfile::tempdir().unwrap();
        let mount_point = tempfile::tempdir().unwrap();
        let fs = LossyFs::mount(backing.path(), mount_point.path(), CAPACITY_BYTES).unwrap();
        Self {
            kind,
            dice: Dice::new(seed),
            fs,
            diaries: tempfile::tempdir().unwrap(),
            backing,
            _mount_point: mount_point,
            writers: 0,
            disk: 0,
            before: State::default(),
            operations: Vec::new(),
            acknowledged: 0,
            last_cut: None,
            former_cut: None,
            totals: Totals::default(),
        }
    }

    /// So many cuts, and a last look.
    ///
    /// # Errors
    ///
    /// What was found and should not have been.
    pub fn live(mut self, cuts: u64) -> Result<Totals, String> {
        while self.totals.cuts < cuts {
            let seed = self.dice.roll();
            let cut = match self.dice.up_to(3) {
                0 => Cut::Drop,
                1 => Cut::Reorder { seed },
                _ => Cut::Torn { seed },
            };
            let operations = self.dice.up_to(OPERATIONS_BEFORE_CUT_MAX);
            match cut {
                Cut::Drop | Cut::Reorder { .. } => self.fs.arm(operations, cut),
                Cut::Torn { .. } => self.fs.arm_before_sync(operations, cut),
            }
            let told = self.write(OPERATIONS);
            self.judge(&told)?;
            if self.last_cut.is_none() {
                assert!(told.found.is_none(), "the writer ended with power on");
                self.begin_anew();
            } else {
                self.fs.remount().unwrap();
            }
        }
        let told = self.write(0);
        self.judge(&told)?;
        Ok(self.totals)
    }

    /// The replica is lost, and its successor has an empty disk.
    fn begin_anew(&mut self) {
        self.disk += 1;
        self.before = State::default();
        self.operations.clear();
        self.acknowledged = 0;
    }

    /// A sync fails, then the disk works again, and then the power goes: after so
    /// many operations of the file system, or when the store ended or went on.
    /// Whether it went on, as it must not (S13).
    ///
    /// # Errors
    ///
    /// What was found and should not have been.
    pub fn live_with_a_failed_sync(mut self, cut_after: Option<u64>) -> Result<bool, String> {
        let order = self.order(OPERATIONS, FAILURES);
        let mut writer = order.start();
        let acknowledged = || Told::read(&order.diary).acknowledgements;
        wait_until(|| acknowledged() >= SOME);
        self.fs.set_fault(Some(Fault::SyncFails));
        wait_until(|| self.fs.counters().faults > 0);
        self.fs.set_fault(None);
        if let Some(operations) = cut_after {
            self.fs.arm(operations, Cut::Drop);
        }
        let before = acknowledged();
        let mut goes_on = false;
        wait_until(|| {
            goes_on = acknowledged() >= before + SOME;
            let is_cut = self.fs.wait_for_cut(Duration::ZERO).is_some();
            goes_on || is_cut || writer.has_ended()
        });
        writer.kill();
        let armed = self.fs.wait_for_cut(Duration::ZERO);
        self.last_cut = armed.or_else(|| self.fs.power_cut(Cut::Drop).ok());
        self.judge(&Told::read(&order.diary))?;
        self.fs.remount().unwrap();
        let told = self.write(0);
        self.judge(&told)?;
        Ok(goes_on)
    }

    fn order(&mut self, operations: u64, failures: u64) -> Order {
        self.writers += 1;
        Order {
            kind: self.kind,
            // Below folders that are not there yet: their names must last, too.
            directory: self
                .fs
                .mount_point()
                .join(format!("disk-{}/vivat/raft", self.disk)),
            diary: self.diaries.path().join(self.writers.to_string()),
            seed: self.dice.roll(),
            first_write: self.writers * 1_000_000,
            operations,
            failures,
        }
    }

    /// Lets a writer work until its power goes or it ends by itself.
    fn write(&mut self, operations: u64) -> Told {
        let order = self.order(operations, 0);
        self.former_cut = self.last_cut;
        let mut writer = order.start();
        self.last_cut = self.wait(&mut writer);
        // The power is gone: so is the process. It may have ended already.
        writer.kill();
        // A last call of it may have come between its end and the look at the disk.
        self.last_cut = self.last_cut.or(self.fs.wait_for_cut(Duration::ZERO));
        if let Some(report) = self.last_cut {
            self.totals.add_cut(report);
        }
        Told::read(&order.diary)
    }

    fn wait(&self, writer: &mut Process) -> Option<CutReport> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(report) = self.fs.wait_for_cut(POLL) {
                return Some(report);
            }
            if writer.has_ended() {
                return None;
            }
            assert!(Instant::now() < end, "the writer neither wrote nor ended");
        }
    }

    /// Compares what a writer found with what the ones before it did.
    fn judge(&mut self, told: &Told) -> Result<(), String> {
        self.totals.acknowledged += told.acknowledgements;
        if let Some(wrong) = &told.wrong
            && self.last_cut.is_none()
        {
            return Err(self.story(&format!("the store opened and is wrong: {wrong}")));
        }
        let Some(found) = &told.found else {
            // Without power nothing opens; with it, this disk is lost.
            if self.last_cut.is_none() {
                let reason = told.refused.as_deref().unwrap_or("without a word");
                eprintln!(
                    "LOST DISK: {}",
                    self.story(&format!("refused to open: {reason}"))
                );
                self.totals.refused += 1;
            }
            return Ok(());
        };
        let included =
            operations_included(&self.before, &self.operations, self.acknowledged, found);
        if included.is_none() {
            return Err(self.story(&format!("after the cut there is {found:?}")));
        }
        self.before = found.clone();
        self.operations.clone_from(&told.operations);
        self.acknowledged = told.acknowledged;
        Ok(())
    }

    /// What led to this.
    fn story(&self, end: &str) -> String {
        let mut files = Vec::new();
        list(self.backing.path(), &mut files);
        format!(
            "{:?}, writer {}\nbefore: {:?}\nthen: {:?}\nof these, {} are acknowledged\n\
             former cut: {:?}\nlast cut: {:?}\nfiles: {files:?}\n{end}",
            self.kind,
            self.writers,
            self.before,
            self.operations,
            self.acknowledged,
            self.former_cut,
            self.last_cut,
        )
    }
}

fn wait_until(mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !happened() {
        assert!(Instant::now() < end, "what was waited for did not happen");
        std::thread::sleep(POLL);
    }
}

/// Files below a folder, with their sizes.
fn list(folder: &Path, files: &mut Vec<String>) {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            list(&path, files);
        } else {
            let name = entry.file_name();
            files.push(format!(
                "{} {}",
                name.display(),
                entry.metadata().unwrap().len()
            ));
        }
    }
}
