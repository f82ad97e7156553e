//! What a task may know about itself.
//!
//! Everything here but the [`Attempt`] is the same for every attempt at a task, so a
//! program that uses it still gives the same output whoever runs it and however often.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::attempt::Attempt;
use crate::counter::{Counter, CounterSet};
use crate::csv::CsvHeader;
use crate::program::ProgramError;

/// The local copies of the files that a job brought along, by their names.
///
/// ```
/// use vivat_mapreduce::SideFiles;
///
/// let files: SideFiles = [("weights".to_owned(), "/tmp/w".into())].into_iter().collect();
/// assert_eq!(files.get("weights").unwrap().to_str(), Some("/tmp/w"));
/// assert!(files.get("biases").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SideFiles {
    paths: BTreeMap<String, PathBuf>,
}

/// A job without any.
pub const NO_SIDE_FILES: &SideFiles = &SideFiles {
    paths: BTreeMap::new(),
};

impl SideFiles {
    /// The local copy of the file of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Path> {
        self.paths.get(name).map(PathBuf::as_path)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        let paths = self.paths.iter();
        paths.map(|(name, path)| (name.as_str(), path.as_path()))
    }
}

impl FromIterator<(String, PathBuf)> for SideFiles {
    fn from_iter<I: IntoIterator<Item = (String, PathBuf)>>(files: I) -> Self {
        Self {
            paths: files.into_iter().collect(),
        }
    }
}

/// Where a map task stands.
#[derive(Debug)]
pub struct MapContext<'t> {
    /// The input file as the user wrote it.
    pub display: &'t str,
    /// The columns of the file, in format CSV.
    pub header: Option<&'t CsvHeader>,
    /// Index of the file among the round's files.
    pub file_index: u32,
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// First byte of the split in the file.
    pub split_offset: u64,
    /// Length of the split in bytes.
    pub split_bytes: u64,
    /// Number of the split, from 0: files in order, splits of a file in order.
    pub split: u32,
    /// Splits of the round in all.
    pub splits: u32,
    /// Partitions of the round, at least 1.
    pub partitions: u32,
    /// The step's parameters.
    pub parameters: &'t BTreeMap<String, String>,
    /// What the last round that closed handed on; empty when none did.
    pub broadcast: &'t [u8],
    /// Files that the job brought along.
    pub side_files: &'t SideFiles,
    /// Counters of the task.
    pub counters: &'t CounterSet,
    /// The attempt at the task.
    pub attempt: Attempt<'t>,
}

impl MapContext<'_> {
    /// The counter of that name; keep the handle, adding to it is cheap.
    ///
    /// # Errors
    ///
    /// When the name or the number of counters passes its bound.
    pub fn counter(&self, name: &str) -> Result<Counter, ProgramError> {
        self.counters.counter(name).map_err(ProgramError::counter)
    }

    /// The local copy of a file that the job brought along under that name.
    #[must_use]
    pub fn side_file(&self, name: &str) -> Option<&Path> {
        self.side_files.get(name)
    }
}

/// Where a reduce task stands.
#[derive(Debug)]
pub struct ReduceContext<'t> {
    /// The partition, from 0.
    pub partition: u32,
    /// Partitions of the round, at least 1.
    pub partitions: u32,
    /// The step's parameters.
    pub parameters: &'t BTreeMap<String, String>,
    /// What the last round that closed handed on; empty when none did.
    pub broadcast: &'t [u8],
    /// Files that the job brought along.
    pub side_files: &'t SideFiles,
    /// Counters of the task.
    pub counters: &'t CounterSet,
    /// The attempt at the task.
    pub attempt: Attempt<'t>,
}

impl ReduceContext<'_> {
    /// The counter of that name; keep the handle, adding to it is cheap.
    ///
    /// # Errors
    ///
    /// When the name or the number of counters passes its bound.
    pub fn counter(&self, name: &str) -> Result<Counter, ProgramError> {
        self.counters.counter(name).map_err(ProgramError::counter)
    }

    /// The local copy of a file that the job brought along under that name.
    #[must_use]
    pub fn side_file(&self, name: &str) -> Option<&Path> {
        self.side_files.get(name)
    }
}
