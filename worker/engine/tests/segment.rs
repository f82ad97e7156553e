//! Segment files: the bytes of version 1, and the refusal of damaged ones.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vivat_engine::segment::Damage;
use vivat_engine::{SegmentError, SegmentFile, SegmentReader, SegmentWriter, verify};

type Records = Vec<(Vec<u8>, Vec<u8>)>;

fn read(bytes: &[u8]) -> Result<Records, SegmentError> {
    let read = unpack(bytes);
    let proved = SegmentReader::new(bytes).prove();
    assert_eq!(proved.is_ok(), read.is_ok(), "{proved:?}");
    read
}

fn unpack(bytes: &[u8]) -> Result<Records, SegmentError> {
    let mut reader = SegmentReader::new(bytes);
    let mut records = Vec::new();
    while reader.advance()? {
        records.push((reader.key().to_vec(), reader.value().to_vec()));
    }
    Ok(records)
}

/// The bytes of one partition, as they would be sent.
fn stored(path: &Path, partition: u32) -> Vec<u8> {
    let (offset, bytes) = SegmentFile::open(path)
        .unwrap()
        .partition_range(partition)
        .unwrap();
    let all = std::fs::read(path).unwrap();
    let range = usize::try_from(offset).unwrap()..usize::try_from(offset + bytes).unwrap();
    all[range].to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn version_1_has_these_bytes() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("segment");
    let mut writer = SegmentWriter::create(&path, 3).unwrap();
    writer.push(1, b"ab", b"\x01").unwrap();
    writer.push(1, b"b", b"").unwrap();
    let stored = writer.finish().unwrap();
    assert_eq!(stored, [0, 72, 0]);
    let golden = GOLDEN.concat();
    assert_eq!(hex(&std::fs::read(&path).unwrap()), golden);
    assert_eq!(verify(&path).unwrap(), stored);
}

/// Header, block, its bytes, end, totals, index of three partitions, footer.
const GOLDEN: [&str; 9] = [
    "56495641545345470100000003000000",
    "0000000001000000080000000800000002000000b262ea23",
    "0201616201010062",
    "02000000010000001000000000000000000000009c013506",
    "02000000000000000800000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "1000000000000000480000000000000008000000000000000200000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "580000000000000072071b374745535441564956",
];

fn sample(directory: &TempDir, records: u32) -> (PathBuf, Records) {
    let path = directory.path().join("segment");
    let mut writer = SegmentWriter::create(&path, 4).unwrap();
    let mut all = Vec::new();
    for index in 0..records {
        let key = format!("key-{:08}", index / 3).into_bytes();
        let value = index
            .to_string()
            .repeat(1 + index as usize % 9)
            .into_bytes();
        writer.push(2, &key, &value).unwrap();
        all.push((key, value));
    }
    writer.finish().unwrap();
    (path, all)
}

#[test]
fn many_blocks_read_back_what_was_written() {
    let directory = TempDir::new().unwrap();
    let (path, all) = sample(&directory, 20_000);
    assert_eq!(read(&stored(&path, 2)).unwrap(), all);
    let file = SegmentFile::open(&path).unwrap();
    assert_eq!(file.partitions(), 4);
    for empty in [0, 1, 3, 4, u32::MAX] {
        assert_eq!(file.partition_range(empty), None);
    }
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_record_larger_than_a_block_reads_back() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("segment");
    let value: Vec<u8> = (0_u32..500_000)
        .flat_map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let mut writer = SegmentWriter::create(&path, 1).unwrap();
    writer.push(0, b"large", &value).unwrap();
    writer.push(0, b"small", b"x").unwrap();
    writer.finish().unwrap();
    let records = read(&stored(&path, 0)).unwrap();
    assert!(records[0].1 == value);
    assert_eq!(records[1], (b"small".to_vec(), b"x".to_vec()));
}

#[test]
fn every_flipped_byte_of_a_run_is_noticed() {
    let directory = TempDir::new().unwrap();
    let (path, _) = sample(&directory, 40);
    let good = stored(&path, 2);
    for at in 0..good.len() {
        for flip in [0x01, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            assert!(
                matches!(read(&bad), Err(SegmentError::Damaged { .. })),
                "byte {at} of {}",
                good.len()
            );
        }
    }
}

#[test]
fn every_flipped_byte_of_a_file_is_noticed() {
    let directory = TempDir::new().unwrap();
    let (path, _) = sample(&directory, 40);
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x04;
        std::fs::write(&path, &bad).unwrap();
        assert!(verify(&path).is_err(), "byte {at} of {}", good.len());
    }
}

#[test]
fn a_run_cut_anywhere_is_noticed() {
    let directory = TempDir::new().unwrap();
    let (path, _) = sample(&directory, 20_000);
    let good = stored(&path, 2);
    for length in (0..good.len())
        .step_by(9_973)
        .chain([good.len() - 40, good.len() - 1])
    {
        let cut = read(&good[..length]);
        assert!(
            matches!(
                cut,
                Err(SegmentError::Damaged {
                    damage: Damage::Truncated,
                    ..
                })
            ),
            "{length} of {}",
            good.len()
        );
    }
    let mut longer = good;
    longer.push(0);
    assert!(matches!(
        read(&longer),
        Err(SegmentError::Damaged {
            damage: Damage::Trailing,
            ..
        })
    ));
}

#[test]
fn a_run_of_another_partition_is_refused() {
    let directory = TempDir::new().unwrap();
    let (path, _) = sample(&directory, 10);
    let bytes = stored(&path, 2);
    let error = SegmentReader::of_partition(bytes.as_slice(), 1)
        .advance()
        .unwrap_err();
    let SegmentError::Damaged { damage, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(
        damage,
        Damage::Partition {
            found: 2,
            expected: 1
        }
    );
}

#[test]
fn a_file_of_an_unknown_version_is_named_as_such() {
    let directory = TempDir::new().unwrap();
    let (path, _) = sample(&directory, 10);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 9;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        SegmentFile::open(&path),
        Err(SegmentError::UnknownVersion { found: 9, known: 1 })
    ));
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let mut writer = SegmentWriter::create(&directory.path().join("segment"), 1).unwrap();
    writer.push(0, b"a", b"b").unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
