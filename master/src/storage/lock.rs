//! Gives a directory to one process.
//!
//! A file of our own, locked before anything else is opened: sled has a lock
//! too, but reports it as an error among others, and two masters on one disk
//! are a mistake worth its own words. The kernel drops the lock with the
//! process, however that ends.

use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::StorageError;
use super::durable_file::{create_directory, io};

const FILE: &str = "lock";

/// The right to use a directory, until dropped.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Makes the directory if there is none, and takes it.
    ///
    /// # Errors
    ///
    /// [`StorageError::DirInUse`] when another process has it, or another
    /// `DirLock` of this one.
    pub fn take(directory: &Path) -> Result<Self, StorageError> {
        create_directory(directory)?;
        let path = directory.join(FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(StorageError::DirInUse {
                path: directory.to_owned(),
            }),
            Err(error) => Err(io("lock", &path)(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_given_once_and_again_after_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let first = DirLock::take(&path).unwrap();
        assert!(matches!(
            DirLock::take(&path),
            Err(StorageError::DirInUse { .. })
        ));
        drop(first);
        assert!(DirLock::take(&path).is_ok());
    }
}
