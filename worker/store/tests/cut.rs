//! Cutting against naive oracles, for every way in which the input may come in
//! pieces (blocks that are read by themselves must hold whole records: S7 is
//! about bytes, this is about meaning).

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use proptest::prelude::*;
use vivat_shared::job::InputFormat;
use vivat_store::cut::{CSV_HEADER_BYTES_MAX, CutBlock, CutError, Cutter, Sizes};

const TARGET: u64 = 16;
const MOST: u64 = 48;

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    header: Option<Vec<u8>>,
    blocks: Vec<Vec<u8>>,
    error: Option<CutError>,
}

/// Pushes the pieces, and takes what is ready after each.
fn cut(format: InputFormat, pieces: &[&[u8]]) -> Outcome {
    let mut cutter = Cutter::new(format, Sizes::new(TARGET, MOST));
    let mut blocks = Vec::new();
    let result = cut_all(&mut cutter, pieces, &mut blocks);
    let mut offset = cutter.header().map_or(0, |header| header.len() as u64);
    for block in &blocks {
        assert_eq!(block.offset, offset);
        offset += block.bytes();
    }
    Outcome {
        header: cutter.header().map(|header| header.to_vec()),
        blocks: blocks.iter().map(|block| block.pieces.concat()).collect(),
        error: result.err(),
    }
}

fn cut_all(
    cutter: &mut Cutter,
    pieces: &[&[u8]],
    blocks: &mut Vec<CutBlock>,
) -> Result<(), CutError> {
    for piece in pieces {
        cutter.push(Bytes::copy_from_slice(piece))?;
        while let Some(block) = cutter.take_block()? {
            blocks.push(block);
        }
    }
    cutter.end()?;
    while let Some(block) = cutter.take_block()? {
        blocks.push(block);
    }
    Ok(())
}

/// Ends of records, the obvious way: the last one is the end of the input.
fn ends(format: InputFormat, input: &[u8]) -> Vec<usize> {
    let mut ends = match format {
        InputFormat::Text => line_ends(input),
        InputFormat::Csv => csv_ends(input),
        InputFormat::Fixed(bytes) => (1..=input.len() / bytes as usize)
            .map(|number| number * bytes as usize)
            .collect(),
        InputFormat::WholeFile => Vec::new(),
    };
    if !input.is_empty() && ends.last() != Some(&input.len()) {
        ends.push(input.len());
    }
    ends
}

fn line_ends(input: &[u8]) -> Vec<usize> {
    let positions = 0..input.len();
    positions
        .filter(|at| input[*at] == b'\n')
        .map(|at| at + 1)
        .collect()
}

/// Byte by byte, with a field's beginning kept in mind.
fn csv_ends(input: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut is_quoted = false;
    let mut begins_field = true;
    let mut at = if input.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    while at < input.len() {
        let byte = input[at];
        if is_quoted {
            if byte == b'"' && input.get(at + 1) == Some(&b'"') {
                at += 1;
            } else if byte == b'"' {
                is_quoted = false;
            }
            begins_field = false;
        } else {
            is_quoted = byte == b'"' && begins_field;
            begins_field = matches!(byte, b',' | b'\n' | b'\r');
            if byte == b'\n' {
                ends.push(at + 1);
            }
        }
        at += 1;
    }
    ends
}

/// Blocks from ends, by the rule that the documentation states.
fn oracle(format: InputFormat, input: &[u8]) -> Outcome {
    let mut ends = ends(format, input);
    let mut outcome = Outcome {
        header: None,
        blocks: Vec::new(),
        error: None,
    };
    let mut start = 0;
    if format == InputFormat::Csv {
        let is_blank = |end: &usize| input[..*end].iter().all(|byte| b"\r\n".contains(byte));
        let blank = ends.iter().take_while(|end| is_blank(end)).count();
        start = ends.get(blank).copied().unwrap_or(input.len());
        ends.retain(|end| *end > start);
        outcome.header = Some(input[..start].to_vec());
    }
    let size = |bytes: u64| usize::try_from(bytes).unwrap();
    let (target, most) = (size(TARGET), size(MOST));
    while start < input.len() {
        let fits = ends
            .iter()
            .rfind(|end| **end > start && **end <= start + target);
        let next = ends.iter().find(|end| **end > start);
        let end = *fits.or(next).unwrap();
        if end - start > most {
            outcome.error = Some(CutError::RecordTooLong {
                offset: start as u64,
                bytes_max: MOST,
                format,
            });
            break;
        }
        outcome.blocks.push(input[start..end].to_vec());
        start = end;
    }
    outcome
}

/// The input in pieces of these lengths, over and over.
fn in_pieces<'i>(input: &'i [u8], lengths: &[usize]) -> Vec<&'i [u8]> {
    let mut rest = input;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if rest.is_empty() || lengths.iter().all(|length| *length == 0) {
            break;
        }
        let (now, later) = rest.split_at((*length).min(rest.len()));
        pieces.push(now);
        rest = later;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    let alphabet = b"ab,\"\"\"\n\n\r\xef".to_vec();
    let byte = proptest::sample::select(alphabet);
    // Long words, so that some records are longer than a block, and than the limit.
    let word = (byte, 1_usize..24).prop_map(|(byte, count)| {
        let count = if byte == b'a' { count } else { 1 };
        vec![byte; count]
    });
    let start = proptest::sample::select(vec![&b""[..], b"\xef\xbb\xbf", b"\r\n"]);
    (start, proptest::collection::vec(word, 0..60))
        .prop_map(|(start, words)| [start.to_vec(), words.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn cuts_are_those_of_the_oracle_however_the_input_comes(
        input in input(),
        lengths in proptest::collection::vec(0_usize..30, 1..6),
        format in proptest::sample::select(vec![
            InputFormat::Text,
            InputFormat::Csv,
            InputFormat::WholeFile,
        ]),
    ) {
        let expected = oracle(format, &input);
        let found = cut(format, &in_pieces(&input, &lengths));
        if expected.error.is_none() {
            let mut whole = found.header.clone().unwrap_or_default();
            whole.extend(found.blocks.concat());
            prop_assert_eq!(&whole, &input);
        }
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(&cut(format, &in_pieces(&input, &[1])), &expected);
        prop_assert_eq!(&cut(format, &[&input]), &expected);
    }

    #[test]
    fn blocks_of_csv_give_a_csv_reader_the_records_of_the_whole(
        input in input(),
        lengths in proptest::collection::vec(1_usize..30, 1..4),
    ) {
        // The reader takes a CR alone as an end too; it is not one to cut at.
        let found = cut(InputFormat::Csv, &in_pieces(&input, &lengths));
        prop_assume!(found.error.is_none());
        let mut parts = records(found.header.as_deref().unwrap_or_default());
        for block in &found.blocks {
            parts.extend(records(block));
        }
        prop_assert_eq!(parts, records(&input));
    }

    #[test]
    fn fixed_records_are_never_cut(
        input in proptest::collection::vec(any::<u8>(), 0..200),
        lengths in proptest::collection::vec(1_usize..30, 1..4),
        record in 1_u32..70,
    ) {
        let found = cut(InputFormat::Fixed(record), &in_pieces(&input, &lengths));
        let short = input.len() % record as usize;
        if u64::from(record) > MOST {
            let is_too_long = matches!(
                found.error,
                Some(CutError::RecordTooLong { offset: 0, .. }) | None
            );
            prop_assert!(is_too_long && found.blocks.is_empty());
            prop_assert_eq!(found.error.is_none(), input.is_empty());
        } else if short > 0 {
            let offset = (input.len() - short) as u64;
            let bytes = short as u64;
            let wanted = record;
            prop_assert_eq!(
                found.error,
                Some(CutError::RecordCutShort { offset, bytes, wanted })
            );
        } else {
            prop_assert_eq!(&found, &oracle(InputFormat::Fixed(record), &input));
            prop_assert_eq!(found.blocks.concat(), input);
        }
    }
}

/// What the reader of the job would see.
fn records(csv: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(csv);
    let records = reader.byte_records().map(Result::unwrap);
    records
        .map(|record| record.iter().map(<[u8]>::to_vec).collect())
        .collect()
}

#[test]
fn an_empty_stream_has_no_blocks() {
    for format in [
        InputFormat::Text,
        InputFormat::Csv,
        InputFormat::WholeFile,
        InputFormat::Fixed(3),
    ] {
        assert!(cut(format, &[]).blocks.is_empty());
    }
}

#[test]
fn a_header_without_end_is_refused_before_it_fills_the_memory() {
    let mut cutter = Cutter::new(InputFormat::Csv, Sizes::default());
    let piece = Bytes::from(vec![b'x'; 1024]);
    let pushed = (0..100).map(|_| cutter.push(piece.clone()));
    let accepted = pushed.take_while(Result::is_ok).count();
    assert_eq!(accepted as u64, CSV_HEADER_BYTES_MAX / 1024);
    let refused = CutError::HeaderTooLong {
        bytes_max: CSV_HEADER_BYTES_MAX,
    };
    assert_eq!(cutter.push(piece), Err(refused));
}

#[test]
fn a_quote_that_is_never_closed_is_named_in_the_error() {
    let outcome = cut(InputFormat::Csv, &[b"h\na\n\"", &[b'x'; 100]]);
    let error = outcome.error.unwrap();
    assert_eq!(outcome.header.as_deref(), Some(&b"h\n"[..]));
    assert!(error.to_string().contains("a quote that is never closed"));
    assert!(error.to_string().contains("byte 4 "), "{error}");
}

#[test]
fn a_line_of_many_pieces_is_searched_once() {
    // Quadratic, this would take minutes.
    let mut cutter = Cutter::new(InputFormat::Text, Sizes::new(1, 1 << 30));
    let piece = Bytes::from(vec![b'x'; 16 * 1024]);
    for _ in 0..8_000 {
        cutter.push(piece.clone()).unwrap();
        assert_eq!(cutter.take_block(), Ok(None));
    }
    cutter.end().unwrap();
    assert_eq!(
        cutter.take_block().unwrap().map(|block| block.bytes()),
        Some(8_000 * 16 * 1024)
    );
}
