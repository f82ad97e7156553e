//! `vivat job ...`

mod chart;
mod curve;
mod logs;
mod plan;
mod retry;
mod show;
mod timeline;
mod wait;

use serde_json::json;
use vivat_client::LeaderClient;
use vivat_shared::dataset::SCHEME;
use vivat_shared::ids::JobId;
use vivat_shared::job::is_url;

use crate::app::App;
use crate::args::job::JobCommand;
use crate::args::{Given, Print};
use crate::commands::{data, output};
use crate::failure::Failure;
use crate::follow::verdict;
use crate::table::{Sheet, number, text};

pub use curve::table as rounds_table;
pub use show::summary;
pub use wait::{end_of, wait_for};

/// Runs it.
pub async fn job(app: &App, command: JobCommand, given: &Given<'_>) -> Result<(), Failure> {
    // A plan alone can be made without a cluster.
    let command = match command {
        JobCommand::Plan(args) => return plan::plan(app, *args, given).await,
        other => other,
    };
    let client = app.client()?;
    match command {
        JobCommand::List { limit } => show::list(app, &client.list_jobs(limit).await?),
        JobCommand::Plan(args) => plan::plan(app, *args, given).await,
        JobCommand::Show(job) => show::show(app, &client.get_job(job.job).await?),
        JobCommand::Watch(wait) => wait::watch(app, &client, wait).await,
        JobCommand::Wait(wait) => wait::wait(app, &client, wait).await,
        JobCommand::Why(job) => why(app, &client, job.job).await,
        JobCommand::Cancel { job, yes: _ } => cancel(app, &client, job.job).await,
        JobCommand::Retry(args) => retry::retry(app, &client, args).await,
        JobCommand::Timeline { job, svg } => timeline::timeline(app, &client, job.job, svg).await,
        JobCommand::Curve { job, svg } => curve::curve(app, &client.get_job(job.job).await?, svg),
        JobCommand::Logs(args) => logs::logs(app, &client, args).await,
        JobCommand::Counters(job) => counters(app, &client, job.job).await,
        JobCommand::Output(job) => {
            let view = client.get_job(job.job).await?;
            verdict(&view)?;
            match view.output.strip_prefix(SCHEME) {
                Some(dataset) => data::cat(app, dataset).await,
                None if is_url(&view.output) => output::print_objects(&view.output).await,
                None => output::print_parts(std::path::Path::new(&view.output_path)),
            }
        }
    }
}

async fn why(app: &App, client: &LeaderClient, job: JobId) -> Result<(), Failure> {
    let explanation = client.explain_job(job).await?;
    if app.print.is_json() {
        return app.json(&json!({
            "job_id": job.to_string(),
            "reason": explanation.reason,
            "lines": explanation.lines,
        }));
    }
    if explanation.reason.is_empty() {
        return app.data(&format!("{job} does not wait\n"));
    }
    let mut text = format!("{job} waits: {}\n", explanation.reason);
    for line in &explanation.lines {
        text.push_str(&format!("  {line}\n"));
    }
    app.data(&text)
}

async fn cancel(app: &App, client: &LeaderClient, job: JobId) -> Result<(), Failure> {
    client.cancel_job(job).await?;
    match app.print {
        Print::Json | Print::Ndjson => {
            app.json(&json!({"job_id": job.to_string(), "state": "cancelled"}))
        }
        Print::Name => app.data(&format!("{job}\n")),
        Print::Table | Print::Wide => app.data(&format!("{job} cancelled\n")),
    }
}

async fn counters(app: &App, client: &LeaderClient, job: JobId) -> Result<(), Failure> {
    let view = client.get_job(job).await?;
    match app.print {
        Print::Json | Print::Ndjson => return app.json(&view.counters),
        Print::Name => {
            let names: String = view
                .counters
                .keys()
                .map(|name| format!("{name}\n"))
                .collect();
            return app.data(&names);
        }
        Print::Table | Print::Wide => {}
    }
    let mut sheet = Sheet::new(app, &["COUNTER", "SUM"]);
    for (name, sum) in &view.counters {
        sheet.row([text(name), number(sum)]);
    }
    sheet.print(app, "no attempt has finished yet")
}
