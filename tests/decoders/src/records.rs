//! What tasks read beside segments: CSV, and cut points that a round handed on.

use vivat_mapreduce::{CsvHeader, CsvRow, CsvScanner, CsvSlice, Ranges, Record};

use crate::Target;

/// A CSV file: its header, where its records end, their fields.
pub const CSV: Target = Target::new("csv", csv, csv_files);
/// Cut points of a sort, from the close of the round that sampled.
pub const CUT_POINTS: Target = Target::new("cut_points", cut_points, cut_point_values);

fn csv(bytes: &[u8]) {
    let whole = CsvHeader::parse(bytes, true);
    // A header that is whole in the front of a file is that of the file.
    let front = &bytes[..bytes.len() / 2];
    if let Ok(Some(late)) = &whole {
        let early = CsvHeader::parse(front, false).expect("more may come");
        assert!(early.is_none_or(|early| early == *late));
    }
    assert_ends_do_not_depend_on_pieces(bytes);
    let Ok(Some(header)) = whole else { return };
    let columns = header.names().len();
    assert!(columns > 0, "a header without a column");
    let mut at = usize::try_from(header.end).expect("within the bytes");
    let mut row = CsvRow::default();
    while let Some(slice) = CsvSlice::first(&bytes[at..]) {
        assert!(
            slice.start < slice.end && slice.end <= slice.next,
            "{slice:?}"
        );
        let record = Record {
            bytes: &bytes[at + slice.start..at + slice.end],
            offset: (at + slice.start) as u64,
        };
        if let Ok(fields) = row.read(record, columns) {
            assert_eq!(fields.len(), columns);
            let sum: usize = fields.iter().map(<[u8]>::len).sum();
            assert!(sum <= record.bytes.len(), "more text than there was");
        }
        at += slice.next;
    }
}

fn assert_ends_do_not_depend_on_pieces(bytes: &[u8]) {
    let whole = CsvScanner::default().last_end(bytes);
    let middle = bytes.len() / 3;
    let (first, second) = bytes.split_at(middle);
    let mut scanner = CsvScanner::default();
    let early = scanner.last_end(first);
    let late = scanner.last_end(second).map(|end| middle + end);
    assert_eq!(late.or(early), whole);
}

fn cut_points(bytes: &[u8]) {
    let Ok(ranges) = Ranges::check(bytes) else {
        return;
    };
    let highest = u32::try_from(ranges.cuts()).expect("a count in four bytes");
    let mut keys: Vec<&[u8]> = bytes.chunks(5).chain([&b""[..], &[0xFF; 9]]).collect();
    keys.sort_unstable();
    let mut before = 0;
    for key in keys {
        let partition = ranges.partition(key);
        assert!((before..=highest).contains(&partition), "{key:?}");
        before = partition;
    }
    let again = Ranges::of(bytes);
    assert_eq!(again.cuts(), ranges.cuts());
}

fn csv_files() -> Vec<Vec<u8>> {
    [
        "a,b\n1,2\n3,4\n",
        "\u{feff}name,\"the, \"\"text\"\"\"\r\n\r\nx,\"two\nlines\"\r\n\"\",y",
        "one\n\"never closed\n2\n",
        "a,a,\n,,\n1,2,3,4\n",
        // A front of it ends with a line within quotes.
        "\"a\nb\"\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn cut_point_values() -> Vec<Vec<u8>> {
    let none: [&[u8]; 0] = [];
    vec![
        Ranges::encode(none),
        Ranges::encode([&b""[..], b"cat", b"category", b"category", b"dog"]),
        Ranges::encode([&[0; 8][..], &[0; 9], &[0xFF; 20]]),
    ]
}
