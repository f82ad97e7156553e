//! `vivat job retry`: the same job goes on.

use serde_json::json;
use vivat_client::LeaderClient;

use super::{summary, wait_for};
use crate::app::App;
use crate::args::Print;
use crate::args::job::RetryArgs;
use crate::failure::Failure;
use crate::follow::verdict;
use crate::form;
use crate::quantity::TimeSpan;

/// Retries, and waits when asked to.
pub async fn retry(app: &App, client: &LeaderClient, args: RetryArgs) -> Result<(), Failure> {
    let job = args.job.job;
    let key = args
        .key
        .unwrap_or_else(|| format!("once-{:032x}", rand::random::<u128>()));
    let step = client.retry_job(&key, job).await?;
    if !args.wait {
        return match app.print {
            Print::Json | Print::Ndjson => {
                app.json(&json!({"job_id": job.to_string(), "step": step}))
            }
            Print::Name => app.data(&format!("{job}\n")),
            Print::Table | Print::Wide => {
                app.data(&format!("{job} goes on with step {}\n", step + 1))
            }
        };
    }
    let timeout = args.timeout.map(|TimeSpan(limit)| limit);
    let view = wait_for(app, client, job, timeout).await?;
    if app.print.is_json() {
        app.json(&form::job(&view))?;
    }
    verdict(&view)?;
    app.note(&summary(&view));
    Ok(())
}
