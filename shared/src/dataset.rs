//! Datasets and their blocks, as everybody names them.
//!
//! A dataset's files follow one another; their bytes are cut into blocks at the
//! ends of records. Small files share a block, a large file has many. When the
//! list of files is long it stands in blocks of its own, behind the others.

use serde::{Deserialize, Serialize};

use crate::ids::{BlockId, DatasetId, WorkerId};
use crate::job::{InputFormat, SpecError};
use crate::limits;

/// Begins the location of a dataset.
pub const SCHEME: &str = "vivat://";
/// Replicas of a block unless something else is asked for.
pub const REPLICAS_DEFAULT: u8 = 2;
/// Bytes of a block unless something else is asked for: 64 MiB.
pub const BLOCK_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockSummary {
    /// Which.
    pub id: BlockId,
    /// Bytes of its data.
    pub bytes: u64,
    /// CRC-32C of its data.
    pub crc32c: u32,
}

/// A block and the workers that acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicatedBlock {
    /// What it is.
    pub summary: BlockSummary,
    /// Who has it, without repetition.
    pub workers: Vec<WorkerId>,
}

/// A worker that can be asked for a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Which.
    pub worker: WorkerId,
    /// `HOST:PORT`.
    pub address: String,
}

/// A block, and where it can be read now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocatedBlock {
    /// What it is.
    pub summary: BlockSummary,
    /// Holders that are registered.
    pub holders: Vec<Holder>,
}

/// One file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetFile {
    /// Relative, with `/` between its parts.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// CRC-32C of its bytes.
    pub crc32c: u32,
}

/// What `get` makes of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// It came from one source.
    File,
    /// It has names.
    Directory,
}

/// What a dataset is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSpec {
    /// Its name, see [`check_name`].
    pub name: String,
    /// At which records it is cut.
    pub format: InputFormat,
    /// What `get` makes of it.
    pub shape: Shape,
    /// Wanted replicas of each block, 1 to [`limits::REPLICAS_MAX`].
    pub replicas: u8,
}

impl DatasetSpec {
    /// Checks every bound.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its bounds.
    pub fn validate(&self) -> Result<(), SpecError> {
        check_name("name", &self.name)?;
        if self.replicas == 0 || self.replicas > limits::REPLICAS_MAX {
            return Err(SpecError {
                field: "replicas".to_owned(),
                problem: format!("1 to {}", limits::REPLICAS_MAX),
            });
        }
        Ok(())
    }
}

/// Checks the name of a dataset or a value: it never becomes a path, and looks
/// like none either.
///
/// # Errors
///
/// Says what a name may be.
pub fn check_name(field: &str, name: &str) -> Result<(), SpecError> {
    let fits = (1..=limits::DATASET_NAME_BYTES_MAX).contains(&name.len());
    let plain = !name.contains(['/', '\\']) && !name.chars().any(char::is_control);
    if fits && plain && name != "." && name != ".." {
        return Ok(());
    }
    Err(SpecError {
        field: field.to_owned(),
        problem: format!(
            "1 to {} bytes without slashes and control characters, and not `.` or `..`; not `{}`",
            limits::DATASET_NAME_BYTES_MAX,
            name.escape_debug().take(80).collect::<String>()
        ),
    })
}

/// Whether a file's name in a dataset stays below the directory that it is
/// written into: parts that are not empty, `.` or `..`.
#[must_use]
pub fn is_contained(name: &str) -> bool {
    (1..=limits::PATH_BYTES_MAX).contains(&name.len())
        && !name.contains('\0')
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

/// The id of a block that a reduce attempt writes. Attempts write under
/// different ids, so that a late one never touches an accepted one's blocks.
#[must_use]
pub fn output_block(output: DatasetId, partition: u32, attempt: u16, number: u16) -> BlockId {
    BlockId {
        dataset: output,
        index: (u64::from(partition) << 32) | (u64::from(attempt) << 16) | u64::from(number),
    }
}

/// The name of a partition's file in an output.
#[must_use]
pub fn part_name(partition: u32) -> String {
    format!("part-{partition:05}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_dataset_is_never_a_path() {
        for name in ["", ".", "..", "../x", "/x", "a/b", "a\\b", "a\nb", "\0"] {
            assert!(check_name("name", name).is_err(), "{name:?}");
        }
        let long = "x".repeat(limits::DATASET_NAME_BYTES_MAX + 1);
        assert!(check_name("name", &long).is_err());
        for name in ["a", "Spiele 2016", "größe", "...", "a.b"] {
            assert_eq!(check_name("name", name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn file_of_a_dataset_stays_below_its_directory() {
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            ".",
            "a\0",
        ] {
            assert!(!is_contained(name), "{name:?}");
        }
        for name in ["a", "a/b", "..a/b..", "a b/ü"] {
            assert!(is_contained(name), "{name:?}");
        }
    }

    #[test]
    fn attempts_of_all_partitions_write_under_different_ids() {
        let ids =
            [(0, 1, 0), (0, 1, 1), (0, 2, 0), (1, 1, 0)].map(|(partition, attempt, number)| {
                output_block(DatasetId(7), partition, attempt, number).index
            });
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    }
}
