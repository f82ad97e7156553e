//! Stores to take down: the real one, three with a bug, and the files beside the
//! log, whose only record is the newest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use vivat_master::identity::{Identity, Stage};
use vivat_master::storage::durable_file::create_directory;
use vivat_master::storage::{
    Done, LogStore, MetaKey, Record, SledLog, SnapshotFiles, StorageError, StoredSnapshot,
};
use vivat_shared::ids::{ClusterId, NodeId, Seat};

use super::state::State;
use super::writer::{pattern, write_of};

/// More than one page, so that one may be half there.
const SNAPSHOT_BYTES: usize = 30_000;

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The product's.
    Real,
    /// The product's, acknowledging what it was told before the disk has it.
    Hasty,
    /// One that believes that the flush of its database is an fsync.
    TrustsFlush,
    /// One that syncs, and tries again when that fails.
    RetriesSync,
    /// The product's snapshots: a vote is the index of one.
    Snapshots,
    /// The product's identity: a vote is its node id.
    Identity,
}

impl Kind {
    /// Its name in the environment of the writer.
    pub fn word(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Hasty => "hasty",
            Self::TrustsFlush => "trusts-flush",
            Self::RetriesSync => "retries-sync",
            Self::Snapshots => "snapshots",
            Self::Identity => "identity",
        }
    }

    /// Whether it keeps nothing but a vote.
    pub fn only_votes(self) -> bool {
        match self {
            Self::Real | Self::Hasty | Self::TrustsFlush | Self::RetriesSync => false,
            Self::Snapshots | Self::Identity => true,
        }
    }

    /// The one with this name.
    pub fn of(word: &str) -> Option<Self> {
        let all = [
            Self::Real,
            Self::Hasty,
            Self::TrustsFlush,
            Self::RetriesSync,
            Self::Snapshots,
            Self::Identity,
        ];
        all.into_iter().find(|kind| kind.word() == word)
    }

    /// Opens the store.
    pub fn open(self, directory: &Path) -> Result<Box<dyn Subject>, String> {
        let real = || SledLog::open(directory).map_err(|error| chain(&error));
        Ok(match self {
            Self::Real => Box::new(real()?),
            Self::Hasty => Box::new(Hasty(real()?)),
            Self::TrustsFlush | Self::RetriesSync => {
                let opened = Homemade::open(directory, self == Self::RetriesSync);
                Box::new(opened.map_err(|error| error.to_string())?)
            }
            Self::Snapshots => {
                let files = SnapshotFiles::open(directory);
                Box::new(Single(files.map_err(|error| chain(&error))?))
            }
            Self::Identity => {
                create_directory(directory).map_err(|error| chain(&error))?;
                Box::new(Single(IdentityFile(directory.to_owned())))
            }
        })
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// A store, as far as the writer needs it.
pub trait Subject {
    fn write_records(&self, records: Vec<Record>, done: Done);
    fn write_vote(&self, vote: u64, done: Done);
    fn write_hint(&self, hint: u64);
    fn remove_after(&self, last: u64);
    fn remove_upto(&self, upto: u64);
    /// What it holds.
    ///
    /// # Errors
    ///
    /// What in it was never written.
    fn found(&self) -> Result<State, String>;
    /// Whether it has ended.
    fn has_failed(&self) -> bool {
        false
    }
}

fn bytes_of(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn number_of(bytes: &[u8]) -> Result<u64, String> {
    let bytes = bytes
        .try_into()
        .map_err(|_| format!("no number: {bytes:?}"))?;
    Ok(u64::from_be_bytes(bytes))
}

impl Subject for SledLog {
    fn write_records(&self, records: Vec<Record>, done: Done) {
        self.append(records, done);
    }

    fn write_vote(&self, vote: u64, done: Done) {
        self.save_vote(bytes_of(vote), done);
    }

    fn write_hint(&self, hint: u64) {
        self.save_committed(bytes_of(hint));
    }

    fn remove_after(&self, last: u64) {
        self.truncate_after(Some(last));
    }

    fn remove_upto(&self, upto: u64) {
        self.purge(upto, bytes_of(upto));
    }

    fn found(&self) -> Result<State, String> {
        let number = |key| {
            let value = self.meta(key);
            value.map(|bytes| number_of(&bytes)).transpose()
        };
        let mut state = State {
            vote: number(MetaKey::Vote)?,
            purged: number(MetaKey::Purged)?,
            ..State::default()
        };
        number(MetaKey::Committed)?;
        let range = self.range();
        let records = self.read(range.clone()).map_err(|error| chain(&error))?;
        if !records.iter().map(|record| record.index).eq(range.clone()) {
            return Err(format!("the log says {range:?} and gives other records"));
        }
        for record in records {
            state.records.insert(record.index, write_of(&record)?);
        }
        Ok(state)
    }

    fn has_failed(&self) -> bool {
        self.failure().borrow().is_some()
    }
}

/// A store of one value, which a vote replaces.
trait Newest {
    fn replace(&self, number: u64) -> Result<(), StorageError>;
    fn newest(&self) -> Result<Option<u64>, String>;
}

/// Any of them.
struct Single<T>(T);

impl<T: Newest> Subject for Single<T> {
    fn write_vote(&self, vote: u64, done: Done) {
        done(self.0.replace(vote).map_err(Arc::new));
    }

    fn found(&self) -> Result<State, String> {
        Ok(State {
            vote: self.0.newest()?,
            ..State::default()
        })
    }

    fn write_records(&self, _records: Vec<Record>, _done: Done) {}

    fn write_hint(&self, _hint: u64) {}

    fn remove_after(&self, _last: u64) {}

    fn remove_upto(&self, _upto: u64) {}
}

impl Newest for SnapshotFiles {
    fn replace(&self, number: u64) -> Result<(), StorageError> {
        self.save(&StoredSnapshot {
            index: number,
            meta: bytes_of(number),
            content: pattern(number, number, SNAPSHOT_BYTES).into(),
        })
    }

    fn newest(&self) -> Result<Option<u64>, String> {
        let newest = Self::newest(self).map_err(|error| chain(&error))?;
        let Some(newest) = newest else {
            return Ok(None);
        };
        let expected = pattern(newest.index, newest.index, SNAPSHOT_BYTES);
        let is_ours = newest.meta == bytes_of(newest.index) && newest.content == expected;
        is_ours
            .then_some(Some(newest.index))
            .ok_or_else(|| format!("snapshot {} is what nobody wrote", newest.index))
    }
}

struct IdentityFile(PathBuf);

impl Newest for IdentityFile {
    fn replace(&self, number: u64) -> Result<(), StorageError> {
        let identity = Identity {
            cluster_id: ClusterId(7),
            node_id: NodeId(number),
            seat: Seat(1),
            stage: Stage::Member,
        };
        identity.save(&self.0)
    }

    fn newest(&self) -> Result<Option<u64>, String> {
        let found = Identity::load(&self.0).map_err(|error| chain(&error))?;
        Ok(found.map(|identity| identity.node_id.0))
    }
}

/// Mistake 1, in its plainest form.
struct Hasty(SledLog);

impl Subject for Hasty {
    fn write_records(&self, records: Vec<Record>, done: Done) {
        self.0.append(records, Box::new(drop));
        done(Ok(()));
    }

    fn write_vote(&self, vote: u64, done: Done) {
        self.0.write_vote(vote, Box::new(drop));
        done(Ok(()));
    }

    fn write_hint(&self, hint: u64) {
        self.0.write_hint(hint);
    }

    fn remove_after(&self, last: u64) {
        self.0.remove_after(last);
    }

    fn remove_upto(&self, upto: u64) {
        self.0.remove_upto(upto);
    }

    fn found(&self) -> Result<State, String> {
        self.0.found()
    }
}

/// A store without our care.
struct Homemade {
    db: sled::Db,
    /// The file of the database, if it is to be synced. Without it, this is
    /// mistake 1 as a reader of the database's documentation makes it.
    file: Option<File>,
}

const VOTE: &str = "vote";
const PURGED: &str = "purged";

impl Homemade {
    fn open(directory: &Path, syncs: bool) -> std::io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let db = sled::open(directory)?;
        db.flush()?;
        // Names are not what this is about: they are synced, all of them.
        for folder in directory.ancestors().take(2) {
            File::open(folder)?.sync_all()?;
        }
        let file = syncs
            .then(|| File::open(directory.join("db")))
            .transpose()?;
        Ok(Self { db, file })
    }

    fn log(&self) -> sled::Tree {
        self.db.open_tree("log").unwrap()
    }

    fn finish(&self, done: Done) {
        match self.db.flush() {
            Ok(_) => {
                // The mistake: what the first sync lost, the second does not write.
                while self
                    .file
                    .as_ref()
                    .is_some_and(|file| file.sync_data().is_err())
                {}
                done(Ok(()));
            }
            Err(error) => {
                eprintln!("{error}");
                done(Err(Arc::new(StorageError::Failed)));
            }
        }
    }

    fn remove(&self, keys: impl Fn(u64) -> bool) {
        let log = self.log();
        for key in log.iter().keys().filter_map(Result::ok) {
            if keys(number_of(&key).unwrap()) {
                log.remove(key).ok();
            }
        }
    }
}

impl Subject for Homemade {
    fn write_records(&self, records: Vec<Record>, done: Done) {
        let log = self.log();
        for record in records {
            log.insert(record.index.to_be_bytes(), &record.bytes[..])
                .ok();
        }
        self.finish(done);
    }

    fn write_vote(&self, vote: u64, done: Done) {
        self.db.insert(VOTE, &vote.to_be_bytes()).ok();
        self.finish(done);
    }

    fn write_hint(&self, _hint: u64) {}

    fn remove_after(&self, last: u64) {
        self.remove(|index| index > last);
    }

    fn remove_upto(&self, upto: u64) {
        self.db.insert(PURGED, &upto.to_be_bytes()).ok();
        self.remove(|index| index <= upto);
    }

    fn found(&self) -> Result<State, String> {
        let number = |key| match self.db.get(key) {
            Ok(Some(value)) => number_of(&value).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let mut state = State {
            vote: number(VOTE)?,
            purged: number(PURGED)?,
            ..State::default()
        };
        for item in self.log().iter() {
            let (key, value) = item.map_err(|error| error.to_string())?;
            let record = Record {
                index: number_of(&key)?,
                bytes: Bytes::copy_from_slice(&value),
            };
            state.records.insert(record.index, write_of(&record)?);
        }
        Ok(state)
    }
}

/// The record of a write at an index, with so many bytes behind its head.
pub fn record(index: u64, write: u64, bytes: usize) -> Record {
    Record {
        index,
        bytes: pattern(index, write, bytes).into(),
    }
}
