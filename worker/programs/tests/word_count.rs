//! Word count through the engine gives the bytes that its oracle gives.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "made for other tests too")]
mod common;

use common::{Inputs, Shape, adversarial};
use vivat_shared::attempt::counters;

const LARGE: usize = 64 << 20;
const VARIANTS: [&[(&str, &str)]; 4] = [
    &[],
    &[("fold-case", "true")],
    &[("words", "whitespace")],
    &[("words", "whitespace"), ("fold-case", "true")],
];

#[test]
fn adversarial_inputs_count_as_the_oracle_counts_for_every_split_size() {
    let all = adversarial();
    let small: Vec<&[u8]> = all[..all.len() - 1].iter().map(Vec::as_slice).collect();
    let inputs = Inputs::new(&small);
    for parameters in VARIANTS {
        inputs.check(
            "word-count",
            parameters,
            &[1, 2, 3, 7, 64, 1 << 20],
            &[LARGE],
        );
    }
}

#[test]
fn a_budget_of_a_few_records_spills_and_changes_nothing() {
    let all = adversarial();
    let inputs = Inputs::new(&[all[all.len() - 1].as_slice(), all[9].as_slice()]);
    for parameters in VARIANTS {
        inputs.check("word-count", parameters, &[100, 1 << 20], &[1, 3000]);
    }
    let shape = Shape {
        split_bytes: 1 << 20,
        reducers: 2,
        memory_bytes: 1,
    };
    let (_, counters) = inputs.run("word-count", &[], shape);
    assert!(counters[counters::MAP_SPILLS] > 300, "{counters:?}");
}

#[test]
fn one_word_for_everything_is_one_record_in_each_segment() {
    let text = "whale ".repeat(50_000);
    let inputs = Inputs::new(&[text.as_bytes()]);
    inputs.check("word-count", &[], &[1 << 12, 1 << 30], &[LARGE]);
    let shape = Shape {
        split_bytes: 1 << 30,
        reducers: 3,
        memory_bytes: LARGE,
    };
    let (out, counters) = inputs.run("word-count", &[], shape);
    assert_eq!(out, b"whale\t50000\n");
    assert_eq!(counters[counters::MAP_OUTPUT_RECORDS], 50_000);
    assert_eq!(counters[counters::REDUCE_INPUT_RECORDS], 1);
}

#[test]
fn a_line_longer_than_the_buffer_is_read_whole() {
    let mut text = b"first\n".to_vec();
    for index in 0..700_000 {
        text.extend_from_slice(format!("w{} ", index % 1000).as_bytes());
    }
    text.extend_from_slice(b"\nlast");
    assert!(text.len() > 3 << 20);
    let long_word = vec![b'x'; 5 << 20];
    let inputs = Inputs::new(&[&text, &long_word]);
    let shape = |split_bytes| Shape {
        split_bytes,
        reducers: 2,
        memory_bytes: LARGE,
    };
    for parameters in [VARIANTS[0], VARIANTS[2]] {
        let expected = inputs.expected("word-count", parameters, 2);
        for split_bytes in [1 << 18, 1 << 30] {
            let (found, _) = inputs.run("word-count", parameters, shape(split_bytes));
            assert!(found == expected, "{parameters:?} {split_bytes}");
        }
    }
}

#[test]
fn a_hundred_thousand_empty_lines_are_records_without_words() {
    let inputs = Inputs::new(&[&vec![b'\n'; 100_000]]);
    let shape = Shape {
        split_bytes: 999,
        reducers: 2,
        memory_bytes: LARGE,
    };
    let (out, counters) = inputs.run("word-count", &[], shape);
    assert!(out.is_empty());
    assert_eq!(counters[counters::MAP_INPUT_RECORDS], 100_000);
    assert_eq!(counters[counters::MAP_INPUT_BYTES], 100_000);
}

#[test]
fn generated_text_counts_the_same_at_every_budget() {
    let mut text = Vec::new();
    vivat_programs::generate::words(300_000, 7, &mut text).unwrap();
    let inputs = Inputs::new(&[&text]);
    inputs.check(
        "word-count",
        &[],
        &[10_000, 1 << 30],
        &[20_000, 300_000, LARGE],
    );
}
