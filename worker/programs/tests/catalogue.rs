//! The catalogue: entries that run as they say, and refusals that help.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;

use vivat_programs::{catalogue, find, generate, nearest, validate_parameters};
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputFormat;

fn refusal(program: &str, name: &str, value: &str) -> (String, String) {
    let given = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let error = validate_parameters(find(program).unwrap(), &given).unwrap_err();
    let FailureCause::InvalidParameter {
        program: named,
        parameter,
        detail,
    } = error.cause()
    else {
        panic!("{error}");
    };
    assert_eq!(named, program);
    (parameter, detail)
}

#[test]
fn entries_are_sorted_and_say_how_to_run_them() {
    let names: Vec<&str> = catalogue().iter().map(|entry| entry.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert!(names.contains(&"grep") && names.contains(&"word-count"));
    for entry in catalogue() {
        assert!(
            entry
                .example
                .starts_with(&format!("vivat run {} ", entry.name))
        );
        assert!(!entry.formats.is_empty(), "{}", entry.name);
        assert!(std::ptr::eq(find(entry.name).unwrap(), entry));
    }
    assert!(find("grep").unwrap().accepts(InputFormat::Text));
    assert!(!find("grep").unwrap().accepts(InputFormat::Csv));
    assert!(find("word_count").is_none());
    assert_eq!(nearest("word_count").unwrap().name, "word-count");
    assert!(nearest("matrix").is_none());
}

#[test]
fn defaults_are_filled_in() {
    let parameters = validate_parameters(find("word-count").unwrap(), &BTreeMap::new()).unwrap();
    assert_eq!(parameters.text("words"), "letters");
    assert!(!parameters.is_true("fold-case"));
}

#[test]
fn refused_parameters_are_named_with_what_they_take() {
    let (parameter, detail) = refusal("word-count", "fold_case", "true");
    assert_eq!(parameter, "fold_case");
    assert!(detail.contains("did you mean `fold-case`?"), "{detail}");
    let (_, detail) = refusal("word-count", "colour", "red");
    assert!(detail.contains("words, fold-case"), "{detail}");
    let (parameter, detail) = refusal("word-count", "words", "sentences");
    assert_eq!(parameter, "words");
    assert_eq!(detail, "it takes letters or whitespace, not `sentences`");
    let (_, detail) = refusal("word-count", "fold-case", "yes");
    assert_eq!(detail, "it takes true or false, not `yes`");
    let (parameter, detail) = refusal("grep", "count", "true");
    assert_eq!(parameter, "pattern");
    assert!(detail.contains("it must be given"), "{detail}");
    let (_, detail) = refusal("grep", "pattern", "a(b");
    assert!(detail.contains("unclosed group"), "{detail}");
}

#[test]
fn words_have_the_size_asked_for_and_end_with_a_line_end() {
    for size in [0, 1, 2, 59, 60, 61, 108, 109, 110, 218, 1_000, 100_000] {
        let mut text = Vec::new();
        generate::words(size, 5, &mut text).unwrap();
        assert_eq!(text.len() as u64, size);
        assert!(size == 0 || text.ends_with(b"\n"));
    }
}

#[test]
fn words_are_the_same_for_a_seed_and_differ_between_seeds() {
    let text = |seed| {
        let mut text = Vec::new();
        generate::words(1 << 20, seed, &mut text).unwrap();
        text
    };
    let (first, second) = (text(1), text(2));
    assert!(first != second);
    assert_eq!(xxhash_rust::xxh3::xxh3_64(&first), WORDS_OF_SEED_1);
    let lines: Vec<&[u8]> = first.split(|&byte| byte == b'\n').collect();
    for line in &lines[..lines.len() - 2] {
        assert!((59..=108).contains(&line.len()), "{}", line.len());
        let text = str::from_utf8(line).unwrap();
        assert!(text.split(' ').all(|word| !word.is_empty()), "{text:?}");
    }
    let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
    for word in first.split(|byte| byte.is_ascii_whitespace()) {
        *counts.entry(word).or_default() += 1;
    }
    let most = counts.values().max().unwrap();
    assert!(counts.len() > 10_000, "{}", counts.len());
    assert!(*most > 10_000, "{most}");
}

/// Changing it changes what everybody's `vivat gen words` gives.
const WORDS_OF_SEED_1: u64 = 12_864_834_040_975_172_831;
