//! Damaged files, moved aside so that somebody may look at them.
//!
//! The newest few are kept, and go when their room is wanted. A power cut may
//! bring one back to its place, where the next reader finds it out again.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use crate::layout;
use crate::space::{Space, charge};

/// Damaged files that are kept.
const KEPT_MAX: usize = 16;

/// The files that were moved aside, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    kept: VecDeque<(PathBuf, u64)>,
    next_number: u64,
}

impl Aside {
    /// What a former process moved aside, charged for.
    pub(crate) fn open(folder: &Path, space: &Space) -> std::io::Result<Self> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(number_of);
            if let Some(number) = number {
                found.push((number, entry.path(), charge(entry.metadata()?.len())));
            }
        }
        found.sort();
        let next_number = found.last().map_or(0, |(number, _, _)| number + 1);
        let mut aside = Self {
            kept: VecDeque::new(),
            next_number,
        };
        for (_, path, charge) in found {
            space.add_used(charge);
            aside.kept.push_back((path, charge));
        }
        aside.shrink(KEPT_MAX, space);
        Ok(aside)
    }

    /// Moves a block's file here, or deletes it if it cannot be moved. Its charge
    /// stays for as long as the file does.
    pub(crate) fn take(&mut self, folder: &Path, file: &Path, charge: u64, space: &Space) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let target = folder.join(format!("{}-{name}", self.next_number));
        self.next_number += 1;
        if fs::rename(file, &target).is_ok() {
            self.kept.push_back((target, charge));
            self.shrink(KEPT_MAX, space);
        } else {
            // Gone already, or of a disk that obeys nobody: it is not served.
            fs::remove_file(file).ok();
            space.remove_used(charge);
        }
    }

    /// Deletes all; whether there were any.
    pub(crate) fn clear(&mut self, space: &Space) -> bool {
        let had_some = !self.kept.is_empty();
        self.shrink(0, space);
        had_some
    }

    fn shrink(&mut self, count_max: usize, space: &Space) {
        while self.kept.len() > count_max {
            let Some((path, charge)) = self.kept.pop_front() else {
                return;
            };
            fs::remove_file(path).ok();
            space.remove_used(charge);
        }
    }
}

fn number_of(name: &str) -> Option<u64> {
    let (number, file) = name.split_once('-')?;
    layout::parse_file_name(file)?;
    number.parse().ok()
}
