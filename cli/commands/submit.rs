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
use crate::paths::{self, Place};
use crate::quantity::TimeSpan;
use crate::spec::Draft;
use crate::upload::{self, Uploads};

use serde_json::json;
use vivat_shared::cause::FailureCause;
use vivat_shared::job::OutputLocation;
use vivat_shared::view::WorkerState;

/// Submits, and waits when asked to.
pub async fn submit(app: &App, args: SubmitArgs, given: &Given<'_>) -> Result<(), Failure> {
    let mut draft = Draft::new(args.what, &args.job, given, &paths::here()?)?;
    let client = app.client()?;
    let is_far = is_far(&client, &draft).await?;
    let (submitted, fetched) =
        bring_and_submit(app, &client, &mut draft, is_far, args.wait).await?;
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
    match fetched {
        Some(place) => upload::fetch(app, &client, &job.output, &place).await,
        None => Ok(()),
    }
}

/// Brings over what is far, and submits; a plain output that no worker can write
/// in place is the caller's to fetch when the job is done.
///
/// # Errors
///
/// As [`check_fetched`], [`Uploads::bring`] and [`submit_draft`].
pub async fn bring_and_submit(
    app: &App,
    client: &LeaderClient,
    draft: &mut Draft,
    is_far: bool,
    waits: bool,
) -> Result<(Submitted, Option<Place>), Failure> {
    let host = host::identity();
    let output = draft.output.clone();
    let (output, fetched) = match output {
        Some(place) if is_far && !place.everyone => {
            check_fetched(&place, waits)?;
            (OutputLocation::Dataset { name: None }, Some(place))
        }
        Some(place) => (place.output(&host), None),
        None => (OutputLocation::Dataset { name: None }, None),
    };
    let uploads = if is_far {
        Uploads::bring(app, client, draft).await?
    } else {
        Uploads::default()
    };
    let submitted = match draft.spec(output, &host) {
        Ok(spec) => submit_draft(client, draft, &spec).await,
        Err(failure) => Err(failure),
    };
    uploads.leave(app, client).await;
    Ok((submitted?, fetched))
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

/// Whether plain paths, which are files of this machine, are to be brought to the
/// workers: some are alive, and none of them sees this machine's files. While none
/// is alive at all the job may wait for one here, visibly.
///
/// # Errors
///
/// That there is no leader.
pub async fn is_far(client: &LeaderClient, draft: &Draft) -> Result<bool, Failure> {
    if !draft.needs_this_host() {
        return Ok(false);
    }
    let host = host::identity();
    let nodes = client.list_workers().await?;
    let any_live = nodes
        .iter()
        .any(|node| node.worker.state != WorkerState::Lost);
    let any_here = nodes
        .iter()
        .any(|node| node.host == host && node.worker.state != WorkerState::Lost);
    Ok(any_live && !any_here)
}

/// A result that no worker can write in place is fetched by whoever waits for it.
///
/// # Errors
///
/// Exit 2 when nobody does, 4 when something is there.
fn check_fetched(place: &Place, waits: bool) -> Result<(), Failure> {
    if !waits {
        return Err(Failure::usage(format!(
            "no worker of the cluster sees `{}`, and nobody waits to fetch the result",
            place.display
        ))
        .hint("add --wait, or leave --output out: then the result is a dataset"));
    }
    if std::path::Path::new(&place.path).exists() {
        let path = place.display.clone();
        return Err(Failure::from(&FailureCause::OutputExists { path }));
    }
    Ok(())
}
