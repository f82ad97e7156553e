//! The commit attempt: makes a job's output visible as a whole.
//!
//! Each step may be repeated, so a commit that died anywhere is simply run
//! again, here or on another worker, even while its predecessor still twitches:
//! whoever comes second finds the step done, or the target with the job's own
//! id in its manifest, which is success.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use vivat_engine::failpoint::point;
use vivat_shared::attempt::{CommittedPart, OutputIdentity};
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{ClusterId, JobId};

use super::manifest::{MANIFEST, Manifest, SUCCESS};
use super::{OutputPaths, attempt_name, identity, part_name, sync};

/// What is to be made visible.
#[derive(Debug)]
pub(crate) struct CommitOrder<'a> {
    pub(crate) paths: &'a OutputPaths,
    pub(crate) cluster: ClusterId,
    pub(crate) job: JobId,
    /// The accepted attempt of each partition, in order.
    pub(crate) parts: &'a [CommittedPart],
    /// The one output that may be replaced.
    pub(crate) replaces: Option<&'a OutputIdentity>,
}

/// What stands at the target.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Absent,
    /// This job's output: somebody has committed before.
    Ours,
    /// The output that the plan found and may be replaced.
    Replaceable,
    Foreign,
}

/// Why a step did not do what it is for.
#[derive(Debug)]
enum StepError {
    Io(io::Error),
    Cause(FailureCause),
}

impl From<io::Error> for StepError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Makes the output visible, or finds that it is.
pub(crate) fn commit(order: &CommitOrder<'_>) -> Result<(), FailureCause> {
    match run(order) {
        Ok(()) => Ok(()),
        // Another attempt may have renamed the staging directory away under
        // our hands: what counts is what stands at the target.
        Err(_) if matches!(order.inspect(), Ok(Target::Ours)) => order
            .keep_shown()
            .map_err(|error| order.paths.cause(&error)),
        Err(StepError::Cause(cause)) => Err(cause),
        Err(StepError::Io(error)) => Err(order.paths.cause(&error)),
    }
}

fn run(order: &CommitOrder<'_>) -> Result<(), StepError> {
    point("commit-begin")?;
    match order.inspect()? {
        Target::Ours => return Ok(order.keep_shown()?),
        Target::Foreign => return Err(order.exists()),
        Target::Absent | Target::Replaceable => {}
    }
    order.gather_parts()?;
    point("parts-renamed")?;
    order.remove_others()?;
    order.write_manifest()?;
    order.mark_success()?;
    if let Err(error) = order.move_old_away().and_then(|()| order.show()) {
        order.put_old_back();
        return Err(error);
    }
    Ok(order.keep_shown()?)
}

impl CommitOrder<'_> {
    /// Whether the output shows already: somebody has committed before.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.inspect(), Ok(Target::Ours))
    }

    fn inspect(&self) -> io::Result<Target> {
        let Some(found) = identity(&self.paths.target)? else {
            return Ok(Target::Absent);
        };
        let manifest = Manifest::read(&self.paths.target);
        Ok(match manifest {
            Some(manifest) if manifest.is_of(self.cluster, self.job) => Target::Ours,
            Some(_) | None if self.replaces == Some(&found) => Target::Replaceable,
            Some(_) | None => Target::Foreign,
        })
    }

    fn exists(&self) -> StepError {
        StepError::Cause(FailureCause::OutputExists {
            path: self.paths.display.clone(),
        })
    }

    /// Gives every winner its final name, once it is seen to be there whole.
    fn gather_parts(&self) -> Result<(), StepError> {
        for (partition, part) in self.parts.iter().enumerate() {
            let index = u32::try_from(partition).map_err(io::Error::other)?;
            let won = self.paths.staging.join(attempt_name(index, part.attempt));
            let named = self.final_folder()?.join(part_name(partition));
            let bytes = match (length(&won)?, length(&named)?) {
                (Some(bytes), _) => {
                    self.check_length(&won, bytes, part)?;
                    point("part-rename")?;
                    fs::rename(&won, &named)?;
                    continue;
                }
                (None, Some(bytes)) => bytes,
                (None, None) => return Err(self.part_missing(&won)),
            };
            self.check_length(&named, bytes, part)?;
        }
        Ok(())
    }

    /// Where files get their final names: in staging, which is shown as a whole.
    fn final_folder(&self) -> io::Result<&Path> {
        if cfg!(vivat_seeded_bug = "part-by-part") {
            // Mistake 10: readers see one part after the other.
            fs::create_dir_all(&self.paths.target)?;
            return Ok(&self.paths.target);
        }
        Ok(&self.paths.staging)
    }

    fn part_missing(&self, won: &Path) -> StepError {
        StepError::Cause(FailureCause::Storage {
            detail: format!(
                "part {} of output {} is gone",
                won.display(),
                self.paths.display
            ),
        })
    }

    fn check_length(&self, file: &Path, bytes: u64, part: &CommittedPart) -> Result<(), StepError> {
        if bytes == part.output.bytes {
            return Ok(());
        }
        Err(StepError::Cause(FailureCause::Storage {
            detail: format!(
                "{} has {bytes} bytes, {} were reported",
                file.display(),
                part.output.bytes
            ),
        }))
    }

    /// Removes what attempts that did not win have left.
    fn remove_others(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.paths.staging)? {
            let entry = entry?;
            if !self.belongs(&entry.file_name()) {
                crate::dir::remove_file(&entry.path())?;
            }
        }
        Ok(())
    }

    fn belongs(&self, name: &OsStr) -> bool {
        name.to_str().is_some_and(|name| {
            name == MANIFEST
                || name == SUCCESS
                || name
                    .strip_prefix("part-")
                    .and_then(|digits| digits.parse::<usize>().ok())
                    .is_some_and(|part| part < self.parts.len() && part_name(part) == name)
        })
    }

    fn write_manifest(&self) -> io::Result<()> {
        let json = Manifest::new(self.cluster, self.job, self.parts).to_json()?;
        let path = self.final_folder()?.join(MANIFEST);
        if fs::read(&path).is_ok_and(|found| found == json) {
            return sync(&path);
        }
        // Beside and renamed: a second commit attempt must never truncate the
        // manifest of an output that the first has just made visible.
        let temporary = self.paths.staging.join("_manifest.json.new");
        point("manifest-write")?;
        let mut file = File::create(&temporary)?;
        file.write_all(&json)?;
        file.sync_all()?;
        point("manifest-rename")?;
        fs::rename(&temporary, &path)
    }

    fn mark_success(&self) -> io::Result<()> {
        point("success-write")?;
        File::create(self.final_folder()?.join(SUCCESS))?.sync_all()?;
        point("success-sync")?;
        sync(&self.paths.staging)
    }

    fn move_old_away(&self) -> Result<(), StepError> {
        match self.inspect()? {
            Target::Absent | Target::Ours => Ok(()),
            Target::Replaceable => {
                point("old-move")?;
                rename_no_replace(&self.paths.target, &self.paths.moved_away)?;
                point("old-moved")?;
                Ok(sync(&self.paths.parent)?)
            }
            Target::Foreign => Err(self.exists()),
        }
    }

    fn show(&self) -> Result<(), StepError> {
        point("output-show")?;
        if cfg!(vivat_seeded_bug = "part-by-part") {
            return Ok(crate::dir::remove_tree(&self.paths.staging)?);
        }
        match rename_no_replace(&self.paths.staging, &self.paths.target) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(self.exists()),
            Err(error) => Err(error.into()),
        }
    }

    /// The job may end here: its predecessor's output is then better than none.
    fn put_old_back(&self) {
        match rename_no_replace(&self.paths.moved_away, &self.paths.target) {
            // Nothing was replaced, or another attempt has shown the output.
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::AlreadyExists]
                    .contains(&error.kind()) => {}
            Err(error) => tracing::error!(
                output = self.paths.display,
                moved_away = %self.paths.moved_away.display(),
                error = %error,
                "cannot put the former output back"
            ),
            Ok(()) => tracing::warn!(output = self.paths.display, "former output put back"),
        }
    }

    /// Makes the output's name last, whoever gave it, and deletes what it has
    /// replaced: not before, so that a power loss leaves one of the two.
    fn keep_shown(&self) -> io::Result<()> {
        point("output-sync")?;
        sync(&self.paths.parent)?;
        point("old-delete")?;
        crate::dir::remove_tree(&self.paths.moved_away)
    }
}

fn length(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Renames unless the new name is taken. File systems that cannot do that in
/// one step (NFS) look first: their window is one system call long.
fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            if identity(to)?.is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
