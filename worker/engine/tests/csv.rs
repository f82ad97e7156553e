//! CSV: any file, cut anywhere, gives the records that the csv crate reads from it.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;
use vivat_engine::local::{self, LocalOptions};
use vivat_engine::{EngineError, Runner, SegmentCompression};
use vivat_mapreduce::{
    CsvRow, Emit, MapContext, Mapper, Output, Program, ProgramError, Record, ReduceContext,
    Reducer, Values,
};
use vivat_shared::cause::FailureCause;
use vivat_shared::job::InputFormat;

/// Prints every record with its place, in the order of the file.
struct Copy;

struct CopyRecords<'t> {
    context: &'t MapContext<'t>,
    row: CsvRow,
}

struct Print;

impl Program for Copy {
    type Key = (u32, u64);
    type Value = Vec<u8>;
    type Mapper<'t> = CopyRecords<'t>;
    type Reducer<'t> = Print;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<CopyRecords<'t>, ProgramError> {
        let row = CsvRow::default();
        Ok(CopyRecords { context, row })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Print, ProgramError> {
        Ok(Print)
    }
}

impl Mapper<(u32, u64), Vec<u8>> for CopyRecords<'_> {
    fn map<E: Emit<(u32, u64), Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let header = self.context.header.unwrap();
        let fields = self.row.read(record, header.names().len())?;
        let fields: Vec<Vec<u8>> = fields.iter().map(<[u8]>::to_vec).collect();
        let key = (self.context.split, record.offset);
        emit.emit(key, format!("{fields:?}").as_bytes());
        Ok(())
    }
}

impl Reducer<(u32, u64), Vec<u8>> for Print {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        _: (u32, u64),
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while let Some(value) = values.next() {
            out.line(value);
        }
        Ok(())
    }
}

fn run(name: &str, text: &[u8], split_bytes: u64) -> Result<String, EngineError> {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join(name);
    fs::write(&path, text).unwrap();
    let options = LocalOptions {
        side_files: vivat_mapreduce::SideFiles::default(),
        format: InputFormat::Csv,
        split_bytes,
        reducers: 1,
        memory_bytes: 1 << 20,
        compression: SegmentCompression::default(),
        skipped_max: 0,
        parameters: std::collections::BTreeMap::new(),
    };
    let mut out = Vec::new();
    let inputs = [(path, format!("in/{name}"))];
    local::run(&Runner::new(Copy), &inputs, &options, temp.path(), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn expected(text: &[u8]) -> Result<String, csv::Error> {
    let mut reader = csv::ReaderBuilder::new().from_reader(text);
    reader.byte_headers()?;
    let mut lines = String::new();
    for record in reader.byte_records() {
        let fields: Vec<Vec<u8>> = record?.iter().map(<[u8]>::to_vec).collect();
        lines.push_str(&format!("{fields:?}\n"));
    }
    Ok(lines)
}

/// Compares for many splits; what one refuses, the other must.
fn check(text: &[u8]) {
    let expected = expected(text);
    for split_bytes in [1, 2, 3, 5, 17, 1 << 20] {
        let found = run("x.csv", text, split_bytes);
        let shown = text.escape_ascii();
        match (&found, &expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{split_bytes} {shown}"),
            (Err(_), Err(_)) => {}
            // The csv crate takes an open quote at the end for a closed one, and a
            // file without a header for one without records.
            (Err(error), Ok(_)) => {
                let text = error.cause().to_string();
                let is_known = text.contains("never closed") || text.contains("no header");
                assert!(is_known, "{text}: {shown}");
            }
            (Ok(_), Err(error)) => panic!("{error}: {shown}"),
        }
    }
}

#[test]
fn records_are_those_of_the_csv_crate_however_the_file_is_cut() {
    for text in [
        &b"a,b\n1,2\n3,4\n"[..],
        b"\xEF\xBB\xBF\"a\nb\",c\r\n1,2\r\n\r\n\"3\r\n4\",5",
        b"\n\r\n\na\n\n\nb\n\nc",
        b"a,b\n\"x,\"\"y\"\"\",\n,\"\"\n\"\",5\" pipe\n\"q\"r\"s,t\n",
        b"a\r1\r2\n3\r\n4\r",
        b"a,b\n\xFF\xFE,\0\n",
        b"a,b",
        b"a,b\n",
        b"a\n\"\"\n\n\"\"",
        b"a,b\n1\n",
        b"a,b\n1,2,3\n",
        b"a,b\n1,\"2\n3,4\n",
        b"\"a,b\n1,2\n",
        b"",
        b"\n\n",
    ] {
        check(text);
    }
}

#[test]
fn records_larger_than_any_buffer_are_read_whole() {
    let mut text = b"key,value\n".to_vec();
    for index in 0..40 {
        let long = "x\n".repeat(index * 3_000);
        text.extend_from_slice(format!("{index},\"{long}\"\"\"\r\n").as_bytes());
    }
    let expected = expected(&text).unwrap();
    for split_bytes in [1, 70_000, 1 << 20, 1 << 30] {
        assert!(run("x.csv", &text, split_bytes).unwrap() == expected);
    }
}

#[test]
fn compressed_files_are_read_whole_with_their_header() {
    let mut text = b"a,b\n".to_vec();
    for index in 0..50_000 {
        text.extend_from_slice(format!("{index},\"line\n{index}\"\n").as_bytes());
    }
    let packed = zstd::encode_all(text.as_slice(), 1).unwrap();
    assert!(run("x.csv.zst", &packed, 1000).unwrap() == expected(&text).unwrap());
}

fn refusal(text: &[u8]) -> String {
    let cause = run("x.csv", text, 5).unwrap_err().cause();
    assert!(
        matches!(cause, FailureCause::InvalidInput { .. }),
        "{cause}"
    );
    cause.to_string()
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_file_and_line() {
    let text = refusal(b"a,b\n\"1\n1\",2\n\n3\n4,5\n");
    let expected = "invalid input in in/x.csv: line 5: the record has 1 fields, the header has 2 \
        (record at byte 13)";
    assert_eq!(text, expected);
    let text = refusal(b"a,b\n1,2\n3,\"4\n5,6\n");
    assert!(text.contains("line 3: the record has a quote"), "{text}");
    let text = refusal(b"\n\n");
    assert!(text.contains("line 1: there is no header"), "{text}");
    let text = refusal(&[b"a".repeat(20_000), b"\n1\n".to_vec()].concat());
    assert!(text.contains("header is longer than 16384"), "{text}");
}

fn csv_like() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "a",
        "b",
        ",",
        ",",
        "\"",
        "\"\"",
        "\n",
        "\r\n",
        "\r",
        "\n\n",
        "\u{feff}",
        "\"x\ny\",",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40)
        .prop_map(|pieces| pieces.concat().into_bytes())
}

/// Records of two fields, written as a writer would.
fn table() -> impl Strategy<Value = Vec<u8>> {
    let field = prop::sample::select(&["", "a", "5\"", "x,y", "p\nq", "r\r\ns", "\"", "é"][..]);
    let record = (
        field.clone(),
        field,
        prop::sample::select(&["\n", "\r\n", "\n\n"][..]),
    );
    let records = prop::collection::vec(record, 1..30);
    (records, any::<bool>(), any::<bool>()).prop_map(|(records, mark, ended)| {
        let mut text = if mark {
            "\u{feff}".to_owned()
        } else {
            String::new()
        };
        for (first, second, end) in records {
            let quoted = |field: &str| format!("\"{}\"", field.replace('"', "\"\""));
            text.push_str(&format!("{},{}{end}", quoted(first), quoted(second)));
        }
        let text = if ended {
            text.as_str()
        } else {
            text.trim_end()
        };
        text.as_bytes().to_vec()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_table_is_read_as_the_csv_crate_reads_it(text in table()) {
        check(&text);
    }

    #[test]
    fn any_bytes_like_csv_are_read_as_the_csv_crate_reads_them(text in csv_like()) {
        check(&text);
    }
}
