//! A disk that was damaged while nobody wrote: it is refused, or it is whole
//! (F14, S7, S9).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use tempfile::TempDir;
use vivat_master::storage::{LogStore, SledLog, StorageError};
use vivat_testkit::dice::Dice;

use super::state::State;
use super::subject::{Subject, record};

const RECORDS: u64 = 120;
const DEADLINE: Duration = Duration::from_secs(60);
const SECTOR_BYTES: usize = 512;

/// What was made of disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub refused: u64,
    pub whole: u64,
}

/// Files of a disk, by their path in it.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A log as a killed process leaves it, all of it acknowledged.
pub struct Disk {
    files: Files,
    expected: State,
    /// Where in the database the newest record lies.
    newest: std::ops::Range<usize>,
}

impl Disk {
    /// Writes one. Nothing is closed in order: that would sync what it reached.
    pub fn write(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SledLog::open(dir.path()).unwrap();
        let mut dice = Dice::new(seed);
        let (told, outcomes) = channel();
        let done = || {
            let told = told.clone();
            Box::new(move |outcome: Result<(), _>| told.send(outcome.is_ok()).unwrap())
        };
        let heard = || assert_eq!(outcomes.recv_timeout(DEADLINE), Ok(true));
        for index in 1..=RECORDS {
            if index % 40 == 1 {
                store.write_vote(index, done());
                heard();
            }
            let bytes = usize::try_from(dice.between(100, 1_500)).unwrap();
            store.append(vec![record(index, index, bytes)], done());
            heard();
        }
        let expected = store.found().unwrap();
        let files = read(dir.path());
        let newest = newest_record(&files[Path::new("db")]);
        Self {
            files,
            expected,
            newest,
        }
    }

    /// A copy with something done to it, and what the log says of it.
    fn open(&self, damage: impl FnOnce(&Path)) -> (TempDir, Result<SledLog, StorageError>) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &self.files);
        damage(dir.path());
        let opened = SledLog::open(dir.path());
        (dir, opened)
    }

    /// Refused as damaged, or nothing is missing.
    fn is_refused(&self, what: &str, damage: impl FnOnce(&Path)) -> bool {
        let (_dir, opened) = self.open(damage);
        match opened {
            Ok(log) => {
                assert_eq!(log.found().as_ref(), Ok(&self.expected), "{what}");
                false
            }
            Err(error) => {
                let known = error.is_damage() || matches!(error, StorageError::Database { .. });
                assert!(known, "{what}: {error:?}");
                true
            }
        }
    }

    /// The same with a file's bytes.
    fn change(&self, file: &str, what: &str, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.is_refused(&format!("{file}: {what}"), |dir| {
            let path = dir.join(file);
            let mut bytes = fs::read(&path).unwrap();
            change(&mut bytes);
            fs::write(&path, bytes).unwrap();
        })
    }

    fn used(&self) -> usize {
        let bytes = &self.files[Path::new("db")];
        bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
    }

    /// One bit at so many places of each file.
    pub fn flip_bits(&self, places: u64, seed: u64) -> Totals {
        let mut dice = Dice::new(seed);
        let mut totals = Totals::default();
        let used = self.used() as u64;
        for _ in 0..places {
            let at = usize::try_from(dice.up_to(used - 1)).unwrap();
            let bit = 1 << dice.up_to(7);
            totals.count(self.change("db", &format!("bit at {at}"), |bytes| bytes[at] ^= bit));
        }
        let guard = self.files[Path::new("guard")].len();
        for at in 0..guard {
            let refused = self.change("guard", &format!("bit at {at}"), |bytes| bytes[at] ^= 1);
            assert!(refused, "a guard that does not decode");
            totals.count(refused);
        }
        totals
    }

    /// The end of the database torn off, zeroed or overwritten, by sectors.
    pub fn tear(&self, places: u64, seed: u64) -> Totals {
        let mut dice = Dice::new(seed);
        let mut totals = Totals::default();
        let sectors = (self.used() / SECTOR_BYTES) as u64;
        for place in 0..places {
            let at = usize::try_from(dice.up_to(sectors - 1)).unwrap() * SECTOR_BYTES;
            let what = format!("torn at {at}, {place}");
            totals.count(self.change("db", &what, |bytes| match place % 3 {
                0 => bytes.truncate(at),
                1 => bytes[at..].fill(0),
                _ => bytes[at..at + SECTOR_BYTES].fill(0x5a),
            }));
        }
        totals
    }

    /// Each file, and all of them, gone or empty.
    pub fn lose_files(&self) -> Totals {
        let mut totals = Totals::default();
        for file in self.files.keys() {
            let name = file.display();
            totals.count(self.is_refused(&format!("{name} is missing"), |dir| {
                fs::remove_file(dir.join(file)).unwrap();
            }));
            totals.count(self.is_refused(&format!("{name} is empty"), |dir| {
                fs::write(dir.join(file), b"").unwrap();
            }));
        }
        for needed in ["db", "guard"] {
            let refused = self.is_refused(&format!("{needed} is missing"), |dir| {
                fs::remove_file(dir.join(needed)).unwrap();
            });
            assert!(refused, "without its {needed} it is not what it was");
        }
        totals
    }

    /// The newest record alone, within the second in which the guard may be
    /// behind: the process died, the power did not go.
    pub fn flip_newest(&self) -> Totals {
        let mut totals = Totals::default();
        for at in self.newest.clone().step_by(self.newest.len() / 12) {
            let refused = self.change("db", &format!("newest, {at}"), |bytes| bytes[at] ^= 0x10);
            assert!(refused, "the newest record is acknowledged like all others");
            totals.count(refused);
        }
        totals
    }

    /// What the database leaves when it dies while it writes its page table.
    pub fn leave_unfinished(&self) -> bool {
        self.is_refused("an unfinished page table", |dir| {
            let half = [0x17; 100];
            fs::write(dir.join("snap.0000000000012345.generating"), half).unwrap();
        })
    }
}

impl Totals {
    fn count(&mut self, refused: bool) {
        self.refused += u64::from(refused);
        self.whole += u64::from(!refused);
    }
}

/// Where the pattern of the newest record lies, which stands there as it is.
fn newest_record(database: &[u8]) -> std::ops::Range<usize> {
    let mut head = RECORDS.to_be_bytes().to_vec();
    head.extend_from_slice(&RECORDS.to_be_bytes());
    let at = database
        .windows(head.len())
        .rposition(|bytes| bytes == head)
        .expect("the newest record is in the database");
    at..at + 100
}

fn read(folder: &Path) -> Files {
    let mut files = Files::new();
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    for entry in entries.filter(|entry| entry.file_type().unwrap().is_file()) {
        files.insert(entry.file_name().into(), fs::read(entry.path()).unwrap());
    }
    files
}

fn write(folder: &Path, files: &Files) {
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}
