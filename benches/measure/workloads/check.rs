//! Whether two sides wrote the same.

use std::fs;
use std::path::{Path, PathBuf};

/// What "the same" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The same lines, in any order.
    Lines,
    /// The same once the name of the file, up to the first colon, is taken off.
    LinesWithoutFile,
    /// The same bytes in the same order.
    Bytes,
    /// The same f64 numbers behind a header whose length is the first number, to
    /// two decimals: sums may be added up in another order.
    Weights,
}

impl Check {
    /// What a side wrote, in a form that can be compared. Parts of a directory
    /// follow one another in the order of their names.
    pub fn read(self, output: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        for file in files(output) {
            bytes.extend(fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())));
        }
        match self {
            Self::Bytes => bytes,
            Self::Weights => weights(&bytes),
            Self::Lines => sorted(&bytes, |line| line),
            Self::LinesWithoutFile => sorted(&bytes, |line| {
                let colon = line.iter().position(|byte| *byte == b':');
                colon.map_or(line, |colon| &line[colon + 1..])
            }),
        }
    }
}

fn weights(bytes: &[u8]) -> Vec<u8> {
    let (header, rest) = bytes.split_first_chunk().expect("it has a header");
    let header = usize::try_from(u64::from_le_bytes(*header)).expect("it is short");
    let numbers = rest[header..].as_chunks().0.iter();
    // Without the sign of zero.
    let lines = numbers.map(|number| {
        let hundredths = (f64::from_le_bytes(*number) * 100.0).round() + 0.0;
        format!("{hundredths}\n")
    });
    lines.collect::<String>().into_bytes()
}

fn sorted(bytes: &[u8], part: fn(&[u8]) -> &[u8]) -> Vec<u8> {
    let lines = bytes.split(|byte| *byte == b'\n').map(part);
    let mut lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines.join(&b'\n')
}

fn files(output: &Path) -> Vec<PathBuf> {
    if !output.is_dir() {
        return vec![output.to_owned()];
    }
    let listed = fs::read_dir(output).unwrap_or_else(|e| panic!("{}: {e}", output.display()));
    let mut parts: Vec<PathBuf> = listed
        .map(|entry| entry.expect("an output can be listed").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !name.starts_with(['_', '.'])
        })
        .collect();
    parts.sort();
    parts
}

/// Ends the benchmark, with the first difference, when two sides differ.
pub fn assert_same(what: &str, theirs: &[u8], limits: &[u8]) {
    if theirs == limits {
        return;
    }
    let lines = |bytes: &[u8]| -> Vec<String> {
        let lines = bytes.split(|byte| *byte == b'\n');
        lines
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    };
    let (theirs, limits) = (lines(theirs), lines(limits));
    let at = theirs
        .iter()
        .zip(&limits)
        .position(|(left, right)| left != right);
    let at = at.unwrap_or_else(|| theirs.len().min(limits.len()));
    panic!(
        "{what} wrote {} lines, the limit {}; they differ at {at}: {:?} and {:?}",
        theirs.len(),
        limits.len(),
        theirs.get(at),
        limits.get(at)
    );
}
