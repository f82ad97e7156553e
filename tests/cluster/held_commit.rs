//! Holds a commit attempt where it begins, for as long as a test wants.
//!
//! A commit that replaces an output reads that output's manifest first. A pipe
//! in its place lets the attempt wait for a writer, and tells the test that the
//! attempt is there: a pipe can be opened for writing without waiting only when
//! somebody reads from it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

use crate::faults::await_true;

const MANIFEST: &str = "_manifest.json";

/// A pipe in the place of a manifest; nobody is there yet.
pub struct HeldCommit {
    path: PathBuf,
    manifest: Vec<u8>,
}

/// A commit attempt waits at the pipe.
pub struct AtThePipe {
    held: HeldCommit,
    pipe: File,
}

impl HeldCommit {
    /// Of the next commit that replaces this output. Whoever has read its
    /// manifest before does not notice.
    pub fn prepare(output: &Path) -> Self {
        let path = output.join(MANIFEST);
        let manifest = fs::read(&path).expect("it is an output of ours");
        let pipe = output.join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("a pipe can be made");
        fs::rename(&pipe, &path).expect("the directory is the test's");
        Self { path, manifest }
    }

    /// Waits until the attempt is there.
    pub fn await_attempt(self) -> AtThePipe {
        let mut pipe = None;
        await_true("a commit attempt", || {
            let flags = OFlags::NONBLOCK.bits().try_into().expect("a flag of open");
            let opened = OpenOptions::new()
                .write(true)
                .custom_flags(flags)
                .open(&self.path);
            pipe = opened.ok();
            pipe.is_some()
        });
        AtThePipe {
            pipe: pipe.expect("awaited just now"),
            held: self,
        }
    }
}

impl AtThePipe {
    /// Puts the manifest back, and gives the attempt what it waits for.
    pub fn let_go(mut self) {
        let beside = self.held.path.with_extension("new");
        fs::write(&beside, &self.held.manifest).expect("the directory is the test's");
        fs::rename(&beside, &self.held.path).expect("the directory is the test's");
        let sent = self.pipe.write_all(&self.held.manifest);
        sent.expect("the attempt reads");
    }
}
