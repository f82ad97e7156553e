//! Edge cases of a plan.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::*;
use crate::datasets::PlannedFile;
use tempfile::TempDir;
use vivat_shared::attempt::{InputFile, InputOrigin, PlanChunk};
use vivat_shared::cause::FailureCause;
use vivat_shared::job::{InputFormat, InputPattern, Visibility};
use vivat_shared::limits::PLAN_CHUNK_BYTES_MAX;
use vivat_shared::plan;

/// A pattern as typed by a user who stands in `directory`.
fn typed(directory: &Path, display: &str) -> InputPattern {
    InputPattern {
        path: directory.join(display).to_str().unwrap().to_owned(),
        display: display.to_owned(),
        visibility: Visibility::Everyone,
    }
}

fn displays(patterns: &[InputPattern]) -> Result<Vec<String>, FailureCause> {
    let files = list(patterns, &|| false)?;
    Ok(files.into_iter().map(|file| file.display).collect())
}

fn with_files(names: &[&str]) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    for name in names {
        let path = temp.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    temp
}

#[test]
fn matches_of_a_glob_are_sorted_and_keep_the_user_s_prefix() {
    let temp = with_files(&["data/b.txt", "data/a.txt", "data/.hidden.txt", "other.txt"]);
    let found = displays(&[
        typed(temp.path(), "other.txt"),
        typed(temp.path(), "data/*.txt"),
        typed(&temp.path().join("data"), "../data/a.*"),
    ]);
    let expected = ["other.txt", "data/a.txt", "data/b.txt", "../data/a.txt"];
    assert_eq!(found.unwrap(), expected);
}

#[test]
fn existing_file_is_itself_even_if_its_name_is_a_glob() {
    let temp = with_files(&["data/[a].txt", "data/a.txt"]);
    let found = displays(&[typed(temp.path(), "data/[a].txt")]).unwrap();
    assert_eq!(found, ["data/[a].txt"]);
}

#[test]
fn brackets_in_the_directory_where_the_user_stands_are_no_glob() {
    let temp = with_files(&["run[1]/a.txt", "run1/a.txt"]);
    let stands = temp.path().join("run[1]");
    let found = list(&[typed(&stands, "*.txt")], &|| false).unwrap();
    assert_eq!(found[0].path, stands.join("a.txt").to_str().unwrap());
    assert_eq!(found.len(), 1);
    assert!(matches!(
        displays(&[typed(&stands, "b.txt")]),
        Err(FailureCause::InputNotFound { path }) if path == "b.txt"
    ));
}

#[test]
fn what_cannot_be_input_is_told_by_its_kind() {
    let temp = with_files(&["data/a.txt"]);
    let cause = |display: &str| displays(&[typed(temp.path(), display)]).unwrap_err();
    let not_found = |display: &str| FailureCause::InputNotFound {
        path: display.to_owned(),
    };
    assert_eq!(cause("nothing.txt"), not_found("nothing.txt"));
    assert_eq!(cause("data/*.csv"), not_found("data/*.csv"));
    assert_eq!(cause("data/a.txt/b"), not_found("data/a.txt/b"));
    let path = "data".to_owned();
    assert_eq!(cause("data"), FailureCause::InputIsDirectory { path });

    rustix::fs::mknodat(
        rustix::fs::CWD,
        temp.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(matches!(cause("pipe"), FailureCause::InvalidInput { .. }));
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.log");
    fs::write(temp.path().join(name), "x").unwrap();
    assert!(matches!(cause("*.log"), FailureCause::InvalidInput { .. }));
}

fn file(name: &str, bytes: u64) -> InputFile {
    InputFile {
        header: Vec::new(),
        path: format!("/{name}"),
        display: name.to_owned(),
        bytes,
        origin: InputOrigin::FileSystem {
            modified_ns: i64::MIN,
        },
    }
}

fn cut(format: InputFormat, split_bytes: u64, files: Vec<InputFile>) -> (Vec<PlanChunk>, PlanSums) {
    let mut chunks = Vec::new();
    let mut send = |number: u32, chunk: PlanChunk| -> Result<(), FailureCause> {
        assert_eq!(number as usize, chunks.len());
        chunks.push(chunk);
        Ok(())
    };
    let mut writer = PlanWriter::new(format, split_bytes);
    for file in files {
        let planned = PlannedFile::of(file);
        writer.add(planned, &mut send).unwrap();
    }
    let sums = writer.finish(&mut send).unwrap();
    (chunks, sums)
}

#[test]
fn splits_cover_each_file_once_and_an_empty_file_has_an_empty_one() {
    let (chunks, sums) = cut(
        InputFormat::Text,
        10,
        vec![file("a", 25), file("empty", 0), file("b", 10)],
    );
    let ranges: Vec<_> = chunks[0]
        .splits
        .iter()
        .map(|split| (split.file, split.offset, split.bytes))
        .collect();
    assert_eq!(
        ranges,
        [(0, 0, 10), (0, 10, 10), (0, 20, 5), (1, 0, 0), (2, 0, 10)]
    );
    assert_eq!((sums.files, sums.splits, sums.chunks), (3, 5, 1));
}

#[test]
fn split_of_fixed_records_holds_whole_ones_and_a_whole_file_is_one_split() {
    let (chunks, _) = cut(InputFormat::Fixed(4), 10, vec![file("a", 20)]);
    assert!(chunks[0].splits.iter().all(|split| split.offset % 4 == 0));
    let (_, sums) = cut(InputFormat::WholeFile, 10, vec![file("a", 25)]);
    assert_eq!(sums.splits, 1);
}

#[test]
fn compressed_file_is_one_split_of_any_format() {
    for format in [InputFormat::Text, InputFormat::Fixed(4)] {
        let (chunks, sums) = cut(format, 10, vec![file("a.gz", 25), file("b.zst", 25)]);
        assert_eq!(sums.splits, 2);
        assert!(chunks[0].splits.iter().all(|split| split.bytes == 25));
    }
}

#[test]
fn every_chunk_of_a_large_plan_fits_and_the_sum_is_that_of_all() {
    let files = (0..500)
        .map(|i| file(&format!("{}{i}", "x".repeat(300)), 1_000))
        .collect();
    let (chunks, sums) = cut(InputFormat::Text, 10, files);
    let mut crc32c = 0;
    for chunk in &chunks {
        assert!(plan::checksum(&mut crc32c, chunk) <= PLAN_CHUNK_BYTES_MAX);
    }
    assert!(chunks.len() > 1);
    assert_eq!(sums.crc32c, crc32c);
    assert_eq!(sums.chunks as usize, chunks.len());
    assert_eq!((sums.files, sums.splits), (500, 50_000));
}

#[test]
fn plan_of_an_empty_file_has_one_split_and_of_nothing_none() {
    let (chunks, sums) = cut(InputFormat::Text, 10, vec![file("empty", 0)]);
    assert_eq!((chunks.len(), sums.splits), (1, 1));
    let (chunks, sums) = cut(InputFormat::Text, 10, Vec::new());
    assert_eq!((chunks.len(), sums), (0, PlanSums::default()));
}
