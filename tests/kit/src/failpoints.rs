//! Orders to a process that was built with failpoints.
//!
//! The process reads a file at each of its points, and writes beside it what it
//! did. An order may be given before it starts or while it runs:
//! `POINT kill|panic|error|full|sleep=MS [PASSES TO LET THROUGH]`.

use std::fs;
use std::path::{Path, PathBuf};

/// The variable of the process that names the file.
pub const VARIABLE: &str = "VIVAT_FAILPOINTS";

/// A file of orders.
#[derive(Debug, Clone)]
pub struct Orders {
    file: PathBuf,
}

impl Orders {
    /// Orders in this file, which need not be there.
    #[must_use]
    pub fn at(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Gives these orders, and no others.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn give(&self, orders: &[&str]) {
        // Renamed into place: the process may be reading.
        let new = self.beside("new");
        let text = orders.join("\n");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &self.file))
            .unwrap_or_else(|error| panic!("{}: {error}", self.file.display()));
    }

    /// Gives no orders any more.
    ///
    /// # Panics
    ///
    /// As [`Self::give`].
    pub fn withdraw(&self) {
        self.give(&[]);
    }

    /// What was carried out since the last call: lines as they were given.
    pub fn take_struck(&self) -> Vec<String> {
        let struck = self.struck();
        // Without the file nothing was.
        fs::remove_file(self.beside("struck")).ok();
        struck
    }

    /// What was carried out.
    #[must_use]
    pub fn struck(&self) -> Vec<String> {
        let text = fs::read_to_string(self.beside("struck")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.file.as_os_str().to_owned();
        name.push(".");
        name.push(ending);
        PathBuf::from(name)
    }
}
