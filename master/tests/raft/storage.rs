//! The log on sled: what survives, what is refused, and that an fsync lies
//! between a write and its acknowledgement.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use vivat_master::storage::{LogStore, MetaKey, Record, SledLog, StorageError};

const PATIENCE: Duration = Duration::from_secs(20);
/// Tells the re-executed test where to write.
const TRACED_DIR: &str = "VIVAT_TEST_TRACED_DIR";
const TRACED_APPENDS: u64 = 5;

fn record(index: u64, bytes: usize) -> Record {
    let byte = u8::try_from(index % 251).unwrap();
    Record {
        index,
        bytes: Bytes::from(vec![byte; bytes]),
    }
}

/// Appends and waits until it is durable.
fn append(log: &SledLog, records: Vec<Record>) {
    let (sender, receiver) = mpsc::channel();
    log.append(
        records,
        Box::new(move |outcome| sender.send(outcome.is_ok()).unwrap()),
    );
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(true));
}

fn vote(log: &SledLog, vote: &'static [u8]) {
    let (sender, receiver) = mpsc::channel();
    let done = move |outcome: Result<(), _>| sender.send(outcome.is_ok()).unwrap();
    log.save_vote(Bytes::from_static(vote), Box::new(done));
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(true));
}

#[test]
fn everything_acknowledged_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let log = SledLog::open(dir.path()).unwrap();
    append(&log, (1..=40).map(|index| record(index, 3_000)).collect());
    vote(&log, b"vote");
    log.truncate_after(Some(30));
    append(&log, vec![record(31, 10)]);
    log.purge(5, Bytes::from_static(b"mark"));
    vote(&log, b"vote again");
    drop(log);
    let log = SledLog::open(dir.path()).unwrap();
    assert_eq!(log.range(), 6..32);
    assert_eq!(
        log.meta(MetaKey::Vote),
        Some(Bytes::from_static(b"vote again"))
    );
    assert_eq!(log.meta(MetaKey::Purged), Some(Bytes::from_static(b"mark")));
    assert_eq!(log.meta(MetaKey::Committed), None);
    let records = log.read(0..100).unwrap();
    assert_eq!(records.len(), 26);
    assert_eq!(records[0], record(6, 3_000));
    assert_eq!(records[25], record(31, 10));
}

#[test]
fn blobs_stay_empty_with_entries_of_every_size_up_to_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let log = SledLog::open(dir.path()).unwrap();
    let sizes = [100, 4_096, 12_000, 16_000, 32_000, 65_536, 66_000];
    for group in 0..60u64 {
        let records = sizes
            .iter()
            .zip(group * 7..)
            .map(|(size, at)| record(at + 1, *size));
        append(&log, records.collect());
    }
    drop(log);
    // Where sled would put what outgrows a leaf, without any fsync.
    let blobs = fs::read_dir(dir.path().join("blobs")).unwrap();
    assert_eq!(blobs.count(), 0);
    let log = SledLog::open(dir.path()).unwrap();
    for (record, at) in log.read(1..421).unwrap().into_iter().zip(1u64..) {
        assert_eq!(record.index, at);
        assert_eq!(
            record.bytes.len(),
            sizes[usize::try_from((at - 1) % 7).unwrap()]
        );
    }
}

#[test]
fn records_older_than_the_cache_come_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let log = SledLog::open(dir.path()).unwrap();
    for group in 0..20u64 {
        let records = (group * 10..).take(10).map(|at| record(at + 1, 65_536));
        append(&log, records.collect());
    }
    assert_eq!(log.read_cached(1..3), None);
    assert_eq!(
        log.read(1..3).unwrap(),
        [record(1, 65_536), record(2, 65_536)]
    );
    let newest = log.read_cached(199..1_000).unwrap();
    assert_eq!(newest, [record(199, 65_536), record(200, 65_536)]);
    assert_eq!(log.read(1..1_000).unwrap().len(), 200);
}

#[test]
fn append_that_leaves_a_hole_ends_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let log = SledLog::open(dir.path()).unwrap();
    append(&log, vec![record(1, 10)]);
    let (sender, receiver) = mpsc::channel();
    log.append(
        vec![record(3, 10)],
        Box::new(move |outcome| sender.send(outcome.is_err()).unwrap()),
    );
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(true));
    assert!(log.failure().borrow().is_some());
}

/// sled takes damage for the end of its log, and drops what follows.
#[test]
fn damaged_database_is_refused_or_whole() {
    let source = tempfile::tempdir().unwrap();
    let log = SledLog::open(source.path()).unwrap();
    vote(&log, b"vote");
    for index in 1..=200 {
        append(&log, vec![record(index, 900)]);
    }
    drop(log);
    let whole = fs::read(source.path().join("db")).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(source.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
        }
        let mut bytes = whole.clone();
        let end = bytes.len().min(at + 64);
        bytes[at..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        fs::write(copy.path().join("db"), bytes).unwrap();
        match SledLog::open(copy.path()) {
            Ok(log) => {
                let records = log.read(0..1_000).unwrap();
                assert_eq!(records.len(), 200, "damaged at {at}");
                assert_eq!(log.meta(MetaKey::Vote), Some(Bytes::from_static(b"vote")));
            }
            Err(error) => {
                let known = error.is_damage() || matches!(error, StorageError::Database { .. });
                assert!(known, "damaged at {at}: {error:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    eprintln!("{refused} damaged databases were refused");
}

/// In one call, so that the trace has the line in one piece.
fn say(line: &str) {
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The traced half: writes a line before each append and one when it is
/// acknowledged. Does nothing unless the other half runs it.
#[test]
fn traced_appends() {
    let Some(dir) = std::env::var_os(TRACED_DIR) else {
        return;
    };
    let log = SledLog::open(Path::new(&dir)).unwrap();
    for index in 1..=TRACED_APPENDS {
        say(&format!("VIVAT append {index}\n"));
        append(&log, vec![record(index, 2_000)]);
        say(&format!("VIVAT acknowledged {index}\n"));
    }
}

#[test]
fn fsync_of_the_database_lies_between_an_append_and_its_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let database = dir.path().join("log");
    let status = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-e",
            "trace=write,pwrite64,fdatasync,fsync",
            "-o",
        ])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "storage::traced_appends",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(TRACED_DIR, &database)
        .output();
    let Ok(output) = status else {
        eprintln!("skipped: strace is not installed");
        return;
    };
    let text = fs::read_to_string(&trace).unwrap_or_default();
    if !text.contains("VIVAT append 1") {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("ptrace") || said.contains("Operation not permitted"),
            "{said}"
        );
        eprintln!("skipped: ptrace is refused here");
        return;
    }
    let file = database.join("db");
    for index in 1..=TRACED_APPENDS {
        check_order(&text, index, &file);
    }
}

/// Between the two lines of an append: a write of the database ends, and then
/// an fsync of it begins and succeeds.
fn check_order(trace: &str, index: u64, file: &Path) {
    let before = format!("VIVAT append {index}\\n");
    let after = format!("VIVAT acknowledged {index}\\n");
    let start = trace.find(&before).expect("the line before");
    let end = trace.find(&after).expect("the line after");
    let calls: Vec<&str> = trace[start..end].lines().skip(1).collect();
    let name = format!("<{}>", file.display());
    let write = calls
        .iter()
        .position(|call| call.contains("pwrite64(") && call.contains(&name))
        .unwrap_or_else(|| panic!("no write of the database: {calls:#?}"));
    let sync = calls
        .iter()
        .skip(write + 1)
        .position(|call| call.contains("sync(") && call.contains(&name))
        .unwrap_or_else(|| panic!("no fsync after the write: {calls:#?}"));
    let begun = calls[write + 1 + sync];
    let done = |call: &&str| call.contains("sync") && call.trim_end().ends_with("= 0");
    let pid = begun.split_whitespace().next();
    assert!(
        calls[write + 1 + sync..]
            .iter()
            .any(|call| done(call) && call.split_whitespace().next() == pid),
        "the fsync did not end before the acknowledgement: {calls:#?}"
    );
}
