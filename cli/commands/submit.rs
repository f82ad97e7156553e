//! `vivat submit`: the job's id, and the job lives on.

use vivat_client::{LeaderClient, Submitted, host};

use crate::app::App;
use crate::args::Given;
use crate::args::Print;
use crate::args::job::SubmitArgs;
use crate::commands::job::{summary, wait_for};
use crate::failure::Failure;
use crate::follow::verdict;
use crate::form;
use crate::paths;
use crate::quantity::TimeSpan;
use crate::spec::Draft;

use serde_json::json;
use vivat_shared::view::WorkerState;

/// Submits, and waits when asked to.
pub async fn submit(app: &App, args: SubmitArgs, given: &Given<'_>) -> Result<(), Failure> {
    let draft = Draft::new(args.what, &args.job, given, &paths::here()?)?;
    let client = app.client()?;
    let Some(output) = draft.output.clone() else {
        return Err(
            Failure::usage("submit needs --output: where should the result go?").hint(
                "datasets, which would be the default, are not there yet; `vivat run` prints",
            ),
        );
    };
    check_host(&client, &draft).await?;
    let spec = draft.spec(output, &host::identity())?;
    let submitted = submit_draft(&client, &draft, &spec).await?;
    if !submitted.created {
        app.note(&format!(
            "{} was submitted before with this key",
            submitted.job
        ));
    }
    if !args.wait {
        return match app.print {
            Print::Json | Print::Ndjson => app.json(&json!({
                "job_id": submitted.job.to_string(),
                "created": submitted.created,
            })),
            Print::Table | Print::Wide | Print::Name => app.data(&format!("{}\n", submitted.job)),
        };
    }
    if !app.print.is_json() {
        app.data(&format!("{}\n", submitted.job))?;
    }
    let timeout = args.job.timeout.map(|TimeSpan(limit)| limit);
    let job = wait_for(app, &client, submitted.job, timeout).await?;
    if app.print.is_json() {
        app.json(&form::job(&job))?;
    }
    verdict(&job)?;
    app.note(&summary(&job));
    Ok(())
}

/// Sends the specification under the draft's key, or one made for the occasion.
///
/// # Errors
///
/// The cluster's refusal, or that there is no leader.
pub async fn submit_draft(
    client: &LeaderClient,
    draft: &Draft,
    spec: &vivat_shared::job::JobSpec,
) -> Result<Submitted, Failure> {
    let key = match &draft.key {
        Some(key) => key.clone(),
        None => format!("once-{:032x}", rand::random::<u128>()),
    };
    Ok(client.submit_job(&key, spec).await?)
}

/// A plain path is a file of this machine: some worker must see it.
///
/// While no worker is alive at all the job may wait for one, visibly.
///
/// # Errors
///
/// Exit 2 when workers are there and none of them is on this machine.
pub async fn check_host(client: &LeaderClient, draft: &Draft) -> Result<(), Failure> {
    if !draft.needs_this_host() {
        return Ok(());
    }
    let host = host::identity();
    let nodes = client.list_workers().await?;
    let any_live = nodes
        .iter()
        .any(|node| node.worker.state != WorkerState::Lost);
    let any_here = nodes.iter().any(|node| node.host == host);
    if any_live && !any_here {
        return Err(Failure::usage(
            "a plain path is a file of this machine, and no worker of the cluster runs here",
        )
        .hint("name what every worker sees by file:///PATH"));
    }
    Ok(())
}
