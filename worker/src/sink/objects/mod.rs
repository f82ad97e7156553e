//! Output below a prefix of an object store.
//!
//! Nothing can be renamed there, and everything that is written is visible. So
//! *the whole is what the manifest names*: every reduce attempt writes an object
//! of its own, and the manifest says which of them count.
//!
//! ```text
//! PREFIX/part-00000.01234567-job-7.2   what attempt 2 of job 7's partition 0 wrote
//! PREFIX/_manifest.json                whose output it is, and the parts in order:
//!                                      name, key below PREFIX, bytes, records, CRC-32C
//! PREFIX/_SUCCESS                      empty, and last: the output is whole
//! ```
//!
//! The manifest is created where there is none, by a conditional put, so of two
//! jobs one wins. Under `overwrite` it takes the place of the one that the plan
//! recorded, again by a conditional put: readers see the old output or the new
//! one. What no manifest names is deleted by the commit, and by the workers when
//! the job has ended; a zombie's object that comes later is named by nobody.

mod commit;
mod part;
mod read;

use std::io;
use std::sync::Arc;

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use vivat_shared::attempt::OutputIdentity;
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{AttemptId, ClusterId, JobId};
use vivat_shared::limits::REDUCERS_MAX;

use super::manifest::{MANIFEST, Manifest, SUCCESS};
use crate::remote::{Location, RemoteError, RemoteObject, Stores, Waiting, patiently, soon};

pub(crate) use part::ObjectPart;
pub use read::{ObjectResult, ReadError};

/// A manifest of all partitions that a job may have.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 512 * REDUCERS_MAX as u64;
/// Objects directly below a prefix that are looked at: attempts of all partitions.
const LISTED_MAX: usize = 1_000_000;

/// The output of one job.
#[derive(Debug, Clone)]
pub(crate) struct ObjectOutput {
    stores: Arc<Stores>,
    location: Location,
    display: String,
    cluster: ClusterId,
    job: JobId,
    waiting: Waiting,
}

/// Whose output it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) cluster: ClusterId,
    pub(crate) job: JobId,
}

impl ObjectOutput {
    /// The output at a URL.
    ///
    /// # Errors
    ///
    /// The URL names no place, or the worker's settings for its store are of no use.
    pub(crate) fn new(
        stores: &Arc<Stores>,
        url: &str,
        owner: Owner,
        waiting: Waiting,
    ) -> Result<Self, FailureCause> {
        let display = crate::remote::shown(url);
        let location = Location::parse(url).map_err(|reason| FailureCause::OutputUnwritable {
            path: display.clone(),
            detail: reason.to_owned(),
        })?;
        let output = Self {
            stores: stores.clone(),
            location,
            display,
            cluster: owner.cluster,
            job: owner.job,
            waiting,
        };
        output.prefix().map_err(|error| output.cause(&error))?;
        Ok(output)
    }

    /// What an error means for the job.
    pub(crate) fn cause(&self, error: &RemoteError) -> FailureCause {
        error.of_output(&self.display)
    }

    /// Checks at plan time that nothing is there, or something that `overwrite`
    /// allows to replace; answers its identity.
    pub(crate) fn check(&self, overwrite: bool) -> Result<Option<OutputIdentity>, FailureCause> {
        self.wait(async {
            let exists = || FailureCause::OutputExists {
                path: self.display.clone(),
            };
            let failed = |error| self.cause(&error);
            if let Some((manifest, _)) = self.manifest().await.map_err(failed)? {
                return match overwrite || manifest.is_of(self.cluster, self.job) {
                    true => Ok(Some(identity(&manifest))),
                    false => Err(exists()),
                };
            }
            // What attempts left is nobody's output.
            let found = self.list().await.map_err(failed)?;
            let foreign =
                |object: &ObjectMeta| !object.location.filename().is_some_and(is_attempt_name);
            match found.iter().any(foreign) {
                true => Err(exists()),
                false => Ok(None),
            }
        })?
    }

    /// Begins to write what a reduce attempt makes.
    pub(crate) fn part(&self, attempt: AttemptId) -> Result<ObjectPart, FailureCause> {
        let key = self.key(attempt.task.index, attempt.number);
        let object = self.object(&key).map_err(|error| self.cause(&error))?;
        Ok(ObjectPart::new(object, self.waiting.clone()))
    }

    /// What an error of an [`ObjectPart`] means for the job.
    pub(crate) fn write_cause(&self, error: &io::Error) -> FailureCause {
        let remote = error.get_ref().and_then(|inner| inner.downcast_ref());
        match remote {
            Some(remote) => self.cause(remote),
            None => FailureCause::OutputUnwritable {
                path: self.display.clone(),
                detail: error.to_string(),
            },
        }
    }

    /// Deletes what a reduce attempt wrote.
    pub(crate) async fn discard(&self, attempt: AttemptId) -> Result<(), RemoteError> {
        delete(&self.object(&self.key(attempt.task.index, attempt.number))?).await
    }

    /// Deletes what the job's attempts wrote and no manifest names. Best effort:
    /// for a job that has ended.
    pub(crate) async fn forget(&self) -> Result<(), RemoteError> {
        let manifest = self.manifest().await?;
        let ours = manifest.filter(|(manifest, _)| manifest.is_of(self.cluster, self.job));
        let named = ours.map(|(manifest, _)| manifest);
        self.delete_all_but(&self.tag(), named.as_ref()).await
    }

    /// Runs a task's work on this thread until it is done or the attempt stopped.
    fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, FailureCause> {
        self.waiting.wait(work).map_err(|error| self.cause(&error))
    }

    /// Cluster and job as they stand in names: two clusters that write to one
    /// store number their jobs alike.
    fn tag(&self) -> String {
        let cluster = self.cluster.to_string();
        format!("{}-{}", &cluster[..8], self.job)
    }

    /// The name of what an attempt writes.
    fn key(&self, partition: u32, attempt: u16) -> String {
        format!("part-{partition:05}.{}.{attempt}", self.tag())
    }

    fn prefix(&self) -> Result<Path, RemoteError> {
        Ok(self.stores.object(&self.location)?.path)
    }

    /// The object of a name below the prefix.
    fn object(&self, name: &str) -> Result<RemoteObject, RemoteError> {
        let prefix = self.stores.object(&self.location)?;
        Ok(RemoteObject {
            path: prefix.path.join(name),
            ..prefix
        })
    }

    /// The manifest that is there, with its version; none when there is none.
    async fn manifest(&self) -> Result<Option<(Manifest, ObjectMeta)>, RemoteError> {
        let object = self.object(MANIFEST)?;
        let read = patiently(|| object.read(MANIFEST_BYTES_MAX)).await;
        let (json, meta) = match read {
            Ok(read) => read,
            Err(RemoteError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        match Manifest::decode(&json) {
            Some(manifest) => Ok(Some((manifest, meta))),
            None => Err(RemoteError::Refused {
                detail: format!("a {MANIFEST} is there that is none of ours"),
            }),
        }
    }

    /// What lies directly below the prefix.
    async fn list(&self) -> Result<Vec<ObjectMeta>, RemoteError> {
        let prefix = self.stores.object(&self.location)?;
        patiently(|| async {
            let listed = prefix.store.objects.list_with_delimiter(Some(&prefix.path));
            let mut found = soon(listed).await?.objects;
            found.retain(|object| object.location != prefix.path);
            found.truncate(LISTED_MAX);
            Ok(found)
        })
        .await
    }

    /// Deletes the attempts of a job, but for those that a manifest names.
    async fn delete_all_but(&self, tag: &str, named: Option<&Manifest>) -> Result<(), RemoteError> {
        let keep: Vec<&str> = named
            .iter()
            .flat_map(|manifest| manifest.parts())
            .filter_map(super::manifest::Part::key)
            .collect();
        let unwanted = |object: &ObjectMeta| {
            let name = object.location.filename().unwrap_or_default();
            attempt_tag(name) == Some(tag) && !keep.contains(&name)
        };
        let found = self.list().await?;
        let prefix = self.stores.object(&self.location)?;
        let deletions = found.into_iter().filter(unwanted).map(|object| {
            let object = RemoteObject {
                path: object.location,
                ..prefix.clone()
            };
            async move { delete(&object).await }
        });
        // A few at a time: it may be one for every partition.
        let mut deletions = futures_util::stream::iter(deletions).buffer_unordered(8);
        while let Some(deleted) = deletions.next().await {
            deleted?;
        }
        Ok(())
    }
}

async fn delete(object: &RemoteObject) -> Result<(), RemoteError> {
    let deleted = patiently(|| soon(object.store.objects.delete(&object.path))).await;
    match deleted {
        Err(RemoteError::NotFound) => Ok(()),
        deleted => deleted,
    }
}

/// What tells one output from another at the same place: whose it is.
fn identity(manifest: &Manifest) -> OutputIdentity {
    let tag = manifest.tag();
    OutputIdentity {
        device: u64::from(crc32c::crc32c(tag.as_bytes())),
        inode: manifest.crc32c(),
    }
}

/// Cluster and job of the attempt that wrote an object of this name, if one did.
fn attempt_tag(name: &str) -> Option<&str> {
    let (part, rest) = name.split_once('.')?;
    let (tag, attempt) = rest.rsplit_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (cluster, job) = tag.split_once("-job-")?;
    let is_ours = part.strip_prefix("part-").is_some_and(digits)
        && cluster.len() == 8
        && cluster.bytes().all(|byte| byte.is_ascii_hexdigit())
        && digits(job)
        && digits(attempt);
    is_ours.then_some(tag)
}

/// Whether a reduce attempt wrote an object of this name.
pub(crate) fn is_attempt_name(name: &str) -> bool {
    attempt_tag(name).is_some()
}

/// Names of the objects that make parts an output.
pub(crate) const MARKERS: [&str; 2] = [MANIFEST, SUCCESS];

/// The names below a prefix that a manifest names, in order; none when it is no
/// manifest of objects.
pub(crate) fn named_by(json: &[u8]) -> Option<Vec<String>> {
    let manifest = Manifest::decode(json)?;
    let keys = manifest
        .parts()
        .iter()
        .map(|part| part.key().map(str::to_owned));
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_an_attempt_is_told_from_any_other() {
        let name = "part-00000.01234567-job-7.2";
        assert_eq!(attempt_tag(name), Some("01234567-job-7"));
        for other in [
            "part-00000",
            "part-00000.csv",
            "part-.01234567-job-7.2",
            "part-00000.0123456-job-7.2",
            "part-00000.01234567-job-7.",
            "part-00000.01234567-job-.2",
            "_manifest.json",
        ] {
            assert_eq!(attempt_tag(other), None, "{other}");
        }
    }
}
