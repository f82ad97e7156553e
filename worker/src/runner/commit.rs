//! The end of a job: its output becomes visible.
//!
//! What reduces wrote where the output goes only needs its names. What the rounds
//! of a step that closes wrote are datasets: the parts of the last round are
//! copied from their blocks first, under the names that its reduces would have
//! given them.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use vivat_engine::failpoint::point;
use vivat_shared::attempt::{CommittedPart, Outcome, OutputIdentity};
use vivat_shared::dataset::LocatedBlock;
use vivat_shared::ids::{AttemptId, TaskId, TaskKind};
use vivat_shared::job::OutputLocation;

use super::{Fault, Runner, elsewhere};
use crate::held::Grant;
use crate::sink::{CommitOrder, OutputPaths, commit};

impl Runner {
    pub(super) fn commit(
        &self,
        grant: &Arc<Grant>,
        (parts, blocks): (&[CommittedPart], &[Vec<LocatedBlock>]),
        replaces: Option<&OutputIdentity>,
    ) -> Result<Outcome, Fault> {
        if let OutputLocation::Objects { url } = &grant.spec.output {
            self.copy_to_objects(grant, url, (parts, blocks))?;
            let committed = self.objects(grant, url)?.commit(parts, replaces);
            committed.map_err(|cause| elsewhere::unless_stopped(grant, cause))?;
            return Ok(Outcome::Committed);
        }
        let paths = self.output(grant)?;
        let order = CommitOrder {
            paths: &paths,
            cluster: grant.cluster,
            job: grant.attempt.job(),
            parts,
            replaces,
        };
        // What shows already needs no copies any more.
        if !blocks.is_empty() && !order.is_done() {
            self.copy_to_staging(grant, &paths, (parts, blocks))?;
        }
        commit(&order)?;
        Ok(Outcome::Committed)
    }

    /// Fills staging with the parts of the last round, under the names of the
    /// attempts that wrote them. Another commit attempt may do the same: each
    /// writes files of its own, and a name is given to a whole one.
    fn copy_to_staging(
        &self,
        grant: &Arc<Grant>,
        paths: &OutputPaths,
        (parts, blocks): (&[CommittedPart], &[Vec<LocatedBlock>]),
    ) -> Result<(), Fault> {
        paths.create_staging()?;
        for ((partition, part), blocks) in (0_u32..).zip(parts).zip(blocks) {
            let named = paths.attempt_file(writer(grant, partition, part));
            let copy = named.with_added_extension(format!("copy-{}", grant.attempt.number));
            let mut file = Part::create(&copy).map_err(|e| paths.cause(&e))?;
            let failed = |error: &io::Error| paths.cause(error);
            self.copy_part(grant, (part.output, blocks), &mut file, &failed)?;
            file.sync()
                .and_then(|()| std::fs::rename(&copy, &named))
                .map_err(|error| paths.cause(&error))?;
        }
        Ok(paths.sync_staging().map_err(|error| paths.cause(&error))?)
    }
}

/// The attempt whose part it is.
pub(super) fn writer(grant: &Grant, partition: u32, part: &CommittedPart) -> AttemptId {
    AttemptId {
        task: TaskId {
            round: grant.attempt.task.round,
            kind: TaskKind::Reduce,
            index: partition,
        },
        number: part.attempt,
    }
}

/// The file of one reduce attempt.
pub(super) struct Part(File);

impl Part {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        point("part-create")?;
        File::create(path).map(Self)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        point("part-sync")?;
        self.0.sync_all()
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        point("part-write")?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
