//! The working directory of an attempt's commands: its own, with the job's side files
//! in it, and gone when the attempt ends.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use vivat_mapreduce::{ProgramError, SideFiles};

const NAME: &str = "command";

/// A directory that is deleted when it is dropped.
#[derive(Debug)]
pub(super) struct WorkDir {
    path: PathBuf,
    files: BTreeSet<Vec<u8>>,
}

impl WorkDir {
    /// Makes the directory below `scratch`, and links the side files into it under
    /// their names.
    pub fn create(scratch: &Path, side_files: &SideFiles) -> Result<Self, ProgramError> {
        let failed = |what: &str, error: &io::Error| {
            ProgramError::new(format!("cannot {what} for commands: {error}"))
        };
        // Commands are told of it, and may go elsewhere.
        let scratch = fs::canonicalize(scratch);
        let scratch = scratch.map_err(|error| failed("find a directory", &error))?;
        let path = scratch.join(NAME);
        // A program that panicked in this slot left it.
        remove(&path);
        fs::create_dir(&path).map_err(|error| failed("make a directory", &error))?;
        let mut directory = Self {
            path,
            files: BTreeSet::new(),
        };
        for (name, source) in side_files.iter() {
            if !is_plain(name) {
                return Err(ProgramError::new(format!(
                    "side file `{name}` cannot be put into a working directory under that name"
                )));
            }
            let what = format!("link side file `{name}`");
            let source = fs::canonicalize(source).map_err(|error| failed(&what, &error))?;
            let link = directory.path.join(name);
            symlink(source, link).map_err(|error| failed(&what, &error))?;
            directory.files.insert(name.as_bytes().to_vec());
        }
        Ok(directory)
    }

    /// Its absolute path.
    pub fn bytes(&self) -> Vec<u8> {
        self.path.as_os_str().as_bytes().to_vec()
    }

    /// Whether a side file has that name.
    pub fn has(&self, name: &[u8]) -> bool {
        self.files.contains(name)
    }

    /// Puts a file into it, under the last part of `name`, and returns its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let last = Path::new(name).file_name();
        let last = last.unwrap_or_else(|| "input".as_ref());
        // Apart from side files, which may be called the same.
        let directory = self.path.join("input");
        fs::create_dir_all(&directory)?;
        let path = directory.join(last);
        fs::write(&path, bytes)?;
        Ok(path)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// A name that leads to a place in the directory, and nowhere else.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none()
}

/// Deletes a tree as far as that can be done: commands may have taken the rights to
/// their own directories away.
fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_err() {
        return;
    }
    if fs::remove_dir_all(path).is_err() {
        open_up(path, 0);
        // What is left goes when the worker starts again.
        let _kept = fs::remove_dir_all(path);
    }
}

/// Deeper directories stay as they are.
const DEPTH_MAX: u32 = 64;

fn open_up(path: &Path, depth: u32) {
    let _refused = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && depth < DEPTH_MAX {
            open_up(&entry.path(), depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_goes_with_all_that_was_made_in_it() {
        let scratch = tempfile::tempdir().unwrap();
        let source = scratch.path().join("weights.bin");
        fs::write(&source, "w").unwrap();
        let files: SideFiles = [("weights".to_owned(), source.clone())]
            .into_iter()
            .collect();
        let directory = WorkDir::create(scratch.path(), &files).unwrap();
        assert!(directory.has(b"weights") && !directory.has(b"biases"));
        assert_eq!(fs::read(directory.path.join("weights")).unwrap(), b"w");
        let copy = directory.write("books/a.txt", b"text").unwrap();
        assert!(copy.ends_with("a.txt"));
        let closed = directory.path.join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let path = directory.path.clone();
        drop(directory);
        assert!(!path.exists());
        assert!(source.exists(), "a link was followed");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../x", "/x", "a/b", "", "..", "."] {
            assert!(!is_plain(name), "{name}");
        }
        assert!(is_plain("m.py"));
    }
}
