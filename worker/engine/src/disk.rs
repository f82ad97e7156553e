//! What the disks have left: every file keeps a reserve free, and an error for
//! want of space says which disk it was.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfs, fstatvfs, statvfs};

/// Of a worker's disk, this part stays free, so that its notes and its log can
/// still be written when spills and segments cannot.
const RESERVE_SHARE: u64 = 100;
/// Enough of a large disk.
const RESERVE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Refuses to write so many bytes into the reserve of the file's disk.
pub(crate) fn keep_reserve(file: &File, bytes: u64) -> io::Result<()> {
    judge(&fstatvfs(file)?, bytes)
}

/// The same for a file that is going to be in a directory.
///
/// # Errors
///
/// [`io::ErrorKind::StorageFull`], or what the operating system says of the
/// directory.
pub fn keep_reserve_in(dir: &Path, bytes: u64) -> io::Result<()> {
    judge(&statvfs(dir)?, bytes)
}

fn judge(disk: &StatVfs, bytes: u64) -> io::Result<()> {
    let total_bytes = disk.f_blocks.saturating_mul(disk.f_frsize);
    // Some network file systems do not say how large they are.
    if total_bytes == 0 {
        return Ok(());
    }
    let reserve_bytes = (total_bytes / RESERVE_SHARE).min(RESERVE_BYTES_MAX);
    if free_bytes(disk) < bytes.saturating_add(reserve_bytes) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

fn free_bytes(disk: &StatVfs) -> u64 {
    disk.f_bavail.saturating_mul(disk.f_frsize)
}

/// Directory, disk and free space, for messages: `/a/b (on the disk at /a, 0 of
/// 8 MiB free)`. Says less when it cannot be found out.
#[must_use]
pub fn describe(dir: &Path) -> String {
    let shown = dir.display();
    let Ok(disk) = statvfs(dir) else {
        return shown.to_string();
    };
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let free = mib(free_bytes(&disk));
    let total = mib(disk.f_blocks.saturating_mul(disk.f_frsize));
    match mount_of(dir) {
        Some(mount) => {
            let mount = mount.display();
            format!("{shown} (on the disk at {mount}, {free} of {total} MiB free)")
        }
        None => format!("{shown} ({free} of {total} MiB free)"),
    }
}

/// The highest directory above that is on the same disk.
fn mount_of(dir: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let real = fs::canonicalize(dir).ok()?;
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    let own = device(&real)?;
    let on_it = |path: &&Path| device(path) == Some(own);
    real.ancestors()
        .take_while(on_it)
        .last()
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_named_by_the_highest_directory_on_it() {
        let text = describe(Path::new("/proc/self/fd"));
        assert!(
            text.starts_with("/proc/self/fd (on the disk at /proc, 0 of 0"),
            "{text}"
        );
        assert_eq!(describe(Path::new("/no/such")), "/no/such");
    }

    #[test]
    fn what_would_leave_less_than_the_reserve_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let disk = statvfs(dir.path()).unwrap();
        let free = free_bytes(&disk);
        keep_reserve_in(dir.path(), 0).unwrap();
        let error = keep_reserve_in(dir.path(), free).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
