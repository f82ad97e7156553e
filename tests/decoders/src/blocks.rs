//! Names that come over the network and become none of a file by themselves, and
//! the files of blocks.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use vivat_shared::dataset::{check_name, is_contained};
use vivat_shared::ids::{AttemptId, BlockId, ClusterId, DatasetId, JobId, WorkerId};
use vivat_store::{Created, Store};

use crate::Target;

/// The text forms of ids, and names of datasets and of the files in them.
pub const NAMES: Target = Target::new("names", names, some_names);
/// A block's file on a worker's disk.
pub const BLOCK_FILE: Target = Target::new("block_file", block_file, block_files);

/// Two chunks and a bit of a third.
const BLOCK_BYTES: usize = 2 * 64 * 1024 + 100;
const BLOCK: BlockId = BlockId {
    dataset: DatasetId(3),
    index: 7,
};

/// One text for each id.
fn id<T: std::str::FromStr + ToString>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string(), text);
    }
}

fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    id::<JobId>(text);
    id::<WorkerId>(text);
    id::<AttemptId>(text);
    id::<DatasetId>(text);
    id::<BlockId>(text);
    id::<ClusterId>(text);
    if check_name("name", text).is_ok() {
        let mut parts = Path::new(text).components();
        assert_eq!(parts.next(), Some(Component::Normal(text.as_ref())));
        assert_eq!(parts.next(), None);
    }
    if is_contained(text) {
        let is_normal = |part| matches!(part, Component::Normal(_));
        assert!(Path::new(text).components().all(is_normal));
    }
}

fn some_names() -> Vec<Vec<u8>> {
    [
        "job-7",
        "worker-4294967295",
        "dataset-4",
        "dataset-4.block-17",
        "job-17.2.5.reduce-1000000.3",
        "000000000000000000000000feedbeef",
        "Spiele 2016",
        "a b/größe/no end",
        "../x",
        "dataset-4.block-+1",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// A block as the store writes it, and where its file is below the store.
fn written() -> &'static (PathBuf, Vec<u8>) {
    static WRITTEN: OnceLock<(PathBuf, Vec<u8>)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(directory.path(), u64::MAX)
            .expect("an empty directory is a store")
            .store;
        let created = store.create(BLOCK, BLOCK_BYTES as u64);
        let Ok(Created::Writer(mut writer)) = created else {
            panic!("the store is empty");
        };
        let data: Vec<u8> = (0..=250).cycle().take(BLOCK_BYTES).collect();
        writer.write(&data).expect("there is room");
        writer.finish(None).expect("it can be synced");
        drop(store);
        let path = only_file(&directory.path().join("blocks")).expect("it is there");
        let bytes = fs::read(&path).expect("it was just written");
        let below = path.strip_prefix(directory.path()).expect("it is below");
        (below.to_owned(), bytes)
    })
}

fn only_file(directory: &Path) -> Option<PathBuf> {
    for entry in fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        if path.is_file() {
            return Some(path);
        }
        if let Some(file) = only_file(&path) {
            return Some(file);
        }
    }
    None
}

/// What a store hands out of a file is what the file says that it is (S7).
fn block_file(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join(&written().0);
    let folder = path.parent().expect("it has a shard");
    fs::create_dir_all(folder).expect("the directory is ours");
    fs::write(&path, bytes).expect("there is room");
    let opened = Store::open(directory.path(), u64::MAX).expect("a bad block is no bad store");
    let Ok(reader) = opened.store.reader(BLOCK) else {
        return;
    };
    let summary = reader.summary();
    assert!(summary.bytes <= bytes.len() as u64);
    let Ok(stream) = reader.stream(0..summary.bytes) else {
        panic!("a block's own range");
    };
    let (mut sum, mut count) = (0, 0);
    for piece in stream {
        let Ok(piece) = piece else {
            return;
        };
        sum = crc32c::crc32c_append(sum, &piece);
        count += piece.len() as u64;
    }
    assert_eq!((sum, count), (summary.crc32c, summary.bytes));
}

fn block_files() -> Vec<Vec<u8>> {
    let whole = written().1.clone();
    let cut = whole[..whole.len() - 1].to_vec();
    vec![whole, cut]
}
