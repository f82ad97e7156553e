//! The files of a dataset as a plan lists them, with the places where blocks end:
//! no split lies in two blocks where that can be helped.

use vivat_client::data::{BlockView, DataError, DatasetReader, DatasetView, Workers};
use vivat_client::{ClientError, LeaderClient, Refusal};
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::attempt::{InputFile, InputOrigin};
use vivat_shared::cause::FailureCause;
use vivat_shared::dataset::{DatasetFile, LocatedBlock, SCHEME, Shape};
use vivat_shared::ids::DatasetId;
use vivat_shared::job::InputFormat;
use vivat_shared::limits::PATH_BYTES_MAX;

/// A file, and where in it blocks end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedFile {
    pub(crate) file: InputFile,
    /// Rising; within the file.
    pub(crate) cuts: Vec<u64>,
    /// It can be read from its front only, so it is one split.
    pub(crate) is_whole: bool,
    /// Where the bytes of a dataset's file are.
    pub(crate) blocks: FileBlocks,
}

impl PlannedFile {
    /// A file that lies in one place and may be cut anywhere.
    pub(crate) fn of(file: InputFile) -> Self {
        Self {
            file,
            cuts: Vec::new(),
            is_whole: false,
            blocks: FileBlocks::default(),
        }
    }
}

/// The blocks that a file of a dataset lies in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FileBlocks {
    pub(crate) located: Vec<LocatedBlock>,
    /// Where the first of them begins in the dataset's bytes.
    pub(crate) start: u64,
    /// They end where records of CSV do.
    pub(crate) end_csv: bool,
}

/// Lists the files of a dataset, in their order.
///
/// # Errors
///
/// The dataset is gone, or its list of files cannot be read.
///
/// Programs print the files' names below `display`, which for files that were
/// brought over for the job is what was typed.
pub(crate) async fn files(
    leader: &LeaderClient,
    dataset: DatasetId,
    display: &str,
) -> Result<Vec<PlannedFile>, FailureCause> {
    let named = |name: &str| format!("{SCHEME}{name}");
    let failed = |error: ClientError| of_client(&named(&dataset.to_string()), &error);
    let (view, mut listed) = leader.get_dataset_by_id(dataset).await.map_err(failed)?;
    let path = named(&view.name);
    if view.list_blocks > 0 {
        listed = read_list(leader, &view)
            .await
            .map_err(|error| of_data(&path, &error))?;
    }
    let blocks = leader
        .list_all_blocks(dataset)
        .await
        .map_err(|error| of_client(&path, &error))?;
    cut(&view, listed, &blocks, display)
}

async fn read_list(
    leader: &LeaderClient,
    view: &DatasetView,
) -> Result<Vec<DatasetFile>, DataError> {
    let workers = Workers::of(leader).await?;
    DatasetReader::files(leader, &workers, view).await
}

fn cut(
    view: &DatasetView,
    listed: Vec<DatasetFile>,
    blocks: &[BlockView],
    display: &str,
) -> Result<Vec<PlannedFile>, FailureCause> {
    let mut ends = Vec::with_capacity(blocks.len());
    let mut end = 0;
    for block in blocks {
        end += block.summary.bytes;
        ends.push(end);
    }
    let mut start = 0;
    let mut files = Vec::with_capacity(listed.len());
    for DatasetFile { name, bytes, .. } in listed {
        let own = format!("{SCHEME}{}", view.name);
        let shown = match view.shape {
            Shape::File => display.to_owned(),
            Shape::Directory if display == own => format!("{own}/{name}"),
            Shape::Directory => format!("{display}{name}"),
        };
        let path = match view.shape {
            Shape::File => own,
            Shape::Directory => format!("{own}/{name}"),
        };
        if path.len() > PATH_BYTES_MAX {
            return Err(FailureCause::InvalidInput {
                path: format!("{SCHEME}{}", view.name),
                detail: format!("the name of a file in it is longer than {PATH_BYTES_MAX} bytes"),
            });
        }
        let first = ends.partition_point(|end| *end <= start);
        let behind = ends.partition_point(|end| *end < start + bytes) + 1;
        let (from, until) = match bytes {
            0 => (0, 0),
            _ => (first.min(blocks.len()), behind.min(blocks.len())),
        };
        let cuts = ends[first..]
            .iter()
            .take_while(|end| **end < start + bytes)
            .map(|end| end - start);
        files.push(PlannedFile {
            cuts: cuts.collect(),
            file: InputFile {
                header: Vec::new(),
                display: shown,
                path,
                bytes,
                origin: InputOrigin::Dataset {
                    dataset: view.id,
                    start,
                },
            },
            is_whole: false,
            blocks: FileBlocks {
                located: blocks[from..until].iter().map(located).collect(),
                start: from.checked_sub(1).map_or(0, |before| ends[before]),
                end_csv: view.format == InputFormat::Csv,
            },
        });
        start += bytes;
    }
    Ok(files)
}

fn located(block: &BlockView) -> LocatedBlock {
    LocatedBlock {
        summary: block.summary,
        holders: block.holders.clone(),
    }
}

pub(crate) fn of_client(path: &str, error: &ClientError) -> FailureCause {
    let path = path.to_owned();
    let detail = error.to_string();
    match error.detail() {
        Some(Kind::UnknownDataset(_)) => FailureCause::InputNotFound { path },
        Some(_) | None if error.refusal() == Refusal::Temporary => {
            FailureCause::InputUnreachable { path, detail }
        }
        Some(_) | None => FailureCause::InputUnreadable { path, detail },
    }
}

fn of_data(path: &str, error: &DataError) -> FailureCause {
    match error {
        DataError::Leader(error) => of_client(path, error),
        error => FailureCause::InputUnreachable {
            path: path.to_owned(),
            detail: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use vivat_shared::dataset::BlockSummary;
    use vivat_shared::ids::BlockId;
    use vivat_shared::job::InputFormat;

    use super::*;

    fn view(shape: Shape) -> DatasetView {
        DatasetView {
            id: DatasetId(3),
            name: "logs".to_owned(),
            format: InputFormat::Text,
            shape,
            replicas: 2,
            sealed: true,
            bytes: 30,
            files: 3,
            blocks: 3,
            list_blocks: 0,
            created_at_ms: 0,
            job: None,
            short_blocks: 0,
            lost_blocks: 0,
        }
    }

    fn file(name: &str, bytes: u64) -> DatasetFile {
        DatasetFile {
            name: name.to_owned(),
            bytes,
            crc32c: 0,
        }
    }

    fn block(index: u64, bytes: u64) -> BlockView {
        BlockView {
            summary: BlockSummary {
                id: BlockId {
                    dataset: DatasetId(3),
                    index,
                },
                bytes,
                crc32c: 0,
            },
            holders: Vec::new(),
            lost_holders: Vec::new(),
        }
    }

    #[test]
    fn files_follow_one_another_and_know_where_blocks_end_in_them() {
        let listed = vec![file("a", 5), file("empty", 0), file("b", 25)];
        let blocks = [block(0, 10), block(1, 10), block(2, 10)];
        let files = cut(&view(Shape::Directory), listed, &blocks, "vivat://logs").unwrap();
        let found: Vec<_> = files
            .iter()
            .map(|planned| (planned.file.path.as_str(), planned.cuts.clone()))
            .collect();
        let expected = [
            ("vivat://logs/a", vec![]),
            ("vivat://logs/empty", vec![]),
            ("vivat://logs/b", vec![5, 15]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn files_that_were_brought_over_are_shown_as_they_were_typed() {
        let blocks = [block(0, 10)];
        let listed = vec![file("a", 5), file("b", 5)];
        let files = cut(&view(Shape::Directory), listed, &blocks, "in/").unwrap();
        let shown = files.iter().map(|planned| planned.file.display.as_str());
        assert_eq!(shown.collect::<Vec<_>>(), ["in/a", "in/b"]);
        let files = cut(&view(Shape::File), vec![file("x", 10)], &blocks, "../x").unwrap();
        assert_eq!(files[0].file.display, "../x");
    }

    #[test]
    fn only_file_has_the_name_of_its_dataset() {
        let blocks = [block(0, 10)];
        let files = cut(
            &view(Shape::File),
            vec![file("x.txt", 10)],
            &blocks,
            "vivat://logs",
        )
        .unwrap();
        assert_eq!(files[0].file.display, "vivat://logs");
    }
}
