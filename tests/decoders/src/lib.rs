//! Every decoder as a function from bytes to nothing.
//!
//! A target takes bytes that anybody may have written and asks our decoder what
//! they are. It must answer: with an error, or with a value that, encoded and
//! decoded again, is the same value. It must not panic, and it must not take
//! more memory than the target allows for so many bytes, or else a length in
//! four bytes of input could end a master.
//!
//! Checksums are computed anew by the targets before the bytes are decoded:
//! what they keep out by chance is not what a defect or an attacker writes.
//!
//! The targets serve twice: `fuzz/` runs them under libFuzzer, and
//! `tests/mutations.rs` runs the corpus and random changes of it on any machine.

use peak_alloc::PeakAlloc;

mod blocks;
mod cli;
mod corpus;
mod history;
mod masters;
mod messages;
mod raft;
mod records;
mod segments;
mod workers;

pub use corpus::{Mutator, value_name};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// One decoder, or a few that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Of its file below `fuzz/fuzz_targets` and its folder below `fuzz/corpus`.
    pub name: &'static str,
    /// Panics when a property does not hold.
    check: fn(&[u8]),
    /// Bytes of valid values, from which its corpus begins.
    pub values: fn() -> Vec<Vec<u8>>,
    /// Bytes of memory that it may take for nothing.
    base_bytes: usize,
    /// Bytes of memory that it may take for a byte of input.
    per_byte: usize,
}

/// Serde reserves up to 1 MiB for each sequence before it reads its items, and
/// a few of them stand in one another.
const BASE_BYTES: usize = 8 * 1024 * 1024;

impl Target {
    const fn new(name: &'static str, check: fn(&[u8]), values: fn() -> Vec<Vec<u8>>) -> Self {
        Self {
            name,
            check,
            values,
            base_bytes: BASE_BYTES,
            per_byte: 512,
        }
    }

    /// Checks the properties of some bytes.
    ///
    /// # Panics
    ///
    /// When one does not hold.
    pub fn check(&self, bytes: &[u8]) {
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        (self.check)(bytes);
        let taken = ALLOCATOR.peak_usage().saturating_sub(before);
        let allowed = self.base_bytes + self.per_byte * bytes.len();
        assert!(
            taken <= allowed,
            "{}: {} bytes of input took {taken} bytes of memory, {allowed} are allowed",
            self.name,
            bytes.len()
        );
    }
}

/// All targets.
pub const TARGETS: [Target; 20] = [
    segments::RUN,
    segments::FILE,
    segments::RECORDS,
    masters::STATE,
    masters::SNAPSHOT_FILE,
    masters::LOG_RECORDS,
    masters::GUARD,
    masters::IDENTITY,
    raft::FORMATS,
    history::HISTORY,
    messages::CONVERSIONS,
    messages::DETAILS,
    workers::MANIFEST,
    workers::NOTES,
    blocks::NAMES,
    blocks::BLOCK_FILE,
    cli::JOB_FILE,
    cli::CONFIG_FILE,
    records::CSV,
    records::CUT_POINTS,
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// For the fuzzer: checks bytes with the target of that name.
///
/// # Panics
///
/// When there is none, or when a property does not hold.
pub fn check(name: &str, bytes: &[u8]) {
    target(name)
        .unwrap_or_else(|| panic!("no target `{name}`"))
        .check(bytes);
}

/// Values that say the same, whatever they are: floats that are no numbers
/// differ from themselves, and their text does not.
#[track_caller]
fn assert_same<T: std::fmt::Debug>(first: &T, second: &T) {
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}
