//! `vivat job wait` and `watch`: the job's end, while it lives on whatever
//! happens here.

use std::time::Duration;

use vivat_client::LeaderClient;
use vivat_shared::ids::JobId;
use vivat_shared::view::JobView;

use crate::app::App;
use crate::args::Print;
use crate::args::job::JobWait;
use crate::failure::{Failure, exit};
use crate::follow::{Ended, follow, verdict};
use crate::form;
use crate::progress::Progress;
use crate::quantity::TimeSpan;
use crate::signals::Interrupt;

/// Shows every change until the end.
pub async fn watch(app: &App, client: &LeaderClient, wait: JobWait) -> Result<(), Failure> {
    let every_change = app.print == Print::Ndjson;
    let mut progress = Progress::with_counters(app);
    let ended = follow(
        client,
        wait.job.job,
        timeout(wait),
        &mut progress,
        &mut Interrupt::new()?,
        |change| {
            if every_change {
                app.json(&form::change(change))?;
            }
            Ok(())
        },
    )
    .await;
    progress.finish();
    let job = end_of(wait.job.job, timeout(wait), ended?)?;
    finish(app, &job, every_change)
}

/// Waits for the end alone.
pub async fn wait(app: &App, client: &LeaderClient, wait: JobWait) -> Result<(), Failure> {
    let job = wait_for(app, client, wait.job.job, timeout(wait)).await?;
    finish(app, &job, false)
}

/// Waits for a job's end, with progress.
///
/// # Errors
///
/// That there is no leader, that the patience is over, Ctrl-C.
pub async fn wait_for(
    app: &App,
    client: &LeaderClient,
    job: JobId,
    timeout: Option<Duration>,
) -> Result<JobView, Failure> {
    let mut progress = Progress::new(app);
    let mut interrupt = Interrupt::new()?;
    let ended = follow(client, job, timeout, &mut progress, &mut interrupt, |_| {
        Ok(())
    })
    .await;
    progress.finish();
    end_of(job, timeout, ended?)
}

/// The job in its final state; anything else is a failure that says that the
/// job lives on.
///
/// # Errors
///
/// 124 when the patience was over, 130 for Ctrl-C.
pub fn end_of(job: JobId, timeout: Option<Duration>, ended: Ended) -> Result<JobView, Failure> {
    let again = format!("the job goes on; `vivat job wait {job}` waits again");
    match ended {
        Ended::Final(view) => Ok(*view),
        Ended::TimedOut => Err(Failure::timeout(format!(
            "{job} has not ended within {}",
            TimeSpan(timeout.unwrap_or_default())
        ))
        .hint(again)),
        Ended::Interrupted => Err(Failure::new(
            "interrupted",
            exit::INTERRUPTED,
            format!("no longer waiting for {job}"),
        )
        .hint(format!("{again}, `vivat job cancel {job}` ends it"))),
    }
}

fn finish(app: &App, job: &JobView, told: bool) -> Result<(), Failure> {
    if app.print.is_json() && !told {
        app.json(&form::job(job))?;
    }
    verdict(job)?;
    match app.print {
        Print::Json | Print::Ndjson => Ok(()),
        Print::Name => app.data(&format!("{}\n", job.job_id)),
        Print::Table | Print::Wide => {
            app.note(&super::summary(job));
            Ok(())
        }
    }
}

fn timeout(wait: JobWait) -> Option<Duration> {
    wait.timeout.map(|TimeSpan(limit)| limit)
}
