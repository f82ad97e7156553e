//! What masters find on their disks.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use vivat_core::State;
use vivat_core::snapshot::{decode, encode};
use vivat_master::identity::{Identity, Stage};
use vivat_master::storage::sled_log::chunks::{self, Assembler};
use vivat_master::storage::sled_log::progress::{Guard, Progress};
use vivat_master::storage::{Record, SnapshotFiles};
use vivat_shared::ids::{ClusterId, NodeId, Seat};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Target, assert_same, history};

/// The state of the core in a snapshot: its body, without what surrounds it.
pub const STATE: Target = Target::new("state_snapshot", state, states);
/// The file around it.
pub const SNAPSHOT_FILE: Target = Target::new("snapshot_file", snapshot_file, snapshot_files);
/// Records of the log, in their chunks.
pub const LOG_RECORDS: Target = Target::new("log_records", log_records, logs);
/// The guard beside the database, and the progress within.
pub const GUARD: Target = Target::new("guard", guard, guards);
/// Who a master is.
pub const IDENTITY: Target = Target::new("identity", identity, identities);

const HEADER_BYTES: usize = 12;
const SUM_BYTES: usize = 8;

/// Gives a decoder that reads a file its file, in a folder of its own. The
/// folder is made once for each thread, in memory where that is possible.
pub fn in_a_folder(name: &str, bytes: &[u8], work: impl FnOnce(&Path)) {
    thread_local! {
        static FOLDER: TempDir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("a temporary directory");
    }
    FOLDER.with(|folder| {
        let folder = folder.path().join(name);
        fs::create_dir_all(&folder).expect("a folder for one file");
        let path = folder.join(name);
        fs::write(&path, bytes).expect("a small file");
        work(&path);
    });
}

fn folder_of(path: &Path) -> &Path {
    path.parent().expect("the path of a file")
}

fn state(bytes: &[u8]) {
    assert!(decode(bytes).is_err() || bytes.starts_with(b"VIVATSNP"));
    let mut whole = encode(&State::new())[..HEADER_BYTES].to_vec();
    whole.extend_from_slice(bytes);
    let sum = xxh3_64(&whole);
    whole.extend_from_slice(&sum.to_le_bytes());
    if let Ok(state) = decode(&whole) {
        let again = decode(&encode(&state)).expect("what was encoded decodes");
        assert_eq!(state, again);
    }
}

fn states() -> Vec<Vec<u8>> {
    let body = |state: &State| {
        let whole = encode(state);
        whole[HEADER_BYTES..whole.len() - SUM_BYTES].to_vec()
    };
    history::values_of_states().iter().map(body).collect()
}

fn snapshot_file(bytes: &[u8]) {
    const NAME: &str = "00000000000000000007.snapshot";
    let mut whole = bytes.to_vec();
    let sum = crc32c::crc32c(&whole);
    whole.extend_from_slice(&sum.to_le_bytes());
    for bytes in [bytes, &whole] {
        in_a_folder(NAME, bytes, |path| {
            let files = SnapshotFiles::open(folder_of(path)).expect("a folder");
            if let Ok(Some(stored)) = files.newest() {
                assert_eq!(stored.index, 7);
                let parts = [&stored.meta[..], &stored.content[..]].concat();
                assert_eq!(parts, bytes[24..bytes.len() - 4]);
            }
        });
    }
}

/// Without their checksum, which the target adds.
fn snapshot_files() -> Vec<Vec<u8>> {
    let of = |meta: &[u8], content: &[u8]| {
        let mut bytes = b"VIVATSNP".to_vec();
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        let meta_bytes = u32::try_from(meta.len()).expect("a few bytes");
        bytes.extend_from_slice(&meta_bytes.to_le_bytes());
        bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
        bytes.extend_from_slice(meta);
        bytes.extend_from_slice(content);
        bytes
    };
    vec![of(b"meta", b"content"), of(b"", b"")]
}

/// Chunks as they stand in the input: index, chunk number, length, bytes. Then
/// all of it as one record, cut and put together.
fn log_records(bytes: &[u8]) {
    let mut assembler = Assembler::default();
    let mut rest = bytes;
    while let [index, chunk, low, high, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (value, next) = behind.split_at(length.min(behind.len()));
        let key = chunks::key(u64::from(*index), u32::from(*chunk));
        // The last chunk's key is cut: a database may hold anything.
        let key = if next.is_empty() { &key[..11] } else { &key };
        if assembler.push(key, value).is_err() {
            break;
        }
        rest = next;
    }
    let _is_whole = assembler.finish();
    let record = Record {
        index: bytes.len() as u64,
        bytes: bytes.to_vec().into(),
    };
    let mut assembler = Assembler::default();
    let mut whole = None;
    for (key, value) in chunks::cut(&record) {
        assert_eq!(whole, None);
        whole = assembler.push(&key, &value).expect("our own chunks");
    }
    assert_eq!(whole, Some(record));
}

fn logs() -> Vec<Vec<u8>> {
    let of = |record: &[u8]| {
        let record = Record {
            index: 7,
            bytes: record.to_vec().into(),
        };
        let mut bytes = Vec::new();
        for ((_, value), chunk) in chunks::cut(&record).zip(0_u8..) {
            let length = u16::try_from(value.len()).expect("a chunk");
            bytes.extend([7, chunk]);
            bytes.extend(length.to_le_bytes());
            bytes.extend(value);
        }
        bytes
    };
    vec![of(b"one"), of(&[5; 9_000]), [of(b""), of(b"two")].concat()]
}

fn guard(bytes: &[u8]) {
    if let Some(progress) = Progress::decode(bytes) {
        assert_eq!(progress.encode(), bytes);
        let _loss = progress.find_loss(1, 2, None, None);
    }
    let sum = crc32c::crc32c(bytes).to_le_bytes();
    for bytes in [bytes, &[bytes, &sum[..]].concat()] {
        in_a_folder("guard", bytes, |path| {
            if let Ok(Some(number)) = Guard::load(folder_of(path)) {
                assert_eq!(bytes[..8], number.to_le_bytes());
            }
        });
    }
}

fn guards() -> Vec<Vec<u8>> {
    let progress = Progress {
        number: 7,
        next: 20,
        purged_next: 5,
        vote_checksum: 9,
    };
    vec![7_u64.to_le_bytes().to_vec(), progress.encode()]
}

fn identity(bytes: &[u8]) {
    in_a_folder("identity", bytes, |path| {
        if let Ok(Some(identity)) = Identity::load(folder_of(path)) {
            // It is text that only we write, so there is one text for each.
            let text = std::str::from_utf8(bytes).expect("checked by the decoder");
            assert!(text.contains(&identity.cluster_id.to_string()));
            assert_same(&identity, &identity.clone());
        }
    });
}

fn identities() -> Vec<Vec<u8>> {
    [Stage::Forming, Stage::Member]
        .map(|stage| {
            let folder = tempfile::tempdir().expect("a temporary directory");
            let identity = Identity {
                cluster_id: ClusterId(0xabc),
                node_id: NodeId(2),
                seat: Seat(1),
                stage,
            };
            identity.save(folder.path()).expect("a small file");
            fs::read(folder.path().join("identity")).expect("the file that was written")
        })
        .to_vec()
}
