//! `SubmitJob`: one key, one job, for as long as the job is remembered (S5).

use std::collections::BTreeMap;
use std::sync::Arc;

use vivat_shared::ids::{DatasetId, JobId, RoundId};
use vivat_shared::job::{InputPattern, JobSpec, OutputLocation, SpecError};
use vivat_shared::limits::{JOB_KEY_BYTES_MAX, JOB_SPEC_BYTES_MAX};
use vivat_shared::view::AttemptCounts;

use super::Context;
use super::effects::output_name;
use super::open_dataset::check_not_of_job;
use crate::command::{Event, Rejection, Reply};
use crate::limits::{JOBS_ACTIVE_MAX, SPEC_BYTES_MAX};
use crate::state::job::{hosts, writes_dataset};
use crate::state::{Active, DatasetOutput, History, Job, Logs, Stage, State};

pub(super) fn apply(
    context: &mut Context<'_>,
    key: &str,
    spec: &JobSpec,
) -> Result<Reply, Rejection> {
    // The key comes first: a repeated submission gets the same answer even if
    // this version would refuse the specification today.
    if let Some(job) = context.state.job_of_key(key) {
        return answer_repeated(context, key, job, spec);
    }
    let spec_bytes = check(key, spec).map_err(Rejection::InvalidSpec)?;
    let state = &mut *context.state;
    if state.active.len() >= JOBS_ACTIVE_MAX {
        return Err(Rejection::Limit {
            limit: format!("{JOBS_ACTIVE_MAX} jobs that have not ended"),
        });
    }
    if state.spec_bytes + u64::from(spec_bytes) > SPEC_BYTES_MAX {
        return Err(Rejection::Limit {
            limit: format!("{SPEC_BYTES_MAX} bytes of all jobs' specifications"),
        });
    }
    let datasets = named_datasets(state, spec.inputs.iter())?;
    let side_files = spec.side_files.iter().map(|file| &file.location);
    let side_datasets = named_datasets(state, side_files)?;
    let id = JobId(state.last_job + 1);
    let first = RoundId {
        job: id,
        step: 0,
        round: 0,
    };
    let mut job = Job {
        id,
        key: Arc::from(key),
        spec: Arc::new(spec.clone()),
        spec_bytes,
        datasets,
        side_datasets,
        host: hosts(spec).first().map(|host| (*host).clone()),
        submitted_at_ms: state.now_ms,
        submitted_age_ms: state.age_ms,
        started_at_ms: None,
        counts: AttemptCounts::default(),
        counters: BTreeMap::new(),
        input_bytes: 0,
        history: History::default(),
        skipped_records: 0,
        skipped: Vec::new(),
        logs: Logs::default(),
        endings: 0,
        notice: None,
        retries: 0,
        retry_key: None,
        begun_age_ms: state.age_ms,
        numbers: 0,
        stage: Stage::Active(Box::new(Active::new(first, spec, state.age_ms, 0))),
    };
    if let Some(name) = output_name(&job)
        && !spec.overwrite
        && state.directory.named(&name).is_some()
    {
        return Err(Rejection::DatasetExists { name });
    }
    if (0..spec.steps.len()).any(|step| writes_dataset(spec, step)) {
        state.directory.check_datasets()?;
    }
    state.last_job = id.0;
    open_datasets(state, &mut job);
    state.insert_job(job);
    context.events.push(Event::JobChanged { job: id });
    Ok(Reply::Job {
        job: id,
        created: true,
    })
}

/// The datasets that locations name, in their order. What a name leads to is
/// settled here: a dataset that takes the name later is not what was asked for.
fn named_datasets<'a>(
    state: &State,
    locations: impl Iterator<Item = &'a InputPattern>,
) -> Result<Vec<DatasetId>, Rejection> {
    let resolve = |name: &str| {
        state
            .directory
            .named(name)
            .map(|dataset| dataset.id)
            .ok_or_else(|| Rejection::UnknownDatasetName(name.to_owned()))
    };
    locations
        .filter_map(InputPattern::dataset)
        .map(resolve)
        .collect()
}

/// From now on they cannot vanish (S15), and the output has an id.
fn open_datasets(state: &mut State, job: &mut Job) {
    for dataset in job.reads() {
        state
            .directory
            .update(dataset, |known| known.readers.insert(job.id));
    }
    if !writes_dataset(&job.spec, 0) {
        return;
    }
    let dataset = state.directory.mint_output(job.id);
    if let Some(active) = job.active_mut() {
        active.output = Some(DatasetOutput::new(dataset));
    }
}

fn answer_repeated(
    context: &Context<'_>,
    key: &str,
    job: JobId,
    spec: &JobSpec,
) -> Result<Reply, Rejection> {
    let same = context
        .state
        .job(job)
        .is_some_and(|known| *known.spec == *spec);
    if same {
        return Ok(Reply::Job {
            job,
            created: false,
        });
    }
    Err(Rejection::KeyConflict {
        key: key.to_owned(),
        job,
    })
}

/// Returns the bytes of the specification.
fn check(key: &str, spec: &JobSpec) -> Result<u32, SpecError> {
    let fail = |field: &str, problem: String| {
        Err(SpecError {
            field: field.to_owned(),
            problem,
        })
    };
    if key.is_empty() || key.len() > JOB_KEY_BYTES_MAX {
        return fail("key", format!("1 to {JOB_KEY_BYTES_MAX} bytes"));
    }
    spec.validate()?;
    if let OutputLocation::Dataset { name: Some(name) } = &spec.output {
        check_not_of_job(name)?;
    }
    if hosts(spec).len() > 1 {
        let problem = "plain paths of one machine, so that a worker can see them all; \
                       paths that every worker sees are written file:///x";
        return fail("input", problem.to_owned());
    }
    let bytes = postcard::experimental::serialized_size(spec).unwrap_or(usize::MAX);
    if bytes > JOB_SPEC_BYTES_MAX {
        return fail("input", format!("{JOB_SPEC_BYTES_MAX} bytes for the whole"));
    }
    Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
}
