//! `vivat job list` and `show`, for people.

use std::fmt::Write as _;
use std::time::Duration;

use vivat_shared::shown::shown;
use vivat_shared::view::{JobState, JobView, RoundView, TaskCounts};

use crate::app::App;
use crate::args::Print;
use crate::failure::Failure;
use crate::form;
use crate::quantity::{ByteSize, TimeSpan};
use crate::table::{Sheet, number, state, text};

/// All jobs.
pub fn list(app: &App, jobs: &[JobView]) -> Result<(), Failure> {
    let wide = match app.print {
        Print::Json | Print::Ndjson => {
            let jobs: Vec<_> = jobs.iter().map(form::job).collect();
            return app.json_list(&jobs);
        }
        Print::Name => {
            let names: String = jobs.iter().map(|job| format!("{}\n", job.job_id)).collect();
            return app.data(&names);
        }
        Print::Table => false,
        Print::Wide => true,
    };
    let mut heads = vec!["JOB", "NAME", "STATE", "MAP", "REDUCE", "AGE", "TOOK"];
    if wide {
        heads.extend(["PRIORITY", "PROGRAM", "OUTPUT", "REASON"]);
    }
    let mut sheet = Sheet::new(app, &heads);
    for job in jobs {
        sheet.row(row(job, wide));
    }
    sheet.print(app, "no jobs yet")
}

fn row(job: &JobView, wide: bool) -> Vec<comfy_table::Cell> {
    let took = form::took(job).map_or_else(|| "-".to_owned(), |took| TimeSpan(took).to_string());
    let mut cells = vec![
        text(job.job_id),
        text(&job.name),
        state(job.state.word()),
        text(done(&job.map)),
        text(done(&job.reduce)),
        text(form::age(job.submitted_at_ms)),
        text(took),
    ];
    if wide {
        cells.extend([
            number(job.priority),
            text(job.programs.join("+")),
            text(&job.output),
            text(&job.reason),
        ]);
    }
    cells
}

fn done(counts: &TaskCounts) -> String {
    format!("{}/{}", counts.completed, counts.total)
}

/// One job.
pub fn show(app: &App, job: &JobView) -> Result<(), Failure> {
    match app.print {
        Print::Json | Print::Ndjson => app.json(&form::job(job)),
        Print::Name => app.data(&format!("{}\n", job.job_id)),
        Print::Table | Print::Wide => app.data(&describe(job)),
    }
}

fn describe(job: &JobView) -> String {
    let mut lines: Vec<(&str, String)> = vec![
        ("job", job.job_id.to_string()),
        ("name", shown(&job.name).into_owned()),
        ("program", job.programs.join(" + ")),
        ("state", standing(job)),
    ];
    if job.failure.is_none() && !job.reason.is_empty() {
        lines.push(("reason", job.reason.clone()));
    }
    lines.push((
        "submitted",
        format!(
            "{} ({} ago)",
            form::time(job.submitted_at_ms),
            form::age(job.submitted_at_ms)
        ),
    ));
    if let (Some(at), Some(took)) = (job.finished_at_ms, form::took(job)) {
        let finished = format!("{}, after {}", form::time(at), TimeSpan(took));
        lines.push(("finished", finished));
    }
    lines.push(("input", ByteSize(job.input_bytes).to_string()));
    lines.push(("map", tasks(&job.map)));
    lines.push(("reduce", tasks(&job.reduce)));
    if let Some(last) = job.rounds.last() {
        lines.push(("rounds", rounds(job.rounds.len(), last)));
    }
    let attempts = &job.attempts;
    lines.push((
        "attempts",
        format!(
            "{} started, {} succeeded, {} failed, {} lost, {} killed, {} done again",
            attempts.started,
            attempts.succeeded,
            attempts.failed,
            attempts.lost,
            attempts.killed,
            attempts.reruns_of_completed
        ),
    ));
    if job.retries > 0 {
        lines.push(("retries", job.retries.to_string()));
    }
    if let Some(notify) = &job.notify {
        lines.push(("notify", shown(&notify.to_string()).into_owned()));
    }
    lines.push(("output", shown(&job.output).into_owned()));
    let mut text = String::new();
    for (name, value) in lines {
        let _infallible = writeln!(text, "{name:<10}{value}");
    }
    text.push_str(&skipped(job));
    if let Some(failure) = &job.failure {
        let _infallible = writeln!(text, "\n{}", failure.describe(job.job_id));
        let tail = failure.output_tail.trim_end();
        if !tail.is_empty() {
            let _infallible = writeln!(text, "the end of the attempt's output:\n{tail}");
        }
        let _infallible = writeln!(text, "hint: {}", failure.cause.hint());
    }
    text
}

/// The bad records that are remembered; there may be more.
fn skipped(job: &JobView) -> String {
    let mut text = String::new();
    for record in &job.skipped {
        let bytes = String::from_utf8_lossy(&record.bytes);
        let _infallible = writeln!(
            text,
            "skipped   {} at byte {}: {}: {}",
            shown(&record.display),
            record.offset,
            shown(&record.problem),
            shown(bytes.trim_end())
        );
    }
    text
}

/// How many are over, and what the last of them told.
fn rounds(over: usize, last: &RoundView) -> String {
    let took = TimeSpan(Duration::from_millis(last.elapsed_ms));
    let mut text = format!(
        "{over} over; step {}, round {} took {took}",
        last.step + 1,
        last.round + 1
    );
    for (name, metric) in &last.metrics {
        let _infallible = write!(text, ", {} {}", shown(name), metric.value());
    }
    text
}

fn standing(job: &JobView) -> String {
    match job.state {
        JobState::Running if !job.phase.is_empty() => {
            format!(
                "running: {} (step {} of {}, round {})",
                job.phase,
                job.step + 1,
                job.programs.len(),
                job.round + 1
            )
        }
        JobState::Queued
        | JobState::Running
        | JobState::Succeeded
        | JobState::Failed
        | JobState::Cancelled => job.state.word().to_owned(),
    }
}

fn tasks(counts: &TaskCounts) -> String {
    format!(
        "{} of {} done, {} running, {} waiting",
        counts.completed, counts.total, counts.running, counts.idle
    )
}

/// One line on a job that succeeded.
pub fn summary(job: &JobView) -> String {
    let took = form::took(job).unwrap_or_default();
    format!(
        "{} succeeded in {}: {} maps over {}, {} reduces",
        job.job_id,
        TimeSpan(took),
        job.map.total,
        ByteSize(job.input_bytes),
        job.reduce.total
    )
}
