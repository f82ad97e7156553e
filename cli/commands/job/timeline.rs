//! `vivat job timeline`: which worker ran which attempt, when.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vivat_client::LeaderClient;
use vivat_shared::ids::JobId;
use vivat_shared::timeline::{AttemptEnd, AttemptSpan};

use super::chart;
use crate::app::App;
use crate::args::Print;
use crate::failure::Failure;
use crate::table::{Sheet, number, text};

/// The word for an attempt that is granted yet.
const RUNNING: &str = "running";

/// Prints it, or draws it into a file.
pub async fn timeline(
    app: &App,
    client: &LeaderClient,
    job: JobId,
    svg: Option<PathBuf>,
) -> Result<(), Failure> {
    let mut spans = client.timeline(job).await?;
    spans.sort_by_key(|span| (span.began_ms, span.attempt));
    if let Some(path) = svg {
        return draw(app, job, &spans, &path);
    }
    match app.print {
        Print::Json | Print::Ndjson => {
            let rows: Vec<Value> = spans.iter().map(row).collect();
            app.json_list(&rows)
        }
        Print::Name => {
            let names = spans.iter().map(|span| format!("{}\n", span.attempt));
            app.data(&names.collect::<String>())
        }
        Print::Table | Print::Wide => table(app, &spans),
    }
}

fn draw(app: &App, job: JobId, spans: &[AttemptSpan], path: &Path) -> Result<(), Failure> {
    let drawing = chart::svg(&job.to_string(), spans);
    std::fs::write(path, drawing).map_err(|error| Failure::file("write", path, &error))?;
    let (count, path) = (spans.len(), path.display());
    app.note(&format!("{count} attempts drawn into {path}"));
    Ok(())
}

fn row(span: &AttemptSpan) -> Value {
    json!({
        "task": span.attempt.task.to_string(),
        "attempt": span.attempt.number,
        "kind": span.attempt.task.kind.word(),
        "step": span.attempt.task.round.step,
        "round": span.attempt.task.round.round,
        "worker": span.worker.to_string(),
        "start_ms": span.began_ms,
        "end_ms": span.ended_ms,
        "result": result(span),
    })
}

fn result(span: &AttemptSpan) -> &'static str {
    span.end.map_or(RUNNING, AttemptEnd::word)
}

fn table(app: &App, spans: &[AttemptSpan]) -> Result<(), Failure> {
    let heads = ["TASK", "ATTEMPT", "WORKER", "START", "END", "RESULT"];
    let mut sheet = Sheet::new(app, &heads);
    for span in spans {
        sheet.row([
            text(span.attempt.task),
            number(span.attempt.number),
            text(span.worker),
            number(seconds(span.began_ms)),
            number(span.ended_ms.map_or_else(String::new, seconds)),
            text(result(span)),
        ]);
    }
    sheet.print(app, "nothing was granted yet, or it is too long ago")
}

/// Milliseconds as seconds, `1.250 s`.
fn seconds(ms: u32) -> String {
    format!("{}.{:03} s", ms / 1_000, ms % 1_000)
}
