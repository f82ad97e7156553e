//! Programs over text and web pages, each against its oracle.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[expect(dead_code, reason = "made for other tests too")]
mod common;

use common::{Inputs, Shape, adversarial};
use proptest::prelude::*;
use vivat_shared::job::InputFormat;

const LARGE: usize = 64 << 20;
const ONE: Shape = Shape {
    split_bytes: 1 << 20,
    reducers: 2,
    memory_bytes: LARGE,
};

const LOG: &[u8] =
    br#"10.0.0.7 - - [21/Nov/2026:16:48:21 +0000] "GET / HTTP/1.1" 200 512 "-" "curl/8.9"
10.0.0.8 - anna [21/Nov/2026:16:48:22 +0000] "POST /a?b=\"c\" HTTP/1.1" 201 17
no log line at all
10.0.0.7 - - [21/Nov/2026:16:48:23 +0000] "GET / HTTP/1.1" 304 - "http://x/" "Mozilla (\"y\")" extra

10.0.0.9 - - [21/Nov/2026:16:48:24 +0000] "-" 408 0 "-" "-"
::1 - two words [21/Nov/2026:16:48:25 +0000] "\x16\x03\x01" 400 166 "-" "a b"
10.0.0.7 - - [21/Nov/2026:16:48:26 +0000] "HEAD / HTTP/1.1" 200 99"#;

#[test]
fn access_logs_are_counted_by_every_field_as_the_oracle_counts() {
    let inputs = Inputs::new(&[LOG, b"", &LOG.repeat(3)]);
    for field in ["url", "host", "status", "user-agent", "method"] {
        for bytes in ["true", "false"] {
            let parameters = [("field", field), ("bytes", bytes)];
            inputs.check("url-count", &parameters, &[1, 50, 1 << 20], &[300, LARGE]);
        }
    }
}

#[test]
fn lines_that_are_no_log_lines_are_counted_and_passed_over() {
    let inputs = Inputs::new(&[LOG]);
    let shape = Shape { reducers: 1, ..ONE };
    let (out, counters) = inputs.run("url-count", &[("bytes", "true")], shape);
    let expected = "-\t2\t166\n/\t3\t611\n/a?b=\\\"c\\\"\t1\t17\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(counters["url-count.not-log-lines"], 2);
}

const WORD_VARIANTS: [&[(&str, &str)]; 3] = [
    &[],
    &[("fold-case", "true")],
    &[("words", "whitespace"), ("fold-case", "true")],
];

#[test]
fn index_of_adversarial_texts_is_that_of_the_oracle_for_every_split_size() {
    let all = adversarial();
    let mut texts: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    texts.push(b"\x00nul \x01one \x02two \x00nul");
    let inputs = Inputs::new(&texts);
    for parameters in WORD_VARIANTS {
        inputs.check(
            "inverted-index",
            parameters,
            &[5, 64, 1 << 20],
            &[2000, LARGE],
        );
        let with_positions = [parameters, &[("positions", "true")]].concat();
        inputs.check(
            "inverted-index",
            &with_positions,
            &[5, 1 << 20],
            &[2000, LARGE],
        );
    }
}

#[test]
fn documents_are_sorted_by_name_and_equal_names_are_one_document() {
    let files: [(&str, &[u8]); 4] = [
        ("z.txt", b"sea whale"),
        ("a.txt", b"whale whale"),
        ("z.txt", b"x whale"),
        ("b.txt", b""),
    ];
    let inputs = Inputs::named(InputFormat::Text, &files);
    let shape = Shape { reducers: 1, ..ONE };
    let (out, _) = inputs.run("inverted-index", &[], shape);
    assert_eq!(out, b"sea\tz.txt:1\nwhale\ta.txt:2\tz.txt:2\nx\tz.txt:1\n");
    let (out, _) = inputs.run("inverted-index", &[("positions", "true")], shape);
    assert_eq!(
        out,
        b"sea\tz.txt:0\nwhale\ta.txt:0,6\tz.txt:2,4\nx\tz.txt:0\n"
    );
    inputs.check("inverted-index", &[], &[3, 1 << 20], &[LARGE]);
    let whole = Inputs::named(InputFormat::WholeFile, &files);
    whole.check(
        "inverted-index",
        &[("positions", "true")],
        &[1 << 20],
        &[LARGE],
    );
}

#[test]
fn every_different_line_is_printed_once() {
    let all = adversarial();
    let texts: Vec<&[u8]> = all.iter().chain(&all).map(Vec::as_slice).collect();
    let inputs = Inputs::new(&texts);
    inputs.check("distinct", &[], &[3, 64, 1 << 20], &[200, LARGE]);
    inputs.check(
        "distinct",
        &[("count", "true")],
        &[64, 1 << 20],
        &[200, LARGE],
    );
}

#[test]
fn links_are_turned_around_and_said_once() {
    let list: &[u8] = b"a\tb\tc\nb\tc\na\tb\nnothing\nc\t\ta\n\tb\n";
    let inputs = Inputs::named(
        InputFormat::Text,
        &[("one", list), ("two", list), ("three", b"z\tb\nz\0\tb\0\n")],
    );
    inputs.check("reverse-links", &[], &[1, 7, 1 << 20], &[200, LARGE]);
    let shape = Shape { reducers: 1, ..ONE };
    let (out, counters) = inputs.run("reverse-links", &[], shape);
    let expected = b"a\tc\nb\t\ta\tz\nb\0\tz\0\nc\ta\tb\n";
    assert_eq!(
        out.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    assert_eq!(counters["reverse-links.not-links"], 2);
}

#[test]
fn links_of_pages_are_turned_around() {
    let one = b"<html><a href='b.html'>b</a> <a class=\"x\" href = c.html#x>c</a>\
        <!-- <a href=no.html> --><a href=\"b.html\">again</a><a href='#top'>top</a>";
    let two = b"<p><area href=' b.html?x=1&amp;y=2 '><A HREF=b.html>";
    let inputs = Inputs::named(
        InputFormat::WholeFile,
        &[("one.html", one), ("two.html", two), ("three.html", b"")],
    );
    inputs.check("reverse-links", &[], &[1 << 20], &[LARGE]);
    let shape = Shape { reducers: 1, ..ONE };
    let (out, _) = inputs.run("reverse-links", &[], shape);
    // A place within a page is that page.
    let expected = "b.html\tone.html\ttwo.html\nb.html?x=1&y=2\ttwo.html\nc.html\tone.html\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn top_terms_of_documents_are_those_of_the_oracle() {
    let all = adversarial();
    let texts: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    let inputs = Inputs::new(&texts);
    for parameters in [
        &[][..],
        &[("top", "1"), ("stop-words", "none")],
        &[
            ("top", "3"),
            ("stop-words", "the, LINE"),
            ("fold-case", "false"),
        ],
        &[("words", "whitespace"), ("stop-words", "Whale")],
    ] {
        inputs.check("term-vector", parameters, &[9, 1 << 20], &[500, LARGE]);
    }
}

#[test]
fn top_terms_of_hosts_are_gathered_from_all_their_lines() {
    let lines: &[u8] = b"http://a.org/x\tsea sea the whale\nhttps://u@A.org:80?q\twhale whale\n\
        no line\n\nhttp://b.org\tship\tsail\n";
    let inputs = Inputs::new(&[lines, lines]);
    let parameters = [("by", "host"), ("top", "2")];
    inputs.check("term-vector", &parameters, &[1, 20, 1 << 20], &[LARGE]);
    let shape = Shape { reducers: 1, ..ONE };
    let (out, counters) = inputs.run("term-vector", &parameters, shape);
    assert_eq!(out, b"a.org\twhale:6\tsea:4\nb.org\tsail:2\tship:2\n");
    assert_eq!(counters["term-vector.not-url-lines"], 2);
}

#[test]
fn a_sample_is_the_same_for_all_splits_and_another_for_another_seed() {
    let mut text = Vec::new();
    vivat_programs::generate::words(60_000, 11, &mut text).unwrap();
    text.extend_from_slice(b"nul\0line\nnul\0line\n");
    let inputs = Inputs::new(&[&text, &text[..7000], b""]);
    for parameters in [
        &[("fraction", "0.1")][..],
        &[("fraction", "1")],
        &[("fraction", "0")],
        &[("fraction", "0.5"), ("seed", "2")],
        &[("count", "1")],
        &[("count", "100"), ("seed", "3")],
        &[("count", "1000000")],
    ] {
        inputs.check("sample", parameters, &[500, 1 << 20], &[3000, LARGE]);
    }
    let sample = |seed| {
        inputs
            .run("sample", &[("count", "50"), ("seed", seed)], ONE)
            .0
    };
    assert_ne!(sample("1"), sample("2"));
    assert_eq!(sample("1").split(|byte| *byte == b'\n').count(), 51);
}

#[test]
fn lines_of_equal_keys_are_joined_left_by_right() {
    let orders: &[u8] = b"7\tanna\tpen\n8\tben\tink\n9\tanna\tpad\n10\tzoe\tcap\n";
    let people: &[u8] = b"anna\tOslo\nben\tRome\nanna\tOulu\ndora\tBonn\n";
    let files = [("in/orders.tsv", orders), ("in/people.tsv", people)];
    let inputs = Inputs::named(InputFormat::Text, &files);
    let sides = [
        ("left", "*orders.tsv"),
        ("right", "*people*"),
        ("left-key", "2"),
    ];
    let left = [&sides[..], &[("type", "left"), ("missing", "?")]].concat();
    inputs.check("join", &sides, &[1, 9, 1 << 20], &[100, LARGE]);
    inputs.check("join", &left, &[1, 9, 1 << 20], &[100, LARGE]);
    let shape = Shape { reducers: 1, ..ONE };
    let (out, _) = inputs.run("join", &left, shape);
    let expected = "anna\t7\tpen\tOslo\nanna\t7\tpen\tOulu\nanna\t9\tpad\tOslo\n\
        anna\t9\tpad\tOulu\nben\t8\tink\tRome\nzoe\t10\tcap\t?\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn what_cannot_be_joined_is_refused_with_its_name() {
    let files: [(&str, &[u8]); 2] = [("l.tsv", b"a\tb\nc\n"), ("r.tsv", b"a\n")];
    let inputs = Inputs::named(InputFormat::Text, &files);
    let refusal = |parameters: &[(&str, &str)]| {
        let error = inputs.try_run("join", parameters, ONE).unwrap_err();
        error.cause().to_string()
    };
    let text = refusal(&[("left", "l*"), ("right", "r*"), ("left-key", "2")]);
    assert!(
        text.contains("no field 2") && text.contains("byte 4"),
        "{text}"
    );
    let text = refusal(&[("left", "l*"), ("right", "x*")]);
    assert!(text.contains("r.tsv") && text.contains("none"), "{text}");
    let text = refusal(&[("left", "*"), ("right", "r*")]);
    assert!(text.contains("r.tsv") && text.contains("both"), "{text}");
}

#[test]
fn a_fraction_above_one_is_refused_before_anything_runs() {
    let entry = vivat_programs::find("sample").unwrap();
    let given = [("fraction".to_owned(), "1.5".to_owned())].into();
    let error = vivat_programs::validate_parameters(entry, &given).unwrap_err();
    assert_eq!(error.detail, "it takes a number from 0 to 1, not `1.5`");
}

fn few_words() -> impl Strategy<Value = Vec<u8>> {
    let word =
        prop::sample::select(&["a", "b", "the", "\t", "\n", " ", "é", "\r\n", "\0", "|"][..]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_small_text_gives_what_the_oracles_give(
        texts in prop::collection::vec(few_words(), 1..4),
        split in 1_u64..40,
    ) {
        let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let inputs = Inputs::new(&texts);
        for program in ["distinct", "inverted-index", "reverse-links", "term-vector"] {
            inputs.check(program, &[], &[split], &[LARGE]);
        }
        inputs.check("sample", &[("fraction", "0.5")], &[split], &[LARGE]);
    }
}
