//! Grep through the engine gives the bytes that its oracle gives.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "made for other tests too")]
mod common;

use common::{Inputs, Shape, adversarial};

const LARGE: usize = 64 << 20;

const VARIANTS: [&[(&str, &str)]; 12] = [
    &[("pattern", "whale")],
    &[("pattern", "[Ww]hale|^$"), ("line-numbers", "true")],
    &[
        ("pattern", "WHALE"),
        ("fold-case", "true"),
        ("line-numbers", "true"),
    ],
    &[
        ("pattern", "whale"),
        ("invert", "true"),
        ("line-numbers", "true"),
    ],
    &[("pattern", "[a-z]*"), ("only-matching", "true")],
    &[
        ("pattern", "e."),
        ("only-matching", "true"),
        ("line-numbers", "true"),
    ],
    &[("pattern", "whale"), ("count", "true")],
    &[
        ("pattern", "a"),
        ("count", "true"),
        ("invert", "true"),
        ("only-matching", "true"),
    ],
    &[
        ("pattern", "a"),
        ("invert", "true"),
        ("only-matching", "true"),
    ],
    &[("pattern", r"\Awhale\z|\bsea$|x\s*$")],
    &[
        ("pattern", "[^a]whale|e\\s+[^x]*the|^\\s*$"),
        ("line-numbers", "true"),
    ],
    &[("pattern", "(?-u:\\xFF)|\\x00$|(?s).*four.*")],
];

#[test]
fn adversarial_inputs_print_as_the_oracle_prints_for_every_split_size() {
    let all = adversarial();
    let small: Vec<&[u8]> = all[..all.len() - 1].iter().map(Vec::as_slice).collect();
    let inputs = Inputs::new(&small);
    for parameters in VARIANTS {
        inputs.check("grep", parameters, &[1, 2, 7, 64, 1 << 20], &[LARGE]);
    }
}

#[test]
fn a_budget_of_a_few_records_spills_and_changes_nothing() {
    let all = adversarial();
    let inputs = Inputs::new(&[all[all.len() - 1].as_slice(), all[5].as_slice()]);
    for parameters in VARIANTS {
        inputs.check("grep", parameters, &[100, 1 << 20], &[1, 3000]);
    }
}

#[test]
fn generated_text_prints_the_same_for_every_split_size() {
    let mut text = Vec::new();
    vivat_programs::generate::words(400_000, 3, &mut text).unwrap();
    let inputs = Inputs::new(&[&text, b"", &text[..100_001]]);
    for parameters in [
        &[("pattern", "ba[^d]"), ("line-numbers", "true")][..],
        &[("pattern", "^b.* ca|xin$")],
        &[("pattern", "zzz")],
        &[("pattern", "b"), ("count", "true")],
    ] {
        inputs.check("grep", parameters, &[5_000, 131_072, 1 << 30], &[LARGE]);
    }
}

#[test]
fn a_count_is_printed_for_every_file_with_zero_for_an_empty_one() {
    let inputs = Inputs::new(&[b"whale\nsea\nwhale", b"", b"sea\n"]);
    let shape = Shape {
        split_bytes: 4,
        reducers: 3,
        memory_bytes: LARGE,
    };
    let (out, _) = inputs.run("grep", &[("pattern", "whale"), ("count", "true")], shape);
    assert_eq!(out, b"in/0.txt:2\nin/1.txt:0\nin/2.txt:0\n");
}

#[test]
fn a_line_longer_than_the_buffer_matches_at_its_end() {
    let mut text = vec![b'x'; 5 << 20];
    text.extend_from_slice(b"whale\nwhale");
    let inputs = Inputs::new(&[&text]);
    let parameters = [("pattern", "whale$"), ("line-numbers", "true")];
    let shape = Shape {
        split_bytes: 1 << 18,
        reducers: 2,
        memory_bytes: 1 << 20,
    };
    let (found, _) = inputs.run("grep", &parameters, shape);
    assert!(found == inputs.expected("grep", &parameters, 2));
}
