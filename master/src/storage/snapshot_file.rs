//! Snapshots as plain files.
//!
//! A file is a header (magic, format version, length of the meta, length of
//! the content), the meta, the content, and a CRC-32C of all that. It is
//! written beside its place, synced and renamed; only then are older ones
//! removed. So after a crash the newest whole snapshot is there, and it covers
//! whatever was purged from the log on its account.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::durable_file::{self, TEMPORARY_ENDING, create_directory, io, sync_directory};
use super::{SnapshotStore, StorageError};
use crate::failpoints::{Point, SNAPSHOT, pass};

const MAGIC: &[u8; 8] = b"VIVATSNP";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 8 + 4 + 4 + 8;
const CHECKSUM_BYTES: usize = 4;
const ENDING: &str = "snapshot";

/// A snapshot: what it covers, and the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The last log index that it covers.
    pub index: u64,
    /// Raft's part.
    pub meta: Bytes,
    /// The state machine's part.
    pub content: Bytes,
}

/// The snapshots of one replica.
#[derive(Debug, Clone)]
pub struct SnapshotFiles {
    directory: PathBuf,
}

impl SnapshotFiles {
    /// Opens a directory, makes it if there is none, and removes files that a
    /// crash left unfinished.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        create_directory(directory)?;
        let files = Self {
            directory: directory.to_owned(),
        };
        for path in files.list()? {
            if path.extension().is_some_and(|end| end == TEMPORARY_ENDING) {
                fs::remove_file(&path).map_err(io("remove", &path))?;
            }
        }
        Ok(files)
    }

    /// Keeps a snapshot, then removes older ones. Blocks until it is durable.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn save(&self, snapshot: &StoredSnapshot) -> Result<(), StorageError> {
        pass(Point::SnapshotBegin)?;
        let path = self.path(snapshot.index);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        let meta_bytes =
            u32::try_from(snapshot.meta.len()).expect("the meta is a membership of a few masters");
        header.extend_from_slice(&meta_bytes.to_le_bytes());
        header.extend_from_slice(&(snapshot.content.len() as u64).to_le_bytes());
        let checksum = [&header[..], &snapshot.meta, &snapshot.content]
            .iter()
            .fold(0, |sum, part| crc32c::crc32c_append(sum, part));
        durable_file::replace(
            &path,
            &[
                &header,
                &snapshot.meta,
                &snapshot.content,
                &checksum.to_le_bytes(),
            ],
            SNAPSHOT,
        )?;
        self.remove_but(snapshot.index)?;
        pass(Point::SnapshotDone)
    }

    /// The newest snapshot; `None` when there is none. Blocks.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] when it is not what was written: an older one
    /// would not help, because the log behind it is purged.
    pub fn newest(&self) -> Result<Option<StoredSnapshot>, StorageError> {
        let Some(index) = self.indexes()?.into_iter().max() else {
            return Ok(None);
        };
        let path = self.path(index);
        let Some(bytes) = durable_file::read(&path)? else {
            return Ok(None);
        };
        parse(&path, index, bytes.into()).map(Some)
    }

    fn remove_but(&self, kept: u64) -> Result<(), StorageError> {
        let mut removed = false;
        for index in self.indexes()? {
            // A newer one may have come meanwhile; it stays.
            if index < kept {
                let path = self.path(index);
                fs::remove_file(&path).map_err(io("remove", &path))?;
                removed = true;
            }
        }
        if removed {
            pass(Point::SnapshotOlderRemoved)?;
            sync_directory(&self.directory)?;
        }
        Ok(())
    }

    fn indexes(&self) -> Result<Vec<u64>, StorageError> {
        let indexes = self.list()?.into_iter().filter_map(|path| {
            let ours = path.extension().is_some_and(|end| end == ENDING);
            let stem = path.file_stem()?.to_str()?;
            ours.then(|| stem.parse().ok())?
        });
        Ok(indexes.collect())
    }

    fn list(&self) -> Result<Vec<PathBuf>, StorageError> {
        let list = || -> std::io::Result<Vec<PathBuf>> {
            fs::read_dir(&self.directory)?
                .map(|entry| Ok(entry?.path()))
                .collect()
        };
        list().map_err(io("list", &self.directory))
    }

    fn path(&self, index: u64) -> PathBuf {
        self.directory.join(format!("{index:020}.{ENDING}"))
    }
}

impl SnapshotStore for SnapshotFiles {
    fn save(&self, snapshot: &StoredSnapshot) -> Result<(), StorageError> {
        self.save(snapshot)
    }

    fn newest(&self) -> Result<Option<StoredSnapshot>, StorageError> {
        self.newest()
    }
}

fn parse(path: &Path, index: u64, bytes: Bytes) -> Result<StoredSnapshot, StorageError> {
    let damaged = |problem: &str| StorageError::Damaged {
        what: "snapshot",
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES || !bytes.starts_with(MAGIC) {
        return Err(damaged("it does not begin like one"));
    }
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let format = word(8);
    if format != FORMAT {
        return Err(StorageError::Format {
            path: path.to_owned(),
            found: format,
            supported: FORMAT,
        });
    }
    let body_bytes = bytes.len() - CHECKSUM_BYTES;
    if word(body_bytes) != crc32c::crc32c(&bytes[..body_bytes]) {
        return Err(damaged("its checksum differs"));
    }
    let meta_bytes = word(12) as usize;
    let content_bytes = u64::from(word(16)) | (u64::from(word(20)) << 32);
    let total = content_bytes.checked_add((HEADER_BYTES + meta_bytes) as u64);
    if total != Some(body_bytes as u64) {
        return Err(damaged("its length differs"));
    }
    let meta_end = HEADER_BYTES + meta_bytes;
    Ok(StoredSnapshot {
        index,
        meta: bytes.slice(HEADER_BYTES..meta_end),
        content: bytes.slice(meta_end..body_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(index: u64) -> StoredSnapshot {
        StoredSnapshot {
            index,
            meta: Bytes::from_static(b"meta"),
            content: Bytes::from(index.to_string().repeat(1000)),
        }
    }

    #[test]
    fn newest_snapshot_survives_reopening_and_older_files_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let files = SnapshotFiles::open(dir.path()).unwrap();
        assert_eq!(files.newest().unwrap(), None);
        files.save(&snapshot(9)).unwrap();
        files.save(&snapshot(10)).unwrap();
        let files = SnapshotFiles::open(dir.path()).unwrap();
        assert_eq!(files.newest().unwrap(), Some(snapshot(10)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn unfinished_file_of_a_crash_is_not_a_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("5.snapshot.tmp"), b"VIVATSNP").unwrap();
        let files = SnapshotFiles::open(dir.path()).unwrap();
        assert_eq!(files.newest().unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn snapshot_with_a_flipped_bit_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let files = SnapshotFiles::open(dir.path()).unwrap();
        files.save(&snapshot(1)).unwrap();
        let path = files.path(1);
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEADER_BYTES + 8] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(files.newest().is_err_and(|error| error.is_damage()));
    }
}
