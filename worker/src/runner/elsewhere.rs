//! What attempts do with object stores and web servers.

use std::sync::Arc;

use vivat_engine::EngineError;
use vivat_engine::failpoint::point;
use vivat_shared::attempt::CommittedPart;
use vivat_shared::cause::FailureCause;
use vivat_shared::dataset::LocatedBlock;
use vivat_shared::ids::JobId;
use vivat_shared::job::is_url;

use super::commit::writer;
use super::log::Seat;
use super::work::{Reduced, fault_of};
use super::{Fault, Runner};
use crate::held::Grant;
use crate::remote::Waiting;
use crate::shuffle::Fetched;
use crate::sink::objects::{ObjectOutput, Owner};

impl Runner {
    /// How an attempt's thread waits.
    pub(super) fn waiting(&self, grant: &Grant) -> Waiting {
        Waiting {
            runtime: self.runtime.clone(),
            stopped: grant.stopped.clone(),
        }
    }

    /// The output at a URL, once it is remembered that this worker writes there.
    pub(super) fn objects(&self, grant: &Grant, url: &str) -> Result<ObjectOutput, Fault> {
        let job = grant.attempt.job();
        self.dir
            .remember_staging(job, url.as_ref())
            .map_err(self.storage("a note of the output"))?;
        let owner = Owner {
            cluster: grant.cluster,
            job,
        };
        Ok(ObjectOutput::new(
            &self.stores,
            url,
            owner,
            self.waiting(grant),
        )?)
    }

    pub(super) fn reduce_to_objects(
        &self,
        grant: &Arc<Grant>,
        fetched: Option<&Fetched>,
        url: &str,
        seat: &Seat,
    ) -> Result<Reduced, Fault> {
        let output = self.objects(grant, url)?;
        let mut part = output.part(grant.attempt)?;
        let failed = |cause| unless_stopped(grant, cause);
        let report = match self.reduce_into(&mut part, grant, fetched, seat)? {
            Err(EngineError::Output { source }) => return Err(failed(output.write_cause(&source))),
            report => report.map_err(|error| fault_of(grant, error))?,
        };
        part.finish()
            .map_err(|error| failed(output.cause(&error)))?;
        point("part-done").map_err(|error| failed(output.write_cause(&error)))?;
        Ok((report.output, Vec::new(), report.counters))
    }

    /// Writes the parts of the last round as the objects of the attempts that
    /// wrote them. Writing one again changes nothing: they are the same bytes.
    pub(super) fn copy_to_objects(
        &self,
        grant: &Arc<Grant>,
        url: &str,
        (parts, blocks): (&[CommittedPart], &[Vec<LocatedBlock>]),
    ) -> Result<(), Fault> {
        if blocks.is_empty() {
            return Ok(());
        }
        let output = self.objects(grant, url)?;
        for ((partition, part), blocks) in (0_u32..).zip(parts).zip(blocks) {
            let mut object = output.part(writer(grant, partition, part))?;
            let failed = |error: &std::io::Error| output.write_cause(error);
            self.copy_part(grant, (part.output, blocks), &mut object, &failed)?;
            object
                .finish()
                .map_err(|error| unless_stopped(grant, output.cause(&error)))?;
        }
        Ok(())
    }

    /// Deletes an attempt's object, in the background: nobody waits for it.
    pub(super) fn discard_object(&self, grant: &Grant, url: &str) {
        let owner = Owner {
            cluster: grant.cluster,
            job: grant.attempt.job(),
        };
        // The attempt's own order to stop must not stop this.
        let waiting = Waiting {
            runtime: self.runtime.clone(),
            stopped: Default::default(),
        };
        let attempt = grant.attempt;
        let Ok(output) = ObjectOutput::new(&self.stores, url, owner, waiting) else {
            return;
        };
        self.runtime.spawn(async move {
            if let Err(error) = output.discard(attempt).await {
                tracing::warn!(%attempt, error = %error, "cannot delete an attempt's object");
            }
        });
    }

    /// Deletes what attempts of ended jobs left in object stores, in the
    /// background and as far as it can be reached.
    pub(super) fn forget_objects(&self, jobs: &[JobId]) {
        let Some(cluster) = self.dir.cluster() else {
            return;
        };
        for &job in jobs {
            let Some(url) = self.dir.staging_of(job).filter(|url| is_url(url)) else {
                continue;
            };
            let waiting = Waiting {
                runtime: self.runtime.clone(),
                stopped: Default::default(),
            };
            let owner = Owner { cluster, job };
            let Ok(output) = ObjectOutput::new(&self.stores, &url, owner, waiting) else {
                continue;
            };
            self.runtime.spawn(async move {
                if let Err(error) = output.forget().await {
                    tracing::warn!(job_id = %job, error = %error, "objects of a job are left");
                }
            });
        }
    }
}

/// Why remote work ended: who is told to stop waits no longer, and what it had
/// waited for did not fail.
pub(super) fn unless_stopped(grant: &Grant, cause: FailureCause) -> Fault {
    match grant.cancel.is_cancelled() {
        true => Fault::Stopped,
        false => Fault::Cause(cause),
    }
}
