//! The end of a round: one task that sees what all of its reduces wrote.
//!
//! A step that closes is followed, round by round, by one call of
//! [`Program::close`](crate::Program::close). It reads the parts in order and
//! answers what the tasks of the next round (or of the next step) shall know,
//! some numbers for people, and whether another round is wanted.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use crate::context::SideFiles;
use crate::counter::{Counter, CounterSet};
use crate::program::ProgramError;

/// Where the end of a round stands.
#[derive(Debug)]
pub struct CloseContext<'t> {
    /// The round, from 0.
    pub round: u32,
    /// Rounds that the step may have, at least 1: in the last of them asking
    /// for another ends the step all the same.
    pub rounds_max: u32,
    /// Partitions of the round, at least 1.
    pub partitions: u32,
    /// The step's parameters.
    pub parameters: &'t BTreeMap<String, String>,
    /// What the round's own tasks were given.
    pub broadcast: &'t [u8],
    /// Files that the job brought along.
    pub side_files: &'t SideFiles,
    /// Counters of the task.
    pub counters: &'t CounterSet,
}

impl CloseContext<'_> {
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

/// What a round came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Closed {
    /// What the next round's tasks, or those of the next step, are given. At
    /// most [`BROADCAST_BYTES_MAX`](vivat_shared::limits) bytes.
    pub broadcast: Vec<u8>,
    /// Numbers of this round for people: errors, distances, sizes. At most 64.
    pub metrics: BTreeMap<String, f64>,
    /// Whether another round is wanted.
    pub again: bool,
}

type Open<'p> = Box<dyn FnOnce() -> io::Result<Box<dyn Read + 'p>> + 'p>;

/// One part of a round's output, not yet opened.
pub struct PartSource<'p> {
    bytes: u64,
    records: u64,
    open: Open<'p>,
}

impl fmt::Debug for PartSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartSource")
            .field("bytes", &self.bytes)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

impl<'p> PartSource<'p> {
    /// A part of so many bytes and records; `open` is called when its turn comes.
    pub fn new(
        bytes: u64,
        records: u64,
        open: impl FnOnce() -> io::Result<Box<dyn Read + 'p>> + 'p,
    ) -> Self {
        Self {
            bytes,
            records,
            open: Box::new(open),
        }
    }

    /// A part in memory; how many records it has is not known, and said to be 0.
    #[must_use]
    pub fn of_bytes(bytes: &'p [u8]) -> Self {
        let open = move || Ok(Box::new(bytes) as Box<dyn Read + 'p>);
        Self::new(bytes.len() as u64, 0, open)
    }
}

/// The parts of a round's output, in the order of their partitions.
///
/// ```
/// use std::io::Read;
/// use vivat_mapreduce::{PartSource, Parts};
///
/// let mut parts = Parts::new(vec![PartSource::of_bytes(b"ab"), PartSource::of_bytes(b"c")]);
/// let mut text = String::new();
/// while let Some(mut part) = parts.next().unwrap() {
///     part.read_to_string(&mut text).unwrap();
///     text.push_str(&part.partition().to_string());
/// }
/// assert_eq!(text, "ab0c1");
/// ```
pub struct Parts<'p> {
    left: std::vec::IntoIter<PartSource<'p>>,
    partition: u32,
    current: Option<Box<dyn Read + 'p>>,
}

impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("left", &self.left.len())
            .finish_non_exhaustive()
    }
}

impl<'p> Parts<'p> {
    /// The parts of all partitions, the first one first.
    #[must_use]
    pub fn new(parts: Vec<PartSource<'p>>) -> Self {
        Self {
            left: parts.into_iter(),
            partition: 0,
            current: None,
        }
    }

    /// Opens the next part; what was not read of the one before is left out.
    ///
    /// # Errors
    ///
    /// When it cannot be opened. Like every error of a part it fails the attempt,
    /// whatever the program makes of it.
    #[expect(
        clippy::should_implement_trait,
        reason = "a part borrows the parts: one at a time"
    )]
    pub fn next(&mut self) -> Result<Option<Part<'_, 'p>>, ProgramError> {
        let Some(source) = self.left.next() else {
            self.current = None;
            return Ok(None);
        };
        let partition = self.partition;
        self.partition += 1;
        match (source.open)() {
            Ok(reader) => Ok(Some(Part {
                partition,
                bytes: source.bytes,
                records: source.records,
                reader: self.current.insert(reader),
            })),
            Err(error) => Err(ProgramError::part(error)),
        }
    }
}

/// One part of a round's output, read from front to back.
pub struct Part<'r, 'p> {
    partition: u32,
    bytes: u64,
    records: u64,
    reader: &'r mut Box<dyn Read + 'p>,
}

impl fmt::Debug for Part<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("partition", &self.partition)
            .field("bytes", &self.bytes)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

impl Part<'_, '_> {
    /// The partition that wrote it, from 0.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records that its reducer counted.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }
}

impl Read for Part<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}
