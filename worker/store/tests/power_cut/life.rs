//! A disk, and one store after the other whose power goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tempfile::TempDir;
use vivat_shared::ids::{BlockId, DatasetId};
use vivat_store::{Created, Deletion, Opened, Scrubber, Store, StoreError};
use vivat_testkit::dice::Dice;
use vivat_testkit::lossy_fs::{CAPACITY_BYTES, Cut, LossyFs};

/// Few, so that each is written and deleted again and again.
const BLOCKS: u64 = 24;
/// Some cuts hit the opening.
const OPERATIONS_BEFORE_CUT_MAX: u64 = 120;
const BUDGET: u64 = 1 << 30;
/// What a file is charged in units of.
const UNIT: u64 = 4096;

/// Numbers that show that a life was about something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub cuts: u64,
    /// Cuts that lost a write or a name.
    pub cuts_that_took: u64,
    /// Cuts that tore a write.
    pub torn: u64,
    /// Acknowledged.
    pub puts: u64,
    /// Acknowledged.
    pub deletions: u64,
    /// Cuts in the middle of an opening.
    pub cut_openings: u64,
    /// Blocks that were there although nobody had been told.
    pub found_unacknowledged: u64,
}

impl Totals {
    pub fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.cuts_that_took += other.cuts_that_took;
        self.torn += other.torn;
        self.puts += other.puts;
        self.deletions += other.deletions;
        self.cut_openings += other.cut_openings;
        self.found_unacknowledged += other.found_unacknowledged;
    }
}

/// What may be found of a block: nothing, or what a numbered put wrote.
type Allowed = BTreeSet<Option<u64>>;

/// A store on a disk.
pub struct Life {
    dice: Dice,
    fs: LossyFs,
    _folders: [TempDir; 2],
    /// Acknowledges before the disk has it.
    is_hasty: bool,
    allowed: BTreeMap<u64, Allowed>,
    next_put: u64,
    totals: Totals,
}

fn id(index: u64) -> BlockId {
    BlockId {
        dataset: DatasetId(3),
        index,
    }
}

/// What a put writes: no two write the same.
fn content(put: u64) -> Vec<u8> {
    let mut dice = Dice::new(put);
    let most = if dice.chance(20) { 200_000 } else { 3_000 };
    let bytes = usize::try_from(dice.up_to(most)).unwrap();
    let start = put.to_le_bytes().to_vec();
    let rest = std::iter::repeat_with(|| dice.roll().to_le_bytes()).flatten();
    start.into_iter().chain(rest).take(8 + bytes).collect()
}

fn read(store: &Store, index: u64) -> Result<Vec<u8>, StoreError> {
    let reader = store.reader(id(index))?;
    let pieces: Result<Vec<_>, _> = reader.stream(0..reader.summary().bytes)?.collect();
    Ok(pieces?.concat())
}

impl Life {
    pub fn new(seed: u64, is_hasty: bool) -> Self {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let fs = LossyFs::mount(folders[0].path(), folders[1].path(), CAPACITY_BYTES).unwrap();
        Self {
            dice: Dice::new(seed),
            fs,
            _folders: folders,
            is_hasty,
            allowed: (0..BLOCKS).map(|index| (index, [None].into())).collect(),
            next_put: 1,
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
            let cut = match self.dice.up_to(2) {
                0 => Cut::Drop,
                1 => Cut::Reorder { seed },
                _ => Cut::Torn { seed },
            };
            self.fs.arm(self.dice.up_to(OPERATIONS_BEFORE_CUT_MAX), cut);
            self.work_until_the_cut();
            let report = self.fs.wait_for_cut(Duration::ZERO).unwrap();
            self.totals.cuts += 1;
            self.totals.cuts_that_took += u64::from(report.took_something());
            self.totals.torn += u64::from(report.torn_kept_bytes.is_some_and(|bytes| bytes > 0));
            self.fs.remount().unwrap();
            if self.dice.chance(70) {
                self.look()?;
            }
        }
        self.look()?;
        Ok(self.totals)
    }

    fn open(&self) -> Result<Opened, StoreError> {
        // Below folders that are not there yet: their names must last, too.
        Store::open(&self.fs.mount_point().join("disk/worker/store"), BUDGET)
    }

    fn work_until_the_cut(&mut self) {
        let opened = match self.open() {
            Ok(opened) => opened,
            Err(error) => {
                assert!(self.is_cut(), "{error}");
                self.totals.cut_openings += 1;
                return;
            }
        };
        let mut scrubber = Scrubber::new(opened.store.clone());
        loop {
            let done = match self.dice.up_to(9) {
                0..=6 => self.put(&opened.store),
                7 | 8 => self.delete(&opened.store),
                _ => scrubber.step(100_000).map(|step| {
                    assert_eq!(step.damaged, 0, "{step:?}");
                }),
            };
            if let Err(error) = done {
                assert!(self.is_cut(), "{error}");
                return;
            }
        }
    }

    fn is_cut(&self) -> bool {
        self.fs.wait_for_cut(Duration::ZERO).is_some()
    }

    fn put(&mut self, store: &Store) -> Result<(), StoreError> {
        let index = self.dice.up_to(BLOCKS - 1);
        let put = self.next_put;
        let content = content(put);
        let mut writer = match store.create(id(index), content.len() as u64)? {
            Created::Writer(writer) => writer,
            Created::Already(_) => return Ok(()),
        };
        self.next_put += 1;
        self.allow(index, Some(put));
        for piece in content.chunks(50_000) {
            writer.write(piece)?;
        }
        if self.dice.chance(10) {
            // The sender went away.
            drop(writer);
            self.settle(index, None);
            return Ok(());
        }
        if self.is_hasty {
            self.settle(index, Some(put));
        }
        writer.finish(None)?;
        self.settle(index, Some(put));
        self.totals.puts += 1;
        Ok(())
    }

    fn delete(&mut self, store: &Store) -> Result<(), StoreError> {
        let count = self.dice.between(1, 5);
        let indexes: Vec<u64> = (0..count).map(|_| self.dice.up_to(BLOCKS - 1)).collect();
        for index in &indexes {
            self.allow(*index, None);
        }
        let ids: Vec<BlockId> = indexes.iter().map(|index| id(*index)).collect();
        for (id, deletion) in store.delete(&ids)? {
            self.totals.deletions += u64::from(deletion == Deletion::Deleted);
            self.settle(id.index, None);
        }
        Ok(())
    }

    fn allow(&mut self, index: u64, put: Option<u64>) {
        self.allowed.entry(index).or_default().insert(put);
    }

    fn settle(&mut self, index: u64, put: Option<u64>) {
        self.allowed.insert(index, [put].into());
    }

    /// Compares what a start finds with what was done. What is found is certain
    /// from then on: it was reported.
    fn look(&mut self) -> Result<(), String> {
        let opened = self.open().map_err(|error| format!("refused: {error}"))?;
        let told: Vec<_> = opened.damaged.try_iter().collect();
        if !told.is_empty() || opened.strangers > 0 {
            return Err(format!("damaged: {told:?}, {} strangers", opened.strangers));
        }
        let mut used = 0;
        for index in 0..BLOCKS {
            let found = match read(&opened.store, index) {
                Ok(bytes) => {
                    let table = bytes.len().div_ceil(65_536) * 4;
                    used += ((32 + bytes.len() + table + 48) as u64).next_multiple_of(UNIT);
                    Some(put_of(&bytes).ok_or(format!("block {index} was never written"))?)
                }
                Err(StoreError::NotFound { .. }) => None,
                Err(error) => return Err(format!("block {index}: {error}")),
            };
            let allowed = &self.allowed[&index];
            if !allowed.contains(&found) {
                return Err(format!(
                    "block {index} is {found:?}, not one of {allowed:?}"
                ));
            }
            if found.is_some() && allowed.len() > 1 {
                self.totals.found_unacknowledged += 1;
            }
            self.settle(index, found);
        }
        let usage = opened.store.usage();
        if (usage.used, usage.reserved) != (used, 0) {
            return Err(format!("{usage:?}, and the files take {used}"));
        }
        Ok(())
    }
}

/// Which put wrote that, and nothing else.
fn put_of(bytes: &[u8]) -> Option<u64> {
    let number = bytes.get(..8)?.try_into().ok()?;
    let put = u64::from_le_bytes(number);
    (content(put) == bytes).then_some(put)
}
