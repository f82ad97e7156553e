//! A file system that loses power on command.
//!
//! It shows the files of a backing folder. What a program writes is visible at
//! once and on the disk only after it asked: `fsync` or `fdatasync` of a file
//! makes its bytes and its size durable, `fsync` of a folder its names. Nothing
//! else does. `sync_file_range` asks a drive with a volatile cache for nothing,
//! and `sync` and `syncfs` do not reach a file system like this one. A write
//! with `O_SYNC` or `O_DSYNC` is synced.
//!
//! [`LossyFs::power_cut`] decides what survives of the rest, writes that to the
//! backing folder, and lets every call fail with EIO until
//! [`LossyFs::remount`]. The mount itself stays, so a program need not be dead
//! yet, only its disk. [`LossyFs::arm`] puts the cut between two given
//! operations, which replays; a clock would not.
//!
//! Stricter than ext4 in one thing: there, syncing a new file also keeps its
//! name. POSIX does not promise it, S9 asks for both syncs, and so does this.
//!
//! Kept simple: everything is held in memory (up to a bound), locks are the
//! kernel's own (`flock` works among programs on this machine), modes are
//! durable at once, there are no links. Files are opened with direct I/O so that
//! no page cache answers after the cut; mappings, where the kernel allows them
//! then, do use it. A process that ends with the mount and a file on it both
//! leaked waits for itself: drop the [`LossyFs`].

mod adapter;
mod backing;
mod file;
mod power;
mod state;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption};

pub use power::{Counters, Cut, CutReport, Fault};

use adapter::Adapter;
use state::Shared;

/// Bytes that the files may hold together, where the test asks for nothing else.
pub const CAPACITY_BYTES: u64 = 1 << 30;

/// A mounted file system; unmounted when dropped, without syncing anything.
#[derive(Debug)]
pub struct LossyFs {
    shared: Arc<Shared>,
    mount_point: PathBuf,
    session: Option<BackgroundSession>,
}

impl LossyFs {
    /// Shows the backing folder at the mount point; both exist, the second is
    /// empty. What the backing folder holds at a cut is replaced.
    ///
    /// # Errors
    ///
    /// A backing folder that cannot be read or holds something else than files
    /// and folders; a mount that is refused (see [`probe`]).
    pub fn mount(backing: &Path, mount_point: &Path, capacity_bytes: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(backing, capacity_bytes)?);
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("vivat-lossy".to_owned())];
        let session = fuser::spawn_mount(Adapter::new(shared.clone()), mount_point, &config)?;
        Ok(Self {
            shared,
            mount_point: mount_point.to_owned(),
            session: Some(session),
        })
    }

    /// Where programs find the files.
    #[must_use]
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Takes the power now.
    ///
    /// # Errors
    ///
    /// The backing folder cannot be written, or the power is off already.
    pub fn power_cut(&self, cut: Cut) -> io::Result<CutReport> {
        let report = self.shared.lock().power_cut(cut);
        self.shared.announce();
        report
    }

    /// Takes the power after so many more operations that change or sync
    /// something: the next one finds the disk dead. Replaces an earlier order.
    pub fn arm(&self, operations: u64, cut: Cut) {
        self.shared.lock().arm(operations, false, cut);
    }

    /// The same at the first sync after so many: most of what a cut can tear is
    /// there just before one.
    pub fn arm_before_sync(&self, operations: u64, cut: Cut) {
        self.shared.lock().arm(operations, true, cut);
    }

    /// Waits for the power to be off; none if it is still on at the deadline.
    #[must_use]
    pub fn wait_for_cut(&self, deadline: Duration) -> Option<CutReport> {
        self.shared.wait_for_cut(deadline)
    }

    /// Switches the power on: reads the backing folder again, so a test may have
    /// damaged it meanwhile. Handles from before stay dead.
    ///
    /// # Errors
    ///
    /// The power is on, or the backing folder cannot be read.
    pub fn remount(&self) -> io::Result<()> {
        self.shared.lock().remount()
    }

    /// Lets calls of a kind fail or take long, from now on; none: no more.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.lock().set_fault(fault);
    }

    /// What happened since the mount.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.lock().counters()
    }

    /// Bytes written and not synced, which a cut could lose now.
    #[must_use]
    pub fn unsynced_bytes(&self) -> u64 {
        self.shared.lock().unsynced_bytes()
    }

    /// Syncs everything and unmounts, as a shutdown does. With the power off,
    /// what survived the cut stays as it is.
    ///
    /// # Errors
    ///
    /// A file is still open, or the backing folder cannot be written.
    pub fn unmount(mut self) -> io::Result<()> {
        if let Some(session) = self.session.take() {
            session.umount_and_join()?;
        }
        self.shared.lock().sync_everything()
    }
}

impl Drop for LossyFs {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        if abort(&self.mount_point) {
            // Its answer says how the connection ended, which we know.
            session.join().ok();
        } else {
            detach(&self.mount_point);
            drop(session);
        }
    }
}

/// Ends the connection and takes the mount away, also if files are open: a test
/// that failed may still have some, and its own message is worth more than one
/// about a busy mount. Without the abort, a process that ends with a file open
/// here would wait for an answer from itself. True if it was done; it takes root.
fn abort(mount_point: &Path) -> bool {
    use rustix::mount::{UnmountFlags, unmount};

    unmount(mount_point, UnmountFlags::FORCE | UnmountFlags::DETACH).is_ok()
}

fn detach(mount_point: &Path) {
    for program in ["fusermount3", "fusermount"] {
        let ended = Command::new(program).arg("-uz").arg(mount_point).status();
        if ended.is_ok_and(|status| status.success()) {
            return;
        }
    }
}

/// Whether this machine lets us mount: tries it.
///
/// # Errors
///
/// Why not, for the line with which a test says that it was skipped.
pub fn probe() -> Result<(), String> {
    probe_device(Path::new("/dev/fuse"))
}

fn probe_device(device: &Path) -> Result<(), String> {
    if let Err(error) = std::fs::File::options().read(true).write(true).open(device) {
        return Err(format!("{} cannot be opened: {error}", device.display()));
    }
    let folders = || Ok::<_, io::Error>((tempfile::tempdir()?, tempfile::tempdir()?));
    let (backing, mount_point) =
        folders().map_err(|error| format!("no temporary folder for a trial mount: {error}"))?;
    let tried = LossyFs::mount(backing.path(), mount_point.path(), CAPACITY_BYTES)
        .and_then(|fs| std::fs::write(fs.mount_point().join("trial"), b"x"));
    tried.map_err(|error| {
        format!("FUSE cannot be mounted here: {error} (it takes root or fusermount3)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_the_device_is_told_what_is_missing() {
        let reason = probe_device(Path::new("/dev/no-such-device")).unwrap_err();
        assert!(
            reason.starts_with("/dev/no-such-device cannot be opened: "),
            "{reason}"
        );
    }
}
