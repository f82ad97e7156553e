//! Programs that were built for the steps of running jobs.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vivat_engine::Executable;
use vivat_programs::{ProgramEntry, validate_parameters};
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{JobId, RoundId};
use vivat_shared::job::JobSpec;

use super::rounds::format_of;

/// Programs kept; a step whose program was dropped builds it again.
const BUILT_MAX: usize = 256;

/// A step's program, ready to run.
pub(super) struct BuiltProgram {
    pub(super) executable: Box<dyn Executable>,
    /// With defaults filled in.
    pub(super) parameters: BTreeMap<String, String>,
}

impl fmt::Debug for BuiltProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuiltProgram")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// Built once for each step of a job, by all slots together.
#[derive(Debug)]
pub(super) struct Programs {
    catalogue: &'static [ProgramEntry],
    built: Mutex<HashMap<(JobId, u16), Arc<BuiltProgram>>>,
}

impl Programs {
    /// None is built yet.
    pub(super) fn new(catalogue: &'static [ProgramEntry]) -> Self {
        Self {
            catalogue,
            built: Mutex::default(),
        }
    }

    /// The program of a round's step.
    ///
    /// # Errors
    ///
    /// By its typed cause, when the catalogue does not have it or it refuses
    /// its parameters.
    pub(super) fn get(
        &self,
        round: RoundId,
        spec: &JobSpec,
    ) -> Result<Arc<BuiltProgram>, FailureCause> {
        let key = (round.job, round.step);
        if let Some(built) = self.lock().get(&key) {
            return Ok(built.clone());
        }
        // Built outside the lock: a regex takes its time. Two slots may both
        // build it, the first to be done wins.
        let program = Arc::new(build(self.catalogue, round, spec)?);
        let mut built = self.lock();
        if built.len() >= BUILT_MAX {
            built.clear();
        }
        Ok(built.entry(key).or_insert(program).clone())
    }

    pub(super) fn forget(&self, jobs: &[JobId]) {
        self.lock().retain(|(job, _), _| !jobs.contains(job));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(JobId, u16), Arc<BuiltProgram>>> {
        // Nothing panics under this lock.
        self.built.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn build(
    catalogue: &[ProgramEntry],
    round: RoundId,
    spec: &JobSpec,
) -> Result<BuiltProgram, FailureCause> {
    let step = spec
        .steps
        .get(usize::from(round.step))
        .ok_or_else(|| FailureCause::Internal {
            detail: format!("{round} has no step in its specification"),
        })?;
    let entry = catalogue
        .iter()
        .chain(vivat_programs::hidden())
        .find(|entry| entry.name == step.program)
        .ok_or_else(|| FailureCause::ProgramNotFound {
            program: step.program.clone(),
        })?;
    let checked = validate_parameters(entry, &step.parameters).map_err(|error| error.cause())?;
    let format = format_of(spec, step);
    if !entry.accepts(format) {
        return Err(FailureCause::InvalidParameter {
            program: step.program.clone(),
            parameter: "format".to_owned(),
            detail: format!("it does not read {format}"),
        });
    }
    let executable = (entry.build)(&checked).map_err(|error| error.cause())?;
    Ok(BuiltProgram {
        executable,
        parameters: checked.to_map(),
    })
}
