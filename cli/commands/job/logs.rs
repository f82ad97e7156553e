//! `vivat job logs`: what attempts wrote to their standard error, those on workers that
//! are gone too: the full text from the store, the end of a failure's from the log.

use serde_json::json;
use vivat_client::LeaderClient;
use vivat_client::data::{BlockFetch, BlockView, DataError, Workers};
use vivat_shared::limits::OUTPUT_TAIL_BYTES_MAX;
use vivat_shared::logs::LogEntry;
use vivat_shared::timeline::AttemptEnd;

use crate::app::App;
use crate::args::Print;
use crate::args::job::LogsArgs;
use crate::failure::Failure;
use crate::form;

/// Prints the logs of the attempts that are meant, in the order in which they ended.
pub async fn logs(app: &App, client: &LeaderClient, args: LogsArgs) -> Result<(), Failure> {
    let job = args.job.job;
    let mut entries = client.list_logs(job).await?;
    entries.retain(|entry| is_meant(entry, &args));
    if entries.is_empty() {
        let filtered = args.task.is_some() || args.attempt.is_some();
        if filtered {
            return Err(Failure::not_found(format!(
                "no attempt at that task of {job} failed or wrote to its standard error"
            ))
            .hint(format!(
                "`vivat job logs {job} -o name` lists those that did"
            )));
        }
        if !app.print.is_json() {
            app.note(&format!(
                "no attempt of {job} failed or wrote to its standard error"
            ));
            return Ok(());
        }
    }
    if app.print == Print::Name {
        let names = entries.iter().map(|entry| format!("{}\n", entry.attempt));
        return app.data(&names.collect::<String>());
    }
    let workers = Workers::of(client).await?;
    let mut objects = Vec::new();
    for entry in &entries {
        let (text, problem) = text(client, &workers, entry, args.tail).await;
        if app.print.is_json() {
            objects.push(object(entry, &text, problem.as_deref()));
            continue;
        }
        let mut shown = head(entry);
        if let Some(problem) = problem {
            shown.push_str(&format!("(only its end: {problem})\n"));
        }
        shown.push_str(&text);
        if !shown.ends_with('\n') {
            shown.push('\n');
        }
        app.data(&shown)?;
    }
    if app.print.is_json() {
        return app.json_list(&objects);
    }
    Ok(())
}

/// `--task` is a task's id, or its end: `map-3`.
fn is_meant(entry: &LogEntry, args: &LogsArgs) -> bool {
    let is_task = args.task.as_ref().is_none_or(|wanted| {
        let task = entry.attempt.task;
        let short = format!("{}-{}", task.kind, task.index);
        *wanted == task.to_string() || *wanted == short || *wanted == entry.attempt.to_string()
    });
    is_task
        && args
            .attempt
            .is_none_or(|number| entry.attempt.number == number)
}

fn head(entry: &LogEntry) -> String {
    let mut head = format!(
        "==> {} on {}, {}",
        entry.attempt,
        entry.worker,
        match entry.end {
            AttemptEnd::Accepted => "succeeded".to_owned(),
            AttemptEnd::Failed => format!("failed: {}", entry.problem),
            AttemptEnd::Killed | AttemptEnd::Lost => entry.end.word().to_owned(),
        }
    );
    if entry.truncated {
        head.push_str(&format!(" ({} bytes, not all of them kept)", entry.bytes));
    }
    head.push_str(" <==\n");
    head
}

fn object(entry: &LogEntry, text: &str, problem: Option<&str>) -> serde_json::Value {
    json!({
        "attempt": entry.attempt.to_string(),
        "task": entry.attempt.task.to_string(),
        "worker_id": entry.worker.to_string(),
        "ended_at": form::time(entry.at_ms),
        "state": entry.end.word(),
        "problem": entry.problem,
        "bytes": entry.bytes,
        "truncated": entry.truncated,
        "text": text,
        "only_the_end_because": problem,
    })
}

/// The text, or its end and why that is all.
async fn text(
    client: &LeaderClient,
    workers: &Workers,
    entry: &LogEntry,
    tail: bool,
) -> (String, Option<String>) {
    let has_end = !entry.tail.is_empty();
    if (tail && has_end) || entry.blocks.is_empty() {
        return (entry.tail.clone(), None);
    }
    match stored(client, workers, entry).await {
        Ok(bytes) => {
            let from = match tail {
                true => bytes.len().saturating_sub(OUTPUT_TAIL_BYTES_MAX),
                false => 0,
            };
            (String::from_utf8_lossy(&bytes[from..]).into_owned(), None)
        }
        Err(error) => (entry.tail.clone(), Some(error.to_string())),
    }
}

async fn stored(
    client: &LeaderClient,
    workers: &Workers,
    entry: &LogEntry,
) -> Result<Vec<u8>, DataError> {
    let mut all = Vec::new();
    for (position, block) in (0_u32..).zip(&entry.blocks) {
        let block = BlockView {
            summary: block.summary,
            holders: block.holders.clone(),
            lost_holders: Vec::new(),
        };
        let name = format!("the log of {}", entry.attempt);
        let mut fetch = BlockFetch::new(client.clone(), workers.clone(), name, position, block);
        while let Some(bytes) = fetch.next().await? {
            all.extend_from_slice(&bytes);
        }
    }
    Ok(all)
}
