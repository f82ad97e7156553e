//! Which machine's files this process sees.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use vivat_shared::job::HostIdentity;

/// Boot id and mount namespace of this process: two processes with the same
/// identity see the same files under the same names. Where the system tells
/// neither, an identity that no other process has, so that a plain path is
/// never taken for another machine's.
#[must_use]
pub fn identity() -> HostIdentity {
    static IDENTITY: OnceLock<HostIdentity> = OnceLock::new();
    IDENTITY
        .get_or_init(|| {
            read()
                .unwrap_or_else(|| HostIdentity(format!("process-{:032x}", rand::random::<u128>())))
        })
        .clone()
}

fn read() -> Option<HostIdentity> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot = boot.trim();
    if boot.is_empty() {
        return None;
    }
    // `stat` follows the link to the namespace itself, whose inode names it.
    let mounts = fs::metadata("/proc/self/ns/mnt").ok()?.ino();
    Some(HostIdentity(format!("{boot}/{mounts}")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn identity_is_the_same_at_every_call() {
        assert_eq!(super::identity(), super::identity());
        assert!(!super::identity().0.is_empty());
    }
}
