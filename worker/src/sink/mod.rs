//! Output into a directory on a file system that the job's workers share.
//!
//! Every reduce attempt writes a file of its own, named by its attempt, into a
//! staging directory beside the target; the accepted report in the log says
//! which of them count. One commit attempt at a time makes the whole visible by
//! one rename that replaces nothing. A zombie can leave files in staging, which
//! commit removes; it can never change what readers see.

mod commit;
mod manifest;
pub(crate) mod objects;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use vivat_engine::disk::describe;
use vivat_engine::failpoint::point;
use vivat_shared::attempt::OutputIdentity;
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{AttemptId, ClusterId, JobId};
use vivat_shared::job::OutputLocation;

use crate::dir::is_full;

pub(crate) use commit::{CommitOrder, commit};
pub(crate) use manifest::{Manifest, is_whole as is_whole_output};

/// The paths of one job's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputPaths {
    /// What readers will see.
    pub(crate) target: PathBuf,
    /// The target as the user wrote it, for messages.
    pub(crate) display: String,
    /// Where attempts write.
    pub(crate) staging: PathBuf,
    /// Where a replaced output waits for its deletion.
    pub(crate) moved_away: PathBuf,
    /// Holds all three.
    pub(crate) parent: PathBuf,
}

impl OutputPaths {
    /// Derives the paths; two clusters or two jobs never share any but the
    /// target.
    ///
    /// # Errors
    ///
    /// A target without a last component (`/`, `..`) cannot be written.
    pub(crate) fn new(
        output: &OutputLocation,
        cluster: ClusterId,
        job: JobId,
    ) -> Result<Self, FailureCause> {
        let OutputLocation::Directory { path, display, .. } = output else {
            return Err(FailureCause::Internal {
                detail: format!("{} is no directory", output.display(job)),
            });
        };
        let target = PathBuf::from(path);
        let (Some(parent), Some(name)) = (
            target.parent().map(Path::to_owned),
            target
                .file_name()
                .and_then(|name| name.to_str())
                .map(str::to_owned),
        ) else {
            return Err(FailureCause::OutputUnwritable {
                path: display.clone(),
                detail: "the path has no last component to create".to_owned(),
            });
        };
        let cluster = cluster.to_string();
        let short = &cluster[..8];
        Ok(Self {
            staging: parent.join(format!(".{name}.{short}-{job}.staging")),
            moved_away: parent.join(format!(".{name}.{short}-{job}.old")),
            display: display.clone(),
            target,
            parent,
        })
    }

    /// The file of one reduce attempt.
    pub(crate) fn attempt_file(&self, attempt: AttemptId) -> PathBuf {
        self.staging
            .join(attempt_name(attempt.task.index, attempt.number))
    }

    /// Creates the staging directory, durably, and what lies above it.
    pub(crate) fn create_staging(&self) -> Result<(), FailureCause> {
        if self.staging.is_dir() {
            return Ok(());
        }
        point("staging-create")
            .and_then(|()| fs::create_dir_all(&self.staging))
            .and_then(|()| sync(&self.parent))
            .map_err(|error| self.cause(&error))
    }

    /// Makes the names of the files in it durable: what is reported as done
    /// must be there after a power loss.
    pub(crate) fn sync_staging(&self) -> io::Result<()> {
        point("staging-sync")?;
        sync(&self.staging)
    }

    /// What an error while writing means for the job.
    pub(crate) fn cause(&self, error: &io::Error) -> FailureCause {
        if is_full(error) {
            return FailureCause::DiskFull {
                what: format!("output {} in {}", self.display, describe(&self.parent)),
            };
        }
        FailureCause::OutputUnwritable {
            path: self.display.clone(),
            detail: error.to_string(),
        }
    }

    /// Deletes what a reduce attempt wrote.
    pub(crate) fn remove_attempt(&self, attempt: AttemptId) -> io::Result<()> {
        crate::dir::remove_file(&self.attempt_file(attempt))
    }
}

/// Checks at plan time that the output may be written, and makes its staging
/// directory, which is the only test that tells for sure.
///
/// Answers the identity of the output that stands there now, when `overwrite`
/// allows its replacement and it is an output of ours.
pub(crate) fn check_output(
    paths: &OutputPaths,
    overwrite: bool,
) -> Result<Option<OutputIdentity>, FailureCause> {
    let exists = || FailureCause::OutputExists {
        path: paths.display.clone(),
    };
    let replaces = match identity(&paths.target) {
        Ok(None) => None,
        Ok(Some(_)) if !overwrite => return Err(exists()),
        Ok(Some(found)) if manifest::is_whole(&paths.target) => Some(found),
        Ok(Some(_)) => return Err(exists()),
        Err(error) => return Err(paths.cause(&error)),
    };
    paths.create_staging()?;
    Ok(replaces)
}

/// What stands at a path, if anything does. Links are not followed: a link to
/// an output is not that output.
fn identity(path: &Path) -> io::Result<Option<OutputIdentity>> {
    use std::os::unix::fs::MetadataExt;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(OutputIdentity {
            device: found.dev(),
            inode: found.ino(),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn part_name(partition: usize) -> String {
    format!("part-{partition:05}")
}

fn attempt_name(partition: u32, number: u16) -> String {
    format!("part-{partition:05}.attempt-{number}")
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
