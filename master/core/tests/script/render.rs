//! Replies, events and answers as lines.

use std::fmt::Write as _;

use vivat_core::command::{Event, Grant, Reply};
use vivat_core::{Duties, Reconciliation, State};
use vivat_shared::attempt::SegmentLocation;
use vivat_shared::logs::LogEntry;
use vivat_shared::timeline::{AttemptEnd, AttemptSpan};
use vivat_shared::view::{JobView, TaskCounts};

pub fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Done => "done".to_owned(),
        Reply::Job { job, created: true } => format!("{job}, created"),
        Reply::Job {
            job,
            created: false,
        } => format!("{job}, known"),
        Reply::Registered(worker) => format!("registered {worker}"),
        Reply::Dataset {
            dataset,
            sealed,
            blocks,
        } => {
            let state = if *sealed { "sealed" } else { "open" };
            format!("{dataset}, {state}, {blocks} blocks")
        }
        Reply::Retried { step } => format!("goes on with step {step}"),
        Reply::Version(version) => format!("version {version}"),
        Reply::Assigned(answers) => answers
            .iter()
            .map(|answer| match answer {
                Ok(attempt) => format!("granted {attempt}"),
                Err(rejection) => format!("refused: {rejection}"),
            })
            .collect::<Vec<_>>()
            .join("; "),
        Reply::Rejected(rejection) => format!("rejected: {rejection}"),
    }
}

pub fn event(event: &Event) -> String {
    match event {
        Event::TermOpened { term } => format!("term {term} opened"),
        Event::JobChanged { job } => format!("{job} changed"),
        Event::JobEnded { job } => format!("{job} ended"),
        Event::JobRetried { job } => format!("{job} retried"),
        Event::WorkerRegistered { worker } => format!("{worker} registered"),
        Event::WorkerExpired { worker, reason } => format!("{worker} expired: {reason}"),
        Event::AttemptGranted { attempt, worker } => format!("{attempt} granted to {worker}"),
        Event::AttemptRevoked { attempt, worker } => format!("{attempt} revoked from {worker}"),
        Event::AttemptFinished {
            attempt,
            worker,
            accepted,
        } => {
            let verdict = if *accepted { "accepted" } else { "over" };
            format!("{attempt} {verdict} from {worker}")
        }
        Event::TaskIdle { task } => format!("{task} idle"),
        Event::SegmentsLocated { map, holder } => format!("segments of {map} at {holder}"),
        Event::SegmentsLost { map } => format!("segments of {map} lost"),
        Event::SegmentSuspected { map, holder } => {
            format!("segments of {map} at {holder} suspected")
        }
        Event::DatasetChanged { dataset } => format!("{dataset} changed"),
    }
}

fn counts(counts: TaskCounts) -> String {
    format!(
        "{} idle, {} running, {} completed of {}",
        counts.idle, counts.running, counts.completed, counts.total
    )
}

pub fn job(job: &JobView) -> String {
    let mut text = format!("{} {} {}\n", job.job_id, job.state.word(), job.phase);
    writeln!(text, "maps: {}", counts(job.map)).unwrap();
    writeln!(text, "reduces: {}", counts(job.reduce)).unwrap();
    let attempts = job.attempts;
    writeln!(
        text,
        "attempts: {} started, {} succeeded, {} failed, {} lost, {} killed, {} reruns",
        attempts.started,
        attempts.succeeded,
        attempts.failed,
        attempts.lost,
        attempts.killed,
        attempts.reruns_of_completed
    )
    .unwrap();
    for (name, sum) in &job.counters {
        writeln!(text, "{name}: {sum}").unwrap();
    }
    for round in &job.rounds {
        let mut line = format!(
            "round {}.{}: {} ms",
            round.step, round.round, round.elapsed_ms
        );
        for (name, metric) in &round.metrics {
            write!(line, ", {name} {}", metric.value()).unwrap();
        }
        // One round without metrics is every plain job's.
        if job.rounds.len() > 1 || !round.metrics.is_empty() {
            writeln!(text, "{line}").unwrap();
        }
    }
    for record in &job.skipped {
        let (display, offset) = (&record.display, record.offset);
        writeln!(text, "skipped {display} at {offset}: {}", record.problem).unwrap();
    }
    if job.retries > 0 {
        writeln!(text, "retries: {}", job.retries).unwrap();
    }
    if let Some(notify) = &job.notify {
        writeln!(text, "notify: {notify}").unwrap();
    }
    if !job.reason.is_empty() {
        writeln!(text, "reason: {}", job.reason).unwrap();
    }
    text
}

pub fn spans(spans: &[AttemptSpan], more: bool) -> String {
    let mut text = String::new();
    for span in spans {
        let end = span.end.map_or("runs", AttemptEnd::word);
        let until = span.ended_ms.map_or(String::new(), |at| at.to_string());
        let (attempt, worker) = (span.attempt, span.worker);
        writeln!(text, "{attempt} {worker} {}..{until} {end}", span.began_ms).unwrap();
    }
    if more {
        text.push_str("and more\n");
    }
    text
}

pub fn scores(state: &State) -> String {
    let workers = vivat_core::view::workers(state).into_iter();
    let lines = workers.map(|worker| format!("{} {}", worker.worker_id, worker.score));
    lines.collect::<Vec<_>>().join("\n")
}

pub fn grants(grants: &[Grant]) -> String {
    let lines = grants.iter().map(|grant| {
        let what = if grant.backup { "backed up at" } else { "to" };
        format!("{} {what} {}", grant.task, grant.worker)
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub fn duties(duties: &Duties) -> String {
    let mut text = String::new();
    for (map, holder) in &duties.suspects {
        writeln!(text, "probe {map} at {holder}").unwrap();
    }
    for job in &duties.timed_out {
        writeln!(text, "time out {job}").unwrap();
    }
    for job in &duties.forget {
        writeln!(text, "forget {job}").unwrap();
    }
    if text.is_empty() {
        text.push_str("nothing is due\n");
    }
    text
}

pub fn reconciliation(found: &Reconciliation) -> String {
    let missing = found.missing.iter().map(|id| format!("missing {id}"));
    let unknown = found.unknown.iter().map(|id| format!("unknown {id}"));
    missing.chain(unknown).collect::<Vec<_>>().join("\n")
}

pub fn locations(locations: &[SegmentLocation]) -> String {
    let lines = locations.iter().map(|there| {
        format!(
            "map {} attempt {} at {}, size code {}",
            there.map, there.attempt, there.holder, there.size.0
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub fn datasets(state: &State) -> String {
    let mut text = String::new();
    for dataset in state.directory().iter() {
        let visible = match &dataset.sealed {
            None => "open",
            Some(sealed) if sealed.named => "sealed",
            Some(_) => "replaced",
        };
        let bytes = dataset.blocks.bytes_before(u32::MAX);
        let name = &dataset.spec.name;
        write!(text, "{} `{name}` {visible}, {bytes} bytes", dataset.id).unwrap();
        for job in &dataset.readers {
            write!(text, ", read by {job}").unwrap();
        }
        text.push('\n');
        for row in dataset.blocks.rows() {
            let workers: Vec<String> = row.workers.iter().map(ToString::to_string).collect();
            let holders = workers.join(", ");
            writeln!(text, "block {} to {} at {holders}", row.index, row.end).unwrap();
        }
    }
    text
}

pub fn values(state: &State) -> String {
    let mut text = String::new();
    for (name, value) in state.values().after("") {
        let shown = String::from_utf8_lossy(&value.bytes);
        writeln!(text, "{name} = {shown}, version {}", value.version).unwrap();
    }
    text
}

pub fn logs(entries: &[LogEntry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let (attempt, worker, end) = (entry.attempt, entry.worker, entry.end.word());
        let holders: Vec<String> = entry
            .blocks
            .iter()
            .flat_map(|block| &block.holders)
            .map(|holder| holder.worker.to_string())
            .collect();
        writeln!(
            text,
            "{attempt} {worker} {end}: {} bytes at [{}]; {}; {}",
            entry.bytes,
            holders.join(", "),
            entry.problem,
            entry.tail
        )
        .unwrap();
    }
    text
}
