//! Generated data: the same bytes for the same seed, for ever and on every machine.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::io::{self, Write};

use vivat_programs::generate;
use xxhash_rust::xxh3::xxh3_64;

type Generator = fn(u64, u64, &mut dyn Write) -> io::Result<()>;

/// Every generator by its name in `vivat gen`, and the hash of its first 256 KiB of
/// seed 1. Changing one changes what everybody's `vivat gen` gives.
const ALL: [(&str, Generator, u64); 6] = [
    ("words", generate::words, 18_058_985_485_951_990_563),
    (
        "access-log",
        generate::access_log,
        2_706_380_480_005_608_906,
    ),
    ("game-logs", generate::game_logs, 14_118_618_020_995_310_769),
    ("letters", generate::letters, 16_419_188_039_823_140_163),
    ("links", generate::links, 16_796_116_204_779_723_924),
    ("tera", generate::tera, 1_895_613_865_945_753_914),
];

fn generated(generator: Generator, bytes: u64, seed: u64) -> Vec<u8> {
    let mut out = Vec::new();
    generator(bytes, seed, &mut out).unwrap();
    out
}

#[test]
fn every_generator_gives_the_bytes_that_it_always_gave() {
    let found: Vec<(&str, u64)> = ALL
        .iter()
        .map(|(name, generator, _)| (*name, xxh3_64(&generated(*generator, 256 << 10, 1))))
        .collect();
    let expected: Vec<(&str, u64)> = ALL.iter().map(|(name, _, hash)| (*name, *hash)).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_generator_gives_the_same_again_and_other_bytes_for_another_seed() {
    for (name, generator, _) in ALL {
        let first = generated(generator, 100_000, 5);
        assert!(first == generated(generator, 100_000, 5), "{name}");
        assert!(first != generated(generator, 100_000, 6), "{name}");
    }
}

#[test]
fn every_generator_comes_near_the_size_that_was_asked_for_and_ends_its_last_record() {
    for (name, generator, _) in ALL {
        for bytes in [0, 1, 1_000, 300_000] {
            let out = generated(generator, bytes, 3);
            let length = out.len() as u64;
            assert!(
                length.abs_diff(bytes) <= 2_048,
                "{name}: {length} for {bytes}"
            );
            let ends = match name {
                "tera" => out.len().is_multiple_of(100),
                _ => out.is_empty() || out.ends_with(b"\n"),
            };
            assert!(ends, "{name} of {bytes}");
        }
    }
}

#[test]
fn links_are_lines_of_a_page_and_its_targets_some_of_them_far_more_often_than_others() {
    let text = String::from_utf8(generated(generate::links, 1 << 20, 1)).unwrap();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for line in text.lines() {
        let mut pages = line.split('\t');
        let source = pages.next().unwrap();
        assert!(source.starts_with("https://host"), "{line}");
        let targets: Vec<&str> = pages.collect();
        assert!((1..=16).contains(&targets.len()), "{line}");
        for target in targets {
            *counts.entry(target).or_default() += 1;
        }
    }
    let most = counts.values().max().unwrap();
    assert!(
        *most > 500 && counts.len() > 5_000,
        "{most}, {}",
        counts.len()
    );
}
