//! `vivat node list|show|drain|resume`

use std::time::Duration;

use vivat_client::{LeaderClient, NodeView};
use vivat_shared::ids::WorkerId;
use vivat_shared::view::WorkerState;

use crate::app::App;
use crate::args::Print;
use crate::args::cluster::NodeCommand;
use crate::failure::{Failure, exit};
use crate::form;
use crate::quantity::{ByteSize, TimeSpan};
use crate::signals::Interrupt;
use crate::table::{Sheet, number, state, text};

/// How often a worker that drains is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A patience that cannot be reached is none.
const ENDLESS: Duration = Duration::from_secs(u32::MAX as u64);

/// Runs it.
pub async fn node(app: &App, command: NodeCommand) -> Result<(), Failure> {
    let client = app.client()?;
    match command {
        NodeCommand::List => list(app, &client.list_workers().await?),
        NodeCommand::Show(worker) => show(app, &find(&client, worker.worker).await?),
        NodeCommand::Drain {
            worker,
            wait,
            timeout,
            deadline,
        } => {
            let worker = worker.worker;
            let deadline = deadline.map(|TimeSpan(deadline)| deadline);
            client.drain_worker(worker, true, deadline).await?;
            if wait {
                let limit = timeout.map(|TimeSpan(limit)| limit);
                return await_empty(app, &client, worker, limit).await;
            }
            told(app, &find(&client, worker).await?, "drains")
        }
        NodeCommand::Resume(worker) => {
            let worker = worker.worker;
            client.drain_worker(worker, false, None).await?;
            told(app, &find(&client, worker).await?, "is in service")
        }
    }
}

async fn find(client: &LeaderClient, worker: WorkerId) -> Result<NodeView, Failure> {
    let mut nodes = client.list_workers().await?.into_iter();
    nodes
        .find(|node| node.worker.worker_id == worker)
        .ok_or_else(|| {
            Failure::new(
                "worker-not-found",
                exit::NOT_FOUND,
                format!("{worker} does not exist"),
            )
            .hint("`vivat node list` shows the workers")
        })
}

fn told(app: &App, node: &NodeView, what: &str) -> Result<(), Failure> {
    let worker = node.worker.worker_id;
    match app.print {
        Print::Json | Print::Ndjson => app.json(&form::node(node)),
        Print::Name => app.data(&format!("{worker}\n")),
        Print::Table | Print::Wide => app.data(&format!("{worker} {what}\n")),
    }
}

/// Waits until nobody needs the worker any more. The draining goes on whatever
/// ends the waiting.
async fn await_empty(
    app: &App,
    client: &LeaderClient,
    worker: WorkerId,
    limit: Option<Duration>,
) -> Result<(), Failure> {
    let goes_on = format!(
        "the draining goes on: `vivat node drain {worker} --wait` waits again, `vivat node \
         resume {worker}` takes it back"
    );
    let mut interrupt = Interrupt::new()?;
    let patience = tokio::time::sleep(limit.unwrap_or(ENDLESS));
    tokio::pin!(patience);
    let mut told_before = String::new();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            biased;
            () = interrupt.wait() => {
                let message = format!("no longer waiting for {worker}");
                return Err(Failure::new("interrupted", exit::INTERRUPTED, message).hint(goes_on));
            }
            () = &mut patience => {
                let limit = TimeSpan(limit.unwrap_or_default());
                let message = format!("{worker} may not go yet, after {limit}: {told_before}");
                return Err(Failure::timeout(message).hint(goes_on));
            }
            _ = looks.tick() => {
                let node = find(client, worker).await?;
                if node.drain.may_go {
                    return told(app, &node, "may go");
                }
                if let Some(ended) = not_draining(&node) {
                    return Err(ended);
                }
                let holds = holds(&node);
                if holds != told_before {
                    app.note(&format!("{worker}: {holds}"));
                    told_before = holds;
                }
            }
        }
    }
}

/// Somebody took it back, or it is gone.
fn not_draining(node: &NodeView) -> Option<Failure> {
    let worker = node.worker.worker_id;
    match node.worker.state {
        WorkerState::Draining => None,
        WorkerState::Live => Some(Failure::conflict(format!(
            "{worker} is in service again: somebody resumed it"
        ))),
        WorkerState::Lost => Some(
            Failure::failed(format!("{worker} is lost: {}", node.worker.reason))
                .hint("`vivat data check` tells whether a block is lost with it"),
        ),
    }
}

/// What keeps it, in words.
fn holds(node: &NodeView) -> String {
    let drain = &node.drain;
    let counts = [
        (u64::from(drain.attempts_held), "attempts"),
        (drain.blocks_only_here, "blocks that only it has"),
        (drain.segments_needed, "segments that jobs need"),
    ];
    let held: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if held.is_empty() {
        "holds nothing".to_owned()
    } else {
        format!("holds {}", held.join(", "))
    }
}

fn show(app: &App, node: &NodeView) -> Result<(), Failure> {
    let worker = &node.worker;
    match app.print {
        Print::Json | Print::Ndjson => return app.json(&form::node(node)),
        Print::Name => return app.data(&format!("{}\n", worker.worker_id)),
        Print::Table | Print::Wide => {}
    }
    let heard = worker
        .last_heartbeat_ms
        .map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms ago"));
    let mut lines = vec![
        ("worker", worker.worker_id.to_string()),
        ("state", standing(node)),
        ("epoch", worker.epoch.0.to_string()),
        ("address", worker.address.clone()),
        ("pid", worker.pid.to_string()),
        ("host", node.host.0.clone()),
        ("busy", format!("{} of {} slots", worker.busy, worker.slots)),
        ("heard", heard),
        ("score", worker.score.to_string()),
        ("labels", labels(node)),
        ("holds", holds(node)),
    ];
    if node.drain.disk_bytes > 0 {
        let used = ByteSize(node.drain.disk_used_bytes);
        let all = ByteSize(node.drain.disk_bytes);
        lines.push(("disk", format!("{used} of {all} used by blocks")));
    }
    let text: String = lines
        .iter()
        .map(|(name, value)| format!("{name:<9}{value}").trim_end().to_owned() + "\n")
        .collect();
    app.data(&text)
}

fn standing(node: &NodeView) -> String {
    let worker = &node.worker;
    let word = worker.state.word();
    match worker.state {
        WorkerState::Live => word.to_owned(),
        WorkerState::Draining if node.drain.may_go => format!("{word}, and may go"),
        WorkerState::Draining => word.to_owned(),
        WorkerState::Lost => format!("{word}: {}", worker.reason),
    }
}

fn labels(node: &NodeView) -> String {
    let labels = node.worker.labels.iter();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.join(",")
}

fn list(app: &App, nodes: &[NodeView]) -> Result<(), Failure> {
    let wide = match app.print {
        Print::Json | Print::Ndjson => {
            let nodes: Vec<_> = nodes.iter().map(form::node).collect();
            return app.json_list(&nodes);
        }
        Print::Name => {
            let names: String = nodes
                .iter()
                .map(|node| format!("{}\n", node.worker.worker_id))
                .collect();
            return app.data(&names);
        }
        Print::Table => false,
        Print::Wide => true,
    };
    let mut heads = vec!["WORKER", "STATE", "BUSY", "HEARD", "ADDRESS"];
    if wide {
        heads.extend(["EPOCH", "PID", "SCORE", "LABELS", "REASON"]);
    }
    let mut sheet = Sheet::new(app, &heads);
    for node in nodes {
        sheet.row(row(node, wide));
    }
    sheet.print(app, "no workers are registered")
}

fn row(node: &NodeView, wide: bool) -> Vec<comfy_table::Cell> {
    let worker = &node.worker;
    let heard = worker
        .last_heartbeat_ms
        .map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms ago"));
    let mut cells = vec![
        text(worker.worker_id),
        state(worker.state.word()),
        text(format!("{}/{}", worker.busy, worker.slots)),
        text(heard),
        text(&worker.address),
    ];
    if wide {
        cells.extend([
            number(worker.epoch.0),
            number(worker.pid),
            number(worker.score),
            text(labels(node)),
            text(&worker.reason),
        ]);
    }
    cells
}
