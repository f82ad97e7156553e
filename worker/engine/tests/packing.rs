//! Blocks packed one way or another read the same, and what is no block is said
//! to be none.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::Read;
use std::path::Path;

use vivat_engine::segment::Damage;
use vivat_engine::{
    SegmentCompression, SegmentError, SegmentFile, SegmentReader, SegmentWriter, verify,
};

type Records = Vec<(Vec<u8>, Vec<u8>)>;

fn records() -> Records {
    let word = |number: u32| format!("word-{:05}", number).into_bytes();
    let mut noise = 1_u64;
    let mut noisy = |bytes: usize| {
        let next = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005) + 1;
            (noise >> 56) as u8
        };
        std::iter::repeat_with(next)
            .take(bytes)
            .collect::<Vec<u8>>()
    };
    let mut all: Records = (0..20_000).map(|n| (word(n), b"value".to_vec())).collect();
    // Blocks that do not pack, then one that packs better than 255 to one, and a
    // huge one.
    all.extend((20_000..20_300).map(|n| (word(n), noisy(1_000))));
    all.push((word(30_000), vec![b'x'; 3 << 20]));
    all.push((word(30_001), noisy(2 << 20)));
    all.extend((40_000..45_000).map(|n| (word(n), b"value".to_vec())));
    all
}

fn write(path: &Path, compression: SegmentCompression, records: &Records) -> u64 {
    let mut writer = SegmentWriter::create(path, 1)
        .unwrap()
        .compressed(compression);
    for (key, value) in records {
        writer.push(0, key, value).unwrap();
    }
    writer.finish().unwrap()[0]
}

fn read(path: &Path) -> Records {
    let run = SegmentFile::open(path).unwrap().run(0).unwrap();
    let mut reader = SegmentReader::of_partition(run, 0);
    let mut all = Vec::new();
    while reader.advance().unwrap() {
        all.push((reader.key().to_vec(), reader.value().to_vec()));
    }
    all
}

#[test]
fn every_compression_gives_the_records_back_and_zstd_is_the_smallest() {
    let directory = tempfile::tempdir().unwrap();
    let records = records();
    let sizes = SegmentCompression::ALL.map(|compression| {
        let path = directory.path().join(compression.to_string());
        let stored = write(&path, compression, &records);
        assert!(read(&path) == records, "{compression}");
        assert_eq!(verify(&path).unwrap(), [stored]);
        // The same records are stored as the same bytes.
        let again = directory.path().join("again");
        write(&again, compression, &records);
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap());
        stored
    });
    let [lz4, zstd, none] = sizes;
    assert!(zstd < lz4 && lz4 < none, "{sizes:?}");
}

#[test]
fn zstd_block_whose_bytes_are_others_is_damaged_and_so_is_a_kind_that_nobody_knows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("segment");
    write(&path, SegmentCompression::Zstd, &records());
    let mut run = Vec::new();
    let mut range = SegmentFile::open(&path).unwrap().run(0).unwrap();
    range.read_to_end(&mut run).unwrap();
    assert_eq!(run[0], 3, "the first block is packed by zstd");
    // The header and its checksum are right, what is packed is not.
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut run = run.clone();
        change(&mut run);
        let stored = u32::from_le_bytes([run[8], run[9], run[10], run[11]]) as usize;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&run[..20]), &run[24..24 + stored]);
        run[20..24].copy_from_slice(&crc.to_le_bytes());
        let error = SegmentReader::new(&run[..]).advance().unwrap_err();
        let SegmentError::Damaged { damage, .. } = error else {
            panic!("{error:?}");
        };
        damage
    };
    let packed = damaged(&|run| run[24..40].fill(0));
    assert_eq!(
        packed,
        Damage::Field {
            field: "zstd block"
        }
    );
    let kind = damaged(&|run| run[0] = 4);
    assert_eq!(
        kind,
        Damage::Field {
            field: "block kind"
        }
    );
    // As lz4 it is none, either.
    let other = damaged(&|run| run[0] = 1);
    assert_eq!(other, Damage::Field { field: "lz4 block" });
    let size = damaged(&|run| run[12..16].copy_from_slice(&u32::MAX.to_le_bytes()));
    assert_eq!(
        size,
        Damage::Field {
            field: "block length"
        }
    );
}

#[test]
fn compression_is_named_by_its_word_and_nothing_else() {
    for compression in SegmentCompression::ALL {
        assert_eq!(compression.to_string().parse(), Ok(compression));
    }
    let error = "gzip".parse::<SegmentCompression>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`gzip` is not a compression: lz4, zstd or none"
    );
}
