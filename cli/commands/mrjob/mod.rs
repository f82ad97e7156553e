//! `vivat mrjob`: an mrjob script as a job, unchanged.
//!
//! The script's own Python says what its steps are, see `describe.py`. From that a
//! job file is made, with a step of `exec` for each of the script's, and run as
//! any other; only how its end is told is mrjob's manner.

mod describe;
mod job;
mod jobconf;
mod report;

use std::path::Path;

use vivat_client::host;
use vivat_shared::view::{JobState, JobView, WorkerState};

use crate::app::App;
use crate::args::Given;
use crate::args::job::WhatArgs;
use crate::args::mrjob::MrjobArgs;
use crate::commands::run::run_draft;
use crate::failure::Failure;
use crate::follow::verdict;
use crate::paths;
use crate::spec::Draft;

use describe::{Described, Question};
use job::JobText;

/// Runs it.
pub async fn mrjob(app: &App, mut args: MrjobArgs, given: &Given<'_>) -> Result<(), Failure> {
    let here = paths::here()?;
    let scratch = tempfile::Builder::new()
        .prefix("vivat-mrjob-")
        .tempdir()
        .map_err(|error| Failure::failed(format!("cannot make a temporary directory: {error}")))?;
    let near = is_near(app).await?;
    let question = Question {
        python: args.python.clone(),
        script: args.script.clone(),
        arguments: args.arguments.clone(),
        near,
    };
    let directory = scratch.path().to_owned();
    let asked = tokio::task::spawn_blocking(move || describe::ask(&question, &directory));
    let asked = asked
        .await
        .map_err(|_| Failure::failed("the script could not be asked for its steps"))?;
    let description = match asked? {
        Described::Job { description, said } => {
            if !said.is_empty() {
                app.note(&said);
            }
            *description
        }
        Described::Help(text) => return app.data(&text),
    };
    let parameters = std::mem::take(&mut args.job.params);
    let text = JobText::new(&description, &args, &parameters, near)?;
    text.warnings.iter().for_each(|warning| app.note(warning));
    let draft = draft(&text, &args, given, scratch.path(), &here)?;
    let steps = draft.steps.len();
    let told = |job: &JobView| told(app, job, steps);
    let result = run_draft(app, draft, args.job.timeout, &told).await;
    if result.as_ref().is_err_and(job::may_live_on) && app.cluster.is_some() {
        // Its tasks may still want the files that were made for it.
        let _kept = scratch.keep();
    }
    result
}

/// The job as if it came from a job file.
fn draft(
    text: &JobText,
    args: &MrjobArgs,
    given: &Given<'_>,
    scratch: &Path,
    here: &Path,
) -> Result<Draft, Failure> {
    let path = scratch.join("job.toml");
    std::fs::write(&path, &text.toml).map_err(|error| Failure::file("write", &path, &error))?;
    let what = WhatArgs {
        program: path.to_string_lossy().into_owned(),
        inputs: Vec::new(),
        more_inputs: Vec::new(),
    };
    let mut draft = Draft::new(what, &args.job, given, here)?;
    // What a step needs to be right goes before the flag, which is for steps that
    // do not say.
    for (step, reducers) in draft.steps.iter_mut().zip(&text.reducers) {
        if let Some(reducers) = reducers {
            step.reducers = *reducers;
        }
    }
    Ok(draft)
}

/// Whether tasks run on this machine: the Python that was found here is there, too.
async fn is_near(app: &App) -> Result<bool, Failure> {
    if app.cluster.is_none() {
        return Ok(true);
    }
    let host = host::identity();
    let nodes = app.client()?.list_workers().await?;
    let mut live = nodes
        .iter()
        .filter(|node| node.worker.state != WorkerState::Lost)
        .peekable();
    Ok(live.peek().is_none() || live.any(|node| node.host == host))
}

/// Tells the end of a job: its counters, and why it failed.
fn told(app: &App, job: &JobView, steps: usize) -> Result<(), Failure> {
    if let Some(counters) = report::counters(&job.counters) {
        app.note(&counters);
    }
    if let (JobState::Failed, Some(failure)) = (job.state, &job.failure) {
        return Err(report::failure(job, failure, steps));
    }
    verdict(job)
}
