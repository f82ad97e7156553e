//! A disk of a few megabytes that can be filled.
//!
//! A tmpfs of its own: what it refuses, it refuses with ENOSPC, from the kernel.
//! It takes root to mount one; [`SmallDisk::mount`] says so otherwise.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// What takes the room.
const FILLER: &str = "filler";

/// A mounted disk; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    mount_point: TempDir,
}

impl SmallDisk {
    /// Mounts one.
    ///
    /// # Errors
    ///
    /// It takes root, and a kernel that lets us.
    pub fn mount(bytes: u64) -> io::Result<Self> {
        let mount_point = tempfile::tempdir()?;
        let size = CString::new(format!("size={bytes}"))?;
        mount(
            "vivat-small",
            mount_point.path(),
            "tmpfs",
            MountFlags::empty(),
            Some(size.as_c_str()),
        )?;
        Ok(Self { mount_point })
    }

    /// Where programs find the files.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.mount_point.path()
    }

    /// Takes all the room that is left; how many bytes it was.
    ///
    /// # Errors
    ///
    /// When the file cannot be made or refuses otherwise than for want of room.
    pub fn fill(&self) -> io::Result<u64> {
        let mut file = File::create(self.filler())?;
        let block = [0x66; 4096];
        let mut bytes = 0;
        loop {
            match file.write(&block) {
                Ok(written) => bytes += written as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(bytes),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Errors
    ///
    /// When it was not taken.
    pub fn free(&self) -> io::Result<()> {
        fs::remove_file(self.filler())
    }

    fn filler(&self) -> PathBuf {
        self.path().join(FILLER)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still has a file open there is a process that was killed.
        unmount(self.mount_point.path(), UnmountFlags::DETACH).ok();
    }
}
