//! Small files that are there whole, or as they were before.
//!
//! Written beside their place, synced, renamed into it, and the directory
//! synced: after a crash at any point a reader finds the old content or the
//! new one, and after the return of [`replace`] the new one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::StorageError;
use crate::failpoints::{FilePoints, pass};

/// Ending of a file that is being written; whoever finds one removes it.
pub const TEMPORARY_ENDING: &str = "tmp";

/// Puts `parts`, one after the other, in the place of `path`; `points` lie
/// between the steps.
///
/// # Errors
///
/// When the operating system refuses any of the steps; the old content is then
/// still there, or the new one is.
pub fn replace(path: &Path, parts: &[&[u8]], points: FilePoints) -> Result<(), StorageError> {
    let temporary = temporary_beside(path);
    let mut file = File::create(&temporary).map_err(io("create", &temporary))?;
    pass(points.created)?;
    for part in parts {
        file.write_all(part).map_err(io("write", &temporary))?;
    }
    pass(points.written)?;
    file.sync_all().map_err(io("sync", &temporary))?;
    drop(file);
    pass(points.synced)?;
    fs::rename(&temporary, path).map_err(io("rename a new file to", path))?;
    pass(points.renamed)?;
    if let Some(parent) = path.parent() {
        sync_directory(parent)?;
    }
    pass(points.kept)
}

/// Reads a whole file; `None` when there is none.
///
/// # Errors
///
/// When the operating system refuses.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", path)(error)),
    }
}

/// Makes a directory's entries durable.
///
/// # Errors
///
/// When the operating system refuses.
pub fn sync_directory(path: &Path) -> Result<(), StorageError> {
    let directory = File::open(path).map_err(io("open", path))?;
    directory.sync_all().map_err(io("sync", path))
}

/// Makes a directory and its parents, durably.
///
/// Level by level, each name synced before the next one is made: so after a
/// crash at most the lowest level that exists is in doubt, and the next call
/// syncs that one again.
///
/// # Errors
///
/// When the operating system refuses.
pub fn create_directory(path: &Path) -> Result<(), StorageError> {
    // A relative path's last ancestor is the empty one, which is no directory.
    let named = || {
        path.ancestors()
            .filter(|level| !level.as_os_str().is_empty())
    };
    let missing = named().take_while(|level| !level.is_dir()).count();
    let levels: Vec<&Path> = named().take(missing + 1).collect();
    for level in levels.into_iter().rev() {
        match fs::create_dir(level) {
            Ok(()) => {}
            Err(_) if level.is_dir() => {}
            Err(error) => return Err(io("create", level)(error)),
        }
        match level.parent() {
            Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new("."))?,
            Some(parent) => sync_directory(parent)?,
            None => {}
        }
    }
    Ok(())
}

pub(super) fn io<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> StorageError + 'a {
    move |source| StorageError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY_ENDING);
    PathBuf::from(name)
}
