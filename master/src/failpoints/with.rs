//! The points with their names, and what an order does to whoever passes one.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::Point;
use crate::storage::StorageError;

/// The file of orders.
const ORDERS: &str = "VIVAT_FAILPOINTS";
/// Threads of Raft's runtime: one shows a blocking call at once.
const RAFT_THREADS: &str = "VIVAT_RAFT_THREADS";

/// Every point and its name in an order.
pub const NAMES: [(Point, &str); 53] = [
    (Point::AppendBegin, "append-begin"),
    (Point::AppendWritten, "append-written"),
    (Point::AppendNoted, "append-noted"),
    (Point::SyncBegin, "sync-begin"),
    (Point::SyncFlushed, "sync-flushed"),
    (Point::SyncDone, "sync-done"),
    (Point::AcknowledgeBegin, "acknowledge-begin"),
    (Point::AcknowledgeDone, "acknowledge-done"),
    (Point::VoteBegin, "vote-begin"),
    (Point::VoteWritten, "vote-written"),
    (Point::VoteSynced, "vote-synced"),
    (Point::CommittedBegin, "committed-begin"),
    (Point::CommittedWritten, "committed-written"),
    (Point::TruncateBegin, "truncate-begin"),
    (Point::TruncateNoted, "truncate-noted"),
    (Point::TruncateRemoving, "truncate-removing"),
    (Point::TruncateDone, "truncate-done"),
    (Point::PurgeBegin, "purge-begin"),
    (Point::PurgeMarked, "purge-marked"),
    (Point::PurgeSynced, "purge-synced"),
    (Point::PurgeRemoving, "purge-removing"),
    (Point::PurgeDone, "purge-done"),
    (Point::ReachedWritten, "reached-written"),
    (Point::ReadBegin, "read-begin"),
    (Point::OpenBegin, "open-begin"),
    (Point::OpenDatabase, "open-database"),
    (Point::OpenChecked, "open-checked"),
    (Point::OpenSynced, "open-synced"),
    (Point::OpenDone, "open-done"),
    (Point::GuardCreated, "guard-created"),
    (Point::GuardWritten, "guard-written"),
    (Point::GuardSynced, "guard-synced"),
    (Point::GuardRenamed, "guard-renamed"),
    (Point::GuardKept, "guard-kept"),
    (Point::IdentityCreated, "identity-created"),
    (Point::IdentityWritten, "identity-written"),
    (Point::IdentitySynced, "identity-synced"),
    (Point::IdentityRenamed, "identity-renamed"),
    (Point::IdentityKept, "identity-kept"),
    (Point::SnapshotBegin, "snapshot-begin"),
    (Point::SnapshotCreated, "snapshot-created"),
    (Point::SnapshotWritten, "snapshot-written"),
    (Point::SnapshotSynced, "snapshot-synced"),
    (Point::SnapshotRenamed, "snapshot-renamed"),
    (Point::SnapshotKept, "snapshot-kept"),
    (Point::SnapshotOlderRemoved, "snapshot-older-removed"),
    (Point::SnapshotDone, "snapshot-done"),
    (Point::ApplyBegin, "apply-begin"),
    (Point::ApplyDone, "apply-done"),
    (Point::BuildBegin, "build-begin"),
    (Point::BuildSaved, "build-saved"),
    (Point::InstallBegin, "install-begin"),
    (Point::InstallSaved, "install-saved"),
];

/// What happens to whoever passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Panic,
    Error,
    Full,
    Sleep(Duration),
}

/// Passes a point: does what the file of orders says of it, if anything.
///
/// # Errors
///
/// When an order asks for one.
///
/// # Panics
///
/// When an order asks for it, or is none.
pub fn pass(point: Point) -> Result<(), StorageError> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os(ORDERS).map(PathBuf::from));
    let Some(file) = file else { return Ok(()) };
    // Without a file there are no orders now.
    let Ok(orders) = fs::read_to_string(file) else {
        return Ok(());
    };
    let name = name_of(point);
    let order = orders
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(ordered, _)| *ordered == name);
    match order {
        Some((_, order)) => obey(file, name, order),
        None => Ok(()),
    }
}

/// How many threads Raft's runtime gets.
#[must_use]
pub fn raft_threads(usual: usize) -> usize {
    let asked = std::env::var(RAFT_THREADS).ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn name_of(point: Point) -> &'static str {
    let found = NAMES.iter().find(|(known, _)| *known == point);
    found.expect("the table has every point").1
}

fn obey(file: &Path, name: &'static str, order: &str) -> Result<(), StorageError> {
    let (action, let_through) = order.split_once(' ').unwrap_or((order, "0"));
    let action = parse(action).unwrap_or_else(|| panic!("no such order: {name} {order}"));
    let let_through = let_through.parse().unwrap_or_default();
    if count(name) <= let_through {
        return Ok(());
    }
    note(file, &format!("{name} {order}\n"));
    match action {
        Action::Kill => {
            // No signal handler, no destructor: as the kernel would.
            kill_process(getpid(), Signal::KILL).expect("a process may end itself");
            loop {
                std::thread::park();
            }
        }
        Action::Panic => panic!("failpoint {name}"),
        Action::Error => Err(refusal(name, rustix::io::Errno::IO)),
        Action::Full => Err(refusal(name, rustix::io::Errno::NOSPC)),
        Action::Sleep(time) => {
            std::thread::sleep(time);
            Ok(())
        }
    }
}

fn parse(word: &str) -> Option<Action> {
    match word.split_once('=') {
        Some(("sleep", ms)) => Some(Action::Sleep(Duration::from_millis(ms.parse().ok()?))),
        Some(_) => None,
        None => match word {
            "kill" => Some(Action::Kill),
            "panic" => Some(Action::Panic),
            "error" => Some(Action::Error),
            "full" => Some(Action::Full),
            _ => None,
        },
    }
}

/// Which pass of an ordered point this is, from 1.
fn count(name: &'static str) -> u64 {
    static PASSES: Mutex<BTreeMap<&str, u64>> = Mutex::new(BTreeMap::new());
    let mut passes = PASSES.lock().unwrap_or_else(PoisonError::into_inner);
    let count = passes.entry(name).or_default();
    *count += 1;
    *count
}

fn note(file: &Path, line: &str) {
    let mut struck = file.as_os_str().to_owned();
    struck.push(".struck");
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&struck)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the evidence can be written");
}

fn refusal(name: &str, errno: rustix::io::Errno) -> StorageError {
    StorageError::Io {
        action: "pass the failpoint",
        path: PathBuf::from(name),
        source: io::Error::from(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_has_one_name_of_its_own() {
        let points: BTreeSet<Point> = NAMES.iter().map(|(point, _)| *point).collect();
        let names: BTreeSet<&str> = NAMES.iter().map(|(_, name)| *name).collect();
        assert_eq!((points.len(), names.len()), (NAMES.len(), NAMES.len()));
        // The last of them, so that none was left out.
        assert_eq!(Point::InstallSaved as usize + 1, NAMES.len());
    }

    #[test]
    fn orders_are_understood_or_refused() {
        let second = Action::Sleep(Duration::from_secs(1));
        assert_eq!(parse("sleep=1000"), Some(second));
        assert_eq!(parse("kill"), Some(Action::Kill));
        assert_eq!(parse("kil"), None);
        assert_eq!(parse("sleep"), None);
    }
}
