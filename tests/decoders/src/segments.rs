//! Segments: the bytes that one worker writes and another reads.

use std::fs;

use vivat_engine::SegmentCompression;
use vivat_engine::segment::{SegmentFile, SegmentReader, SegmentWriter, verify};
use vivat_mapreduce::{Key, Value};

use crate::{Target, masters};

/// The bare bytes of a run, as they come from a stream.
pub const RUN: Target = Target::new("segment_run", run, runs);
/// A whole file.
pub const FILE: Target = Target::new("segment_file", file, files);
/// Keys and values within a record.
pub const RECORDS: Target = Target::new("segment_records", records, encoded_records);

const HEADER_BYTES: usize = 16;
const BLOCK_HEADER_BYTES: usize = 24;
const CHECKED_BYTES: usize = 20;
const INDEX_ENTRY_BYTES: usize = 32;
const FOOTER_BYTES: usize = 20;

fn run(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    sign_blocks(&mut bytes);
    let unpacked = unpack(SegmentReader::new(&bytes[..]));
    let proved = SegmentReader::new(&bytes[..]).prove().is_ok();
    // What unpacks was proved on the way.
    assert!(proved || !unpacked, "a run that unpacks is not proved");
}

/// Reads all records; false when the run is damaged.
fn unpack<R: std::io::Read>(mut reader: SegmentReader<R>) -> bool {
    loop {
        match reader.advance() {
            Ok(true) => {
                let _record = (reader.key(), reader.value());
            }
            Ok(false) => return true,
            Err(error) => {
                assert!(error.io().is_none(), "memory does not fail: {error}");
                return false;
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*field)).ok()
}

/// Gives every block that is there the checksum of what it holds.
fn sign_blocks(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(stored_bytes) = u32_at(bytes, at + 8) {
        let from = at + BLOCK_HEADER_BYTES;
        let to = from.saturating_add(stored_bytes);
        if to > bytes.len() {
            return;
        }
        let header = crc32c::crc32c(&bytes[at..at + CHECKED_BYTES]);
        let sum = crc32c::crc32c_append(header, &bytes[from..to]);
        bytes[at + CHECKED_BYTES..from].copy_from_slice(&sum.to_le_bytes());
        at = to;
    }
}

/// Gives the index the checksum of what it holds, and says where it is.
fn sign_index(bytes: &mut [u8]) -> Option<()> {
    let index_bytes = u32_at(bytes, 12)?.checked_mul(INDEX_ENTRY_BYTES)?;
    let tail = bytes.len().checked_sub(index_bytes + FOOTER_BYTES)?;
    if tail < HEADER_BYTES {
        return None;
    }
    let end = tail + index_bytes;
    bytes[end..end + 8].copy_from_slice(&(tail as u64).to_le_bytes());
    let header = crc32c::crc32c(&bytes[..HEADER_BYTES]);
    let sum = crc32c::crc32c_append(header, &bytes[tail..end + 8]);
    bytes[end + 8..end + 12].copy_from_slice(&sum.to_le_bytes());
    Some(())
}

fn file(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if let Some(blocks) = bytes.get_mut(HEADER_BYTES..) {
        sign_blocks(blocks);
    }
    let _is_signed = sign_index(&mut bytes);
    masters::in_a_folder("segment", &bytes, |path| {
        let Ok(file) = SegmentFile::open(path) else {
            assert!(verify(path).is_err());
            return;
        };
        for partition in 0..file.partitions() {
            let Some((offset, stored_bytes)) = file.partition_range(partition) else {
                continue;
            };
            let end = offset.checked_add(stored_bytes);
            assert!(
                end.is_some_and(|end| end <= bytes.len() as u64),
                "partition {partition} lies outside the file"
            );
            if let Some(run) = file.run(partition) {
                unpack(SegmentReader::of_partition(run, partition));
            }
        }
        let _is_whole = verify(path);
    });
}

fn records(bytes: &[u8]) {
    same_key::<Vec<u8>>(bytes, |key| key.to_vec());
    if let Ok(number) = <u64 as Key>::decode(bytes) {
        let mut again = Vec::new();
        <u64 as Key>::encode(number, &mut again);
        assert_eq!(again, bytes);
    }
    if let Ok(number) = <i64 as Key>::decode(bytes) {
        let mut again = Vec::new();
        <i64 as Key>::encode(number, &mut again);
        assert_eq!(again, bytes);
    }
    if let Ok((text, number)) = <(String, u64) as Key>::decode(bytes) {
        let mut again = Vec::new();
        <(String, u64) as Key>::encode((&text, number), &mut again);
        assert_eq!(again, bytes);
    }
    if let Ok((first, second, third)) = <(Vec<u8>, String, i64) as Key>::decode(bytes) {
        let mut again = Vec::new();
        <(Vec<u8>, String, i64) as Key>::encode((&first, &second, third), &mut again);
        assert_eq!(again, bytes);
    }
    same_value::<u64>(bytes);
    same_value::<i64>(bytes);
    same_value::<f64>(bytes);
    same_value::<String>(bytes);
    same_value::<(u64, i64)>(bytes);
    same_value::<(String, f64)>(bytes);
    same_value::<(u64, Vec<u8>, String)>(bytes);
}

fn same_key<K>(bytes: &[u8], own: impl Fn(K::Decoded<'_>) -> Vec<u8>)
where
    K: Key,
{
    if let Ok(key) = K::decode(bytes) {
        assert_eq!(own(key), bytes);
    }
}

/// What decodes says the same after it was encoded again.
fn same_value<V>(bytes: &[u8])
where
    V: Value,
    for<'a> V::View<'a>: std::fmt::Debug,
{
    if let Ok(value) = V::decode(bytes) {
        let mut again = Vec::new();
        V::encode(value, &mut again);
        let twice = V::decode(&again).expect("what was encoded decodes");
        crate::assert_same(&format!("{value:?}"), &format!("{twice:?}"));
    }
}

/// A file of three partitions: one that packs well, one that does not, none.
fn files() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let lz4 = SegmentCompression::Lz4;
    let write = |name: &str, how: SegmentCompression, pairs: &[(u32, Vec<u8>, Vec<u8>)]| {
        let path = directory.path().join(name);
        let partitions = if pairs.len() == 3 { 3 } else { 1 };
        let mut writer = SegmentWriter::create(&path, partitions)
            .expect("a new file")
            .compressed(how);
        for (partition, key, value) in pairs {
            writer.push(*partition, key, value).expect("memory");
        }
        writer.finish().expect("a small file");
        fs::read(&path).expect("the file that was written")
    };
    let few = [
        (0, b"aaaa".to_vec(), vec![b'a'; 100]),
        (0, b"aaab".to_vec(), vec![b'a'; 200]),
        (2, vec![1, 200, 7, 33], vec![9, 4]),
    ];
    let many: Vec<_> = (0..9_000_u32)
        .map(|number| (0, b"key".to_vec(), number.to_be_bytes().to_vec()))
        .collect();
    vec![
        write("few", lz4, &few),
        write("none", lz4, &[]),
        write("many", lz4, &many),
        write("zstd", SegmentCompression::Zstd, &many),
        write("plain", SegmentCompression::None, &few),
    ]
}

fn runs() -> Vec<Vec<u8>> {
    let files = files();
    let run_of = |file: &[u8]| {
        let partitions = u32_at(file, 12).unwrap_or(0);
        let end = file.len() - FOOTER_BYTES - partitions * INDEX_ENTRY_BYTES;
        file[HEADER_BYTES..end].to_vec()
    };
    let mut runs: Vec<_> = files.iter().map(|file| run_of(file)).collect();
    // The first run alone, without that of partition 2.
    let first = u32_at(&runs[0], 8).map(|stored_bytes| 2 * 24 + 16 + stored_bytes);
    let first = runs[0][..first.unwrap_or(0)].to_vec();
    runs.push(first);
    runs
}

fn encoded_records() -> Vec<Vec<u8>> {
    let mut pair = Vec::new();
    <(String, u64) as Key>::encode(("a\0b", 7), &mut pair);
    let mut triple = Vec::new();
    <(Vec<u8>, String, i64) as Key>::encode((b"x", "y", -1), &mut triple);
    let mut value = Vec::new();
    <(u64, Vec<u8>, String) as Value>::encode((300, b"x", "y"), &mut value);
    vec![pair, triple, value, 1.5_f64.to_le_bytes().to_vec()]
}
