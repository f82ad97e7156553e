//! The commit attempt of an output of objects.
//!
//! One conditional put decides: the manifest's. Before it every winner is seen to
//! be there; behind it lie only steps that may be repeated. So a commit that died
//! anywhere is simply run again.

use object_store::{ObjectMeta, PutMode, PutOptions, PutPayload, UpdateVersion};
use vivat_engine::failpoint::point;
use vivat_shared::attempt::{CommittedPart, OutputIdentity};
use vivat_shared::cause::FailureCause;

use super::{Manifest, ObjectOutput, SUCCESS, identity};
use crate::remote::{RemoteError, RemoteObject, patiently, soon};
use crate::sink::manifest::MANIFEST;

/// Times that another manifest may appear between a look and a put.
const RACES_MAX: u32 = 4;

/// Why a step did not do what it is for.
enum StepError {
    Remote(RemoteError),
    Cause(FailureCause),
}

impl From<RemoteError> for StepError {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

impl ObjectOutput {
    /// Makes the output visible, or finds that it is.
    pub(crate) fn commit(
        &self,
        parts: &[CommittedPart],
        replaces: Option<&OutputIdentity>,
    ) -> Result<(), FailureCause> {
        let failed = |error| match error {
            StepError::Remote(error) => self.cause(&error),
            StepError::Cause(cause) => cause,
        };
        self.wait(self.run(parts, replaces))?.map_err(failed)
    }

    async fn run(
        &self,
        parts: &[CommittedPart],
        replaces: Option<&OutputIdentity>,
    ) -> Result<(), StepError> {
        self.strike("commit-begin")?;
        self.check_parts(parts).await?;
        let manifest = self.name_winners(parts, replaces).await?;
        self.strike("manifest-put")?;
        self.mark_success().await?;
        self.strike("success-put")?;
        // The output stands: what is left over fails nothing.
        let replaced = manifest.replaced().map(str::to_owned);
        for tag in std::iter::once(self.tag()).chain(replaced) {
            if let Err(error) = self.delete_all_but(&tag, Some(&manifest)).await {
                tracing::warn!(
                    output = self.display,
                    error = %error,
                    "objects of attempts that did not win are left"
                );
            }
        }
        Ok(())
    }

    fn strike(&self, name: &'static str) -> Result<(), StepError> {
        point(name).map_err(|error| {
            StepError::Cause(FailureCause::OutputUnwritable {
                path: self.display.clone(),
                detail: error.to_string(),
            })
        })
    }

    async fn check_parts(&self, parts: &[CommittedPart]) -> Result<(), StepError> {
        for (partition, part) in (0_u32..).zip(parts) {
            let key = self.key(partition, part.attempt);
            let object = self.object(&key)?;
            let detail = match patiently(|| object.look()).await {
                Ok((found, _)) if found.bytes == part.output.bytes => continue,
                Ok((found, _)) => format!(
                    "{key} has {} bytes, {} were reported",
                    found.bytes, part.output.bytes
                ),
                Err(RemoteError::NotFound) => format!("{key} is gone"),
                Err(error) => return Err(error.into()),
            };
            return Err(StepError::Cause(FailureCause::OutputUnwritable {
                path: self.display.clone(),
                detail,
            }));
        }
        Ok(())
    }

    /// Puts the manifest, unless it is there.
    async fn name_winners(
        &self,
        parts: &[CommittedPart],
        replaces: Option<&OutputIdentity>,
    ) -> Result<Manifest, StepError> {
        let keys = (0_u32..).zip(parts);
        let keys: Vec<String> = keys
            .map(|(index, part)| self.key(index, part.attempt))
            .collect();
        let ours = Manifest::new(self.cluster, self.job, parts);
        for _ in 0..RACES_MAX {
            let (manifest, mode) = match self.manifest().await? {
                Some((found, _)) if found.is_of(self.cluster, self.job) => return Ok(found),
                Some((found, meta)) if replaces == Some(&identity(&found)) => {
                    let manifest = ours.clone().of_objects(keys.clone(), Some(found.tag()));
                    (manifest, PutMode::Update(version(&meta)))
                }
                Some(_) => break,
                None => (ours.clone().of_objects(keys.clone(), None), PutMode::Create),
            };
            let json = manifest.to_json().map_err(|error| RemoteError::Refused {
                detail: error.to_string(),
            })?;
            match put(&self.object(MANIFEST)?, json, mode).await {
                Ok(()) => return Ok(manifest),
                // By another job, or by ourselves when the answer was lost.
                Err(RemoteError::Taken) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StepError::Cause(FailureCause::OutputExists {
            path: self.display.clone(),
        }))
    }

    async fn mark_success(&self) -> Result<(), StepError> {
        match put(&self.object(SUCCESS)?, Vec::new(), PutMode::Create).await {
            Ok(()) | Err(RemoteError::Taken) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn version(meta: &ObjectMeta) -> UpdateVersion {
    UpdateVersion {
        e_tag: meta.e_tag.clone(),
        version: meta.version.clone(),
    }
}

/// Puts a small object under a condition; without it, where the store knows no
/// conditions: the look before is then all that keeps two jobs apart.
async fn put(object: &RemoteObject, bytes: Vec<u8>, mode: PutMode) -> Result<(), RemoteError> {
    let payload = PutPayload::from(bytes);
    let put = |mode: PutMode| async {
        let options = PutOptions::from(mode);
        let put = object
            .store
            .objects
            .put_opts(&object.path, payload.clone(), options);
        soon(put).await.map(|_| ())
    };
    match patiently(|| put(mode.clone())).await {
        Err(RemoteError::Unsupported) => patiently(|| put(PutMode::Overwrite)).await,
        ended => ended,
    }
}
