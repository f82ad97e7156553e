//! What the allocator is told before a worker begins.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How long freed pages are kept, in milliseconds; read once, before `main`.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Begins this process again with an allocator that gives back at once what is freed,
/// so that a worker keeps to its `--memory`: kept for the usual second, what it fetched
/// and freed may be as much again. A variable that is set stays as it is.
///
/// Returns only if it is set already, or the binary cannot be run again; then the
/// worker is as it would be without this.
pub fn give_back_at_once(arguments: &[OsString]) {
    if std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let Some((name, rest)) = arguments.split_first() else {
        return;
    };
    let Ok(binary) = std::env::current_exe() else {
        return;
    };
    let mut again = Command::new(binary);
    again.arg0(name).args(rest).env(PURGE_DELAY, "0");
    // It comes back only with an error: a binary that was replaced under its path.
    let _not_again = again.exec();
}
