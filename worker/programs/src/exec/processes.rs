//! What runs on this machine, as far as it descends from this process.

use std::collections::HashMap;

use rustix::process::{Pid, getpid};

/// A process, of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    /// Pages in memory.
    pages: u64,
}

/// The children of this process, those that have ended and were not waited for too.
pub(super) fn children() -> Vec<Pid> {
    let this = getpid().as_raw_nonzero().get();
    let children = all().filter(|process| process.parent == this);
    children
        .filter_map(|process| Pid::from_raw(process.pid))
        .collect()
}

/// Bytes in memory of all that descend from this process. Pages that several of
/// them share count for each.
pub(super) fn memory_bytes() -> u64 {
    let mut by_parent: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all() {
        by_parent.entry(process.parent).or_default().push(process);
    }
    let mut pages: u64 = 0;
    let mut parents = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        // Taken out: numbers that changed hands in between make no circle.
        for process in by_parent.remove(&parent).unwrap_or_default() {
            pages = pages.saturating_add(process.pages);
            parents.push(process.pid);
        }
    }
    pages.saturating_mul(rustix::param::page_size() as u64)
}

/// Those that can be seen; one that ends meanwhile is passed over.
fn all() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read(entry.path().join("stat")).ok()?;
        parse(pid, &stat)
    })
}

/// The fields of `stat`: behind the name, which may hold anything, state, parent,
/// and as the 22nd pages in memory.
fn parse(pid: i32, stat: &[u8]) -> Option<Process> {
    let name_end = memchr::memrchr(b')', stat)?;
    let mut fields = str::from_utf8(&stat[name_end + 1..])
        .ok()?
        .split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    // Two were taken.
    let pages = fields.nth(19)?.parse().ok()?;
    Some(Process { pid, parent, pages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_move_the_fields() {
        let stat = b"7 (a) b (c)) S 3 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 4096 42 18 1";
        let expected = Process {
            pid: 7,
            parent: 3,
            pages: 42,
        };
        assert_eq!(parse(7, stat), Some(expected));
        assert_eq!(parse(7, b"7 (a"), None);
        assert_eq!(parse(7, b""), None);
    }

    #[test]
    fn this_process_is_among_those_that_are_seen() {
        let this = getpid().as_raw_nonzero().get();
        let found = all().find(|process| process.pid == this).unwrap();
        assert!(found.pages > 0);
    }
}
